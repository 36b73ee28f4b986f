//! What may be held, by whom: the policy as a checked value. No I/O here; [`file::load`] reads it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::enforced::Burst;
use crate::enforced::io::IoMost;
use crate::identity::{Gid, Uid};
use crate::quantity::{Amount, Bytes, CPU_STEP_MILLI, MEM_MAX_BYTES, MilliCpu, PartialAmount, Tasks};

/// What a member may do; each role may do what the ones before it may (1-product.md "Who may do what"). It is said in
/// every hello, so that the wire has the one definition.
pub use crate::wire::hello::Role;
pub use baseline::LoginRule;
pub use figure::{DURATION_MAX, DURATION_MIN, Ratio, Weight};
pub use io::{Io, IoRule};

pub mod baseline;
mod cursor;
mod draft;
mod figure;
pub mod file;
mod io;
mod login;
pub mod names;
mod rules;
mod yaml;

/// The tasks of a share whose policy names no `defaults.tasks` (1-product.md "Policy").
pub const TASKS_DEFAULT: Tasks = Tasks(4096);

/// The most tasks of one member where the policy names no `max.tasks` (1-product.md "Policy").
pub const TASKS_MAX_DEFAULT: Tasks = Tasks(32768);

/// The least CPU kept for the system where the policy names no `reserve.cpu` (1-product.md "Policy").
pub const RESERVE_CPU_DEFAULT_MIN: MilliCpu = MilliCpu(500);

/// The part of the machine's CPUs kept for the system where the policy names no `reserve.cpu` and that is more than
/// [`RESERVE_CPU_DEFAULT_MIN`]: one in twenty, 5 % (1-product.md "Policy").
pub const RESERVE_CPU_DEFAULT_ONE_IN: u64 = 20;

/// The most memory kept for the system where the policy names no `reserve.mem` (1-product.md "Policy").
pub const RESERVE_MEM_DEFAULT_MAX: Bytes = Bytes(2 << 30);

/// After how long a lag counts half where the policy names no `fairness.half_life`: 4 days (6-fairness.md "The key").
pub const HALF_LIFE_DEFAULT: Duration = Duration::from_secs(4 * 24 * 3600);

/// For how long a member must be ahead by a share to weigh as much as one who holds it now, where the policy names no
/// `fairness.tau`: 6 hours (6-fairness.md "The key").
pub const TAU_DEFAULT: Duration = Duration::from_secs(6 * 3600);

/// After how long a member's first request goes before all that have not been the first of theirs as long, where the policy names no
/// `fairness.patience`: 1 day (1-product.md "Policy").
pub const PATIENCE_DEFAULT: Duration = Duration::from_secs(24 * 3600);

/// For how long it is remembered how jobs and allocations ended where the policy names no `history.keep`: 400 days.
pub const HISTORY_KEEP_DEFAULT: Duration = Duration::from_secs(400 * 24 * 3600);

/// The shortest lease of a share that is requested or renewed: one minute (1-product.md "Leases").
pub const LEASE_MIN: Duration = Duration::from_secs(60);

/// What the policy files say, checked.
///
/// Holds: `max >= defaults` in each resource; `lease_default <= lease_max` where both are;
/// figures that [`MilliCpu::checked`], [`Bytes::checked`] and [`Tasks::checked`] accept.
/// The source of every rule and default is 1-product.md "Policy".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What a request gets for each figure that it does not name.
    pub defaults: Amount,
    /// The most one member may hold.
    pub max: Amount,
    /// What is kept for the system.
    pub reserve: Reserve,
    /// How many times the machine is handed out.
    pub overcommit: Overcommit,
    /// `MemorySwapMax` of a share, in bytes; 0 is no swap.
    pub swap: Bytes,
    /// The lease of a request that names none; `None`: held until released.
    pub lease_default: Option<Duration>,
    /// The longest lease; `None`: no bound.
    pub lease_max: Option<Duration>,
    /// After how long an empty share is released; `None`: never.
    pub idle: Option<Duration>,
    /// How much CPU a share may use beyond its own while nobody wants it; `None`: none.
    pub burst: Option<Burst>,
    /// After how long a lag counts half.
    pub half_life: Duration,
    /// For how long a member must be ahead by a share to weigh as much as one who holds it now.
    pub tau: Duration,
    /// After how long a member's first request goes before all that have not been the first of theirs as long.
    pub patience: Duration,
    /// How much may wait and run.
    pub queue: QueueRule,
    /// For how long it is remembered how jobs and allocations ended.
    pub history_keep: Duration,
    /// What the logins of a member may use outside of every share; for figures that it does not name there is no bound.
    pub baseline: PartialAmount,
    /// The memory that all logins together may use; `None`: no bound.
    pub logins: Option<Bytes>,
    /// What units may use that hold members' work outside of shares, by their names.
    pub others: BTreeMap<String, PartialAmount>,
    /// The most I/O of one share, and on which disks.
    pub io: Io,
    /// What is said of single users.
    pub users: BTreeMap<Uid, Rules>,
    /// What is said of groups.
    pub groups: BTreeMap<Gid, Rules>,
    /// What is said of names that were not found. Empty, unless the daemon has just started.
    pub unfound: Unfound,
    /// Whether members see who holds what.
    pub visibility: Visibility,
    /// Whether a busy share whose lease ended may be stopped for someone who waits.
    pub evict: bool,
    /// Whether a process of a system unit that is in a sandbox may enter its member's share, and leave the sandbox with that.
    pub from_sandboxes: bool,
}

