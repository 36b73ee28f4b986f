//! What the kernel enforces for shares: what it is to hold, what it holds, and how the two differ. Pure.
//!
//! A share is held in both directions. `cpu.max`, `memory.max`, `memory.swap.max` and `pids.max` are the most that it may
//! use; `cpu.weight` and `memory.low` are what it has when everybody wants everything.
//!
//! Source: the kernel's `Documentation/admin-guide/cgroup-v2.rst`.

pub mod io;

use std::str::FromStr;

use crate::quantity::{Amount, Bytes, MilliCpu, PartialAmount, QuantityError, Tasks};

/// The weight of one whole CPU: what a cgroup has of which nothing is said.
const WEIGHT_PER_CPU: u64 = 100;

/// The least weight that is a figure.
pub const WEIGHT_MIN: u64 = 1;

/// The most that a weight can be.
pub const WEIGHT_MAX: u64 = 10_000;

/// The weight of who has the CPU only while nobody else wants it: `CPUWeight=idle`, which is 0 on the bus since systemd 252
/// (`systemd.resource-control(5)`) and in `cpu.weight` where `cpu.idle` is 1.
pub const WEIGHT_IDLE: u64 = 0;

/// The I/O weight of a share of the whole capacity. Up to here BFQ has exactly the ratios that are asked for; systemd maps
/// 100 to 10000 to what is left, 100 to 1000 (`BFQ_WEIGHT` in its basic/cgroup-util.h).
const IO_WEIGHT_MAX: u64 = 100;

/// How much CPU may be used beyond what is promised, while nobody wants it. It is in no book: the kernel's weights take it
/// back at once for who was promised it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Burst {
    /// So much in all, where that is more than is promised.
    To(MilliCpu),
    /// All that can be handed out.
    All,
}

impl Burst {
    /// How much CPU is then used at most, where `own` is promised and `capacity` is what can be handed out. `None` where that
    /// is no more than what is promised.
    pub fn most(self, own: MilliCpu, capacity: MilliCpu) -> Option<MilliCpu> {
        let most = match self {
            Self::To(cpu) => cpu.min(capacity),
            Self::All => capacity,
        };
        Some(most).filter(|most| *most > own)
    }
}

/// Why a text is no burst. The message says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be all, or how many CPUs: {0}")]
pub struct NoBurst(#[from] QuantityError);

impl FromStr for Burst {
    type Err = NoBurst;

    fn from_str(text: &str) -> Result<Self, NoBurst> {
        match text.trim() {
            "all" => Ok(Self::All),
            figure => Ok(Self::To(figure.parse()?)),
        }
    }
}

/// What the kernel is to hold of one share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enforced {
    /// The most of everything: `memory.max` and `pids.max`, and `cpu.max` where there is no burst.
    pub most: Amount,
    /// How much CPU may be used beyond that; `None`: none.
    pub burst: Option<Burst>,
    /// The most swap on top of the memory.
    pub swap: Bytes,
    /// How much of the CPU it has beside others that want it: `cpu.weight`, [`WEIGHT_IDLE`] for nothing.
    pub weight: u64,
    /// How much of its memory is left alone as long as others have some that can be taken back: `memory.low`.
    pub low: Bytes,
}

impl Enforced {
    /// What is promised in full: so much and no more, and all of it against everybody.
    pub fn promised(amount: Amount, swap: Bytes) -> Self {
        Self { most: amount, burst: None, swap, weight: weight(amount.cpu), low: amount.mem }
    }

    /// What may be used and is promised nothing of: what is left of the CPU, and memory that is the first to be taken back.
    pub fn unpromised(amount: Amount, swap: Bytes) -> Self {
        Self { most: amount, burst: None, swap, weight: WEIGHT_IDLE, low: Bytes(0) }
    }

    /// What `cpu.max` is to be. [`Limit::Max`] where all may be used: `fairshare.slice` bounds that, and one quota less makes
    /// programs pause less.
    pub fn quota(&self) -> Limit<MilliCpu> {
        match self.burst {
            None => Limit::At(self.most.cpu),
            Some(Burst::To(cpu)) => Limit::At(cpu.max(self.most.cpu)),
            Some(Burst::All) => Limit::Max,
        }
    }
}

/// What the kernel is to hold of all shares together, in `fairshare.slice`. Figures that are `None` may be any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EnforcedOfAll {
    /// The most of everything.
    pub most: PartialAmount,
    /// As [`Enforced::weight`], beside logins and the system's services.
    pub weight: Option<u64>,
    /// As [`Enforced::low`]. What is protected in a cgroup is protected in those above it as well, or not at all.
    pub low: Option<Bytes>,
}

