//! Who waits is served: the first in the queue, and by EASY backfill those who cannot delay it.
//!
//! The first who waits and whom the machine can hold has a reservation: the earliest moment at which leases have
//! given back enough (Lifka, "The ANL/IBM SP scheduling system", 1995; Mu'alem and Feitelson, IEEE TPDS 2001).
//! Another may have free room before it only if it gives it back by then, or leaves enough then. The same rule
//! holds for a request that does not wait, for an allocation that grows and for a lease that is renewed.
//!
//! **Bound.** Let P be the patience, L the longest lease that is held or asked for. A request that the machine
//! can hold, in a ledger where every allocation has a lease, is begun within `P + (k + 1) * L` of its arrival, `k` being the
//! number of requests that arrived before it and still wait. For after P only those `k` go before it
//! ([`super::queue`]); and who is first stays first and is begun within L, for all that is held now ends within L and
//! nothing that is granted, grown or renewed meanwhile holds room past the reservation that the first needs. That is on the
//! condition that [`super::Command::Tick`] comes when [`Ledger::next_wakeup`] says, that systemd does what it is told,
//! that nobody keeps memory in an allocation whose lease is over, and that capacity does not shrink and nothing is drained
//! meanwhile.
//!
//! **What is likely.** Work without a time limit is taken to run as long as its member's last two did ([`super::likely`]): by that
//! a reservation is computed, and by that it passes. What is said of starts ([`Ledger::places`]) rests on leases as far as these
//! tell, and where it rests on that it says so.
//!
//! **What does not end.** Other allocations without a lease never give back, nor does a lease count whose end is further away than
//! the first can be made to wait ([`Ledger::horizon`]), nor what an expired allocation keeps. A first in the queue who needs
//! their room has no known start. Then nothing is held back for it (6-fairness.md): room that it cannot use is not idle.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::counted::ends::Ends;
use super::counted::room::Room;
use super::job::{Job, JobState, WORKS_PER_UID_MAX};
use super::queue::{InOrder, OwnBounds, Reservation, Waiting, ends_by};
use super::share::Share;
use super::time::Time;
use super::{Effect, Event, Ledger, Now, Order};
use crate::identity::{AllocationId, JobId, Uid};

/// How many who wait are looked at for backfill in one command (6-fairness.md "The key"; Slurm's `bf_max_job_test` is its like).
pub const BACKFILL_DEPTH_MAX: usize = 256;

impl Ledger {
    /// Begins for everyone who can be served now.
    pub(super) fn advance(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.draining {
            return self.evict_for(now, false, effects);
        }
        if self.resumed {
            return;
        }
        self.queue.freshen(&self.books);
        loop {
            while let Some(first) = self.first().filter(|first| first.need().fits(self.books.capacity.free()))
            {
                self.serve(now, first.job, effects);
            }
            let served =
                self.reservation().map(|reservation| self.backfill(&reservation)).unwrap_or_default();
            // What passed may be of the first's own member, who then holds too much for it: another is first, and may fit.
            if served.is_empty() {
                break;
            }
            served.into_iter().for_each(|job| self.serve(now, job, effects));
        }
        // Who becomes least meanwhile does not take the reservation from it. Until it is known what there is nobody loses it.
        if self.books.capacity.whole() != Room::NONE {
            self.reserved = self.first().map(|first| first.job);
        }
        let someone_waits = self.first().is_some();
        self.evict_for(now, someone_waits, effects);
    }

    /// Those behind the first who can be served without delaying it. A member whose next would pass what they may hold is passed
    /// over, and what they wait for after it with it.
    fn backfill(&self, reservation: &Reservation) -> Vec<JobId> {
        let time = self.clock.last;
        let mut free = self.books.capacity.free();
        let mut kept = *reservation;
        let mut served = Vec::new();
        let mut shares: BTreeMap<Uid, Share> = BTreeMap::new();
        let mut likely: BTreeMap<Uid, Option<u64>> = BTreeMap::new();
        if free.cpu == 0 || free.mem == 0 {
            return served;
        }
        let mut order = self.in_order();
        for _ in 0..BACKFILL_DEPTH_MAX {
            let Some(waiting) = order.next() else { break };
            let (need, uid) = (waiting.need(), waiting.uid);
            let share = *shares.entry(uid).or_insert_with(|| self.share_of(uid));
            if self.is_held_back(waiting, &share) {
                order.pass_over(uid);
                continue;
            }
            if !need.fits(free) || waiting.job == kept.first.job {
                continue;
            }
            let held_ms = match waiting.lease_ms {
                None if self.is_work(waiting) => {
                    *likely.entry(uid).or_insert_with(|| self.passes_ms(uid, &kept.first))
                }
                known => known,
            };
            if !kept.lets_pass(need, held_ms, time) {
                continue;
            }
            free = free.less(need);
            if let Some((start, beside)) = &mut kept.start
                && !ends_by(held_ms, time, *start)
            {
                *beside = beside.less(need);
            }
            shares.insert(uid, share.with(waiting.amount));
            served.push(waiting.job);
        }
        served
    }

