//! What is said to those who wait: at which place they stand, and when they are expected to start.

use std::collections::{BTreeMap, BTreeSet};

use super::Ledger;
use super::array::Array;
use super::counted::room::Room;
use super::queue::{OwnBounds, Place, Waiting};
use super::time::Time;
use crate::identity::{AllocationId, Uid};

/// The time to come, as far as it is known who gives back room when.
struct Ahead<'a> {
    ledger: &'a Ledger,
    /// How much each allocation gives back that is held now, or is to be by then.
    rooms: Vec<(AllocationId, Room)>,
    /// When they do; by their index.
    ends: BTreeSet<(Time, usize)>,
    /// When those do whose leases do not tell, as far as that is likely. They count among `ends` when nothing else does.
    likely: BTreeSet<(Time, usize)>,
    /// How long work of each member's is likely to run, in milliseconds, as far as it was looked up.
    runs: BTreeMap<Uid, Option<u64>>,
    /// What is held by then.
    held: Room,
    /// The moment that has been come to.
    time: Time,
    /// Whether that rests on what is likely.
    about: bool,
    /// Which gave back its room at that moment.
    ended: Option<AllocationId>,
}

impl Ledger {
    /// Who waits, in order, with place and start. What is said of starts holds if nobody comes, goes early, or renews, and
    /// nobody passes: it is an upper bound for everyone whose place stays. Where leases do not tell, what is likely does, and it
    /// is said that it rests on that. Who waits for something of their own to end has no start, and is before nobody: with what
    /// they wait for besides it is passed over until then. What waits behind an array of its own member's has none either: each of
    /// the array's tasks goes before it. O(n log n).
    pub fn places(&self) -> Vec<Place> {
        let whole = self.books.capacity.whole();
        let (mut ahead, mut known) = (Ahead::of(self), !self.draining);
        let mut places = Vec::with_capacity(self.queue.len());
        let mut passed_over: BTreeMap<Uid, OwnBounds> = BTreeMap::new();
        let mut arrays: BTreeSet<Uid> = BTreeSet::new();
        for waiting in self.in_order() {
            let (need, uid) = (waiting.need(), waiting.uid);
            let held_back = passed_over.get(&uid).copied();
            let held_back = held_back.or_else(|| self.held_back(waiting, &self.share_of(uid)));
            passed_over.extend(held_back.map(|bounds| (uid, bounds)));
            let possible = need.fits(whole) && held_back.is_none() && !arrays.contains(&uid);
            let to_come = self.jobs.get(&waiting.job).and_then(|job| job.array()).map_or(0, Array::to_come);
            arrays.extend((to_come > 1).then_some(uid));
            known = known && (!possible || ahead.come_to(need, whole));
            let starts = (possible && known).then_some(ahead.time);
            if starts.is_some() {
                ahead.take(waiting);
            }
            let about = starts.is_some() && ahead.about;
            let follows = ahead.ended.filter(|_| starts.is_some());
            let place = places.len() as u64 + 1;
            places.push(Place { waiting: *waiting, place, starts, about, follows, held_back });
        }
        places
    }
}

impl<'a> Ahead<'a> {
    /// From this moment on.
    fn of(ledger: &'a Ledger) -> Self {
        let (held, time) = (ledger.books.capacity.held(), ledger.clock.last);
        let (ends, likely) = (BTreeSet::new(), BTreeSet::new());
        let (rooms, runs) = (Vec::new(), BTreeMap::new());
        let mut ahead = Self { ledger, rooms, ends, likely, runs, held, time, about: false, ended: None };
        for allocation in ledger.allocations.values() {
            let (certain, likely) = (allocation.gives_at(), ledger.books.likely_end(allocation));
            ahead.gives((allocation.id, allocation.room()), certain, likely);
        }
        ahead
    }

    /// Somebody gives back room at the one moment, or where there is none is likely to at the other.
    fn gives(&mut self, room: (AllocationId, Room), certain: Option<Time>, likely: Option<Time>) {
        let index = self.rooms.len();
        match (certain, likely) {
            (Some(end), _) => self.ends.insert((end, index)),
            (None, Some(end)) if self.about => self.ends.insert((end, index)),
            (None, Some(end)) => self.likely.insert((end, index)),
            (None, None) => return,
        };
        self.rooms.push(room);
    }

    /// Goes on in time until there is room for this; whether it is known when.
    fn come_to(&mut self, need: Room, whole: Room) -> bool {
        while !self.held.plus(need).fits(whole) {
            let Some((end, index)) = self.next_end() else { return false };
            let Some((id, room)) = self.rooms.get(index) else { return false };
            (self.held, self.ended) = (self.held.less(*room), Some(*id));
            self.time = self.time.max(end);
        }
        true
    }

    /// Who gives back room next. When leases tell no more, what is likely does from then on.
    fn next_end(&mut self) -> Option<(Time, usize)> {
        let horizon = self.ledger.horizon();
        let counts = |(end, _): &(Time, usize)| *end <= horizon;
        if !self.about && !self.ends.first().is_some_and(counts) {
            self.about = true;
            self.ends.append(&mut self.likely);
        }
        self.ends.first().filter(|end| counts(end))?;
        self.ends.pop_first()
    }

    /// Who waits has what they wait for from the moment on that has been come to.
    fn take(&mut self, waiting: &Waiting) {
        let need = waiting.need();
        self.held = self.held.plus(need);
        let certain = waiting.lease_ms.map(|lease| self.time.after(lease));
        let likely = match certain {
            None if self.ledger.is_work(waiting) => {
                let runs = self.runs.entry(waiting.uid).or_insert_with(|| self.ledger.likely_ms(waiting.uid));
                runs.map(|likely| self.time.after(likely.max(1)))
            }
            Some(_) | None => None,
        };
        let home = self.ledger.jobs.get(&waiting.job).and_then(|job| job.home());
        let id = home.unwrap_or(AllocationId::standing(waiting.uid));
        self.gives((id, need), certain, likely);
    }
}