/// One limit that the kernel holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit<T> {
    /// None: the file says `max`.
    Max,
    /// At this figure.
    At(T),
}

impl<T> Limit<T> {
    /// The figure; `None` for no limit.
    pub fn figure(self) -> Option<T> {
        match self {
            Self::At(figure) => Some(figure),
            Self::Max => None,
        }
    }
}

/// What the kernel holds of one cgroup. `None` where there is no such file: the controller is not on for this cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KernelLimits {
    /// `cpu.max`
    pub cpu: Option<Limit<MilliCpu>>,
    /// `memory.max`
    pub mem: Option<Limit<Bytes>>,
    /// `memory.swap.max`; not there in kernels that do not count swap.
    pub swap: Option<Limit<Bytes>>,
    /// `pids.max`
    pub tasks: Option<Limit<Tasks>>,
    /// `cpu.weight`
    pub weight: Option<u64>,
    /// `cpu.idle`: whether the CPU weight is lower than any figure; not there in kernels before 5.15.
    pub idle: Option<bool>,
    /// `memory.low`
    pub low: Option<Limit<Bytes>>,
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

impl KernelLimits {
    /// Whether the kernel holds exactly what a share is to have.
    ///
    /// Memory is held in whole pages. Without `memory.swap.max` the kernel counts no swap, and nothing can be held.
    ///
    /// # Errors
    /// The first difference.
    pub fn hold(&self, enforced: &Enforced) -> Result<(), Difference> {
        let Enforced { most: Amount { mem, tasks, .. }, burst: _, swap, weight, low } = *enforced;
        let quota = enforced.quota();
        if quota == Limit::Max && self.cpu != Some(Limit::Max) {
            return Err(difference("cpu.max", self.cpu, in_cpus, "max".to_owned()));
        }
        let most = PartialAmount { cpu: quota.figure(), mem: Some(mem), tasks: Some(tasks) };
        self.hold_of_all(&EnforcedOfAll { most, weight: Some(weight), low: Some(low) })?;
        let swap = self.swap.map(|_| swap.whole_pages());
        same("memory.swap.max", self.swap, swap, in_bytes)
    }

    /// Whether the kernel holds what all shares together are to have.
    ///
    /// # Errors
    /// The first difference.
    pub fn hold_of_all(&self, enforced: &EnforcedOfAll) -> Result<(), Difference> {
        self.hold_most(enforced.most)?;
        match enforced.weight {
            Some(WEIGHT_IDLE) => self.is_idle()?,
            weight => same("cpu.weight", self.weight.map(Limit::At), weight, |weight| weight.to_string())?,
        }
        same("memory.low", self.low, enforced.low.map(Bytes::whole_pages), in_bytes)
    }

    /// A kernel without `cpu.idle` has no such weight, and nothing can be held.
    fn is_idle(&self) -> Result<(), Difference> {
        same("cpu.idle", self.idle.map(Limit::At), self.idle.map(|_| true), |idle| u8::from(idle).to_string())
    }

    /// Whether the kernel holds exactly the limits that are named, and anything for the others.
    ///
    /// # Errors
    /// The first difference.
    pub fn hold_most(&self, most: PartialAmount) -> Result<(), Difference> {
        same("cpu.max", self.cpu, most.cpu, in_cpus)?;
        same("memory.max", self.mem, most.mem.map(Bytes::whole_pages), in_bytes)?;
        same("pids.max", self.tasks, most.tasks, |tasks| tasks.to_string())
    }
}

fn in_cpus(cpu: MilliCpu) -> String {
    format!("{cpu} CPU")
}

fn in_bytes(bytes: Bytes) -> String {
    bytes.0.to_string()
}

fn same<T: PartialEq + Copy>(
    file: &'static str,
    is: Option<Limit<T>>,
    wanted: Option<T>,
    show: impl Fn(T) -> String,
) -> Result<(), Difference> {
    match (wanted, is) {
        (Some(wanted), Some(Limit::At(is))) if is == wanted => Ok(()),
        (Some(wanted), is) => Err(difference(file, is, &show, show(wanted))),
        (None, _) => Ok(()),
    }
}