    fn serve(&mut self, now: Now, id: JobId, effects: &mut Vec<Effect>) {
        let Some(job) = self.taken_out(now, id) else { return };
        let allocation = job.home().unwrap_or(AllocationId::standing(job.uid));
        let Some(ask) = job.kind.ask() else { return };
        self.begin(now, allocation, ask, Some(job.id));
        effects.push(Effect::Grant(allocation));
        effects.push(Effect::Notify(Event::Job(job.id)));
    }

    /// The job that is served where it is this one's turn: itself, or the next task of an array.
    pub(super) fn taken_out(&mut self, now: Now, id: JobId) -> Option<Arc<Job>> {
        if self.jobs.get(&id)?.array().is_some() {
            return self.next_task(now, id);
        }
        self.leave_line(id);
        let job = self.jobs.get_mut(&id)?;
        Arc::make_mut(job).state = JobState::Running { started: now };
        let job = Arc::clone(job);
        self.count_work(&job);
        Some(job)
    }

    /// Who waits, in the order in which they are served.
    pub(super) fn in_order(&self) -> InOrder<'_> {
        let time = self.clock.last;
        match self.rules.map(|rules| rules.order).unwrap_or_default() {
            Order::Arrival => self.queue.by_arrival(&self.books, time),
            Order::Fair => self.queue.in_order((self.reserved, &self.books), time, self.patience_ms()),
        }
    }

    /// Whether a request waits for something of its own member's to end, whatever room there is: with it they would hold more
    /// than they may, or have more commands at work.
    pub(super) fn is_held_back(&self, waiting: &Waiting, share: &Share) -> bool {
        self.held_back(waiting, share).is_some()
    }

    /// The bounds of its member's that a request would pass; `None`: none, so that it waits for room.
    pub(super) fn held_back(&self, waiting: &Waiting, share: &Share) -> Option<OwnBounds> {
        let max = share.over(waiting.amount, waiting.max).is_some() || self.is_as_in_0_1(waiting.uid);
        let running = self.commands_full(waiting.uid, share).is_some();
        (max || running).then_some(OwnBounds { max, running })
    }

    /// How many commands of a member may be at work in allocations of their own, where so many are.
    pub(super) fn commands_full(&self, uid: Uid, share: &Share) -> Option<usize> {
        let standing = self.allocations.contains_key(&AllocationId::standing(uid));
        let running = share.allocations.saturating_sub(usize::from(standing));
        let most = self.rules.map(|rules| rules.queue.running).filter(|most| *most > 0);
        let most = most.map_or(WORKS_PER_UID_MAX, |most| most.min(WORKS_PER_UID_MAX));
        (running >= most).then_some(most)
    }

    /// The first who waits and whom the machine can hold at all, and who may hold it. The first is the first until it starts, or
    /// does not wait any more (6-fairness.md "The key").
    fn first(&self) -> Option<Waiting> {
        let whole = self.books.capacity.whole();
        let mut order = self.in_order();
        while let Some(waiting) = order.next() {
            if !waiting.need().fits(whole) {
                continue;
            }
            if !self.is_held_back(waiting, &self.share_of(waiting.uid)) {
                return Some(*waiting);
            }
            order.pass_over(waiting.uid);
        }
        None
    }

    /// What is kept for the first in the queue: from when leases give back enough, and what has none is likely to be over.
    pub fn reservation(&self) -> Option<Reservation> {
        let first = self.first()?;
        Some(Reservation { first, start: self.room_at(first.need(), &self.books.likely) })
    }

    /// The earliest moment at which these ends have given back room for `need`, and what is left beside it then.
    fn room_at(&self, need: Room, ends: &Ends) -> Option<(Time, Room)> {
        let capacity = &self.books.capacity;
        let wanted = capacity.held().plus(need);
        let missing = wanted.less(capacity.whole());
        if missing == Room::NONE {
            return Some((self.clock.last, capacity.whole().less(wanted)));
        }
        let (end, given) = ends.first_giving(missing).filter(|(end, _)| *end <= self.horizon())?;
        Some((end.max(self.clock.last), capacity.whole().plus(given).less(wanted)))
    }

    /// When there is room for all who wait and for `asked` beside them.
    pub(super) fn room_for_all_and(&self, asked: Room) -> Option<Time> {
        self.room_at(self.queue.total().plus(asked), &self.books.ends).map(|(at, _)| at)
    }

    /// Whether free room may be given to someone who is not first.
    pub(super) fn may_pass(&self, need: Room, lease_ms: Option<u64>) -> bool {
        self.reservation().is_none_or(|kept| kept.lets_pass(need, lease_ms, self.clock.last))
    }

    /// Whether an allocation may be held until `new` instead of `old`.
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
}
