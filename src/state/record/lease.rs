//! Leases and what goes with them, as they are stored.

use serde::{Deserialize, Serialize};

use crate::enforced::Burst;
use crate::ledger::share::{Keeps, Lease, Stage, Terms};
use crate::ledger::time::Time;
use crate::quantity::{Bytes, MilliCpu, Tasks};

#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
pub(super) struct TermsRecord {
    pub(super) idle_ms: Option<u64>,
    pub(super) for_work: bool,
    /// Not in version 2.
    #[serde(default)]
    pub(super) burst: Option<BurstRecord>,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum BurstRecord {
    To { cpu_milli: u64 },
    All,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
pub(super) struct LeaseRecord {
    pub(super) ends_ms: u64,
    pub(super) length_ms: u64,
    pub(super) stage: StageRecord,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum StageRecord {
    Running { warn_ms: Option<u64> },
    Expired { since_ms: u64, keeps: Option<KeepsRecord>, lower_ms: Option<u64>, evict_ms: Option<u64> },
}

#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
pub(super) struct KeepsRecord {
    mem_bytes: u64,
    tasks_max: u64,
}

impl From<Terms> for TermsRecord {
    fn from(terms: Terms) -> Self {
        let burst = terms.burst.map(|burst| match burst {
            Burst::To(cpu) => BurstRecord::To { cpu_milli: cpu.0 },
            Burst::All => BurstRecord::All,
        });
        Self { idle_ms: terms.idle_ms, for_work: terms.for_work, burst }
    }
}

impl From<TermsRecord> for Terms {
    fn from(record: TermsRecord) -> Self {
        let burst = record.burst.map(|burst| match burst {
            BurstRecord::To { cpu_milli } => Burst::To(MilliCpu(cpu_milli)),
            BurstRecord::All => Burst::All,
        });
        Self { idle_ms: record.idle_ms, for_work: record.for_work, burst }
    }
}

impl From<Lease> for LeaseRecord {
    fn from(lease: Lease) -> Self {
        let ms = |time: Option<Time>| time.map(|time| time.0);
        Self {
            ends_ms: lease.ends.0,
            length_ms: lease.length_ms,
            stage: match lease.stage {
                Stage::Running { warn } => StageRecord::Running { warn_ms: ms(warn) },
                Stage::Expired { since, keeps, lower, evict } => StageRecord::Expired {
                    since_ms: since.0,
                    keeps: keeps
                        .map(|keeps| KeepsRecord { mem_bytes: keeps.mem.0, tasks_max: keeps.tasks.0 }),
                    lower_ms: ms(lower),
                    evict_ms: ms(evict),
                },
            },
        }
    }
}

impl From<LeaseRecord> for Lease {
    fn from(record: LeaseRecord) -> Self {
        Self {
            ends: Time(record.ends_ms),
            length_ms: record.length_ms,
            stage: match record.stage {
                StageRecord::Running { warn_ms } => Stage::Running { warn: warn_ms.map(Time) },
                StageRecord::Expired { since_ms, keeps, lower_ms, evict_ms } => Stage::Expired {
                    since: Time(since_ms),
                    keeps: keeps
                        .map(|keeps| Keeps { mem: Bytes(keeps.mem_bytes), tasks: Tasks(keeps.tasks_max) }),
                    lower: lower_ms.map(Time),
                    evict: evict_ms.map(Time),
                },
            },
        }
    }
}
