//! Jobs as they are stored. What waits is the queue: it is nowhere else.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::again::AgainRecord;
use super::array::{ArrayRecord, TaskRecord};
use super::figures::{Figures, Moment, number, uid};
use super::lease::TermsRecord;
use crate::identity::JobId;
use crate::ledger::again::Again;
use crate::ledger::apart::{Apart, Left};
use crate::ledger::array::{Array, Task};
use crate::ledger::care::{Care, OutOfMemory, Warning};
use crate::ledger::job::{Ask, Cause, Exit, Job, JobEnd, JobKind, JobState, Precedence, Ran, Work};
use crate::ledger::time::Time;
use crate::policy::Weight;
use crate::quantity::{Bytes, MilliCpu, PartialAmount, Priority, Tasks};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JobRecord {
    pub(super) id: u64,
    pub(super) uid: u64,
    pub(super) kind: KindRecord,
    pub(super) created: Moment,
    pub(super) state: StateRecord,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum KindRecord {
    Request(AskRecord),
    Release,
    /// Not before version 6.
    Run(AskRecord),
    Submit {
        name: Option<String>,
        /// Not before version 7.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<String>,
        cpu_milli: Option<u64>,
        mem_bytes: Option<u64>,
        tasks_max: Option<u64>,
        time_limit_ms: Option<u64>,
        ask: Option<Box<AskRecord>>,
        /// Not before version 5.
        #[serde(default)]
        kept_bytes: u64,
        cancelled: bool,
        /// Not before version 7.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        apart: Option<ApartRecord>,
        /// Not before version 8, as the two below.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        array: Option<Box<ArrayRecord>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        worst: Option<Box<EndRecord>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<Box<TaskRecord>>,
        /// Not before version 9, as all below.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        again: Option<Box<AgainRecord>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last: Option<Box<EndRecord>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        warning: Option<WarningRecord>,
        #[serde(default, skip_serializing_if = "is_false")]
        oom_continue: bool,
        #[serde(default, skip_serializing_if = "is_false")]
        notifies: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ending: Option<Box<EndRecord>>,
    },
}

/// The signal that warns a command.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WarningRecord {
    signal: u8,
    before_ms: u64,
    sent: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AskRecord {
    pub(super) user: Option<String>,
    pub(super) asked_ms: u64,
    pub(super) named: NamedRecord,
    pub(super) amount: Figures,
    pub(super) swap_bytes: u64,
    pub(super) lease_ms: Option<u64>,
    pub(super) weight_milli: u64,
    pub(super) terms: TermsRecord,
    /// Not before version 7.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub(super) precedence: PrecedenceRecord,
}

/// What a command waits for before it waits for room.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApartRecord {
    after: Vec<u64>,
    after_any: Vec<u64>,
    begin_ms: Option<u64>,
    held: bool,
    /// Not before version 8.
    #[serde(default, skip_serializing_if = "is_false")]
    full: bool,
    /// Not before version 9, as the one below.
    #[serde(default, skip_serializing_if = "is_false")]
    units_left: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    room_left: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Where a request stands among those of its member's.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(super) struct PrecedenceRecord {
    first: u64,
    priority: u64,
}

impl Default for PrecedenceRecord {
    fn default() -> Self {
        Precedence::default().into()
    }
}

/// Most requests are where they came: of them nothing is written.
fn is_usual(precedence: &PrecedenceRecord) -> bool {
    *precedence == PrecedenceRecord::default()
}

