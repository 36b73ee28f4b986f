//! Who waits, and in which order.
//!
//! The least weighted decayed use first, then arrival ([`super::fairness`]). But who has waited for the policy's
//! patience goes before all who have not, the oldest first: a member whom others keep overtaking with little use must
//! come to an end of waiting: serving them is the business of `advance`.

use std::collections::BTreeMap;

use super::counted::room::Room;
use super::time::Time;
use crate::identity::{JobId, Uid};

/// One who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// The job.
    pub job: JobId,
    /// The member who asked.
    pub uid: Uid,
    /// What is wanted.
    pub need: Room,
    /// For how long, in milliseconds; `None`: until released.
    pub lease_ms: Option<u64>,
    /// The moment from which it has waited.
    pub since: Time,
    /// Weighted decayed use: the least goes first.
    pub key: u128,
}

/// What is kept for the first in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    /// Who is first.
    pub first: Waiting,
    /// When there is room, and what is left beside it then; `None`: leases do not tell.
    pub start: Option<(Time, Room)>,
}

/// One who waits, as shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The request that waits.
    pub waiting: Waiting,
    /// From 1.
    pub place: u64,
    /// When it starts if nobody comes, goes or renews meanwhile; `None`: leases do not tell.
    pub starts: Option<Time>,
}

/// All who wait.
#[derive(Debug, Clone, Default)]
pub(super) struct Queue {
    /// By arrival: ids grow.
    arrived: BTreeMap<JobId, Waiting>,
    fair: BTreeMap<(u128, JobId), Waiting>,
    by_uid: BTreeMap<Uid, JobId>,
    total: Room,
}

impl Queue {
    pub fn len(&self) -> usize {
        self.arrived.len()
    }

    /// What all want together.
    pub fn total(&self) -> Room {
        self.total
    }

    pub fn job_of(&self, uid: Uid) -> Option<JobId> {
        self.by_uid.get(&uid).copied()
    }

    pub fn add(&mut self, waiting: Waiting) {
        self.arrived.insert(waiting.job, waiting);
        self.fair.insert((waiting.key, waiting.job), waiting);
        self.by_uid.insert(waiting.uid, waiting.job);
        self.total = self.total.plus(waiting.need);
    }

    pub fn remove(&mut self, job: JobId) -> Option<Waiting> {
        let waiting = self.arrived.remove(&job)?;
        self.fair.remove(&(waiting.key, job));
        self.by_uid.remove(&waiting.uid);
        self.total = self.total.less(waiting.need);
        Some(waiting)
    }

    /// All keys anew.
    pub fn rekey(&mut self, key: impl Fn(Uid, JobId) -> u128) {
        self.fair.clear();
        for (job, waiting) in &mut self.arrived {
            waiting.key = key(waiting.uid, *job);
            self.fair.insert((waiting.key, *job), *waiting);
        }
    }

    /// In the order in which they are served, for a patience in milliseconds.
    pub fn in_order(&self, now: Time, patience_ms: u64) -> impl Iterator<Item = &Waiting> {
        let old = move |waiting: &&Waiting| now.since(waiting.since) >= patience_ms;
        let oldest = self.arrived.values().take_while(old);
        oldest.chain(self.fair.values().filter(move |waiting| !old(waiting)))
    }

    /// When the one who waits longest comes to the end of a patience that is not over.
    pub fn patience_ends(&self, now: Time, patience_ms: u64) -> Option<Time> {
        let (_, first) = self.arrived.first_key_value()?;
        Some(first.since.after(patience_ms)).filter(|at| *at > now)
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
