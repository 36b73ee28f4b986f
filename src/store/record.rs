//! The state file's payload: plain records with serde, each way from and to what the ledger remembers.

use serde::{Deserialize, Serialize};

use crate::identity::{JobId, Uid};
use crate::ledger::job::{Job, JobEnd, JobKind, JobState};
use crate::ledger::share::{Phase, Share};
use crate::ledger::{BootId, Image, Now};
use crate::quantity::{Amount, Bytes, MilliCpu, Tasks};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    revision: u64,
    next_job: u64,
    shares: Vec<ShareRecord>,
    jobs: Vec<JobRecord>,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
struct Moment {
    boot_ms: u64,
    wall_ms: u64,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
struct Figures {
    cpu_milli: u64,
    mem_bytes: u64,
    tasks_max: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShareRecord {
    uid: u64,
    user: Option<String>,
    amount: Figures,
    swap_bytes: u64,
    granted: Moment,
    boot: String,
    phase: PhaseRecord,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum PhaseRecord {
    Granting,
    Active,
    Resizing { to: Figures },
    Releasing,
    Stopping { job: u64 },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JobRecord {
    id: u64,
    uid: u64,
    kind: KindRecord,
    created: Moment,
    state: StateRecord,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindRecord {
    Release,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum StateRecord {
    Running { started: Moment },
    Ended { started: Moment, ended: Moment, end: EndRecord },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum EndRecord {
    Done,
    Failed(String),
    Interrupted,
}

impl From<Now> for Moment {
    fn from(now: Now) -> Self {
        Self { boot_ms: now.boot_ms, wall_ms: now.wall_ms }
    }
}

impl From<Moment> for Now {
    fn from(moment: Moment) -> Self {
        Self { boot_ms: moment.boot_ms, wall_ms: moment.wall_ms }
    }
}

impl From<Amount> for Figures {
    fn from(amount: Amount) -> Self {
        Self { cpu_milli: amount.cpu.0, mem_bytes: amount.mem.0, tasks_max: amount.tasks.0 }
    }
}

impl From<Figures> for Amount {
    fn from(figures: Figures) -> Self {
        Self {
            cpu: MilliCpu(figures.cpu_milli),
            mem: Bytes(figures.mem_bytes),
            tasks: Tasks(figures.tasks_max),
        }
    }
}

impl From<&Image> for State {
    fn from(image: &Image) -> Self {
        Self {
            revision: image.revision,
            next_job: image.next_job,
            shares: image.shares.iter().map(ShareRecord::from).collect(),
            jobs: image.jobs.iter().map(JobRecord::from).collect(),
        }
    }
}

impl TryFrom<State> for Image {
    type Error = String;

    fn try_from(state: State) -> Result<Self, String> {
        Ok(Self {
            revision: state.revision,
            next_job: state.next_job,
            shares: state.shares.into_iter().map(Share::try_from).collect::<Result<_, _>>()?,
            jobs: state.jobs.into_iter().map(Job::try_from).collect::<Result<_, _>>()?,
        })
    }
}

fn uid(raw: u64) -> Result<Uid, String> {
    Uid::new(raw).ok_or_else(|| format!("{raw} is no user id"))
}

impl From<&Share> for ShareRecord {
    fn from(share: &Share) -> Self {
        Self {
            uid: share.uid.get().into(),
            user: share.user.clone(),
            amount: share.amount.into(),
            swap_bytes: share.swap.0,
            granted: share.granted.into(),
            boot: share.boot.0.clone(),
            phase: match share.phase {
                Phase::Granting => PhaseRecord::Granting,
                Phase::Active => PhaseRecord::Active,
                Phase::Resizing { to } => PhaseRecord::Resizing { to: to.into() },
                Phase::Releasing => PhaseRecord::Releasing,
                Phase::Stopping { job } => PhaseRecord::Stopping { job: job.0 },
            },
        }
    }
}

impl TryFrom<ShareRecord> for Share {
    type Error = String;

    fn try_from(record: ShareRecord) -> Result<Self, String> {
        Ok(Self {
            uid: uid(record.uid)?,
            user: record.user,
            amount: record.amount.into(),
            swap: Bytes(record.swap_bytes),
            granted: record.granted.into(),
            boot: BootId(record.boot),
            phase: match record.phase {
                PhaseRecord::Granting => Phase::Granting,
                PhaseRecord::Active => Phase::Active,
                PhaseRecord::Resizing { to } => Phase::Resizing { to: to.into() },
                PhaseRecord::Releasing => Phase::Releasing,
                PhaseRecord::Stopping { job } => Phase::Stopping { job: JobId(job) },
            },
        })
    }
}

impl From<&Job> for JobRecord {
    fn from(job: &Job) -> Self {
        Self {
            id: job.id.0,
            uid: job.uid.get().into(),
            kind: match job.kind {
                JobKind::Release => KindRecord::Release,
            },
            created: job.created.into(),
            state: match &job.state {
                JobState::Running { started } => StateRecord::Running { started: (*started).into() },
                JobState::Ended { started, ended, end } => StateRecord::Ended {
                    started: (*started).into(),
                    ended: (*ended).into(),
                    end: match end {
                        JobEnd::Done => EndRecord::Done,
                        JobEnd::Failed(why) => EndRecord::Failed(why.clone()),
                        JobEnd::Interrupted => EndRecord::Interrupted,
                    },
                },
            },
        }
    }
}

impl TryFrom<JobRecord> for Job {
    type Error = String;

    fn try_from(record: JobRecord) -> Result<Self, String> {
        Ok(Self {
            id: JobId(record.id),
            uid: uid(record.uid)?,
            kind: match record.kind {
                KindRecord::Release => JobKind::Release,
            },
            created: record.created.into(),
            state: match record.state {
                StateRecord::Running { started } => JobState::Running { started: started.into() },
                StateRecord::Ended { started, ended, end } => JobState::Ended {
                    started: started.into(),
                    ended: ended.into(),
                    end: match end {
                        EndRecord::Done => JobEnd::Done,
                        EndRecord::Failed(why) => JobEnd::Failed(why),
                        EndRecord::Interrupted => JobEnd::Interrupted,
                    },
                },
            },
        })
    }
}