/// How much may wait and run at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueRule {
    /// Requests of one member that wait.
    pub member: usize,
    /// Requests of all members that wait.
    pub all: usize,
    /// Submitted commands of one member with allocations of their own that run; 0: no bound.
    pub running: usize,
}

impl Default for QueueRule {
    /// 1-product.md "Policy".
    fn default() -> Self {
        Self { member: 1000, all: 10_000, running: 0 }
    }
}

/// What is said of one user or one group; what is not said is taken from elsewhere, figure by figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// In place of the general defaults.
    pub defaults: PartialAmount,
    /// In place of the general max.
    pub max: PartialAmount,
    /// How much of what is scarce, relative to others.
    pub weight: Option<Weight>,
    /// What its members may do.
    pub role: Option<Role>,
    /// What its members' logins may use.
    pub baseline: Option<LoginRule>,
    /// In place of the general burst.
    pub burst: Option<Burst>,
    /// In place of the general bounds of I/O.
    pub io: IoRule,
}

/// What the policy says of users and groups that were not found, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unfound {
    /// Users.
    pub users: BTreeMap<String, Entry>,
    /// Groups.
    pub groups: BTreeMap<String, Entry>,
    /// The files that name them, in the order of reading.
    files: Vec<PathBuf>,
}

/// What the policy says of one name that was not found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What is said of it.
    pub rules: Rules,
    /// The index of the file that names it first, in the order of reading.
    file: usize,
    /// Where in the file.
    position: yaml::Position,
    /// What the database said.
    pub said: Said,
}

/// What the database said of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It has not answered.
    Nothing,
    /// Nobody has the name.
    Nobody,
    /// It could not be asked, and why.
    Failed(String),
    /// It is a second name of somebody for whom the policy has another.
    Second,
}

/// What the policy says for one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberPolicy {
    /// What a request gets for each figure that it does not name; never above `max`.
    pub defaults: Amount,
    /// The most that the member may hold.
    pub max: Amount,
    /// How much of what is scarce, relative to others.
    pub weight: Weight,
    /// What the member may do.
    pub role: Role,
    /// The lease of a request that names none; `None`: held until released.
    pub lease_default: Option<Duration>,
    /// The longest lease; `None`: no bound.
    pub lease_max: Option<Duration>,
    /// After how long an empty share is released; `None`: never.
    pub idle: Option<Duration>,
    /// How much CPU a share may use beyond its own while nobody wants it; `None`: none.
    pub burst: Option<Burst>,
    /// The most I/O of a share, on each of the disks that the policy names.
    pub io: IoMost,
}

/// Whether members see who holds what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Visibility {
    /// Each share with its member.
    #[default]
    Names,
    /// Sums only.
    Totals,
}

/// What is kept for the system. Where the policy names no figure it depends on the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reserve {
    /// CPU, in thousandths. By default one in [`RESERVE_CPU_DEFAULT_ONE_IN`] of the machine's, at least
    /// [`RESERVE_CPU_DEFAULT_MIN`].
    pub cpu: Kept<MilliCpu>,
    /// Memory, in bytes. By default a tenth of the machine's, at most [`RESERVE_MEM_DEFAULT_MAX`].
    pub mem: Kept<Bytes>,
}

/// How much of one resource is kept for the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kept<T> {
    /// The default for the machine.
    #[default]
    Default,
    /// As the policy names it; it may be 0.
    Named(T),
}

/// How many times the machine is handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Overcommit {
    /// CPU.
    pub cpu: Ratio,
    /// Memory.
    pub mem: Ratio,
}

/// CPU and memory of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// CPUs that are online, in thousandths of one.
    pub cpu: MilliCpu,
    /// Memory that the kernel manages (`MemTotal` of `proc_meminfo(5)`), in bytes.
    pub mem: Bytes,
}

impl Reserve {
    /// The CPU kept for the system on a machine with `machine` thousandths of one.
    pub fn cpu(self, machine: MilliCpu) -> MilliCpu {
        match self.cpu {
            Kept::Default => MilliCpu(machine.0 / RESERVE_CPU_DEFAULT_ONE_IN).max(RESERVE_CPU_DEFAULT_MIN),
            Kept::Named(cpu) => cpu,
        }
    }

    /// The memory kept for the system on a machine with `machine` bytes of it.
    pub fn mem(self, machine: Bytes) -> Bytes {
        match self.mem {
            Kept::Default => Bytes(machine.0 / 10).min(RESERVE_MEM_DEFAULT_MAX),
            Kept::Named(mem) => mem,
        }
    }
}

