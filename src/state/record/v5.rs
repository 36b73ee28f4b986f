//! The state of version 5. Read, and never written.
//!
//! What differs from the records of today: it was remembered what each member had used, whether anybody waited for it or not, and
//! not who is ahead of whom. Who had a machine for themselves would be far behind everybody else with it: nobody is ahead of
//! anybody yet.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::fairness::{AccountRecord, FairnessRecord, Wide};
use super::job::JobRecord;
use super::{AllocationRecord, ClockRecord};
use crate::policy::{TAU_DEFAULT, Weight};
use crate::time::milliseconds;

/// All of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    pub(super) revision: u64,
    pub(super) next_job: u64,
    pub(super) clock: ClockRecord,
    pub(super) fairness: UsedRecord,
    pub(super) draining: bool,
    pub(super) allocations: Vec<AllocationRecord>,
    pub(super) meters: Vec<MeterRecord>,
    pub(super) reserved: Option<u64>,
    pub(super) jobs: Vec<JobRecord>,
}

/// What members had used.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UsedRecord {
    half_life_ms: u64,
    #[serde(rename = "epoch_ms")]
    _epoch_ms: u64,
    #[serde(rename = "accounts")]
    _accounts: Vec<Used>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Used {
    #[serde(rename = "uid")]
    _uid: u64,
    #[serde(rename = "used_high")]
    _used_high: u64,
    #[serde(rename = "used_low")]
    _used_low: u64,
}

/// What a member held, and since when that was not in their account.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MeterRecord {
    pub(super) uid: u64,
    #[serde(rename = "since_ms")]
    pub(super) _since_ms: u64,
    pub(super) rate: u64,
}

impl From<State> for super::State {
    fn from(state: State) -> Self {
        let (now_ms, nothing) = (state.clock.last_ms, Wide::from(0));
        let mut accounts: BTreeMap<u64, AccountRecord> = BTreeMap::new();
        for MeterRecord { uid, rate, .. } in state.meters {
            let weight_milli = Weight::default().milli();
            accounts.insert(
                uid,
                AccountRecord { uid, had: nothing, since: nothing, rate, weight_milli, waits: false },
            );
        }
        Self {
            revision: state.revision,
            next_job: state.next_job,
            clock: state.clock,
            fairness: FairnessRecord {
                half_life_ms: state.fairness.half_life_ms,
                tau_ms: milliseconds(TAU_DEFAULT),
                epoch_ms: now_ms,
                last_ms: now_ms,
                contested: nothing,
                level: nothing,
                accounts: accounts.into_values().collect(),
            },
            draining: state.draining,
            allocations: state.allocations,
            reserved: state.reserved,
            jobs: state.jobs,
        }
    }
}
