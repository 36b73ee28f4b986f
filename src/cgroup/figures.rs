//! What is read of a cgroup: limits, use, and how the kernel's limits differ from what they should be.

use crate::quantity::{Amount, Bytes, MilliCpu, PartialAmount, Tasks};

/// One limit that the kernel holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit<T> {
    /// None: the file says `max`.
    Max,
    /// At this figure.
    At(T),
}

/// The limits of one cgroup. `None` where there is no such file: the controller is not on for this cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelLimits {
    /// `cpu.max`
    pub cpu: Option<Limit<MilliCpu>>,
    /// `memory.max`
    pub mem: Option<Limit<Bytes>>,
    /// `memory.swap.max`; not there in kernels that do not count swap.
    pub swap: Option<Limit<Bytes>>,
    /// `pids.max`
    pub tasks: Option<Limit<Tasks>>,
    /// `cpu.idle`: whether the CPU weight is lower than any figure
    pub idle: Option<bool>,
}

/// The kernel holds another limit than it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file} is {is}, not {wanted}")]
pub struct Difference {
    /// The file that says something else.
    pub file: &'static str,
    /// What it holds, `max` for no limit, `missing` where it is not there.
    pub is: String,
    /// What it should hold.
    pub wanted: String,
}

/// What the processes of one cgroup, and of all below it, use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// CPU time since the cgroup was made, in microseconds.
    pub cpu_usec: u64,
    /// Memory now.
    pub mem: Bytes,
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

impl KernelLimits {
    /// Whether the kernel holds exactly a share's figures.
    ///
    /// Memory is held in whole pages. Without `memory.swap.max` the kernel counts no swap, and nothing can be held.
    ///
    /// # Errors
    /// The first difference.
    pub fn holds(&self, amount: &Amount, swap: Bytes) -> Result<(), Difference> {
        let Amount { cpu, mem, tasks } = *amount;
        self.holds_named(PartialAmount { cpu: Some(cpu), mem: Some(mem), tasks: Some(tasks) })?;
        let swap = self.swap.map(|_| swap.whole_pages());
        same("memory.swap.max", self.swap, swap, |bytes| bytes.0.to_string())
    }

    /// Whether the CPU weight is lower than any figure, or is a figure; a kernel without `cpu.idle` says nothing of it.
    ///
    /// # Errors
    /// It is the other.
    pub fn holds_idle(&self, idle: bool) -> Result<(), Difference> {
        let is = self.idle.map(Limit::At);
        same("cpu.idle", is, self.idle.map(|_| idle), |idle| u8::from(idle).to_string())
    }

    /// Whether the kernel holds exactly the figures that are named, and anything for the others.
    ///
    /// # Errors
    /// The first difference.
    pub fn holds_named(&self, amount: PartialAmount) -> Result<(), Difference> {
        same("cpu.max", self.cpu, amount.cpu, |cpu| format!("{cpu} CPU"))?;
        same("memory.max", self.mem, amount.mem.map(Bytes::whole_pages), |bytes| bytes.0.to_string())?;
        same("pids.max", self.tasks, amount.tasks, |tasks| tasks.to_string())
    }
}

fn same<T: PartialEq + Copy>(
    file: &'static str,
    is: Option<Limit<T>>,
    wanted: Option<T>,
    show: impl Fn(T) -> String,
) -> Result<(), Difference> {
    let Some(wanted) = wanted else { return Ok(()) };
    let is = match is {
        Some(Limit::At(is)) if is == wanted => return Ok(()),
        Some(Limit::At(is)) => show(is),
        Some(Limit::Max) => "max".to_owned(),
        None => "missing".to_owned(),
    };
    Err(Difference { file, is, wanted: show(wanted) })
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

    #[test]
    fn a_difference_says_what_is_and_what_should_be() {
        let amount = Amount { cpu: MilliCpu(2000), mem: Bytes((8 << 30) + 5), tasks: Tasks(4096) };
        let held = KernelLimits {
            cpu: Some(Limit::At(MilliCpu(2000))),
            mem: Some(Limit::At(Bytes(8 << 30))),
            swap: Some(Limit::At(Bytes(0))),
            tasks: Some(Limit::At(Tasks(4096))),
            idle: Some(false),
        };
        assert_eq!(held.holds(&amount, Bytes(0)), Ok(()));
        assert_eq!(held.holds(&amount, Bytes(4095)), Ok(()));
        assert_eq!(KernelLimits { swap: None, ..held }.holds(&amount, Bytes(0)), Ok(()));
        let says = |limits: KernelLimits| limits.holds(&amount, Bytes(0)).unwrap_err().to_string();
        assert_eq!(
            says(KernelLimits { mem: Some(Limit::At(Bytes(4096))), ..held }),
            "memory.max is 4096, not 8589934592"
        );
        assert_eq!(says(KernelLimits { cpu: None, ..held }), "cpu.max is missing, not 2 CPU");
        assert_eq!(says(KernelLimits { tasks: Some(Limit::Max), ..held }), "pids.max is max, not 4096");
        assert_eq!(says(KernelLimits { swap: Some(Limit::Max), ..held }), "memory.swap.max is max, not 0");
    }
}