impl Policy {
    /// A policy that names `defaults` and `max` only.
    pub fn simple(defaults: Amount, max: Amount) -> Self {
        Self {
            defaults: least(defaults, max),
            max,
            reserve: Reserve::default(),
            overcommit: Overcommit::default(),
            swap: Bytes(0),
            lease_default: None,
            lease_max: None,
            idle: None,
            burst: None,
            half_life: HALF_LIFE_DEFAULT,
            tau: TAU_DEFAULT,
            patience: PATIENCE_DEFAULT,
            queue: QueueRule::default(),
            history_keep: HISTORY_KEEP_DEFAULT,
            baseline: PartialAmount::default(),
            logins: None,
            others: BTreeMap::new(),
            io: Io::default(),
            users: BTreeMap::new(),
            groups: BTreeMap::new(),
            unfound: Unfound::default(),
            visibility: Visibility::default(),
            evict: false,
            from_sandboxes: false,
        }
    }

    /// What can be handed out of `machine`: times overcommit, less the reserve, rounded down to what a share
    /// can be given (hundredths of a CPU, whole pages). `None` where the reserve leaves nothing of one of them.
    pub fn capacity(&self, machine: Machine) -> Option<(MilliCpu, Bytes)> {
        let cpu = MilliCpu(self.overcommit.cpu.of(machine.cpu.0)).minus(self.reserve.cpu(machine.cpu))?;
        let mem = Bytes(self.overcommit.mem.of(machine.mem.0)).minus(self.reserve.mem(machine.mem))?;
        let cpu = MilliCpu(cpu.0 - cpu.0 % CPU_STEP_MILLI);
        let mem = mem.min(Bytes(MEM_MAX_BYTES)).whole_pages();
        (cpu.0 > 0 && mem.0 > 0).then_some((cpu, mem))
    }

    /// What holds for the user `uid` who is in `groups`.
    ///
    /// Figure by figure: what the policy names for the user; else the most generous of what it names for the
    /// groups; else the general figure. Defaults that would be above the member's max are the max.
    pub fn member(&self, uid: Uid, groups: &[Gid]) -> MemberPolicy {
        let rules = self.rules(uid, groups);
        let max = rules.max.or(self.max);
        MemberPolicy {
            defaults: least(rules.defaults.or(self.defaults), max),
            max,
            weight: rules.weight.unwrap_or_default(),
            role: if uid == Uid::ROOT { Role::Admin } else { rules.role.unwrap_or(Role::Operator) },
            lease_default: self.lease_default,
            lease_max: self.lease_max,
            idle: self.idle,
            burst: rules.burst.or(self.burst),
            io: rules.io.over(self.io.rule).most(),
        }
    }

    /// What the user `uid` who is in `groups` may do (1-product.md "Who may do what").
    pub fn role(&self, uid: Uid, groups: &[Gid]) -> Role {
        self.member(uid, groups).role
    }

    /// Whether the I/O of some member's share is to be bounded.
    pub fn holds_io(&self) -> bool {
        let Unfound { users, groups, .. } = &self.unfound;
        let found = self.users.values().chain(self.groups.values());
        let named = users.values().chain(groups.values()).map(|entry| &entry.rules);
        !self.io.rule.most().is_empty() || found.chain(named).any(|rules| !rules.io.most().is_empty())
    }

    /// What is said of the user `uid` who is in `groups`: of the user, else of the groups.
    fn rules(&self, uid: Uid, groups: &[Gid]) -> Rules {
        let named = groups.iter().filter_map(|gid| self.groups.get(gid));
        let of_groups = named.fold(Rules::default(), |most, rules| most.generous(*rules));
        self.users.get(&uid).map_or(of_groups, |own| own.over(of_groups))
    }
}

impl Rules {
    /// Of each figure that either names the larger.
    fn generous(self, other: Self) -> Self {
        Self {
            defaults: self.defaults.largest(other.defaults),
            max: self.max.largest(other.max),
            weight: self.weight.max(other.weight),
            role: self.role.max(other.role),
            baseline: match (self.baseline, other.baseline) {
                (Some(one), Some(other)) => Some(one.generous(other)),
                (one, other) => one.or(other),
            },
            burst: self.burst.max(other.burst),
            io: self.io.generous(other.io),
        }
    }

    /// Each figure that `self` names, and those of `rest` for the others.
    fn over(self, rest: Self) -> Self {
        Self {
            defaults: self.defaults.first(rest.defaults),
            max: self.max.first(rest.max),
            weight: self.weight.or(rest.weight),
            role: self.role.or(rest.role),
            baseline: self.baseline.map(|own| own.over(rest.baseline)).or(rest.baseline),
            burst: self.burst.or(rest.burst),
            io: self.io.over(rest.io),
        }
    }
}

/// The smaller in each resource.
fn least(a: Amount, b: Amount) -> Amount {
    Amount { cpu: a.cpu.min(b.cpu), mem: a.mem.min(b.mem), tasks: a.tasks.min(b.tasks) }
}
