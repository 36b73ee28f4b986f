//! What the daemon answers. The fields are those of the schema; units are in the names.
#![expect(missing_docs, reason = "the fields are those of the schema, which says what they mean")]

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::error::WireError;
use super::field::{nullable, optional};

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    ReadOnly,
    Operator,
    Admin,
}

/// A check of `health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    pub name: String,
    pub ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub detail: Option<String>,
}

/// A share as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareInfo {
    pub uid: u64,
    #[serde(deserialize_with = "nullable")]
    pub user: Option<String>,
    pub cpu_milli: u64,
    pub mem_bytes: u64,
    pub tasks_max: u64,
    pub slice: String,
    pub state: ShareState,
    pub granted_ms: u64,
    #[serde(deserialize_with = "nullable")]
    pub lease_ends_ms: Option<u64>,
    #[serde(deserialize_with = "nullable")]
    pub usage: Option<Usage>,
}

/// Whether a share's lease still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShareState {
    Active,
    Expired,
}

/// What a share uses, as the kernel counts it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    pub cpu_usec: u64,
    pub mem_bytes: u64,
    pub tasks: u64,
    pub oom_kills: u64,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub cpu_pressure_centi: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub mem_pressure_centi: Option<u64>,
}

/// What can be handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CapacityInfo {
    pub cpu_milli: u64,
    pub mem_bytes: u64,
    pub free_cpu_milli: u64,
    pub free_mem_bytes: u64,
    pub shares: u64,
    pub waiting: u64,
}

/// One figure for each resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AmountInfo {
    pub cpu_milli: u64,
    pub mem_bytes: u64,
    pub tasks_max: u64,
}

/// What the policy says for one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyInfo {
    pub defaults: AmountInfo,
    pub max: AmountInfo,
    #[serde(deserialize_with = "nullable")]
    pub lease_default_ms: Option<u64>,
    #[serde(deserialize_with = "nullable")]
    pub lease_max_ms: Option<u64>,
    #[serde(deserialize_with = "nullable")]
    pub idle_ms: Option<u64>,
    pub role: Role,
}

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    Request,
    Submit,
    Release,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    Queued,
    Running,
    Done,
    Failed,
    Cancelled,
    Interrupted,
}

/// A job as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobInfo {
    pub job_id: u64,
    pub uid: u64,
    pub kind: JobKind,
    pub state: JobState,
    pub created_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub started_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub ended_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub unit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub place: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub starts_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub exit_code: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub signal: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub oom: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub peak_mem_bytes: Option<u64>,
    /// Only to a client that supports [`JOB_LIMITS`](super::message::JOB_LIMITS).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub mem_limit_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub cpu_usec: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub error: Option<Box<WireError>>,
}

/// The `ok` of an answer. Which one it is follows from the call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    Pong { at_ms: u64 },
    Health { healthy: bool, checks: Vec<Check> },
    Status { share: Option<ShareInfo>, capacity: CapacityInfo },
    List { shares: Vec<ShareInfo>, capacity: CapacityInfo },
    Policy { policy: PolicyInfo },
    Share { share: ShareInfo },
    Released { released: bool },
    Unit { unit: String },
    JobStarted { job_started: u64 },
    Job { job: JobInfo },
    Jobs { jobs: Vec<JobInfo> },
    Handed { handed: u64 },
    Subscribed { subscribed: bool },
    Changed { changed: bool },
}

/// What happened, for those who follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventInfo {
    pub at_ms: u64,
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub uid: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub job_id: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub job: Option<JobInfo>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub share: Option<ShareInfo>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub lagged: Option<u64>,
}

/// Every key that an `ok` can have. Of which answer they are the keys, [`one_answer`] tells.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct OkKeys {
    #[serde(deserialize_with = "optional")]
    at_ms: Option<u64>,
    #[serde(deserialize_with = "optional")]
    healthy: Option<bool>,
    #[serde(deserialize_with = "optional")]
    checks: Option<Vec<Check>>,
    #[serde(deserialize_with = "optional")]
    share: Option<Option<ShareInfo>>,
    #[serde(deserialize_with = "optional")]
    capacity: Option<CapacityInfo>,
    #[serde(deserialize_with = "optional")]
    shares: Option<Vec<ShareInfo>>,
    #[serde(deserialize_with = "optional")]
    policy: Option<PolicyInfo>,
    #[serde(deserialize_with = "optional")]
    released: Option<bool>,
    #[serde(deserialize_with = "optional")]
    unit: Option<String>,
    #[serde(deserialize_with = "optional")]
    job_started: Option<u64>,
    #[serde(deserialize_with = "optional")]
    job: Option<JobInfo>,
    #[serde(deserialize_with = "optional")]
    jobs: Option<Vec<JobInfo>>,
    #[serde(deserialize_with = "optional")]
    handed: Option<u64>,
    #[serde(deserialize_with = "optional")]
    subscribed: Option<bool>,
    #[serde(deserialize_with = "optional")]
    changed: Option<bool>,
}

impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut keys = OkKeys::deserialize(from)?;
        let answer = one_answer(&mut keys).filter(|_| keys == OkKeys::default());
        answer.ok_or_else(|| D::Error::custom("expected the keys of one answer"))
    }
}

/// Takes the keys of an answer, and leaves what is too many.
fn one_answer(keys: &mut OkKeys) -> Option<Answer> {
    Some(if let Some(at_ms) = keys.at_ms.take() {
        Answer::Pong { at_ms }
    } else if let Some(healthy) = keys.healthy.take() {
        Answer::Health { healthy, checks: keys.checks.take()? }
    } else if let Some(share) = keys.share.take() {
        match keys.capacity.take() {
            Some(capacity) => Answer::Status { share, capacity },
            None => Answer::Share { share: share? },
        }
    } else if let Some(shares) = keys.shares.take() {
        Answer::List { shares, capacity: keys.capacity.take()? }
    } else if let Some(policy) = keys.policy.take() {
        Answer::Policy { policy }
    } else if let Some(released) = keys.released.take() {
        Answer::Released { released }
    } else if let Some(unit) = keys.unit.take() {
        Answer::Unit { unit }
    } else if let Some(job_started) = keys.job_started.take() {
        Answer::JobStarted { job_started }
    } else if let Some(job) = keys.job.take() {
        Answer::Job { job }
    } else if let Some(jobs) = keys.jobs.take() {
        Answer::Jobs { jobs }
    } else if let Some(handed) = keys.handed.take() {
        Answer::Handed { handed }
    } else if let Some(subscribed) = keys.subscribed.take() {
        Answer::Subscribed { subscribed }
    } else {
        Answer::Changed { changed: keys.changed.take()? }
    })
}
