//! What becomes of a command that is run [again](super::again). It stays one job: when a try has ended it waits apart until its
//! pause is over and nothing is left of that try, for units and an allocation have the job's number in their names. Then it joins
//! the queue, in its place among its member's own.

use std::sync::Arc;

use super::again::Lost;
use super::apart::{Apart, Left};
use super::expire::RETRY_MS;
use super::job::{Job, JobEnd, JobState};
use super::{Effect, Event, Ledger, Now, one_less};
use crate::identity::{AllocationId, JobId, Purpose};
use crate::quantity::{Amount, PartialAmount};

impl Ledger {
    /// A try of a command has ended like this, or could not begin: it waits to be run again, or is over. Whether anything may be left
    /// of its `units`.
    pub(super) fn end_try(
        &mut self,
        now: Now,
        (id, units): (JobId, bool),
        end: JobEnd,
        effects: &mut Vec<Effect>,
    ) {
        let ending = self.jobs.get(&id).and_then(|job| job.work()?.ending.as_deref().cloned());
        if ending.is_none() && self.waits_to_run_again(id, units, &end) {
            effects.push(Effect::Notify(Event::Job(id)));
        } else {
            // What its member has run at its end was told that.
            self.end_job(now, id, ending.unwrap_or(end), effects);
        }
    }

    /// A command has ended like this, and something of its member's is to be run before the job is over: that is remembered, unless
    /// the command is run again.
    pub(super) fn ending(&mut self, id: JobId, end: JobEnd) {
        let running = |job: &&Arc<Job>| matches!(job.state, JobState::Running { .. });
        let found = self.jobs.get(&id).filter(running);
        if found.is_none_or(|job| self.another_try(job, &end).is_some()) {
            return;
        }
        self.warnings.remove(id);
        if let Some(work) = self.jobs.get_mut(&id).map(Arc::make_mut).and_then(Job::work_mut) {
            work.ending.get_or_insert_with(|| Box::new(end));
        }
    }

    /// Where a command that ended like this is run again: the allocation of its own that it had, why, and after how many
    /// milliseconds.
    fn another_try(&self, job: &Job, end: &JobEnd) -> Option<(AllocationId, Lost, u64)> {
        let again = job.work().filter(|work| !work.cancelled)?.again?;
        let home = job.home().filter(|home| home.purpose == Purpose::Job(job.id))?;
        let lost = end.lost()?;
        Some((home, lost, again.pause_ms(lost)?))
    }

    fn waits_to_run_again(&mut self, id: JobId, units: bool, end: &JobEnd) -> bool {
        let running = |job: &&Arc<Job>| matches!(job.state, JobState::Running { .. });
        let Some(job) = self.jobs.get(&id).filter(running) else { return false };
        let Some((home, lost, pause_ms)) = self.another_try(job, end) else { return false };
        let (time, task) = (self.clock.last, job.task());
        let left = Left { units, room: self.allocations.contains_key(&home) };
        let begin = (pause_ms > 0).then(|| time.after(pause_ms));
        one_less(&mut self.inside, home);
        self.warnings.remove(id);
        let held = self.allocations.get(&home).map(|allocation| allocation.amount);
        let Some(job) = self.jobs.get_mut(&id).map(Arc::make_mut) else { return false };
        job.state = JobState::Queued { since: time };
        if let Some(work) = job.work_mut() {
            work.apart = Some(Apart { begin, left, ..Apart::default() })
                .filter(|apart| !apart.is_over())
                .map(Box::new);
            work.again.iter_mut().for_each(|again| again.count(lost));
            work.last = Some(Box::new(end.clone()));
            work.care.warning.iter_mut().for_each(|warning| warning.sent = false);
        }
        if let Some(ask) = job.kind.ask_mut() {
            // What its member has changed meanwhile is so the next time.
            if let Some(amount) = held.filter(|held| *held != ask.amount) {
                let Amount { cpu, mem, tasks } = amount;
                ask.named = PartialAmount { cpu: Some(cpu), mem: Some(mem), tasks: Some(tasks) };
                ask.amount = amount;
            }
            // Before tasks of its array that are still to be made.
            ask.asked = ask.asked.before(u64::from(task.is_some()));
        }
        let job = job.clone();
        self.line_up(&job);
        if let Some(task) = task {
            let unstarted = (lost == Lost::Unstarted).then(|| time.after(RETRY_MS));
            self.set_apart(task.of, |apart| apart.begin = apart.begin.max(unstarted));
            self.bound_arrays(job.uid);
        }
        true
    }

    /// Nothing is left of the units of a command's try, before which there were so many.
    pub(super) fn cleared(&mut self, id: JobId, tries: u64) {
        if self.jobs.get(&id).is_some_and(|job| job.tries() == tries.saturating_add(1)) {
            self.set_apart(id, |apart| apart.left.units = false);
        }
    }

    /// An allocation is no more: the command that it was taken for may have another.
    pub(super) fn room_is_gone(&mut self, id: AllocationId) {
        if let Purpose::Job(job) = id.purpose {
            self.set_apart(job, |apart| apart.left.room = false);
        }
    }
}
