//! What the ledger has, for who asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::allocation::Allocation;
use super::counted::room::{Capacity, Room};
use super::fairness::Fairness;
use super::job::Job;
use super::share::Share;
use super::time::Time;
use super::{BootId, Image, Ledger, Now};
use crate::identity::{AllocationId, JobId, Purpose, Uid, UnitName, Within};
use crate::policy::Weight;
use crate::quantity::{Amount, Bytes};

impl Image {
    /// A job.
    pub fn job(&self, id: JobId) -> Option<&Arc<Job>> {
        let found = self.jobs.binary_search_by_key(&id, |job| job.id).ok()?;
        self.jobs.get(found)
    }
}

impl Ledger {
    /// What must be remembered across a crash.
    pub fn image(&self) -> Image {
        Image {
            revision: self.revision,
            next_job: self.next_job,
            clock: self.clock.clone(),
            fairness: self.books.fairness.lags().clone(),
            draining: self.draining,
            allocations: self.allocations.values().cloned().collect(),
            reserved: self.reserved,
            jobs: self.jobs.values().cloned().collect(),
        }
    }

    /// Grows with every change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The id of the next job.
    pub fn next_job(&self) -> u64 {
        self.next_job
    }

    /// The boot of the machine that the clock is in.
    pub fn boot(&self) -> &BootId {
        &self.clock.boot
    }

    /// The allocations, by member.
    pub fn allocations(&self) -> &BTreeMap<AllocationId, Allocation> {
        &self.allocations
    }

    /// One allocation.
    pub fn allocation(&self, id: AllocationId) -> Option<&Allocation> {
        self.allocations.get(&id)
    }

    /// One member's allocations, the standing one first.
    pub fn allocations_of(&self, uid: Uid) -> impl Iterator<Item = &Allocation> {
        let (first, last) = (Purpose::Standing, Purpose::Run(JobId(u64::MAX)));
        let of = |purpose| AllocationId { uid, purpose };
        self.allocations.range(of(first)..=of(last)).map(|(_, allocation)| allocation)
    }

    /// The slice that holds an allocation, or will.
    pub fn unit(&self, id: AllocationId) -> UnitName {
        self.allocation(id).map_or(id.unit(), Allocation::unit)
    }

    /// In what the units of a submitted command are.
    pub fn within(&self, job: &Job) -> Within {
        let home = job.home().unwrap_or(AllocationId::standing(job.uid));
        self.allocation(home).map_or(home.within(), Allocation::within)
    }

    /// What each member holds who holds anything.
    pub fn shares(&self) -> &BTreeMap<Uid, Share> {
        &self.books.shares
    }

    /// One member's share.
    pub fn share(&self, uid: Uid) -> Option<&Share> {
        self.books.shares.get(&uid)
    }

    /// The jobs that are remembered, by id.
    pub fn jobs(&self) -> &BTreeMap<JobId, Arc<Job>> {
        &self.jobs
    }

    /// Who holds most, the first `limit` of them, with the largest part of the machine first: one allocation of each, and what
    /// they hold together. O(n).
    pub fn holders(&self, limit: usize) -> Vec<(&Allocation, &Share)> {
        let rates = self.books.shares.iter().map(|(uid, share)| (self.books.fairness.rate(*uid), uid, share));
        let mut holders: Vec<(u64, &Uid, &Share)> = rates.filter(|(rate, ..)| *rate > 0).collect();
        holders.sort_by_key(|(rate, ..)| std::cmp::Reverse(*rate));
        holders.truncate(limit);
        let named = |(_, uid, share): (u64, &Uid, _)| Some((self.allocations_of(*uid).next()?, share));
        holders.into_iter().filter_map(named).collect()
    }

    /// What can be handed out, what of it is held, what is free.
    pub fn capacity(&self) -> Capacity {
        self.books.capacity
    }

    /// The memory that is charged to work that is over, and to nobody's allocation.
    pub fn left_behind(&self) -> Bytes {
        self.books.left_behind
    }

    /// How many wait for room.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// The members who wait, for room or for something else before that.
    pub fn members_waiting(&self) -> Vec<Uid> {
        let members: BTreeSet<Uid> = self.queue.members().chain(self.aside.members()).collect();
        members.into_iter().collect()
    }

    /// Whether new requests are stopped.
    pub fn draining(&self) -> bool {
        self.draining
    }

    /// Who is ahead of whom.
    pub fn fairness(&self) -> &Fairness {
        &self.books.fairness
    }

    /// What orders members who wait, the least first: what this one holds and how far they are ahead, at the moment of the last
    /// command.
    pub fn key(&self, uid: Uid, weight: Weight) -> u128 {
        self.books.fairness.key(uid, weight)
    }

    /// What an allocation of this makes of its member's key.
    pub fn weighs(&self, amount: Amount, weight: Weight) -> u128 {
        self.books.weighs(Room::of(amount), weight)
    }

    /// The ledger's time at `now`.
    pub fn time(&self, now: Now) -> Time {
        self.clock.at(now)
    }

    /// A moment of the ledger's time in wall time, in Unix milliseconds: what people are shown.
    pub fn wall_ms(&self, now: Now, time: Time) -> u64 {
        self.clock.wall_ms(now, time)
    }

    /// When [`Command::Tick`] is next due, on this boot's clock (`Now::boot_ms`).
    pub fn next_wakeup(&self) -> Option<u64> {
        let alarm = self.books.alarms.first().map(|(at, _)| *at);
        let patience = self.queue.patience_ends(self.clock.last, self.patience_ms());
        let guess = self.books.guesses.next();
        let begin = self.aside.next();
        let warning = self.warnings.next();
        [alarm, patience, guess, begin, warning].into_iter().flatten().min().map(|at| self.clock.boot_ms(at))
    }
}
