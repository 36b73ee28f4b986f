//! Leases and what goes with them, as they are stored.

use serde::{Deserialize, Serialize};

use super::figures::Figures;
use crate::enforced::Burst;
use crate::ledger::allocation::{Goes, Keeps, Lease, Stage, Terms};
use crate::ledger::time::Time;
use crate::quantity::{Bytes, MilliCpu, Tasks};

#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
pub(super) struct TermsRecord {
    pub(super) idle_ms: Option<u64>,
    pub(super) for_work: bool,
    /// Of a command in the foreground: whether it has gone in. Not before version 6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) entered: Option<bool>,
    /// Not in version 2.
    #[serde(default)]
    pub(super) burst: Option<BurstRecord>,
    /// Not before version 5.
    #[serde(default)]
    pub(super) max: Option<Figures>,
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
        let entered = match terms.goes {
            Goes::WithProcesses { entered } => Some(entered),
            Goes::Released | Goes::WithWork => None,
        };
        let for_work = terms.goes == Goes::WithWork;
        Self { idle_ms: terms.idle_ms, for_work, entered, burst, max: Some(terms.max.into()) }
    }
}

impl From<TermsRecord> for Terms {
    fn from(record: TermsRecord) -> Self {
        let burst = record.burst.map(|burst| match burst {
            BurstRecord::To { cpu_milli } => Burst::To(MilliCpu(cpu_milli)),
            BurstRecord::All => Burst::All,
        });
        Self {
            idle_ms: record.idle_ms,
            goes: match (record.for_work, record.entered) {
                (_, Some(entered)) => Goes::WithProcesses { entered },
                (true, None) => Goes::WithWork,
                (false, None) => Goes::Released,
            },
            burst,
            max: record.max.map(Figures::into).unwrap_or_default(),
        }
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
