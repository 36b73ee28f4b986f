//! Jobs as they are stored. What waits is the queue: it is nowhere else.

use serde::{Deserialize, Serialize};

use super::lease::TermsRecord;
use super::{Figures, Moment, uid};
use crate::identity::JobId;
use crate::ledger::job::{Ask, Job, JobEnd, JobKind, JobState};
use crate::ledger::time::Time;
use crate::policy::Weight;
use crate::quantity::Bytes;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JobRecord {
    id: u64,
    uid: u64,
    kind: KindRecord,
    created: Moment,
    state: StateRecord,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum KindRecord {
    Request {
        user: Option<String>,
        asked_ms: u64,
        until_ms: Option<u64>,
        amount: Figures,
        swap_bytes: u64,
        lease_ms: Option<u64>,
        weight_milli: u64,
        terms: TermsRecord,
    },
    Release,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum StateRecord {
    Queued { since_ms: u64, deadline_ms: Option<u64> },
    Running { started: Moment },
    Ended { started: Option<Moment>, ended: Moment, end: EndRecord },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum EndRecord {
    Done,
    Failed(String),
    Cancelled,
    Interrupted,
    TimedOut,
}

impl From<&Job> for JobRecord {
    fn from(job: &Job) -> Self {
        Self {
            id: job.id.0,
            uid: job.uid.get().into(),
            kind: match &job.kind {
                JobKind::Request(ask) => KindRecord::Request {
                    user: ask.user.clone(),
                    asked_ms: ask.asked.0,
                    until_ms: ask.until.map(|until| until.0),
                    amount: ask.amount.into(),
                    swap_bytes: ask.swap.0,
                    lease_ms: ask.lease_ms,
                    weight_milli: ask.weight.milli(),
                    terms: ask.terms.into(),
                },
                JobKind::Release => KindRecord::Release,
            },
            created: job.created.into(),
            state: match &job.state {
                JobState::Queued { since, deadline } => StateRecord::Queued {
                    since_ms: since.0,
                    deadline_ms: deadline.map(|deadline| deadline.0),
                },
                JobState::Running { started } => StateRecord::Running { started: (*started).into() },
                JobState::Ended { started, ended, end } => StateRecord::Ended {
                    started: started.map(Moment::from),
                    ended: (*ended).into(),
                    end: match end {
                        JobEnd::Done => EndRecord::Done,
                        JobEnd::Failed(why) => EndRecord::Failed(why.clone()),
                        JobEnd::Cancelled => EndRecord::Cancelled,
                        JobEnd::Interrupted => EndRecord::Interrupted,
                        JobEnd::TimedOut => EndRecord::TimedOut,
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
                KindRecord::Request {
                    user,
                    asked_ms,
                    until_ms,
                    amount,
                    swap_bytes,
                    lease_ms,
                    weight_milli,
                    terms,
                } => JobKind::Request(Box::new(Ask {
                    user,
                    asked: Time(asked_ms),
                    until: until_ms.map(Time),
                    amount: amount.into(),
                    swap: Bytes(swap_bytes),
                    lease_ms,
                    weight: Weight::new(weight_milli)
                        .ok_or_else(|| format!("{weight_milli} is no weight"))?,
                    terms: terms.into(),
                })),
                KindRecord::Release => JobKind::Release,
            },
            created: record.created.into(),
            state: match record.state {
                StateRecord::Queued { since_ms, deadline_ms } => {
                    JobState::Queued { since: Time(since_ms), deadline: deadline_ms.map(Time) }
                }
                StateRecord::Running { started } => JobState::Running { started: started.into() },
                StateRecord::Ended { started, ended, end } => JobState::Ended {
                    started: started.map(Moment::into),
                    ended: ended.into(),
                    end: match end {
                        EndRecord::Done => JobEnd::Done,
                        EndRecord::Failed(why) => JobEnd::Failed(why),
                        EndRecord::Cancelled => JobEnd::Cancelled,
                        EndRecord::Interrupted => JobEnd::Interrupted,
                        EndRecord::TimedOut => JobEnd::TimedOut,
                    },
                },
            },
        })
    }
}
