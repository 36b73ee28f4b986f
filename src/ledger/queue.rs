//! Who waits, and in which order.
//!
//! The least weighted decayed use first, then arrival ([`super::fairness`]). But who has waited for the policy's
//! patience goes before all who have not, the oldest first: a member whom others keep overtaking with little use must
//! come to an end of waiting ([`super::advance`]).

use std::collections::BTreeMap;

use super::room::Room;
use super::time::Time;
use crate::identity::{JobId, Uid};

/// One who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// The job.
    pub job: JobId,
    /// Whose.
    pub uid: Uid,
    /// What is wanted.
    pub need: Room,
    /// For how long, in milliseconds; `None`: until released.
    pub lease_ms: Option<u64>,
    /// Since when.
    pub since: Time,
    /// Weighted decayed use: the least goes first.
    pub key: u128,
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
