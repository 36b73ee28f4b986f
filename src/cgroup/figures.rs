//! What is read of a cgroup's use.

use crate::enforced::KernelLimits;
use crate::quantity::{Bytes, Tasks};

/// What the processes of one cgroup, and of all below it, use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// CPU time since the cgroup was made, in microseconds.
    pub cpu_usec: u64,
    /// Memory now, with the page cache: `memory.current`.
    pub mem: Bytes,
    /// What of it is needed: all but page cache. `None` where the kernel does not say it.
    pub needed: Option<Bytes>,
    /// Tasks now.
    pub tasks: Tasks,
    /// Processes killed for want of memory since the cgroup was made.
    pub oom_kills: u64,
    /// How long tasks waited.
    pub pressures: Pressures,
}

/// The memory that is charged to one cgroup, and to all below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// All of it: `memory.current`.
    pub current: Bytes,
    /// What of it the kernel takes back at once, without writing anything and without a swap: clean page cache. Dirty pages and
    /// those on their way to a disk are not: whoever sets a lower limit would wait for that disk.
    pub reclaimable: Bytes,
}

/// What the kernel says of a unit outside of shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outside {
    /// The limits of its cgroup.
    pub limits: KernelLimits,
    /// The memory that is charged to it; `None` where the kernel does not count it for this cgroup.
    pub memory: Option<Memory>,
    /// Whether a process is in it or below it.
    pub populated: bool,
}

/// What is left to a cgroup beside what it has when its limits come down: one part of so many of that, ...
const MARGIN_PART: u64 = 16;

/// ... but at least so many bytes. The kernel kills in a cgroup whose limit is set under what it uses and that it cannot
/// reclaim from (cgroup-v2.rst, `memory.max`): what programs take between the reading and the setting must have room, and
/// `memory.stat` lags behind by up to 64 pages a CPU (`MEMCG_CHARGE_BATCH` in the kernel's mm/memcontrol.c).
pub const MARGIN_BYTES_MIN: u64 = 16 << 20;

/// What is used and a margin, which is at least so much.
pub fn with_margin(used: u64, least: u64) -> u64 {
    used.saturating_add((used / MARGIN_PART).max(least))
}

impl Memory {
    /// The least limit under which nothing is killed: what cannot be taken back, and a margin, where that is less than all.
    pub fn in_use(&self) -> Bytes {
        let kept = self.current.0.saturating_sub(self.reclaimable.0);
        Bytes(with_margin(kept, MARGIN_BYTES_MIN)).min(self.current)
    }
}

/// For how much of the last ten seconds some task of a cgroup waited, in hundredths of a percent; `None` where the kernel
/// does not measure it (`psi=0`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pressures {
    /// For a CPU.
    pub cpu: Option<u32>,
    /// For memory.
    pub mem: Option<u32>,
}

/// What is left to be told of a cgroup whose processes have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// CPU time since the cgroup was made, in microseconds.
    pub cpu_usec: u64,
    /// The most memory that was ever used; `None` where the kernel is older than 5.19.
    pub mem_peak: Option<Bytes>,
    /// Processes killed for want of memory since the cgroup was made.
    pub oom_kills: u64,
}

impl Spent {
    /// How many processes were killed for want of memory, where any were.
    pub fn kills(self) -> Option<u64> {
        Some(self.oom_kills).filter(|kills| *kills > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_use_is_what_cannot_be_taken_back_and_a_margin_but_never_more_than_there_is() {
        let of = |current: u64, reclaimable: u64| {
            Memory { current: Bytes(current << 20), reclaimable: Bytes(reclaimable << 20) }.in_use().0 >> 20
        };
        assert_eq!(of(250, 250), 16);
        assert_eq!(of(250, 0), 250);
        assert_eq!(of(250, 10), 250);
        assert_eq!(of(2048, 1024), 1088);
        assert_eq!(of(0, 0), 0);
        // The two files are read one after the other.
        assert_eq!(of(10, 250), 10);
    }
}
