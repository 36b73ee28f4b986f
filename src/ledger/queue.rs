//! Who waits, and in which order.
//!
//! Each member has a line, in which their own requests come first come, first served, but for what they say themselves of which
//! goes before which ([`Precedence`]). Of the lines the one with the least key
//! goes first ([`super::fairness`]); of equals the one whose first has been so for longest. But who has been the first of their
//! line for the policy's patience goes before all who have not, the oldest first: a member whom others keep overtaking must
//! come to an end of waiting. Serving them is the business of `advance`.
//!
//! Keys grow while members wait. A line is in the order by the key that it had when it was last looked at, which is no more than
//! its key of now: whoever is read from the front with a key that is still the least is the least of all. Reading the front
//! anew ([`Queue::freshen`]) looks at the lines only that have come before it by an old key, and leaves them where they belong.

use std::cmp::Reverse;
use std::collections::btree_map::Values;
use std::collections::btree_set::{self, Iter};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::ops::Bound::{Excluded, Unbounded};

use super::counted::books::Books;
use super::counted::room::Room;
use super::job::{Job, JobState, Precedence};
use super::time::Time;
use crate::identity::{AllocationId, JobId, Uid};
use crate::policy::Weight;
use crate::quantity::Amount;

/// One who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// The job.
    pub job: JobId,
    /// The member who asked.
    pub uid: Uid,
    /// What is wanted.
    pub amount: Amount,
    /// The most that its member may hold, all allocations together.
    pub max: Amount,
    /// For how long, in milliseconds; `None`: until released.
    pub lease_ms: Option<u64>,
    /// The moment from which it has been the first that its member waits for.
    pub since: Time,
    /// How much of what is scarce its member gets, relative to others.
    pub weight: Weight,
    /// What its member says of which goes before which.
    pub precedence: Precedence,
    /// When it was asked for, or came into the queue.
    pub asked: Time,
}

/// What is kept for the first in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    /// Who is first.
    pub first: Waiting,
    /// When there is room, and what is left beside it then; `None`: leases do not tell.
    pub start: Option<(Time, Room)>,
}

/// Which of a member's own bounds a request of theirs would pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnBounds {
    /// They would hold more than they may.
    pub max: bool,
    /// They would have more commands at work than they may.
    pub running: bool,
}

/// One who waits, as shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The request that waits.
    pub waiting: Waiting,
    /// From 1.
    pub place: u64,
    /// When it starts if nobody comes, goes or renews meanwhile; `None`: nobody can tell.
    pub starts: Option<Time>,
    /// Whether that rests on how long work without a time limit is likely to run, and not on leases alone.
    pub about: bool,
    /// Which allocation gives back the last of the room that it needs by then; `None` where it starts without that.
    pub follows: Option<AllocationId>,
    /// For which bounds of its member's it is passed over until something of theirs ends; `None`: it waits for room.
    pub held_back: Option<OwnBounds>,
}

/// A key, since when its request has been the first of its member's, the request, the member.
type Turn = (u128, Time, JobId, Uid);

/// The place of a request in the line of its member's.
type Rank = (Reverse<Precedence>, Time, JobId);

/// What one member waits for.
#[derive(Debug, Clone, Default)]
struct Line {
    jobs: BTreeSet<Rank>,
    /// The key under which the line is in the order of all. It may have grown since, and is never less.
    key: u128,
    /// Since when its first has been the first.
    since: Time,
}

/// All who wait.
#[derive(Debug, Clone, Default)]
pub(super) struct Queue {
    all: BTreeMap<JobId, Waiting>,
    lines: BTreeMap<Uid, Line>,
    /// The lines, by key, since when their first has been so, and first.
    fair: BTreeSet<Turn>,
    /// The lines, by how long their first has been the first.
    oldest: BTreeSet<(Time, JobId, Uid)>,
    total: Room,
}