/// What a member named of a request; the policy says the rest.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NamedRecord {
    pub(super) cpu_milli: Option<u64>,
    pub(super) mem_bytes: Option<u64>,
    pub(super) tasks_max: Option<u64>,
    pub(super) lease_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum StateRecord {
    Queued { since_ms: u64 },
    Running { started: Moment },
    Ended { started: Option<Moment>, ended: Moment, end: EndRecord },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum EndRecord {
    Done,
    Failed(String),
    Refused(String),
    Cancelled,
    Interrupted,
    Ran {
        exit_code: Option<u8>,
        signal: Option<u8>,
        cause: Option<CauseRecord>,
        peak_bytes: Option<u64>,
        /// Not in versions 2 and 3.
        #[serde(default)]
        needed_bytes: Option<u64>,
        mem_limit_bytes: Option<u64>,
        cpu_usec: Option<u64>,
        /// Not before version 9.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        oom_kills: Option<u64>,
    },
    /// Not before version 7.
    Unreached(String),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CauseRecord {
    Memory,
    Time,
    Cancelled,
    Outside,
}

impl From<&Job> for JobRecord {
    fn from(job: &Job) -> Self {
        Self {
            id: job.id.0,
            uid: job.uid.get().into(),
            kind: match &job.kind {
                JobKind::Request(ask) => KindRecord::Request(AskRecord::from(&**ask)),
                JobKind::Release => KindRecord::Release,
                JobKind::Run(ask) => KindRecord::Run(AskRecord::from(&**ask)),
                JobKind::Submit(work) => KindRecord::Submit {
                    name: work.name.clone(),
                    output: work.output.clone(),
                    cpu_milli: work.limits.cpu.map(|cpu| cpu.0),
                    mem_bytes: work.limits.mem.map(|mem| mem.0),
                    tasks_max: work.limits.tasks.map(|tasks| tasks.0),
                    time_limit_ms: work.time_limit_ms,
                    ask: work.ask.as_ref().map(|ask| Box::new(ask.into())),
                    kept_bytes: work.kept.0,
                    cancelled: work.cancelled,
                    apart: work.apart.as_deref().map(ApartRecord::from),
                    array: work.array.as_deref().map(|array| Box::new(array.into())),
                    worst: work.worst.as_ref().map(|end| Box::new(end.into())),
                    task: work.task.map(|task| Box::new(task.into())),
                    again: work.again.map(|again| Box::new(again.into())),
                    last: work.last.as_deref().map(|end| Box::new(end.into())),
                    warning: work.care.warning.map(WarningRecord::from),
                    oom_continue: work.care.out_of_memory == OutOfMemory::Continue,
                    notifies: work.care.notifies,
                    ending: work.ending.as_deref().map(|end| Box::new(end.into())),
                },
            },
            created: job.created.into(),
            state: match &job.state {
                JobState::Queued { since } => StateRecord::Queued { since_ms: since.0 },
                JobState::Running { started } => StateRecord::Running { started: (*started).into() },
                JobState::Ended { started, ended, end } => StateRecord::Ended {
                    started: started.map(Moment::from),
                    ended: (*ended).into(),
                    end: end.into(),
                },
            },
        }
    }
}

impl TryFrom<JobRecord> for Job {
    type Error = String;

    fn try_from(record: JobRecord) -> Result<Self, String> {
        Ok(Self {
            id: JobId(number(record.id)?),
            uid: uid(record.uid)?,
            kind: match record.kind {
                KindRecord::Request(ask) => JobKind::Request(Box::new(ask.try_into()?)),
                KindRecord::Release => JobKind::Release,
                KindRecord::Run(ask) => JobKind::Run(Box::new(ask.try_into()?)),
                KindRecord::Submit {
                    name,
                    output,
                    cpu_milli,
                    mem_bytes,
                    tasks_max,
                    time_limit_ms,
                    ask,
                    kept_bytes,
                    cancelled,
                    apart,
                    array,
                    worst,
                    task,
                    again,
                    last,
                    warning,
                    oom_continue,
                    notifies,
                    ending,
                } => JobKind::Submit(Box::new(Work {
                    name,
                    output,
                    limits: PartialAmount {
                        cpu: cpu_milli.map(MilliCpu),
                        mem: mem_bytes.map(Bytes),
                        tasks: tasks_max.map(Tasks),
                    },
                    time_limit_ms,
                    ask: ask.map(|ask| Ask::try_from(*ask)).transpose()?,
                    kept: Bytes(kept_bytes),
                    cancelled,
                    apart: apart.map(Apart::from).filter(|apart| !apart.is_over()).map(Box::new),
                    array: array.map(|array| Array::try_from(*array)).transpose()?.map(Box::new),
                    worst: worst.map(|end| (*end).into()),
                    task: task.map(|task| Task::try_from(*task)).transpose()?,
                    again: again.map(|again| Again::try_from(*again)).transpose()?,
                    last: last.map(|end| Box::new((*end).into())),
                    care: Care {
                        warning: warning.map(Warning::from),
                        out_of_memory: if oom_continue { OutOfMemory::Continue } else { OutOfMemory::Kill },
                        notifies,
                    },
                    ending: ending.map(|end| Box::new((*end).into())),
                })),
            },
            created: record.created.into(),
            state: match record.state {
                StateRecord::Queued { since_ms } => JobState::Queued { since: Time(since_ms) },
                StateRecord::Running { started } => JobState::Running { started: started.into() },
                StateRecord::Ended { started, ended, end } => JobState::Ended {
                    started: started.map(Moment::into),
                    ended: ended.into(),
                    end: end.into(),
                },
            },
        })
    }
}

impl From<&Ask> for AskRecord {
    fn from(ask: &Ask) -> Self {
        Self {
            user: ask.user.clone(),
            asked_ms: ask.asked.0,
            named: NamedRecord {
                cpu_milli: ask.named.cpu.map(|cpu| cpu.0),
                mem_bytes: ask.named.mem.map(|mem| mem.0),
                tasks_max: ask.named.tasks.map(|tasks| tasks.0),
                lease_ms: ask.named_lease_ms,
            },
            amount: ask.amount.into(),
            swap_bytes: ask.swap.0,
            lease_ms: ask.lease_ms,
            weight_milli: ask.weight.milli(),
            terms: ask.terms.into(),
            precedence: ask.precedence.into(),
        }
    }
}

impl TryFrom<AskRecord> for Ask {
    type Error = String;

    fn try_from(record: AskRecord) -> Result<Self, String> {
        let weight = record.weight_milli;
        Ok(Self {
            user: record.user,
            asked: Time(record.asked_ms),
            named: PartialAmount {
                cpu: record.named.cpu_milli.map(MilliCpu),
                mem: record.named.mem_bytes.map(Bytes),
                tasks: record.named.tasks_max.map(Tasks),
            },
            named_lease_ms: record.named.lease_ms,
            amount: record.amount.into(),
            swap: Bytes(record.swap_bytes),
            lease_ms: record.lease_ms,
            weight: Weight::new(weight).ok_or_else(|| format!("{weight} is no weight"))?,
            terms: record.terms.into(),
            precedence: record.precedence.try_into()?,
        })
    }
}

impl From<Warning> for WarningRecord {
    fn from(Warning { signal, before_ms, sent }: Warning) -> Self {
        Self { signal, before_ms, sent }
    }
}

impl From<WarningRecord> for Warning {
    fn from(WarningRecord { signal, before_ms, sent }: WarningRecord) -> Self {
        Self { signal, before_ms, sent }
    }
}

impl From<&Apart> for ApartRecord {
    fn from(apart: &Apart) -> Self {
        let ids = |jobs: &BTreeSet<JobId>| jobs.iter().map(|job| job.0).collect();
        Self {
            after: ids(&apart.after),
            after_any: ids(&apart.after_any),
            begin_ms: apart.begin.map(|at| at.0),
            held: apart.held,
            full: apart.full,
            units_left: apart.left.units,
            room_left: apart.left.room,
        }
    }
}

impl From<ApartRecord> for Apart {
    fn from(record: ApartRecord) -> Self {
        let ids = |jobs: Vec<u64>| jobs.into_iter().map(JobId).collect();
        Self {
            after: ids(record.after),
            after_any: ids(record.after_any),
            begin: record.begin_ms.map(Time),
            held: record.held,
            full: record.full,
            left: Left { units: record.units_left, room: record.room_left },
        }
    }
}

impl From<Precedence> for PrecedenceRecord {
    fn from(precedence: Precedence) -> Self {
        Self { first: precedence.first, priority: precedence.priority.number() }
    }
}

impl TryFrom<PrecedenceRecord> for Precedence {
    type Error = String;

    fn try_from(record: PrecedenceRecord) -> Result<Self, String> {
        let priority = Priority::checked(record.priority).map_err(|error| error.to_string())?;
        Ok(Self { first: record.first, priority })
    }
}

impl From<&JobEnd> for EndRecord {
    fn from(end: &JobEnd) -> Self {
        match end {
            JobEnd::Done => Self::Done,
            JobEnd::Failed(why) => Self::Failed(why.clone()),
            JobEnd::Refused(why) => Self::Refused(why.clone()),
            JobEnd::Cancelled => Self::Cancelled,
            JobEnd::Interrupted => Self::Interrupted,
            JobEnd::Unreached(why) => Self::Unreached(why.clone()),
            JobEnd::Ran(Ran { exit, cause, peak, needed, mem_limit, cpu_usec, oom_kills }) => {
                let (exit_code, signal) = match exit {
                    Exit::Code(code) => (Some(*code), None),
                    Exit::Signal(signal) => (None, Some(*signal)),
                    Exit::Unknown => (None, None),
                };
                let cause = cause.map(|cause| match cause {
                    Cause::Memory => CauseRecord::Memory,
                    Cause::Time => CauseRecord::Time,
                    Cause::Cancelled => CauseRecord::Cancelled,
                    Cause::Outside => CauseRecord::Outside,
                });
                Self::Ran {
                    exit_code,
                    signal,
                    cause,
                    peak_bytes: peak.map(|peak| peak.0),
                    needed_bytes: needed.map(|needed| needed.0),
                    mem_limit_bytes: mem_limit.map(|limit| limit.0),
                    cpu_usec: *cpu_usec,
                    oom_kills: *oom_kills,
                }
            }
        }
    }
}

impl From<EndRecord> for JobEnd {
    fn from(record: EndRecord) -> Self {
        match record {
            EndRecord::Done => Self::Done,
            EndRecord::Failed(why) => Self::Failed(why),
            EndRecord::Refused(why) => Self::Refused(why),
            EndRecord::Cancelled => Self::Cancelled,
            EndRecord::Interrupted => Self::Interrupted,
            EndRecord::Unreached(why) => Self::Unreached(why),
            EndRecord::Ran {
                exit_code,
                signal,
                cause,
                peak_bytes,
                needed_bytes,
                mem_limit_bytes,
                cpu_usec,
                oom_kills,
            } => Self::Ran(Ran {
                exit: match (exit_code, signal) {
                    (Some(code), _) => Exit::Code(code),
                    (None, Some(signal)) => Exit::Signal(signal),
                    (None, None) => Exit::Unknown,
                },
                cause: cause.map(|cause| match cause {
                    CauseRecord::Memory => Cause::Memory,
                    CauseRecord::Time => Cause::Time,
                    CauseRecord::Cancelled => Cause::Cancelled,
                    CauseRecord::Outside => Cause::Outside,
                }),
                peak: peak_bytes.map(Bytes),
                needed: needed_bytes.map(Bytes),
                mem_limit: mem_limit_bytes.map(Bytes),
                cpu_usec,
                oom_kills,
            }),
        }
    }
}
