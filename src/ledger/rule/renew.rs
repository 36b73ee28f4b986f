//! Who asks for more time.

use std::time::Duration;

use super::lease::checked;
use crate::ledger::counted::room::Room;
use crate::ledger::refusal::Refusal;
use crate::ledger::share::{Lease, Phase};
use crate::ledger::{Effect, Event, Ledger, Member, Now};
use crate::policy::LEASE_MIN;
use crate::time::milliseconds;

impl Ledger {
    /// Moves the end of a lease. Longer only where that cannot delay who waits first: else one member could hold on for ever.
    /// A share whose lease is over gets back what was granted, where there is room.
    pub(in crate::ledger) fn renew(
        &mut self,
        now: Now,
        member: &Member,
        lease: Duration,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let time = self.clock.last;
        let share = self.active(member.uid)?;
        let (uid, length) = (member.uid, milliseconds(checked(&member.policy, lease, LEASE_MIN)?));
        let new = Lease::new(time, length);
        let expired = share.expired();
        let (need, granted) = match share.lease {
            Some(_) if share.keeps().is_some() => {
                let more = Room::of(share.amount).less(share.room());
                (more, more.fits(self.books.capacity.free()) && self.may_pass(more, Some(length)))
            }
            Some(old) if new.ends > old.ends => {
                (share.room(), self.may_stay(share.room(), old.ends, new.ends))
            }
            Some(_) | None => (share.room(), true),
        };
        if !granted {
            return Err(self.shortage(now, need, Some(length)));
        }
        let idle_ms = member.policy.idle.map(milliseconds);
        self.alter(uid, |share| {
            share.terms.idle_ms = idle_ms;
            match expired {
                true => share.phase = Phase::Renewing { lease: new },
                false => share.lease = Some(new),
            }
        });
        effects.push(if expired { Effect::Renew(uid) } else { Effect::Notify(Event::Renewed { uid }) });
        Ok(())
    }
}
