//! What time does: warnings, ends of leases, emptiness, patience; and what is done about an expired share.

use super::share::{Keeps, Lease, Phase, Share, Stage};
use super::time::Time;
use super::{Effect, Event, Ledger, Now, Rules};
use crate::identity::Uid;

/// Between two attempts to lower an expired share's limits, or to stop what is inside, in milliseconds.
pub const RETRY_MS: u64 = 60_000;

/// Between the warning and the stop of an expired share, in milliseconds (1-product.md "A share": five minutes).
pub const EVICTION_GRACE_MS: u64 = 5 * 60 * 1000;

impl Ledger {
    pub(super) fn tick(&mut self, effects: &mut Vec<Effect>) {
        let time = self.clock.last;
        let due: Vec<Uid> =
            self.books.alarms.iter().take_while(|(at, _)| *at <= time).map(|(_, uid)| *uid).collect();
        due.into_iter().for_each(|uid| self.share_due(uid, effects));
    }

    fn share_due(&mut self, uid: Uid, effects: &mut Vec<Effect>) {
        let time = self.clock.last;
        let Some(share) = self.shares.get(&uid) else { return };
        if let Some(lease) = share.lease
            && let Stage::Running { warn } = lease.stage
        {
            if lease.ends <= time {
                let stays = share.empty_since.is_none();
                let stage = Stage::Expired { since: time, keeps: None, lower: Some(time), evict: None };
                self.alter(uid, |share| share.lease = Some(Lease { stage, ..lease }));
                effects.push(Effect::Notify(Event::Expired { uid, stays }));
            } else if warn.is_some_and(|warn| warn <= time) {
                let stage = Stage::Running { warn: lease.warning_after(time) };
                self.alter(uid, |share| share.lease = Some(Lease { stage, ..lease }));
                effects.push(Effect::Notify(Event::Expiring { uid, left_ms: lease.ends.since(time) }));
            }
        }
        self.follow_up(uid, effects);
    }

    /// Does what is due about a share that nothing is being done about.
    pub(super) fn follow_up(&mut self, uid: Uid, effects: &mut Vec<Effect>) {
        let time = self.clock.last;
        let Some(share) = self.shares.get(&uid).filter(|share| share.phase == Phase::Active) else { return };
        let idle = share.idle_at().is_some_and(|at| at <= time);
        let over = share.expired() || share.terms.for_work;
        if idle || (over && share.empty_since.is_some()) {
            self.alter(uid, |share| share.phase = Phase::Releasing);
            return effects.push(Effect::Withdraw(uid));
        }
        let Some(Stage::Expired { lower: Some(at), .. }) = share.lease.map(|lease| lease.stage) else {
            return;
        };
        if at <= time {
            self.alter(uid, |share| share.phase = Phase::Lowering);
            effects.push(Effect::Lower(uid));
        }
    }

    /// The limits of a share whose lease is over have come down to this; `None`: they have not, and it is tried again.
    pub(super) fn set_keeps(&mut self, uid: Uid, kept: Option<Keeps>) {
        let retry = self.clock.last.after(RETRY_MS);
        self.alter(uid, |share| {
            if let Some(lease) = &mut share.lease
                && let Stage::Expired { keeps, lower, .. } = &mut lease.stage
            {
                (*keeps, *lower) = (kept, kept.is_none().then_some(retry));
            }
        });
    }

    pub(super) fn occupancy(&mut self, uid: Uid, populated: bool, effects: &mut Vec<Effect>) {
        let time = self.clock.last;
        let Some(share) = self.shares.get(&uid) else { return };
        // A submitted command may be on its way in: who is inside is to be said again when it is over.
        if !populated && self.works(uid) {
            return;
        }
        if populated != share.empty_since.is_none() {
            self.alter(uid, |share| share.empty_since = (!populated).then_some(time));
            self.follow_up(uid, effects);
        }
    }

    /// Announces the eviction of the share that has been expired longest, carries it out when its time has come, or
    /// takes the announcement back. After everyone who can be has been served: nothing is stopped for nobody.
    ///
    /// Only where the policy says so, and only while someone waits: one share at a time, so that no more is stopped
    /// than is needed.
    pub(super) fn evict_for(&mut self, now: Now, someone_waits: bool, effects: &mut Vec<Effect>) {
        let time = self.clock.last;
        // Until the policy has spoken nothing is announced, and what a daemon before this one announced stands.
        let Some(Rules { evict, .. }) = self.rules else { return };
        let wanted = evict && someone_waits;
        let active = |ledger: &Self, uid: Uid| {
            ledger.shares.get(&uid).is_some_and(|share| share.phase == Phase::Active)
        };
        let due = |ledger: &Self, uid: Uid| {
            ledger.shares.get(&uid).and_then(Share::eviction).is_some_and(|at| at <= time)
        };
        match self.books.evicting {
            Some(uid) if !wanted && active(self, uid) => self.set_eviction(uid, None),
            Some(uid) if wanted && active(self, uid) && due(self, uid) => {
                let job = self.stopping(now, uid);
                effects.push(Effect::Evict { uid, job });
            }
            None if wanted => {
                let mut longest = self.books.expired.iter().map(|(_, uid)| *uid);
                let Some(uid) = longest.find(|uid| active(self, *uid)) else { return };
                self.set_eviction(uid, Some(time.after(EVICTION_GRACE_MS)));
                effects.push(Effect::Notify(Event::Evicting { uid, in_ms: EVICTION_GRACE_MS }));
            }
            Some(_) | None => {}
        }
    }

    /// Has an expired share stopped then, or not.
    pub(super) fn set_eviction(&mut self, uid: Uid, at: Option<Time>) {
        self.alter(uid, |share| {
            if let Some(lease) = &mut share.lease
                && let Stage::Expired { evict, .. } = &mut lease.stage
            {
                *evict = at;
            }
        });
    }
}
