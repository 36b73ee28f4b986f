//! Leases and what goes with them, as they are stored.

use serde::{Deserialize, Serialize};

use crate::ledger::share::{Lease, Stage, Terms};
use crate::ledger::time::Time;
use crate::quantity::MilliCpu;

#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
pub(super) struct TermsRecord {
    expired_cpu_milli: u64,
    idle_ms: Option<u64>,
    #[serde(default)]
    for_work: bool,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
pub(super) struct LeaseRecord {
    ends_ms: u64,
    length_ms: u64,
    stage: StageRecord,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum StageRecord {
    Running { warn_ms: Option<u64> },
    Expired { since_ms: u64, lower_ms: Option<u64>, evict_ms: Option<u64> },
}

impl From<Terms> for TermsRecord {
    fn from(terms: Terms) -> Self {
        Self { expired_cpu_milli: terms.expired_cpu.0, idle_ms: terms.idle_ms, for_work: terms.for_work }
    }
}

impl From<TermsRecord> for Terms {
    fn from(record: TermsRecord) -> Self {
        Self {
            expired_cpu: MilliCpu(record.expired_cpu_milli),
            idle_ms: record.idle_ms,
            for_work: record.for_work,
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
                Stage::Expired { since, lower, evict } => {
                    StageRecord::Expired { since_ms: since.0, lower_ms: ms(lower), evict_ms: ms(evict) }
                }
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
                StageRecord::Expired { since_ms, lower_ms, evict_ms } => Stage::Expired {
                    since: Time(since_ms),
                    lower: lower_ms.map(Time),
                    evict: evict_ms.map(Time),
                },
            },
        }
    }
}
