//! Who waits is served: the first in the queue, and by EASY backfill those who cannot delay it.
//!
//! The first who waits and whom the machine can hold has a reservation: the earliest moment at which leases have
//! given back enough (Lifka, "The ANL/IBM SP scheduling system", 1995; Mu'alem and Feitelson, IEEE TPDS 2001).
//! Another may have free room before it only if it gives it back by then, or leaves enough then. The same rule
//! holds for a request that does not wait, for a share that grows and for a lease that is renewed.
//!
//! **Bound.** Let P be the patience, L the longest lease that is held or asked for. A request that the machine
//! can hold, in a ledger where every share has a lease, is begun within `P + (k + 1) * L` of its arrival, `k` being the
//! number of requests that arrived before it and still wait. For after P only those `k` go before it
//! ([`super::queue`]); and who is first stays first and is begun within L, for all that is held now ends within L and
//! nothing that is granted, grown or renewed meanwhile holds room past the reservation that the first needs. That is on the
//! condition that [`super::Command::Tick`] comes when [`Ledger::next_wakeup`] says, that systemd does what it is told,
//! that nobody keeps memory in a share whose lease is over, and that capacity does not shrink and nothing is drained
//! meanwhile.
//!
//! **What does not end.** Shares without a lease never give back, nor does a lease count whose end is further away than
//! the first can be made to wait ([`Ledger::horizon`]), nor what an expired share keeps. A first in the queue who needs
//! their room has no known start. Then nothing is held back for it (6-fairness.md): room that it cannot use is not idle.

use std::sync::Arc;

use super::counted::room::Room;
use super::job::JobState;
use super::queue::{Place, Reservation, Waiting, ends_by};
use super::time::Time;
use super::{Effect, Event, Ledger, Now};
use crate::identity::JobId;

/// How many who wait behind the first are looked at for backfill in one command (Slurm's `bf_max_job_test` is its like).
pub const BACKFILL_DEPTH_MAX: usize = 64;

impl Ledger {
    /// Begins for everyone who can be served now.
    pub(super) fn advance(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.draining {
            return self.evict_for(now, false, effects);
        }
        if self.resumed {
            return;
        }
        while let Some(first) = self.first().filter(|first| first.need.fits(self.books.capacity.free())) {
            self.serve(now, first.job, effects);
        }
        if let Some(reservation) = self.reservation() {
            for job in self.backfill(&reservation) {
                self.serve(now, job, effects);
            }
        }
        let someone_waits = self.first().is_some();
        self.evict_for(now, someone_waits, effects);
    }

    /// Those behind the first who can be served without delaying it.
    fn backfill(&self, reservation: &Reservation) -> Vec<JobId> {
        let (time, patience) = (self.clock.last, self.patience_ms());
        let mut free = self.books.capacity.free();
        let mut kept = *reservation;
        let mut served = Vec::new();
        if free.cpu == 0 || free.mem == 0 {
            return served;
        }
        for waiting in self.queue.in_order(time, patience).take(BACKFILL_DEPTH_MAX) {
            if !waiting.need.fits(free)
                || waiting.job == kept.first.job
                || !kept.lets_pass(waiting.need, waiting.lease_ms, time)
            {
                continue;
            }
            free = free.less(waiting.need);
            if let Some((start, beside)) = &mut kept.start
                && !ends_by(waiting.lease_ms, time, *start)
            {
                *beside = beside.less(waiting.need);
            }
            served.push(waiting.job);
        }
        served
    }

    fn serve(&mut self, now: Now, id: JobId, effects: &mut Vec<Effect>) {
        self.queue.remove(id);
        let Some(job) = self.jobs.get_mut(&id).map(Arc::make_mut) else { return };
        job.state = JobState::Running { started: now };
        let (uid, Some(ask)) = (job.uid, job.kind.ask()) else { return };
        let ask = ask.clone();
        self.begin(now, uid, &ask, Some(id));
        effects.push(Effect::Grant(uid));
        effects.push(Effect::Notify(Event::Job(id)));
    }

    /// The first who waits and whom the machine can hold at all.
    fn first(&self) -> Option<Waiting> {
        let whole = self.books.capacity.whole();
        let mut order = self.queue.in_order(self.clock.last, self.patience_ms());
        order.find(|waiting| waiting.need.fits(whole)).copied()
    }

