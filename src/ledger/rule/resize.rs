//! Who asks for other figures.

use crate::identity::{AllocationId, Purpose};
use crate::ledger::allocation::Phase;
use crate::ledger::counted::room::Room;
use crate::ledger::refusal::{Bound, Over, Refusal};
use crate::ledger::{Effect, Ledger, Member, Now};
use crate::quantity::{Amount, Bytes, MilliCpu, PartialAmount, Tasks};

impl Ledger {
    pub(in crate::ledger) fn resize(
        &mut self,
        now: Now,
        member: &Member,
        of: Purpose,
        (amount, in_use): (PartialAmount, Bytes),
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let id = AllocationId { uid: member.uid, purpose: of };
        let allocation = self.active(id)?;
        if allocation.expired() {
            return Err(Refusal::Expired);
        }
        let (from, lease) = (allocation.amount, allocation.lease);
        let to = amount.or(from);
        // What is held already may be over a maximum that was lowered since: nothing is taken, and only what grows is judged.
        let grows = Amount {
            cpu: if to.cpu > from.cpu { to.cpu } else { MilliCpu(0) },
            mem: if to.mem > from.mem { to.mem } else { Bytes(0) },
            tasks: if to.tasks > from.tasks { to.tasks } else { Tasks(0) },
        };
        let over = Over::first(grows, member.policy.max, Bound::Policy);
        let over = over.or_else(|| Over::machine(grows, self.books.capacity.whole()));
        if let Some(over) = over {
            return Err(Refusal::OverLimit(over));
        }
        let others = self.share_of(id.uid).less(allocation);
        if let Some(over) = others.over(grows, member.policy.max) {
            return Err(Refusal::MaxHeld { over, held: others.held() });
        }
        if to.mem < from.mem && to.mem < in_use {
            return Err(Refusal::MemoryInUse { in_use, asked: to.mem });
        }
        let more = Room::of(to).less(Room::of(from));
        if more != Room::NONE {
            let left = lease.map(|lease| lease.ends.since(self.clock.last));
            if !more.fits(self.books.capacity.free()) || !self.may_pass(more, left) {
                return Err(self.shortage(now, more, left));
            }
        }
        self.alter(id, |allocation| allocation.phase = Phase::Resizing { to });
        effects.push(Effect::Resize { id, from, to });
        Ok(())
    }
}
