//! Moments, figures and numbers as they are stored.

use serde::{Deserialize, Serialize};

use crate::identity::Uid;
use crate::ledger::NUMBER_MAX;
use crate::quantity::{Amount, Bytes, MilliCpu, Tasks};
use crate::time::Now;

#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
pub(crate) struct Moment {
    pub(crate) boot_ms: u64,
    pub(crate) wall_ms: u64,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
pub(crate) struct Figures {
    pub(crate) cpu_milli: u64,
    pub(crate) mem_bytes: u64,
    pub(crate) tasks_max: u64,
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

/// The number of the next job, where it is one that jobs can still be counted from.
pub(crate) fn number(raw: u64) -> Result<u64, String> {
    if raw <= NUMBER_MAX { Ok(raw) } else { Err(format!("{raw} is no number of a job")) }
}

/// The member with this number.
pub(crate) fn uid(raw: u64) -> Result<Uid, String> {
    Uid::new(raw).ok_or_else(|| format!("{raw} is no user id"))
}