impl Waiting {
    /// A job as it waits for room; `None` where it does not.
    pub(super) fn of(job: &Job) -> Option<Self> {
        let (JobState::Queued { since }, Some(ask), None) = (&job.state, job.kind.ask(), job.apart()) else {
            return None;
        };
        Some(Self {
            job: job.id,
            uid: job.uid,
            amount: ask.amount,
            max: ask.terms.max,
            lease_ms: ask.lease_ms,
            since: *since,
            weight: ask.weight,
            precedence: ask.precedence,
            asked: ask.asked,
        })
    }

    fn rank(&self) -> Rank {
        (Reverse(self.precedence), self.asked, self.job)
    }

    /// What it takes of the capacity.
    pub fn need(&self) -> Room {
        Room::of(self.amount)
    }
}

impl Line {
    fn first(&self) -> Option<JobId> {
        self.jobs.first().map(|(.., job)| *job)
    }

    /// Where another leads the line than did before, that one is first from now on: it is answered.
    fn led_by_another(
        &mut self,
        before: Option<JobId>,
        all: &mut BTreeMap<JobId, Waiting>,
        now: Time,
    ) -> Option<JobId> {
        let first = self.first().filter(|first| before != Some(*first))?;
        let waiting = all.get_mut(&first)?;
        (waiting.since, self.since) = (now, now);
        Some(first)
    }
}

impl Queue {
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// How many requests of one member wait.
    pub fn len_of(&self, uid: Uid) -> usize {
        self.lines.get(&uid).map_or(0, |line| line.jobs.len())
    }

    /// What all want together.
    pub fn total(&self) -> Room {
        self.total
    }

    /// The same, with what each wants.
    pub fn waiting_of(&self, uid: Uid) -> impl Iterator<Item = &Waiting> {
        self.of(uid).filter_map(|job| self.all.get(&job))
    }

    /// What one member waits for, in their order.
    pub fn of(&self, uid: Uid) -> impl Iterator<Item = JobId> {
        self.lines.get(&uid).into_iter().flat_map(|line| &line.jobs).map(|(.., job)| *job)
    }

    /// The member whose job it is, where it waits.
    pub fn whose(&self, job: JobId) -> Option<Uid> {
        self.all.get(&job).map(|waiting| waiting.uid)
    }

    /// Whether a job waits.
    pub fn has(&self, job: JobId) -> bool {
        self.all.contains_key(&job)
    }

    /// The first that one member waits for.
    pub fn first_of(&self, uid: Uid) -> Option<&Waiting> {
        self.all.get(&self.lines.get(&uid)?.first()?)
    }

    /// Another request in the place of the same job's. The line has its key until it is [rekeyed](Self::rekey).
    pub fn change(&mut self, new: &Waiting) {
        let Some(old) = self.all.get_mut(&new.job) else { return };
        self.total = self.total.less(old.need()).plus(new.need());
        *old = *new;
    }

    pub fn add(&mut self, waiting: Waiting, books: &Books) {
        self.all.insert(waiting.job, waiting);
        self.total = self.total.plus(waiting.need());
        self.relined(waiting.uid, books, |line, _| {
            line.jobs.insert(waiting.rank());
            line.since = if line.first() == Some(waiting.job) { waiting.since } else { line.since };
        });
    }

    /// Takes one out; who is the first of its line now, where it was until now.
    pub fn remove(&mut self, job: JobId, books: &Books, now: Time) -> Option<(Waiting, Option<JobId>)> {
        let waiting = self.all.remove(&job)?;
        self.total = self.total.less(waiting.need());
        let mut next = None;
        self.relined(waiting.uid, books, |line, all| {
            let was_first = line.first();
            line.jobs.remove(&waiting.rank());
            next = line.led_by_another(was_first, all, now);
        });
        Some((waiting, next))
    }

    /// The same job has another place in its line; who is the first of it now, where that was another until now.
    pub fn reorder(&mut self, new: Waiting, books: &Books, now: Time) -> Option<JobId> {
        let old = self.all.insert(new.job, new)?;
        let mut next = None;
        self.relined(new.uid, books, |line, all| {
            let was_first = line.first();
            line.jobs.remove(&old.rank());
            line.jobs.insert(new.rank());
            next = line.led_by_another(was_first, all, now);
        });
        next
    }

