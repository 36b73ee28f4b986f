//! What the daemon answers. The fields are those of the schema; units are in the names.
#![expect(missing_docs, reason = "the fields are those of the schema, which says what they mean")]

use serde::{Deserialize, Serialize};

use super::error::WireError;

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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A share as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareInfo {
    pub uid: u64,
    pub user: Option<String>,
    pub cpu_milli: u64,
    pub mem_bytes: u64,
    pub tasks_max: u64,
    pub slice: String,
    pub state: ShareState,
    pub granted_ms: u64,
    pub lease_ends_ms: Option<u64>,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_pressure_centi: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
    pub lease_default_ms: Option<u64>,
    pub lease_max_ms: Option<u64>,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_mem_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_usec: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
    Subscribed { subscribed: bool },
    Changed { changed: bool },
}

/// What happened, for those who follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventInfo {
    pub at_ms: u64,
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobInfo>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<ShareInfo>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lagged: Option<u64>,
}