fn difference<T>(
    file: &'static str,
    is: Option<Limit<T>>,
    show: impl Fn(T) -> String,
    wanted: String,
) -> Difference {
    let is = match is {
        Some(Limit::At(is)) => show(is),
        Some(Limit::Max) => "max".to_owned(),
        None => "missing".to_owned(),
    };
    Difference { file, is, wanted }
}

/// The CPU weight of a share of so much CPU: as shares are to each other, so are their weights. From 100 CPUs on all have
/// the same, the most there is.
pub fn weight(cpu: MilliCpu) -> u64 {
    (cpu.0 / (1000 / WEIGHT_PER_CPU)).clamp(WEIGHT_MIN, WEIGHT_MAX)
}

/// The CPU of a share of this weight, where the weight says it exactly: [`weight`] from the other side.
pub fn cpu_of_weight(weight: u64) -> Option<MilliCpu> {
    let exact = weight > WEIGHT_MIN && weight < WEIGHT_MAX;
    exact.then(|| MilliCpu(weight * (1000 / WEIGHT_PER_CPU)))
}

/// The CPU weight with which all shares together have the capacity against everybody beside them: so that the part of the
/// machine's CPUs that is theirs by weight is at least the capacity.
///
/// `beside` is the sum of the weights of all other cgroups at the top, as if all of them wanted everything. Where the whole
/// machine is handed out, no weight is enough: then it is the most there is.
pub fn weight_of_all(beside: u64, capacity: MilliCpu, machine: MilliCpu) -> u64 {
    let rest = machine.0.saturating_sub(capacity.0);
    if rest == 0 {
        return WEIGHT_MAX;
    }
    let wanted = (u128::from(beside) * u128::from(capacity.0)).div_ceil(u128::from(rest));
    u64::try_from(wanted).unwrap_or(WEIGHT_MAX).clamp(WEIGHT_MIN, WEIGHT_MAX)
}