    /// Whether a request with this key that arrives now goes before all who wait.
    pub(super) fn goes_first(&self, key: u128) -> bool {
        let aged = |first: &Waiting| self.clock.last.since(first.since) >= self.patience_ms();
        self.first().is_none_or(|first| !aged(&first) && key < first.key)
    }

    /// What is kept for the first in the queue.
    pub fn reservation(&self) -> Option<Reservation> {
        let first = self.first()?;
        Some(Reservation { first, start: self.room_at(first.need) })
    }

    /// The earliest moment at which there is room for `need`, and what is left beside it then.
    fn room_at(&self, need: Room) -> Option<(Time, Room)> {
        let capacity = &self.books.capacity;
        let wanted = capacity.held().plus(need);
        let missing = wanted.less(capacity.whole());
        if missing == Room::NONE {
            return Some((self.clock.last, capacity.whole().less(wanted)));
        }
        let (end, given) = self.books.ends.first_giving(missing).filter(|(end, _)| *end <= self.horizon())?;
        Some((end.max(self.clock.last), capacity.whole().plus(given).less(wanted)))
    }

    /// When there is room for all who wait and for `asked` beside them.
    pub(super) fn room_for_all_and(&self, asked: Room) -> Option<Time> {
        self.room_at(self.queue.total().plus(asked)).map(|(at, _)| at)
    }

    /// Whether free room may be given to someone who is not first.
    pub(super) fn may_pass(&self, need: Room, lease_ms: Option<u64>) -> bool {
        self.reservation().is_none_or(|kept| kept.lets_pass(need, lease_ms, self.clock.last))
    }

    /// Whether a share may be held until `new` instead of `old`.
    pub(super) fn may_stay(&self, need: Room, old: Time, new: Time) -> bool {
        let Some(Reservation { start: Some((start, beside)), .. }) = self.reservation() else { return true };
        old > start || new <= start || need.fits(beside)
    }

    /// The most that would be granted now to a request with this lease.
    pub(super) fn largest(&self, lease_ms: Option<u64>) -> Room {
        let free = self.books.capacity.free();
        match self.reservation().map(|kept| kept.start) {
            None => free,
            Some(None) => free,
            Some(Some((start, _))) if ends_by(lease_ms, self.clock.last, start) => free,
            Some(Some((_, beside))) => free.min(beside),
        }
    }

    /// Who waits, in order, with place and start. What is said of starts holds if nobody comes, goes early, or renews, and
    /// nobody passes: it is an upper bound for everyone whose place stays. O(n log n).
    pub fn places(&self) -> Vec<Place> {
        let capacity = self.books.capacity;
        let mut ends: std::collections::BTreeSet<(Time, u64)> = std::collections::BTreeSet::new();
        let mut rooms: Vec<Room> = Vec::new();
        for share in self.shares.values() {
            if let Some(end) = share.gives_at() {
                ends.insert((end, rooms.len() as u64));
                rooms.push(share.room());
            }
        }
        let horizon = self.horizon();
        let (mut held, mut time, mut known) = (capacity.held(), self.clock.last, true);
        let mut places = Vec::with_capacity(self.queue.len());
        for waiting in self.queue.in_order(self.clock.last, self.patience_ms()) {
            let possible = waiting.need.fits(capacity.whole());
            while possible && known && !held.plus(waiting.need).fits(capacity.whole()) {
                let Some((end, index)) = ends.pop_first() else {
                    known = false;
                    break;
                };
                let room = usize::try_from(index).ok().and_then(|index| rooms.get(index));
                held = held.less(room.copied().unwrap_or_default());
                time = time.max(end);
            }
            let starts = (possible && known && !self.draining && time <= horizon).then_some(time);
            if possible && known {
                held = held.plus(waiting.need);
                if let Some(lease) = waiting.lease_ms {
                    ends.insert((time.after(lease), rooms.len() as u64));
                    rooms.push(waiting.need);
                }
            }
            places.push(Place { waiting: *waiting, place: places.len() as u64 + 1, starts });
        }
        places
    }
}
