//! Who asks for more time.

use std::time::Duration;

use super::lease::checked;
use crate::identity::{AllocationId, Purpose};
use crate::ledger::allocation::{Goes, Lease, Phase};
use crate::ledger::counted::room::Room;
use crate::ledger::refusal::Refusal;
use crate::ledger::{Effect, Event, Ledger, Member, Now};
use crate::policy::LEASE_MIN;
use crate::time::milliseconds;

impl Ledger {
    /// Moves the end of a lease. Longer only where that cannot delay who waits first: else one member could hold on for ever.
    /// An allocation whose lease is over gets back what was granted, where there is room.
    pub(in crate::ledger) fn renew(
        &mut self,
        now: Now,
        member: &Member,
        of: Purpose,
        lease: Duration,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let time = self.clock.last;
        let id = AllocationId { uid: member.uid, purpose: of };
        let allocation = self.active(id)?;
        if allocation.terms.goes == Goes::WithWork {
            return Err(Refusal::TimeIsSet);
        }
        let length = milliseconds(checked(&member.policy, lease, LEASE_MIN)?);
        let new = Lease::new(time, length);
        let expired = allocation.expired();
        let (need, granted) = match allocation.lease {
            Some(_) if allocation.keeps().is_some() => {
                let more = Room::of(allocation.amount).less(allocation.room());
                (more, more.fits(self.books.capacity.free()) && self.may_pass(more, Some(length)))
            }
            Some(old) if new.ends > old.ends => {
                (allocation.room(), self.may_stay(allocation.room(), old.ends, new.ends))
            }
            Some(_) | None => (allocation.room(), true),
        };
        if !granted {
            return Err(self.shortage(now, need, Some(length)));
        }
        let idle_ms = member.policy.idle.map(milliseconds);
        self.alter(id, |allocation| {
            allocation.terms.idle_ms = idle_ms;
            match expired {
                true => allocation.phase = Phase::Renewing { lease: new },
                false => allocation.lease = Some(new),
            }
        });
        effects.push(if expired { Effect::Renew(id) } else { Effect::Notify(Event::Renewed { id }) });
        Ok(())
    }
}
