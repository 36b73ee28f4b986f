//! One allocation: so much of the machine for one purpose, until when, and what is being done about it.

use super::counted::room::Room;
use super::time::Time;
use crate::enforced::{Burst, Enforced};
use crate::identity::{AllocationId, JobId, UnitName, Within};
use crate::quantity::{Amount, Bytes, MilliCpu, Tasks};
use crate::time::{BootId, Now};

/// How long before its end a lease is warned of, in milliseconds, besides at its last tenth (issue 4: 5 minutes).
pub const WARNING_MS: u64 = 5 * 60 * 1000;

/// How long the allocation of a command in the foreground is kept for it after it was granted, in milliseconds. Its process
/// hears of the grant at once where it waits, and after a restart of the daemon within seconds.
pub const ENTRY_MS: u64 = 60_000;

/// What one member holds for one purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocation {
    /// Whose it is, and what for.
    pub id: AllocationId,
    /// Whether its work is in its member's slice itself, where 0.1 had it, and there is no slice of its own. Then it is all
    /// that its member holds, until it is given back or the machine starts anew.
    pub in_share: bool,
    /// The member's name when the allocation was granted, to be shown.
    pub user: Option<String>,
    /// The figures that were granted. What the kernel is to hold: [`Allocation::enforced`].
    pub amount: Amount,
    /// Swap on top of the memory, in bytes.
    pub swap: Bytes,
    /// When it was granted.
    pub granted: Now,
    /// In which boot its slice was last made.
    pub boot: BootId,
    /// What is being done about it.
    pub phase: Phase,
    /// What the policy said when it was granted.
    pub terms: Terms,
    /// Until when it is held; `None`: until released.
    pub lease: Option<Lease>,
    /// Since when it is known to have no process inside.
    pub empty_since: Option<Time>,
}

/// What the policy says for an allocation: taken when it is granted, so that a change of the policy takes nothing from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Terms {
    /// After how long without a process it is given back, in milliseconds; `None`: never.
    pub idle_ms: Option<u64>,
    /// With what it goes.
    pub goes: Goes,
    /// How much CPU it may use beyond its own; `None`: none.
    pub burst: Option<Burst>,
    /// The most that its member may hold, all allocations together.
    pub max: Amount,
}

/// With what an allocation goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Goes {
    /// With its release: it was requested.
    #[default]
    Released,
    /// With the last submitted command in it: it was taken for one.
    WithWork,
    /// With the last process in it: it was taken for a command in the foreground.
    WithProcesses {
        /// Whether that command has gone in. Until then it is kept for [`ENTRY_MS`].
        entered: bool,
    },
}

/// Until when an allocation is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The end.
    pub ends: Time,
    /// How long it was when it was last given, in milliseconds.
    pub length_ms: u64,
    /// Where it stands.
    pub stage: Stage,
}

/// Where a lease stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The end is still to come.
    Running {
        /// When its member is next warned of its end.
        warn: Option<Time>,
    },
    /// It is over, and the allocation still there, for work is inside.
    Expired {
        /// When it ended.
        since: Time,
        /// What the allocation physically keeps, once its limits have come down to it; `None`: its limits are still those
        /// that were granted.
        keeps: Option<Keeps>,
        /// When its limits are next tried to be lowered; `None`: that is done.
        lower: Option<Time>,
        /// When what is inside is stopped for someone who waits. Only where the policy says so.
        evict: Option<Time>,
    },
}

/// What an expired allocation physically keeps. Its limits have come down to this, so that the kernel gives it no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeps {
    /// Memory. It goes on counting against the capacity.
    pub mem: Bytes,
    /// Tasks.
    pub tasks: Tasks,
}

/// What is being done about an allocation. In the state file, everything but `Active` is an intent without outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The slice is being made; nothing has been answered yet.
    Granting {
        /// The job that waited for it.
        job: Option<JobId>,
    },
    /// Held, and enforced.
    Active,
    /// The limits are on their way from `Allocation::amount` to these.
    Resizing {
        /// The new figures.
        to: Amount,
    },
    /// The lease is over, and the limits are on their way down to what is used: which limits the kernel holds at this
    /// moment is not known, but none over those that were granted.
    Lowering,
    /// An expired allocation gets back what was granted.
    Renewing {
        /// The lease that it has then.
        lease: Lease,
    },
    /// The empty slice is being removed.
    Releasing,
    /// The processes inside are being stopped, as a job.
    Stopping {
        /// The job that watches it.
        job: JobId,
    },
}

impl Phase {
    /// Whether the allocation is being taken away.
    pub fn gives_back(self) -> bool {
        matches!(self, Self::Releasing | Self::Stopping { .. })
    }
}

impl Lease {
    /// A lease of so many milliseconds from `now`.
    pub fn new(now: Time, length_ms: u64) -> Self {
        let mut lease = Self { ends: now.after(length_ms), length_ms, stage: Stage::Running { warn: None } };
        lease.stage = Stage::Running { warn: lease.warning_after(now) };
        lease
    }

    /// The first warning after `now`: when a tenth is left, and when five minutes are.
    pub(super) fn warning_after(&self, now: Time) -> Option<Time> {
        let warnings = [self.ends.before(self.length_ms / 10), self.ends.before(WARNING_MS)];
        warnings.into_iter().filter(|at| *at > now && *at < self.ends).min()
    }
}

