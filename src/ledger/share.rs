//! One member's share: all that they hold, the sum of their allocations.

use super::allocation::Allocation;
use super::counted::room::Room;
use super::refusal::{Bound, Over};
use crate::enforced::{Burst, Enforced, WEIGHT_IDLE, weight};
use crate::quantity::{Amount, Bytes, MilliCpu, Tasks};

/// What the allocations of one member come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    /// How many allocations there are.
    pub allocations: usize,
    /// What they take of the capacity.
    pub room: Room,
    /// Their tasks. Those are not handed out, and their sum is in no book: what all of them may have at once the kernel bounds,
    /// by the limit of the slice around them.
    pub tasks: u128,
}

impl Share {
    /// With one allocation more.
    pub(super) fn plus(self, allocation: &Allocation) -> Self {
        self.with(allocation.counted())
    }

    /// With one allocation less.
    pub(super) fn less(self, allocation: &Allocation) -> Self {
        Self {
            allocations: self.allocations.saturating_sub(1),
            room: self.room.less(allocation.room()),
            tasks: self.tasks.saturating_sub(allocation.counted().tasks.0.into()),
        }
    }

    /// The first figure with which so much more is over the most that its member may hold.
    pub fn over(&self, more: Amount, max: Amount) -> Option<Over> {
        let by = Bound::Policy;
        // Of a request of before the policy's most was remembered none is known, until the policy is asked again.
        let beyond = |held: u128, more: u64, max: u64| {
            more > 0 && max > 0 && held + u128::from(more) > u128::from(max)
        };
        if beyond(self.room.cpu, more.cpu.0, max.cpu.0) {
            return Some(Over::Cpu { asked: more.cpu, max: max.cpu, by });
        }
        beyond(self.room.mem, more.mem.0, max.mem.0).then_some(Over::Mem {
            asked: more.mem,
            max: max.mem,
            by,
        })
    }

    /// The sums as figures.
    pub fn held(&self) -> Amount {
        let tasks = Tasks(u64::try_from(self.tasks).unwrap_or(u64::MAX));
        Amount { cpu: self.room.cpu(), mem: self.room.mem(), tasks }
    }

    /// As if this were held too.
    pub(super) fn with(self, more: Amount) -> Self {
        let tasks = self.tasks.saturating_add(more.tasks.0.into());
        let allocations = self.allocations.saturating_add(1);
        Self { allocations, room: self.room.plus(Room::of(more)), tasks }
    }
}

/// What the kernel is to hold of a member's slice, around these allocations of theirs; `None` where there is none.
///
/// Each allocation has its own figures. Around them the slice has the sum of what is promised, against everybody else; as the
/// most of memory what the policy lets its member hold, so that what one allocation leaves behind takes nothing from another;
/// the same of tasks, which all allocations share; and as the most CPU the sum, or the burst.
pub fn enforced<'a>(allocations: impl Iterator<Item = &'a Allocation>) -> Option<Enforced> {
    let mut around: Option<Around> = None;
    for allocation in allocations {
        if allocation.in_share {
            return Some(allocation.enforced());
        }
        around.get_or_insert_default().add(allocation);
    }
    let Around { most, max, promised, low, swap, burst } = around?;
    // Of an allocation of before the policy's most was remembered nothing is known but the sum.
    let tasks = if max.tasks.0 > 0 { max.tasks } else { most.tasks };
    Some(Enforced {
        most: Amount { cpu: most.cpu, mem: most.mem.max(max.mem), tasks },
        burst,
        swap,
        weight: if promised.0 == 0 { WEIGHT_IDLE } else { weight(promised) },
        low,
    })
}

/// Sums over the allocations of one member.
#[derive(Default)]
struct Around {
    most: Amount,
    max: Amount,
    promised: MilliCpu,
    low: Bytes,
    swap: Bytes,
    burst: Option<Burst>,
}

impl Around {
    fn add(&mut self, allocation: &Allocation) {
        let own = allocation.in_flux();
        self.most.cpu.0 = self.most.cpu.0.saturating_add(own.most.cpu.0);
        self.most.mem.0 = self.most.mem.0.saturating_add(own.most.mem.0);
        self.most.tasks.0 = self.most.tasks.0.saturating_add(own.most.tasks.0);
        self.max.mem = self.max.mem.max(allocation.terms.max.mem);
        // What is held already may be over a maximum that was lowered since.
        let tasks = allocation.terms.max.tasks;
        if tasks.0 > 0 {
            self.max.tasks = self.max.tasks.max(tasks).max(own.most.tasks);
        }
        if own.weight != WEIGHT_IDLE {
            self.promised.0 = self.promised.0.saturating_add(own.most.cpu.0);
        }
        self.low.0 = self.low.0.saturating_add(own.low.0);
        self.swap.0 = self.swap.0.saturating_add(own.swap.0);
        self.burst = self.burst.max(own.burst);
    }
}