    /// The key of a member is another: their line has another place.
    pub fn rekey(&mut self, uid: Uid, books: &Books) {
        if self.lines.contains_key(&uid) {
            self.relined(uid, books, |_, _| {});
        }
    }

    /// All keys anew.
    pub fn rekey_all(&mut self, books: &Books) {
        let uids: Vec<Uid> = self.lines.keys().copied().collect();
        uids.into_iter().for_each(|uid| self.rekey(uid, books));
    }

    /// Looks at the front anew: how many keys were made. Amortised O(log n): a line that is passed over is left where it belongs.
    pub fn freshen(&mut self, books: &Books) -> usize {
        let (mut seen, mut old, mut least) = (0, Vec::new(), None);
        for noted in &self.fair {
            if least.is_some_and(|least| *noted > least) {
                break;
            }
            let (at, since, job, uid) = noted;
            let Some(waiting) = self.all.get(job) else { continue };
            let key = books.fairness.key(*uid, waiting.weight);
            seen += 1;
            old.extend((key > *at).then_some(*uid));
            // Who only waits for something of their own is passed over by whoever reads.
            if books.fairness.waits(*uid) {
                let turn = (key, *since, *job, *uid);
                least = Some(least.map_or(turn, |least: Turn| least.min(turn)));
            }
        }
        old.into_iter().for_each(|uid| self.rekey(uid, books));
        seen
    }

    /// Changes a line, and its places in the orders of all with it.
    fn relined(
        &mut self,
        uid: Uid,
        books: &Books,
        change: impl FnOnce(&mut Line, &mut BTreeMap<JobId, Waiting>),
    ) {
        let mut line = self.lines.remove(&uid).unwrap_or_default();
        if let Some(first) = line.first() {
            self.fair.remove(&(line.key, line.since, first, uid));
            self.oldest.remove(&(line.since, first, uid));
        }
        change(&mut line, &mut self.all);
        let Some(first) = line.first().and_then(|first| self.all.get(&first)) else { return };
        line.key = books.fairness.key(uid, first.weight);
        self.fair.insert((line.key, line.since, first.job, uid));
        self.oldest.insert((line.since, first.job, uid));
        self.lines.insert(uid, line);
    }

    /// Whoever waits.
    pub fn members(&self) -> impl Iterator<Item = Uid> {
        self.lines.keys().copied()
    }

    /// In the order of arrival.
    pub fn by_arrival<'a>(&'a self, books: &'a Books, now: Time) -> InOrder<'a> {
        let arrival = Some(self.all.values());
        InOrder { arrival, ..self.in_order((None, books), now, u64::MAX) }
    }

    /// In the order in which they are served one after the other, for a patience in milliseconds: the one with the reservation,
    /// and then by age and key. O(log n) each.
    pub fn in_order<'a>(
        &'a self,
        (reserved, books): (Option<JobId>, &'a Books),
        now: Time,
        patience_ms: u64,
    ) -> InOrder<'a> {
        InOrder {
            queue: self,
            reserved: reserved.and_then(|job| self.all.get(&job)),
            taken: reserved,
            books,
            now,
            patience_ms,
            arrival: None,
            passed_over: BTreeSet::new(),
            aged: self.oldest.iter(),
            stored: self.fair.iter(),
            next: None,
            exact: BinaryHeap::new(),
        }
    }

    /// When the next who has been first of theirs comes to the end of a patience that is not over.
    pub fn patience_ends(&self, now: Time, patience_ms: u64) -> Option<Time> {
        let over = now.0.checked_sub(patience_ms);
        let next = Time(over.map_or(0, |over| over.saturating_add(1)));
        let ends = |since: &Time| since.after(patience_ms);
        self.oldest.range((next, JobId(0), Uid::ROOT)..).map(|(since, ..)| ends(since)).find(|at| *at > now)
    }
}