/// The I/O weight of a share: its part of the capacity's CPU, in hundredths.
pub fn io_weight(cpu: MilliCpu, capacity: MilliCpu) -> u64 {
    let hundredths = u128::from(cpu.0) * u128::from(IO_WEIGHT_MAX);
    let nearest = (hundredths + u128::from(capacity.0) / 2).checked_div(u128::from(capacity.0));
    nearest
        .and_then(|weight| u64::try_from(weight).ok())
        .unwrap_or(IO_WEIGHT_MAX)
        .clamp(WEIGHT_MIN, IO_WEIGHT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_difference_says_what_is_and_what_should_be() {
        let most = Amount { cpu: MilliCpu(2000), mem: Bytes((8 << 30) + 5), tasks: Tasks(4096) };
        let enforced = Enforced::promised(most, Bytes(0));
        let held = KernelLimits {
            cpu: Some(Limit::At(MilliCpu(2000))),
            mem: Some(Limit::At(Bytes(8 << 30))),
            swap: Some(Limit::At(Bytes(0))),
            tasks: Some(Limit::At(Tasks(4096))),
            weight: Some(200),
            idle: Some(false),
            low: Some(Limit::At(Bytes(8 << 30))),
        };
        assert_eq!(held.hold(&enforced), Ok(()));
        assert_eq!(held.hold(&Enforced { swap: Bytes(4095), ..enforced }), Ok(()));
        assert_eq!(KernelLimits { swap: None, ..held }.hold(&enforced), Ok(()));
        let says = |limits: KernelLimits| limits.hold(&enforced).unwrap_err().to_string();
        let mem = Some(Limit::At(Bytes(4096)));
        assert_eq!(says(KernelLimits { mem, ..held }), "memory.max is 4096, not 8589934592");
        assert_eq!(says(KernelLimits { cpu: None, ..held }), "cpu.max is missing, not 2 CPU");
        assert_eq!(says(KernelLimits { tasks: Some(Limit::Max), ..held }), "pids.max is max, not 4096");
        assert_eq!(says(KernelLimits { swap: Some(Limit::Max), ..held }), "memory.swap.max is max, not 0");
        assert_eq!(says(KernelLimits { weight: Some(100), ..held }), "cpu.weight is 100, not 200");
        let low = Some(Limit::At(Bytes(0)));
        assert_eq!(says(KernelLimits { low, ..held }), "memory.low is 0, not 8589934592");

        let bursts = |burst| Enforced { burst: Some(burst), ..enforced };
        let unbound = KernelLimits { cpu: Some(Limit::Max), ..held };
        assert_eq!(unbound.hold(&bursts(Burst::All)), Ok(()));
        let said = held.hold(&bursts(Burst::All)).unwrap_err().to_string();
        assert_eq!(said, "cpu.max is 2 CPU, not max");
        assert_eq!(says(unbound), "cpu.max is max, not 2 CPU");
        let six = KernelLimits { cpu: Some(Limit::At(MilliCpu(6000))), ..held };
        assert_eq!(six.hold(&bursts(Burst::To(MilliCpu(6000)))), Ok(()));
        assert_eq!(held.hold(&bursts(Burst::To(MilliCpu(500)))), Ok(()), "never less than is promised");
    }

    #[test]
    fn who_is_to_weigh_nothing_is_idle_where_the_kernel_knows_that() {
        let idle = EnforcedOfAll { weight: Some(WEIGHT_IDLE), ..EnforcedOfAll::default() };
        let held = |weight, idle| KernelLimits { weight: Some(weight), idle, ..KernelLimits::default() };
        assert_eq!(held(0, Some(true)).hold_of_all(&idle), Ok(()));
        assert_eq!(
            held(100, Some(false)).hold_of_all(&idle).unwrap_err().to_string(),
            "cpu.idle is 0, not 1"
        );
        assert_eq!(held(100, None).hold_of_all(&idle), Ok(()));
        let weighs = EnforcedOfAll { weight: Some(100), ..EnforcedOfAll::default() };
        assert!(held(0, Some(true)).hold_of_all(&weighs).is_err());
    }

    #[test]
    fn a_burst_is_what_goes_beyond_ones_own_and_never_beyond_all() {
        let most = |burst: Burst| burst.most(MilliCpu(2000), MilliCpu(15_000));
        assert_eq!(most(Burst::All), Some(MilliCpu(15_000)));
        assert_eq!(most(Burst::To(MilliCpu(6000))), Some(MilliCpu(6000)));
        assert_eq!(most(Burst::To(MilliCpu(90_000))), Some(MilliCpu(15_000)));
        assert_eq!((most(Burst::To(MilliCpu(2000))), most(Burst::To(MilliCpu(10)))), (None, None));
        assert_eq!(Burst::All.most(MilliCpu(2000), MilliCpu(0)), None, "the capacity is not known");
    }

    #[test]
    fn weights_stay_in_range() {
        assert_eq!(weight(MilliCpu(1500)), 150);
        assert_eq!((weight(MilliCpu(10)), weight(MilliCpu(0))), (1, 1));
        assert_eq!((weight(MilliCpu(100_000)), weight(MilliCpu(1_000_000_000))), (10_000, 10_000));
        for milli in (20..100_000).step_by(10) {
            assert_eq!(cpu_of_weight(weight(MilliCpu(milli))), Some(MilliCpu(milli)));
        }
        assert_eq!([0, 1, 10_000, u64::MAX].map(cpu_of_weight), [None; 4]);
    }

    /// The figures of background/enforcement.md 2.2, with three siblings of the default weight.
    #[test]
    fn all_shares_weigh_as_much_as_their_part_of_the_machine_takes() {
        let of = |capacity, machine| weight_of_all(300, MilliCpu(capacity), MilliCpu(machine));
        assert_eq!((of(1500, 2000), of(7500, 8000), of(15_500, 16_000)), (900, 4500, 9300));
        assert_eq!(of(63_000, 64_000), 10_000);
        assert_eq!((of(2000, 2000), of(4000, 2000), of(0, 2000)), (10_000, 10_000, 1));
        assert_eq!(weight_of_all(u64::MAX, MilliCpu(u64::MAX - 1), MilliCpu(u64::MAX)), 10_000);
    }

    #[test]
    fn io_weights_are_where_bfq_has_them_exactly() {
        let of = |cpu, capacity| io_weight(MilliCpu(cpu), MilliCpu(capacity));
        assert_eq!((of(300, 1500), of(900, 1500), of(1500, 1500)), (20, 60, 100));
        assert_eq!((of(1, 1_000_000), of(0, 1500), of(9000, 1500), of(10, 0)), (1, 1, 100, 100));
    }

    /// What each of some groups that want all has of so many CPUs: its part by weight, but no more than its quota, which
    /// leaves the rest to the others (the kernel's fair scheduler; cgroup-v2.rst "Weights" and "Limits").
    fn contended(cpus: f64, groups: &[(u64, Option<f64>)]) -> Vec<f64> {
        let mut has = vec![None; groups.len()];
        loop {
            let left = cpus - has.iter().flatten().sum::<f64>();
            let weights: u64 =
                groups.iter().zip(&has).filter(|(_, has)| has.is_none()).map(|(group, _)| group.0).sum();
            let part = |weight: u64| if weights == 0 { 0.0 } else { left * weight as f64 / weights as f64 };
            let full = groups.iter().zip(&has).position(|((weight, quota), has)| {
                has.is_none() && quota.is_some_and(|quota| quota <= part(*weight))
            });
            match full {
                Some(at) => has[at] = groups[at].1,
                None => {
                    let of =
                        |((weight, _), has): (&(u64, _), &Option<f64>)| has.unwrap_or_else(|| part(*weight));
                    return groups.iter().zip(&has).map(of).collect();
                }
            }
        }
    }

    /// Shares that fit into the capacity, in hundredths of a CPU, on machines of up to 100 CPUs.
    fn shares() -> impl Strategy<Value = (u64, u64, Vec<u64>)> {
        let machine = (1u64..=100, 1u64..=50);
        machine.prop_flat_map(|(cpus, reserve)| {
            let capacity = (cpus * 100).saturating_sub(reserve).max(10);
            (Just(cpus), Just(capacity), prop::collection::vec(1..=capacity, 1..12)).prop_map(
                |(cpus, capacity, mut shares)| {
                    let mut left = capacity;
                    shares.retain(|share| {
                        let fits = *share <= left;
                        left -= if fits { *share } else { 0 };
                        fits
                    });
                    (cpus, capacity, shares)
                },
            )
        })
    }

    fn milli(hundredths: u64) -> MilliCpu {
        MilliCpu(hundredths * 10)
    }

    proptest! {
        /// Floors hold between shares, whatever each may burst to, as long as their sum is within the capacity.
        #[test]
        fn a_share_has_its_floor_beside_shares_that_want_all((_, capacity, shares) in shares(), bursts: bool) {
            let quota = |share: u64| if bursts { None } else { Some(share as f64 / 100.0) };
            let groups: Vec<_> =
                shares.iter().map(|share| (weight(milli(*share)), quota(*share))).collect();
            let has = contended(capacity as f64 / 100.0, &groups);
            for (share, has) in shares.iter().zip(has) {
                // A tenth of a CPU is the least that a weight can say, and the floor of the smallest is rounded to it.
                prop_assert!(has >= *share as f64 / 100.0 * 0.9 - 1e-9 || *share < 10, "{share} had {has}");
            }
        }

        /// All shares together have the capacity beside logins and services that want all, and leave them the rest.
        #[test]
        fn all_shares_have_the_capacity_beside_everybody(
            (cpus, capacity, _) in shares(),
            beside in prop::collection::vec(1u64..=500, 1..6),
        ) {
            let sum: u64 = beside.iter().sum();
            let own = weight_of_all(sum, milli(capacity), MilliCpu(cpus * 1000));
            let quota = capacity as f64 / 100.0;
            let mut groups = vec![(own, Some(quota))];
            groups.extend(beside.iter().map(|weight| (*weight, None)));
            let has = contended(cpus as f64, &groups);
            let promised = quota.min(cpus as f64 * own as f64 / (own + sum) as f64);
            prop_assert!(has[0] >= promised - 1e-9, "{} of {quota}", has[0]);
            prop_assert!(own == WEIGHT_MAX || has[0] >= quota - 1e-9, "{} of {quota}", has[0]);
            let others: f64 = has[1..].iter().sum();
            prop_assert!(others >= cpus as f64 - quota - 1e-9, "the others had {others}");
        }

        /// With more promised than there is, each has its part of the machine.
        #[test]
        fn an_overcommitted_floor_is_its_part((cpus, _, shares) in shares(), overcommit in 2u64..=4) {
            let groups: Vec<_> =
                shares.iter().map(|share| (weight(milli(*share)), Some(*share as f64 / 100.0))).collect();
            let all: Vec<_> = groups.iter().cycle().take(groups.len() * overcommit as usize).copied().collect();
            let sum: f64 = all.iter().map(|group| group.1.unwrap_or_default()).sum();
            prop_assume!(sum > cpus as f64 && shares.iter().all(|share| *share >= 10));
            for ((_, share), has) in all.iter().zip(contended(cpus as f64, &all)) {
                prop_assert!(has >= share.unwrap_or_default() * cpus as f64 / sum * 0.9 - 1e-9);
            }
        }
    }
}
