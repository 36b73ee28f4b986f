//! What is kept in step with every allocation: room, ends of leases, alarms, lags. Never changed but together.

use std::collections::{BTreeMap, BTreeSet};

use super::ends::Ends;
use super::guesses::Guesses;
use super::room::{Capacity, Room};
use crate::identity::{AllocationId, Uid};
use crate::ledger::allocation::Allocation;
use crate::ledger::fairness::{Fairness, dominant};
use crate::ledger::share::Share;
use crate::ledger::time::Time;
use crate::policy::Weight;
use crate::quantity::{Bytes, MilliCpu};

#[derive(Debug, Clone)]
pub(crate) struct Books {
    pub capacity: Capacity,
    pub fairness: Fairness,
    pub ends: Ends,
    /// The same ends, and those that are likely.
    pub likely: Ends,
    pub guesses: Guesses,
    /// What each member holds who holds anything.
    pub shares: BTreeMap<Uid, Share>,
    /// The allocations about which something is to be done, by when.
    pub alarms: BTreeSet<(Time, AllocationId)>,
    /// Allocations whose lease is over, by when.
    pub expired: BTreeSet<(Time, AllocationId)>,
    /// The allocation whose eviction has been announced.
    pub evicting: Option<AllocationId>,
    /// Memory that is charged to work that is over, and to nobody's allocation: held by nobody, and not free.
    pub left_behind: Bytes,
}

impl Books {
    pub fn new(fairness: Fairness) -> Self {
        Self {
            capacity: Capacity::default(),
            fairness,
            ends: Ends::default(),
            likely: Ends::default(),
            guesses: Guesses::default(),
            shares: BTreeMap::new(),
            alarms: BTreeSet::new(),
            expired: BTreeSet::new(),
            evicting: None,
            left_behind: Bytes(0),
        }
    }

    /// What holding so much more makes of a key.
    pub fn weighs(&self, more: Room, weight: Weight) -> u128 {
        self.fairness.weighs(dominant(more, self.capacity.whole()), weight)
    }

    /// So much memory is left behind from now on.
    pub fn set_left(&mut self, mem: Bytes) {
        self.capacity.give(Room::new(MilliCpu(0), self.left_behind));
        self.capacity.take(Room::new(MilliCpu(0), mem));
        self.left_behind = mem;
    }

    /// The allocation goes out of the books, to be changed or forgotten: what its member had until now is in their account.
    pub fn strike(&mut self, allocation: &Allocation) {
        self.settle(allocation.id.uid, |share| share.less(allocation));
        self.capacity.give(allocation.room());
        if let Some(end) = allocation.gives_at() {
            self.ends.remove(end, allocation.room());
        }
        if let Some(end) = self.likely_end(allocation) {
            self.likely.remove(end, allocation.room());
        }
        if let Some(alarm) = allocation.alarm() {
            self.alarms.remove(&(alarm, allocation.id));
        }
        if let Some(since) = allocation.expired_since() {
            self.expired.remove(&(since, allocation.id));
        }
        if self.evicting == Some(allocation.id) {
            self.evicting = None;
        }
    }

    /// The allocation is as it is from now on.
    pub fn enter(&mut self, allocation: &Allocation) {
        self.settle(allocation.id.uid, |share| share.plus(allocation));
        self.list(allocation);
    }

    /// The allocation as it was remembered, whose member's account goes on as it was.
    pub fn resume(&mut self, allocation: &Allocation) {
        let share = self.shares.entry(allocation.id.uid).or_default();
        *share = share.plus(allocation);
        self.list(allocation);
    }

    /// What a member holds is another from now on.
    fn settle(&mut self, uid: Uid, change: impl FnOnce(Share) -> Share) {
        let share = change(self.shares.remove(&uid).unwrap_or_default());
        self.fairness.hold(uid, dominant(share.room, self.capacity.whole()));
        if share.allocations > 0 {
            self.shares.insert(uid, share);
        }
    }

    /// When an allocation gives back its room, as far as it is known or likely.
    pub fn likely_end(&self, allocation: &Allocation) -> Option<Time> {
        let guess = || self.guesses.end(allocation.id).filter(|_| allocation.lease.is_none());
        allocation.gives_at().or_else(guess)
    }

    fn list(&mut self, allocation: &Allocation) {
        self.capacity.take(allocation.room());
        if let Some(end) = allocation.gives_at() {
            self.ends.add(end, allocation.room());
        }
        if let Some(end) = self.likely_end(allocation) {
            self.likely.add(end, allocation.room());
        }
        if let Some(alarm) = allocation.alarm() {
            self.alarms.insert((alarm, allocation.id));
        }
        if let Some(since) = allocation.expired_since() {
            self.expired.insert((since, allocation.id));
            if allocation.eviction().is_some() {
                self.evicting = Some(allocation.id);
            }
        }
    }
}