/// Those who wait, in the order in which they are served one after the other: each counts for the next of its member as if it
/// were held already.
pub(super) struct InOrder<'a> {
    queue: &'a Queue,
    /// The one with the reservation, until it was taken out.
    reserved: Option<&'a Waiting>,
    taken: Option<JobId>,
    /// All of them by arrival, where that is the order.
    arrival: Option<Values<'a, JobId, Waiting>>,
    /// Members of whom no more is wanted.
    passed_over: BTreeSet<Uid>,
    books: &'a Books,
    now: Time,
    patience_ms: u64,
    /// The lines by age, as long as there may be some whose first goes before all.
    aged: btree_set::Iter<'a, (Time, JobId, Uid)>,
    stored: Iter<'a, Turn>,
    /// The next line of `stored`, with a key that is not more than its own.
    next: Option<&'a Turn>,
    /// Lines with their keys of this moment.
    exact: BinaryHeap<Reverse<Turn>>,
}

impl<'a> InOrder<'a> {
    fn take(&mut self, key: u128, job: JobId, uid: Uid) -> Option<&'a Waiting> {
        let waiting = self.queue.all.get(&job)?;
        self.exact.extend(self.after(key, waiting, uid).map(Reverse));
        Some(waiting)
    }

    /// The next of a line, after this one.
    fn after(&self, key: u128, taken: &Waiting, uid: Uid) -> Option<Turn> {
        let line = self.queue.lines.get(&uid)?;
        let (.., next) = line.jobs.range((Excluded(taken.rank()), Unbounded)).next()?;
        let more = self.books.weighs(taken.need(), taken.weight);
        // It is the first of its member's from this moment on.
        Some((key.saturating_add(more), self.now, *next, uid))
    }

    fn key_of(&self, job: JobId, uid: Uid) -> u128 {
        self.queue.all.get(&job).map_or(0, |waiting| self.books.fairness.key(uid, waiting.weight))
    }
}

impl<'a> InOrder<'a> {
    /// The next by age and key.
    fn next_in_line(&mut self) -> Option<&'a Waiting> {
        while let Some(&(since, job, uid)) = self.aged.next() {
            if self.now.since(since) < self.patience_ms {
                // Nobody after this one is.
                self.aged = Default::default();
            } else if !self.passed_over.contains(&uid) {
                return self.take(self.key_of(job, uid), job, uid);
            }
        }
        loop {
            self.look_up_to_the_least();
            let Reverse((key, _, job, uid)) = self.exact.pop()?;
            if !self.passed_over.contains(&uid) {
                return self.take(key, job, uid);
            }
        }
    }

    /// Makes keys anew until none that is noted can be less than the least of those.
    fn look_up_to_the_least(&mut self) {
        loop {
            self.next = self.next.or_else(|| self.stored.next());
            let Some(&(least, since, job, uid)) = self.next else { return };
            if self.exact.peek().is_some_and(|Reverse(exact)| *exact < (least, since, job, uid)) {
                return;
            }
            self.next = None;
            if self.now.since(since) < self.patience_ms {
                self.exact.push(Reverse((self.key_of(job, uid), since, job, uid)));
            }
        }
    }

    /// Leaves out whatever else this member waits for.
    pub fn pass_over(&mut self, uid: Uid) {
        self.passed_over.insert(uid);
    }
}

impl<'a> Iterator for InOrder<'a> {
    type Item = &'a Waiting;

    fn next(&mut self) -> Option<&'a Waiting> {
        let passed_over = &self.passed_over;
        if let Some(all) = &mut self.arrival {
            return all.find(|waiting| !passed_over.contains(&waiting.uid));
        }
        if let Some(reserved) = self.reserved.take() {
            return Some(reserved);
        }
        let next = self.next_in_line()?;
        if self.taken == Some(next.job) { self.next_in_line() } else { Some(next) }
    }
}

impl Reservation {
    /// Whether room may be given now to another without delaying the first.
    pub fn lets_pass(&self, need: Room, lease_ms: Option<u64>, now: Time) -> bool {
        match self.start {
            None => true,
            Some((start, beside)) => ends_by(lease_ms, now, start) || need.fits(beside),
        }
    }
}

/// Whether a lease that begins now is over by `start`.
pub(super) fn ends_by(lease_ms: Option<u64>, now: Time, start: Time) -> bool {
    lease_ms.is_some_and(|lease| now.after(lease) <= start)
}

#[cfg(test)]
mod tests;