impl Allocation {
    /// An allocation that is held and enforced, without a lease.
    pub fn active(id: AllocationId, amount: Amount, swap: Bytes, granted: Now, boot: BootId) -> Self {
        Self {
            id,
            in_share: false,
            user: None,
            amount,
            swap,
            granted,
            boot,
            phase: Phase::Active,
            terms: Terms::default(),
            lease: None,
            empty_since: None,
        }
    }

    /// The slice that holds it.
    pub fn unit(&self) -> UnitName {
        if self.in_share { UnitName::Share(self.id.uid) } else { self.id.unit() }
    }

    /// In what the units of commands are that run in it.
    pub fn within(&self) -> Within {
        if self.in_share { Within::Share } else { self.id.within() }
    }

    /// What this allocation physically keeps, where its lease is over and its limits have come down to that.
    pub fn keeps(&self) -> Option<Keeps> {
        match self.lease?.stage {
            Stage::Expired { keeps, .. } => keeps,
            Stage::Running { .. } => None,
        }
    }

    /// This allocation with its limits come down to what it keeps; itself where its lease runs.
    #[must_use]
    pub fn keeping(&self, kept: Keeps) -> Self {
        let mut allocation = self.clone();
        if let Some(Lease { stage: Stage::Expired { keeps, .. }, .. }) = &mut allocation.lease {
            *keeps = Some(kept);
        }
        allocation
    }

    /// What the kernel is to hold: the figures that were granted, both as the most that it may use and as what it has when
    /// everybody wants everything. Where the allocation [keeps](Self::keeps) only what it uses its CPU quota stays, and it is
    /// promised nothing: it weighs nothing, and no memory of it is protected.
    pub fn enforced(&self) -> Enforced {
        let Self { amount, swap, .. } = *self;
        let enforced = match self.keeps() {
            Some(Keeps { mem, tasks }) => Enforced::unpromised(Amount { mem, tasks, ..amount }, swap),
            None => Enforced::promised(amount, swap),
        };
        Enforced { burst: self.terms.burst, ..enforced }
    }

    /// What the kernel may be holding until its phase is settled: of two figures the larger, and what is promised again.
    pub fn in_flux(&self) -> Enforced {
        let promised = match self.phase {
            Phase::Resizing { to } => Enforced::promised(self.amount.larger(to), self.swap),
            Phase::Renewing { .. } => Enforced::promised(self.amount, self.swap),
            _ => return self.enforced(),
        };
        Enforced { burst: self.terms.burst, ..promised }
    }

    /// The most that this allocation may be using until its phase is settled, without the CPU that it only has while nobody
    /// else wants it.
    pub fn counted(&self) -> Amount {
        match (self.phase, self.keeps()) {
            (Phase::Resizing { to }, _) => self.amount.larger(to),
            (Phase::Renewing { .. }, _) | (_, None) => self.amount,
            (_, Some(Keeps { mem, tasks })) => Amount { cpu: MilliCpu(0), mem, tasks },
        }
    }

    /// What it takes of the capacity (1-product.md "Leases"): once its lease is over and its limits are down, what it
    /// physically keeps and no CPU.
    pub fn room(&self) -> Room {
        Room::of(self.counted())
    }

    /// Whether its lease is over.
    pub fn expired(&self) -> bool {
        self.expired_since().is_some()
    }

    /// Since when its lease is over.
    pub fn expired_since(&self) -> Option<Time> {
        match self.lease?.stage {
            Stage::Expired { since, .. } => Some(since),
            Stage::Running { .. } => None,
        }
    }

    /// When what is inside is stopped for someone who waits.
    pub fn eviction(&self) -> Option<Time> {
        match self.lease?.stage {
            Stage::Expired { evict, .. } => evict,
            Stage::Running { .. } => None,
        }
    }

    /// When its lease gives back its room. Where the lease has just ended and the limits are not down yet, that moment has
    /// come: so it stays what is kept for the first in the queue, until it is known what the allocation keeps.
    pub(super) fn gives_at(&self) -> Option<Time> {
        if let Phase::Renewing { lease } = self.phase {
            return Some(lease.ends);
        }
        self.lease.filter(|_| self.keeps().is_none()).map(|lease| lease.ends)
    }

    /// When something is next to be done about it.
    pub(super) fn alarm(&self) -> Option<Time> {
        let (lease, act) = match self.lease.map(|lease| (lease.ends, lease.stage)) {
            // A command's time limit is systemd's to keep: until it has ended nothing is taken from it.
            Some((_, Stage::Running { .. })) if self.terms.goes == Goes::WithWork => (None, None),
            Some((ends, Stage::Running { warn })) => (warn.or(Some(ends)), None),
            Some((_, Stage::Expired { lower, evict, .. })) => {
                (None, [lower, evict].into_iter().flatten().min())
            }
            None => (None, None),
        };
        let act = [act, self.idle_at()].into_iter().flatten().min().filter(|_| self.phase == Phase::Active);
        [lease, act].into_iter().flatten().min()
    }

    /// When it has been empty for too long.
    pub(super) fn idle_at(&self) -> Option<Time> {
        let most = match self.terms.goes {
            Goes::Released | Goes::WithWork => self.terms.idle_ms?,
            Goes::WithProcesses { entered: false } => ENTRY_MS,
            Goes::WithProcesses { entered: true } => 0,
        };
        Some(self.empty_since?.after(most))
    }
}
