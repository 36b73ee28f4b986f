//! How long work without a time limit is likely to run: as long as its member's last two did, on average (6-fairness.md "The key").
//!
//! Without it who has no limit passes nobody, and nobody knows when it gives room back: a third of such jobs made the mean wait
//! twice to eleven times as long. A guess lets others pass sooner and promises nothing.

use super::allocation::{Allocation, Goes};
use super::counted::guesses::Guesses;
use super::job::{Job, JobState};
use super::queue::Waiting;
use super::{Ledger, Order, Time};
use crate::identity::{AllocationId, Uid};

/// How many of a member's jobs that are over are looked at for two that ran.
const LOOKED_AT_MAX: usize = 16;

impl Ledger {
    /// For how long work of a member's is likely to run, in milliseconds; `None`: nobody knows. First come, first served is the
    /// order of who does not ask.
    pub(super) fn likely_ms(&self, uid: Uid) -> Option<u64> {
        if self.rules.is_some_and(|rules| rules.order == Order::Arrival) {
            return None;
        }
        let jobs = self.kept.newest(uid).take(LOOKED_AT_MAX).filter_map(|id| self.jobs.get(&id));
        let last: Vec<u64> = jobs.filter_map(|job| ran_ms(job)).take(2).collect();
        let sum = last.iter().fold(0u64, |sum, ran| sum.saturating_add(*ran));
        sum.checked_div(last.len() as u64)
    }

    /// Whether who waits is a submitted command.
    pub(super) fn is_work(&self, waiting: &Waiting) -> bool {
        self.jobs.get(&waiting.job).is_some_and(|job| job.is_work())
    }

    /// How long work without a limit is taken to run where that lets it pass the first in the queue. When that one has waited for
    /// patience nobody passes by a guess: it waits for those who are at work and for no others.
    pub(super) fn passes_ms(&self, uid: Uid, first: &Waiting) -> Option<u64> {
        let in_patience = self.clock.last.since(first.since) < self.patience_ms();
        self.likely_ms(uid).filter(|_| in_patience)
    }

    /// A command has begun to run.
    pub(super) fn guess(&mut self, id: AllocationId) {
        let without_limit = |held: &&Allocation| held.terms.goes == Goes::WithWork && held.lease.is_none();
        if self.allocations.get(&id).filter(without_limit).is_none() {
            return;
        }
        if let Some(likely) = self.likely_ms(id.uid) {
            let end = self.clock.last.after(likely.max(1));
            self.set_guess(id, |guesses, _| guesses.set(id, end));
        }
    }

    /// Guesses that have proved too short are put off.
    pub(super) fn put_off_guesses(&mut self) {
        for id in self.books.guesses.due(self.clock.last) {
            self.set_guess(id, |guesses, now| guesses.put_off(id, now));
        }
    }

    fn set_guess(&mut self, id: AllocationId, set: impl FnOnce(&mut Guesses, Time)) {
        let now = self.clock.last;
        if let Some(allocation) = self.allocations.get(&id) {
            self.books.strike(allocation);
            set(&mut self.books.guesses, now);
            self.books.enter(allocation);
        }
    }
}

/// How long a command ran that had room of its own.
fn ran_ms(job: &Job) -> Option<u64> {
    let JobState::Ended { started: Some(started), ended, .. } = &job.state else { return None };
    // An array runs for as long as its tasks do one after the other.
    job.kind.ask().filter(|_| job.is_work() && job.array().is_none())?;
    let of_one_boot = started.is_of_this_boot() && ended.is_of_this_boot();
    let (from, to) =
        if of_one_boot { (started.boot_ms, ended.boot_ms) } else { (started.wall_ms, ended.wall_ms) };
    Some(to.saturating_sub(from))
}
