//! The state file's payload: plain records with serde, each way from and to what the ledger remembers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::identity::{AllocationId, JobId, Purpose};
use crate::ledger::Image;
use crate::ledger::allocation::{Allocation, Phase};
use crate::ledger::time::{Clock, Time};
use crate::quantity::Bytes;
use crate::time::BootId;
use fairness::FairnessRecord;
use figures::{Figures, Moment, number, uid};
use job::JobRecord;
use lease::{LeaseRecord, TermsRecord};

mod again;
mod array;
pub(super) mod change;
mod fairness;
mod figures;
mod job;
mod lease;
pub(super) mod v1;
pub(super) mod v4;
pub(super) mod v5;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    revision: u64,
    next_job: u64,
    clock: ClockRecord,
    fairness: FairnessRecord,
    draining: bool,
    allocations: Vec<AllocationRecord>,
    reserved: Option<u64>,
    jobs: Vec<JobRecord>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AllocationRecord {
    uid: u64,
    /// The submitted command that brought it; `None`: no such command did.
    job: Option<u64>,
    /// The command in the foreground that brought it. With neither it is the standing one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<u64>,
    in_share: bool,
    user: Option<String>,
    amount: Figures,
    swap_bytes: u64,
    granted: Moment,
    boot: String,
    phase: PhaseRecord,
    terms: TermsRecord,
    lease: Option<LeaseRecord>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum PhaseRecord {
    Granting { job: Option<u64> },
    Active,
    Resizing { to: Figures },
    Lowering,
    Renewing { lease: LeaseRecord },
    Releasing,
    Stopping { job: u64 },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockRecord {
    boot: String,
    offset_ms: i64,
    last_ms: u64,
    wall_ms: u64,
}

impl From<&Image> for State {
    fn from(image: &Image) -> Self {
        Self {
            revision: image.revision,
            next_job: image.next_job,
            clock: (&image.clock).into(),
            fairness: (&image.fairness).into(),
            draining: image.draining,
            allocations: image.allocations.iter().map(AllocationRecord::from).collect(),
            reserved: image.reserved.map(|job| job.0),
            jobs: image.jobs.iter().map(|job| JobRecord::from(&**job)).collect(),
        }
    }
}

impl TryFrom<State> for Image {
    type Error = String;

    fn try_from(state: State) -> Result<Self, String> {
        Ok(Self {
            revision: state.revision,
            next_job: number(state.next_job)?,
            clock: state.clock.into(),
            fairness: state.fairness.try_into()?,
            draining: state.draining,
            allocations: state.allocations.into_iter().map(Allocation::try_from).collect::<Result<_, _>>()?,
            reserved: state.reserved.map(JobId),
            jobs: state.jobs.into_iter().map(|job| job.try_into().map(Arc::new)).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&Allocation> for AllocationRecord {
    fn from(allocation: &Allocation) -> Self {
        Self {
            uid: allocation.id.uid.get().into(),
            job: match allocation.id.purpose {
                Purpose::Job(job) => Some(job.0),
                Purpose::Standing | Purpose::Run(_) => None,
            },
            run: match allocation.id.purpose {
                Purpose::Run(job) => Some(job.0),
                Purpose::Standing | Purpose::Job(_) => None,
            },
            in_share: allocation.in_share,
            user: allocation.user.clone(),
            amount: allocation.amount.into(),
            swap_bytes: allocation.swap.0,
            granted: allocation.granted.into(),
            boot: allocation.boot.0.clone(),
            phase: match allocation.phase {
                Phase::Granting { job } => PhaseRecord::Granting { job: job.map(|job| job.0) },
                Phase::Active => PhaseRecord::Active,
                Phase::Resizing { to } => PhaseRecord::Resizing { to: to.into() },
                Phase::Lowering => PhaseRecord::Lowering,
                Phase::Renewing { lease } => PhaseRecord::Renewing { lease: lease.into() },
                Phase::Releasing => PhaseRecord::Releasing,
                Phase::Stopping { job } => PhaseRecord::Stopping { job: job.0 },
            },
            terms: allocation.terms.into(),
            lease: allocation.lease.map(LeaseRecord::from),
        }
    }
}

impl TryFrom<AllocationRecord> for Allocation {
    type Error = String;

    fn try_from(record: AllocationRecord) -> Result<Self, String> {
        let purpose = match (record.job, record.run) {
            (Some(job), None) => Purpose::Job(JobId(job)),
            (None, Some(job)) => Purpose::Run(JobId(job)),
            (None, None) => Purpose::Standing,
            (Some(_), Some(_)) => return Err("an allocation of two jobs".to_owned()),
        };
        Ok(Self {
            id: AllocationId { uid: uid(record.uid)?, purpose },
            in_share: record.in_share,
            user: record.user,
            amount: record.amount.into(),
            swap: Bytes(record.swap_bytes),
            granted: record.granted.into(),
            boot: BootId(record.boot),
            phase: match record.phase {
                PhaseRecord::Granting { job } => Phase::Granting { job: job.map(JobId) },
                PhaseRecord::Active => Phase::Active,
                PhaseRecord::Resizing { to } => Phase::Resizing { to: to.into() },
                PhaseRecord::Lowering => Phase::Lowering,
                PhaseRecord::Renewing { lease } => Phase::Renewing { lease: lease.into() },
                PhaseRecord::Releasing => Phase::Releasing,
                PhaseRecord::Stopping { job } => Phase::Stopping { job: JobId(job) },
            },
            terms: record.terms.into(),
            lease: record.lease.map(LeaseRecord::into),
            // What was inside when this was written says nothing of when it is read.
            empty_since: None,
        })
    }
}

impl From<&Clock> for ClockRecord {
    fn from(clock: &Clock) -> Self {
        Self {
            boot: clock.boot.0.clone(),
            offset_ms: clock.offset_ms,
            last_ms: clock.last.0,
            wall_ms: clock.wall_ms,
        }
    }
}

impl From<ClockRecord> for Clock {
    fn from(record: ClockRecord) -> Self {
        Self {
            boot: BootId(record.boot),
            offset_ms: record.offset_ms,
            last: Time(record.last_ms),
            wall_ms: record.wall_ms,
        }
    }
}
