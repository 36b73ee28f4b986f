//! The state of version 1, which 0.1 wrote. Read, and never written.
//!
//! What differs from the records of version 4: a share and a request had the CPU that an expired share was lowered to, an
//! expired share counted as free, a request could have an end of waiting and did not say which of its figures its member
//! had named.

use serde::Deserialize;

use super::figures::{Figures, Moment};
use super::job::{
    AskRecord, CauseRecord, EndRecord, JobRecord, KindRecord, NamedRecord, PrecedenceRecord, StateRecord,
};
use super::lease::{LeaseRecord, StageRecord, TermsRecord};
use super::v4::{self, ShareRecord};
use super::v5::UsedRecord;
use super::{ClockRecord, PhaseRecord};

/// All of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    revision: u64,
    next_job: u64,
    clock: ClockRecord,
    fairness: UsedRecord,
    draining: bool,
    shares: Vec<Share>,
    jobs: Vec<Job>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Share {
    uid: u64,
    user: Option<String>,
    amount: Figures,
    swap_bytes: u64,
    granted: Moment,
    boot: String,
    phase: Phase,
    terms: Terms,
    lease: Option<Lease>,
    metered_since_ms: u64,
    metered_rate: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Phase {
    Granting { job: Option<u64> },
    Active,
    Resizing { to: Figures },
    Releasing,
    Stopping { job: u64 },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Terms {
    #[serde(rename = "expired_cpu_milli")]
    _expired_cpu_milli: u64,
    idle_ms: Option<u64>,
    /// Not there in files of before submitted commands.
    #[serde(default)]
    for_work: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lease {
    ends_ms: u64,
    length_ms: u64,
    stage: Stage,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Stage {
    Running {
        warn_ms: Option<u64>,
    },
    Expired {
        since_ms: u64,
        #[serde(rename = "lower_ms")]
        _lower_ms: Option<u64>,
        evict_ms: Option<u64>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Job {
    id: u64,
    uid: u64,
    kind: Kind,
    created: Moment,
    state: JobState,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Kind {
    Request(Ask),
    Release,
    Submit {
        name: Option<String>,
        cpu_milli: Option<u64>,
        mem_bytes: Option<u64>,
        tasks_max: Option<u64>,
        time_limit_ms: Option<u64>,
        ask: Option<Ask>,
        cancelled: bool,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    user: Option<String>,
    asked_ms: u64,
    #[serde(rename = "until_ms")]
    _until_ms: Option<u64>,
    amount: Figures,
    swap_bytes: u64,
    lease_ms: Option<u64>,
    weight_milli: u64,
    terms: Terms,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum JobState {
    Queued {
        since_ms: u64,
        #[serde(rename = "deadline_ms")]
        _deadline_ms: Option<u64>,
    },
    Running {
        started: Moment,
    },
    Ended {
        started: Option<Moment>,
        ended: Moment,
        end: End,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum End {
    Done,
    Failed(String),
    Cancelled,
    Interrupted,
    TimedOut,
    Ran {
        exit_code: Option<u8>,
        signal: Option<u8>,
        cause: Option<CauseRecord>,
        peak_bytes: Option<u64>,
        mem_limit_bytes: Option<u64>,
        cpu_usec: Option<u64>,
    },
}

impl From<State> for v4::State {
    fn from(state: State) -> Self {
        Self {
            revision: state.revision,
            next_job: state.next_job,
            clock: state.clock,
            fairness: state.fairness,
            draining: state.draining,
            shares: state.shares.into_iter().map(Share::into).collect(),
            jobs: state.jobs.into_iter().map(Job::into).collect(),
        }
    }
}

impl From<Share> for ShareRecord {
    fn from(share: Share) -> Self {
        Self {
            uid: share.uid,
            user: share.user,
            amount: share.amount,
            swap_bytes: share.swap_bytes,
            granted: share.granted,
            boot: share.boot,
            phase: match share.phase {
                Phase::Granting { job } => PhaseRecord::Granting { job },
                Phase::Active => PhaseRecord::Active,
                Phase::Resizing { to } => PhaseRecord::Resizing { to },
                Phase::Releasing => PhaseRecord::Releasing,
                Phase::Stopping { job } => PhaseRecord::Stopping { job },
            },
            terms: share.terms.into(),
            lease: share.lease.map(Lease::into),
            metered_since_ms: share.metered_since_ms,
            metered_rate: share.metered_rate,
        }
    }
}

impl From<Terms> for TermsRecord {
    fn from(terms: Terms) -> Self {
        Self { idle_ms: terms.idle_ms, for_work: terms.for_work, entered: None, burst: None, max: None }
    }
}

impl From<Lease> for LeaseRecord {
    fn from(lease: Lease) -> Self {
        Self {
            ends_ms: lease.ends_ms,
            length_ms: lease.length_ms,
            stage: match lease.stage {
                Stage::Running { warn_ms } => StageRecord::Running { warn_ms },
                // Its CPU may have been lowered: its memory was not.
                Stage::Expired { since_ms, evict_ms, .. } => {
                    StageRecord::Expired { since_ms, keeps: None, lower_ms: Some(since_ms), evict_ms }
                }
            },
        }
    }
}

impl From<Job> for JobRecord {
    fn from(job: Job) -> Self {
        Self {
            id: job.id,
            uid: job.uid,
            kind: match job.kind {
                Kind::Request(ask) => KindRecord::Request(ask.into()),
                Kind::Release => KindRecord::Release,
                Kind::Submit { name, cpu_milli, mem_bytes, tasks_max, time_limit_ms, ask, cancelled } => {
                    let ask = ask.map(|ask| Box::new(ask.into()));
                    KindRecord::Submit {
                        name,
                        output: None,
                        cpu_milli,
                        mem_bytes,
                        tasks_max,
                        time_limit_ms,
                        ask,
                        kept_bytes: 0,
                        cancelled,
                        apart: None,
                        array: None,
                        worst: None,
                        task: None,
                        again: None,
                        last: None,
                        warning: None,
                        oom_continue: false,
                        notifies: false,
                        ending: None,
                    }
                }
            },
            created: job.created,
            state: match job.state {
                JobState::Queued { since_ms, .. } => StateRecord::Queued { since_ms },
                JobState::Running { started } => StateRecord::Running { started },
                JobState::Ended { started, ended, end } => {
                    StateRecord::Ended { started, ended, end: end.into() }
                }
            },
        }
    }
}

impl From<Ask> for AskRecord {
    fn from(ask: Ask) -> Self {
        Self {
            user: ask.user,
            asked_ms: ask.asked_ms,
            // Which figures its member named is not known: all that it waits for are taken for named.
            named: NamedRecord {
                cpu_milli: Some(ask.amount.cpu_milli),
                mem_bytes: Some(ask.amount.mem_bytes),
                tasks_max: Some(ask.amount.tasks_max),
                lease_ms: ask.lease_ms,
            },
            amount: ask.amount,
            swap_bytes: ask.swap_bytes,
            lease_ms: ask.lease_ms,
            weight_milli: ask.weight_milli,
            terms: ask.terms.into(),
            precedence: PrecedenceRecord::default(),
        }
    }
}

impl From<End> for EndRecord {
    fn from(end: End) -> Self {
        match end {
            End::Done => Self::Done,
            End::Failed(why) => Self::Failed(why),
            End::Cancelled => Self::Cancelled,
            End::Interrupted => Self::Interrupted,
            End::TimedOut => Self::Failed("There was no room in time".to_owned()),
            End::Ran { exit_code, signal, cause, peak_bytes, mem_limit_bytes, cpu_usec } => {
                let (needed_bytes, oom_kills) = (None, None);
                Self::Ran {
                    exit_code,
                    signal,
                    cause,
                    peak_bytes,
                    needed_bytes,
                    mem_limit_bytes,
                    cpu_usec,
                    oom_kills,
                }
            }
        }
    }
}
