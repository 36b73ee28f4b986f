//! The state file's payload: plain records with serde, each way from and to what the ledger remembers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::identity::{JobId, Uid};
use crate::ledger::Image;
use crate::ledger::fairness::{Fairness, Meter};
use crate::ledger::share::{Phase, Share};
use crate::ledger::time::{Clock, Time};
use crate::quantity::Bytes;
use crate::time::BootId;
use figures::{Figures, Moment, number, uid};
use job::JobRecord;
use lease::{LeaseRecord, TermsRecord};

mod figures;
mod job;
mod lease;
pub(super) mod v1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    revision: u64,
    next_job: u64,
    clock: ClockRecord,
    fairness: FairnessRecord,
    draining: bool,
    shares: Vec<ShareRecord>,
    jobs: Vec<JobRecord>,
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
    terms: TermsRecord,
    lease: Option<LeaseRecord>,
    metered_since_ms: u64,
    metered_rate: u64,
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

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FairnessRecord {
    half_life_ms: u64,
    epoch_ms: u64,
    accounts: Vec<AccountRecord>,
}

/// Decayed use, 128 bits in two halves: CBOR has no wider integers without tags.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountRecord {
    uid: u64,
    used_high: u64,
    used_low: u64,
}

impl From<&Image> for State {
    fn from(image: &Image) -> Self {
        Self {
            revision: image.revision,
            next_job: image.next_job,
            clock: (&image.clock).into(),
            fairness: (&image.fairness).into(),
            draining: image.draining,
            shares: image.shares.iter().map(ShareRecord::from).collect(),
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
            shares: state.shares.into_iter().map(Share::try_from).collect::<Result<_, _>>()?,
            jobs: state.jobs.into_iter().map(|job| job.try_into().map(Arc::new)).collect::<Result<_, _>>()?,
        })
    }
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
                Phase::Granting { job } => PhaseRecord::Granting { job: job.map(|job| job.0) },
                Phase::Active => PhaseRecord::Active,
                Phase::Resizing { to } => PhaseRecord::Resizing { to: to.into() },
                Phase::Lowering => PhaseRecord::Lowering,
                Phase::Renewing { lease } => PhaseRecord::Renewing { lease: lease.into() },
                Phase::Releasing => PhaseRecord::Releasing,
                Phase::Stopping { job } => PhaseRecord::Stopping { job: job.0 },
            },
            terms: share.terms.into(),
            lease: share.lease.map(LeaseRecord::from),
            metered_since_ms: share.meter.since.0,
            metered_rate: share.meter.rate,
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
            meter: Meter { since: Time(record.metered_since_ms), rate: record.metered_rate },
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

impl From<&Fairness> for FairnessRecord {
    fn from(fairness: &Fairness) -> Self {
        let half = |used: u128| u64::try_from(used & u128::from(u64::MAX)).unwrap_or(u64::MAX);
        let account = |(uid, used): (&Uid, &u128)| AccountRecord {
            uid: uid.get().into(),
            used_high: half(used >> 64),
            used_low: half(*used),
        };
        Self {
            half_life_ms: fairness.half_life_ms,
            epoch_ms: fairness.epoch.0,
            accounts: fairness.accounts.iter().map(account).collect(),
        }
    }
}

impl TryFrom<FairnessRecord> for Fairness {
    type Error = String;

    fn try_from(record: FairnessRecord) -> Result<Self, String> {
        let mut fairness = Self::new(record.half_life_ms);
        fairness.epoch = Time(record.epoch_ms);
        for account in record.accounts {
            let used = u128::from(account.used_high) << 64 | u128::from(account.used_low);
            fairness.accounts.insert(uid(account.uid)?, used);
        }
        Ok(fairness)
    }
}
