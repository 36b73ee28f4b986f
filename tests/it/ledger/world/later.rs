//! Commands of a history that wait for something else before they wait for room, and what becomes of what waits.

use std::time::Duration;

use fairshare::testing::identity::JobId;
use fairshare::testing::ledger::again::Again;
use fairshare::testing::ledger::apart::{Change, When};
use fairshare::testing::ledger::array::{Array, Indices};
use fairshare::testing::ledger::care::{Care, Warning};
use fairshare::testing::ledger::job::{Job, JobState};
use fairshare::testing::ledger::{Asked, Command, Wait, Where};
use fairshare::testing::quantity::{Bytes, PartialAmount, Priority};

use super::World;
use crate::ledger::village::{GIB, member, named, submit_array, submit_when, uid};

impl World {
    pub(super) fn submit(&mut self, who: u64, cpu: u64, limit: u64, (wait, place): (bool, u64)) {
        let time_limit = (limit > 60_000).then(|| Duration::from_millis(limit));
        let wait = if wait { Wait::Granted } else { Wait::No };
        let (member, amount) = (member(&self.policy, who), named(cpu * 1000, GIB));
        let amount = if place == 0 { PartialAmount::default() } else { amount };
        let place = [Where::ByFigures, Where::ByFigures, Where::InShare, Where::Own][place as usize];
        let again = again(self.calm, limit);
        let warning = time_limit.map(|_| Warning { signal: 10, before_ms: limit / 2, sent: false });
        let care = Care { warning: warning.filter(|_| limit.is_multiple_of(3)), ..Care::default() };
        let asked =
            Asked { amount, place, time_limit, kept: Bytes(9), wait, again, care, ..Asked::default() };
        self.say(Command::Submit { member, asked: Box::new(asked) });
    }

    pub(super) fn array(&mut self, who: u64, cpu: u64, (count, at_once): (u64, u64), after: u64) {
        let array = Array::new(Indices::checked(1, count * 2, 2).unwrap(), (at_once > 0).then_some(at_once));
        let own = |id: &JobId| self.ledger.jobs().get(id).is_some_and(|job| job.uid == uid(who));
        let after = Some(JobId(after)).filter(own).into_iter().collect();
        // In a calm history all that is held is given back in time.
        let limit = self.calm.then(|| Duration::from_secs(60));
        let when = When { after, ..When::default() };
        let mut command = submit_array(&self.policy, who, named(cpu * 1000, GIB), array, (limit, when));
        if let Command::Submit { asked, .. } = &mut command {
            asked.again = again(self.calm, cpu + count);
        }
        self.say(command);
    }

    pub(super) fn submit_when(&mut self, who: u64, cpu: u64, after: u64, (kind, begin): (u64, u64)) {
        // Of the member's own, one that there is in most histories.
        let own = self.ledger.jobs().values().filter(|job| job.uid == uid(who)).map(|job| job.id);
        let own: Vec<JobId> = own.collect();
        let job = own.get(after as usize % own.len().max(1)).copied().unwrap_or(JobId(after));
        let when = match kind {
            0 => When { after: [job].into(), ..When::default() },
            1 => When { after_any: [job].into(), ..When::default() },
            2 => When { begin_wall_ms: Some(self.now.wall_ms + begin), ..When::default() },
            3 => When { hold: true, after_any: own.into_iter().take(3).collect(), ..When::default() },
            _ => When { priority: Priority::checked(after).unwrap(), ..When::default() },
        };
        let begins = self.ledger.time(self.now).after(if kind == 2 { begin } else { 0 });
        let job = JobId(self.ledger.next_job());
        self.say(submit_when(&self.policy, who, named(cpu * 1000, GIB), when.clone()));
        if self.ledger.jobs().contains_key(&job) {
            self.when.insert(job, (when, begins));
        }
    }

    pub(super) fn alter(&mut self, job: u64, by: u64, kind: u64) {
        let change = match kind {
            0 => Change { hold: Some(true), ..Change::default() },
            1 | 2 => Change { hold: Some(false), ..Change::default() },
            3 => Change { first: Some(!job.is_multiple_of(4)), ..Change::default() },
            _ => Change { priority: Some(Priority::checked(job).unwrap()), ..Change::default() },
        };
        self.say(Command::Alter { job: JobId(job), by: uid(by), change });
    }

    /// Nothing is left of the tries that are over.
    pub(super) fn clear_for_others(&mut self) {
        let left = |job: &Job| job.apart().is_some_and(|apart| apart.left.units);
        let jobs = self.ledger.jobs().values();
        let left: Vec<_> = jobs.filter(|job| left(job)).map(|job| (job.id, job.tries() - 1)).collect();
        left.into_iter().for_each(|(job, tries)| self.say(Command::Cleared { job, tries }));
    }

    /// Nothing starts before what it was to start after.
    pub(super) fn may_start(&self, job: JobId) {
        let Some((when, begins)) = self.when.get(&job) else { return };
        let of = |id: &JobId| self.ledger.jobs().get(id).map(|job| job.state.clone());
        let over = |id: &JobId| matches!(of(id), Some(JobState::Ended { .. }));
        let well = |id: &JobId| matches!(of(id), Some(JobState::Ended { end, .. }) if end.went_well());
        assert!(when.after.iter().all(well) && when.after_any.iter().all(over), "job {job} starts too soon");
        assert!(self.ledger.time(self.now) >= *begins, "job {job} starts before its time");
    }
}

/// Some commands are tried again; where a bound on all waits is looked at none is, for that is a request more.
fn again(calm: bool, limit: u64) -> Option<Again> {
    let (retries, requeue) = (limit % 3, limit.is_multiple_of(2));
    (!calm && retries + u64::from(requeue) > 0).then(|| Again { retries, requeue, ..Again::default() })
}

/// Whether it is a command that runs by itself, which an array does not.
pub(super) fn works(job: &Job) -> bool {
    job.is_work() && job.array().is_none()
}
