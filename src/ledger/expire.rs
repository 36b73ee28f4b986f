//! What time does: warnings, ends of leases, emptiness, patience; and what is done about an expired allocation.

use super::allocation::{Allocation, Goes, Keeps, Lease, Phase, Stage};
use super::time::Time;
use super::{Effect, Event, Ledger, Now, Rules};
use crate::identity::AllocationId;

/// Between two attempts to lower an expired allocation's limits, or to stop what is inside, in milliseconds.
pub const RETRY_MS: u64 = 60_000;

/// Between the warning and the stop of an expired allocation, in milliseconds (1-product.md "Leases": five minutes).
pub const EVICTION_GRACE_MS: u64 = 5 * 60 * 1000;

impl Ledger {
    pub(super) fn tick(&mut self, effects: &mut Vec<Effect>) {
        let time = self.clock.last;
        let due: Vec<AllocationId> =
            self.books.alarms.iter().take_while(|(at, _)| *at <= time).map(|(_, id)| *id).collect();
        due.into_iter().for_each(|id| self.allocation_due(id, effects));
        self.put_off_guesses();
        self.begin_due();
        self.warn_due(effects);
    }

    fn allocation_due(&mut self, id: AllocationId, effects: &mut Vec<Effect>) {
        let time = self.clock.last;
        let Some(allocation) = self.allocations.get(&id) else { return };
        if let Some(lease) = allocation.lease
            && let Stage::Running { warn } = lease.stage
        {
            if lease.ends <= time {
                let stays = allocation.empty_since.is_none();
                let stage = Stage::Expired { since: time, keeps: None, lower: Some(time), evict: None };
                self.alter(id, |allocation| allocation.lease = Some(Lease { stage, ..lease }));
                effects.push(Effect::Notify(Event::Expired { id, stays }));
            } else if warn.is_some_and(|warn| warn <= time) {
                let stage = Stage::Running { warn: lease.warning_after(time) };
                self.alter(id, |allocation| allocation.lease = Some(Lease { stage, ..lease }));
                effects.push(Effect::Notify(Event::Expiring { id, left_ms: lease.ends.since(time) }));
            }
        }
        self.follow_up(id, effects);
    }

    /// Does what is due about an allocation that nothing is being done about.
    pub(super) fn follow_up(&mut self, id: AllocationId, effects: &mut Vec<Effect>) {
        let time = self.clock.last;
        let Some(allocation) =
            self.allocations.get(&id).filter(|allocation| allocation.phase == Phase::Active)
        else {
            return;
        };
        let idle = allocation.idle_at().is_some_and(|at| at <= time);
        let over = allocation.expired() || allocation.terms.goes == Goes::WithWork;
        if idle || (over && allocation.empty_since.is_some()) {
            self.alter(id, |allocation| allocation.phase = Phase::Releasing);
            return effects.push(Effect::Withdraw(id));
        }
        let Some(Stage::Expired { lower: Some(at), .. }) = allocation.lease.map(|lease| lease.stage) else {
            return;
        };
        if at <= time {
            self.alter(id, |allocation| allocation.phase = Phase::Lowering);
            effects.push(Effect::Lower(id));
        }
    }

    /// The limits of an allocation whose lease is over have come down to this; `None`: they have not, and it is tried again.
    pub(super) fn set_keeps(&mut self, id: AllocationId, kept: Option<Keeps>) {
        let retry = self.clock.last.after(RETRY_MS);
        self.alter(id, |allocation| {
            if let Some(lease) = &mut allocation.lease
                && let Stage::Expired { keeps, lower, .. } = &mut lease.stage
            {
                (*keeps, *lower) = (kept, kept.is_none().then_some(retry));
            }
        });
    }

    pub(super) fn occupancy(&mut self, id: AllocationId, populated: bool, effects: &mut Vec<Effect>) {
        let time = self.clock.last;
        let Some(allocation) = self.allocations.get(&id) else { return };
        // A submitted command may be on its way in: who is inside is to be said again when it is over.
        if !populated && self.works_in(id) {
            return;
        }
        if populated != allocation.empty_since.is_none() {
            self.alter(id, |allocation| allocation.empty_since = (!populated).then_some(time));
            self.follow_up(id, effects);
        }
    }

    /// Announces the eviction of the allocation that has been expired longest, carries it out when its time has come, or
    /// takes the announcement back. After everyone who can be has been served: nothing is stopped for nobody.
    ///
    /// Only where the policy says so, and only while someone waits: one allocation at a time, so that no more is stopped
    /// than is needed.
    pub(super) fn evict_for(&mut self, now: Now, someone_waits: bool, effects: &mut Vec<Effect>) {
        let time = self.clock.last;
        // Until the policy has spoken nothing is announced, and what a daemon before this one announced stands.
        let Some(Rules { evict, .. }) = self.rules else { return };
        let wanted = evict && someone_waits;
        let active = |ledger: &Self, id: AllocationId| {
            ledger.allocations.get(&id).is_some_and(|allocation| allocation.phase == Phase::Active)
        };
        let due = |ledger: &Self, id: AllocationId| {
            ledger.allocations.get(&id).and_then(Allocation::eviction).is_some_and(|at| at <= time)
        };
        match self.books.evicting {
            Some(id) if !wanted && active(self, id) => self.set_eviction(id, None),
            Some(id) if wanted && active(self, id) && due(self, id) => {
                let job = self.stopping(now, id);
                effects.push(Effect::Evict { id, job });
            }
            None if wanted => {
                let mut longest = self.books.expired.iter().map(|(_, id)| *id);
                let Some(id) = longest.find(|id| active(self, *id)) else { return };
                self.set_eviction(id, Some(time.after(EVICTION_GRACE_MS)));
                effects.push(Effect::Notify(Event::Evicting { id, in_ms: EVICTION_GRACE_MS }));
            }
            Some(_) | None => {}
        }
    }

    /// Has an expired allocation stopped then, or not.
    pub(super) fn set_eviction(&mut self, id: AllocationId, at: Option<Time>) {
        self.alter(id, |allocation| {
            if let Some(lease) = &mut allocation.lease
                && let Stage::Expired { evict, .. } = &mut lease.stage
            {
                *evict = at;
            }
        });
    }
}
