//! What is kept in step with every share: room, ends of leases, alarms, use. Never changed but together.

use std::collections::BTreeSet;

use super::ends::Ends;
use super::room::{Capacity, Room};
use crate::identity::Uid;
use crate::ledger::fairness::{Fairness, Meter, dominant};
use crate::ledger::share::Share;
use crate::ledger::time::Time;
use crate::quantity::{Bytes, MilliCpu};

#[derive(Debug, Clone)]
pub(crate) struct Books {
    pub capacity: Capacity,
    pub fairness: Fairness,
    pub ends: Ends,
    /// The shares about which something is to be done, by when.
    pub alarms: BTreeSet<(Time, Uid)>,
    /// Shares whose lease is over, by when.
    pub expired: BTreeSet<(Time, Uid)>,
    /// The share whose eviction has been announced.
    pub evicting: Option<Uid>,
    /// Memory that is charged to work that is over, and to nobody's share: held by nobody, and not free.
    pub left_behind: Bytes,
}

impl Books {
    pub fn new(fairness: Fairness) -> Self {
        Self {
            capacity: Capacity::default(),
            fairness,
            ends: Ends::default(),
            alarms: BTreeSet::new(),
            expired: BTreeSet::new(),
            evicting: None,
            left_behind: Bytes(0),
        }
    }

    /// So much memory is left behind from now on.
    pub fn set_left(&mut self, mem: Bytes) {
        self.capacity.give(Room::new(MilliCpu(0), self.left_behind));
        self.capacity.take(Room::new(MilliCpu(0), mem));
        self.left_behind = mem;
    }

    /// The share goes out of the books, to be changed or forgotten: its use is charged.
    pub fn strike(&mut self, share: &Share, now: Time) {
        self.fairness.charge(share.uid, share.meter, now);
        self.capacity.give(share.room());
        if let Some(end) = share.gives_at() {
            self.ends.remove(end, share.room());
        }
        if let Some(alarm) = share.alarm() {
            self.alarms.remove(&(alarm, share.uid));
        }
        if let Some(since) = share.expired_since() {
            self.expired.remove(&(since, share.uid));
        }
        if self.evicting == Some(share.uid) {
            self.evicting = None;
        }
    }

    /// The share is as it is from `now` on.
    pub fn enter(&mut self, share: &mut Share, now: Time) {
        share.meter = Meter { since: now, rate: dominant(Room::of(share.counted()), self.capacity.whole()) };
        self.list(share);
    }

    /// The share as it was remembered.
    pub fn list(&mut self, share: &Share) {
        self.capacity.take(share.room());
        if let Some(end) = share.gives_at() {
            self.ends.add(end, share.room());
        }
        if let Some(alarm) = share.alarm() {
            self.alarms.insert((alarm, share.uid));
        }
        if let Some(since) = share.expired_since() {
            self.expired.insert((since, share.uid));
            if share.eviction().is_some() {
                self.evicting = Some(share.uid);
            }
        }
    }
}
