//! What becomes of a command that is run [again](super::again). It stays one job: when a try has ended it waits apart until its
//! pause is over and nothing is left of that try, for units and an allocation have the job's number in their names. Then it joins
//! the queue, in its place among its member's own.

use std::sync::Arc;

use super::apart::{Apart, Left};
use super::job::{Job, JobEnd, JobState};
use super::{Effect, Event, Ledger, Now, one_less};
use crate::identity::{AllocationId, JobId, Purpose};

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
        if self.waits_to_run_again(id, units, &end) {
            effects.push(Effect::Notify(Event::Job(id)));
        } else {
            self.end_job(now, id, end, effects);
        }
    }

    fn waits_to_run_again(&mut self, id: JobId, units: bool, end: &JobEnd) -> bool {
        let running = |job: &&Arc<Job>| matches!(job.state, JobState::Running { .. });
        let Some(job) = self.jobs.get(&id).filter(running) else { return false };
        let again = job.work().filter(|work| !work.cancelled).and_then(|work| work.again);
        let of_its_own = job.home().filter(|home| home.purpose == Purpose::Job(id));
        let (Some(home), Some(again), Some(lost)) = (of_its_own, again, end.lost()) else { return false };
        let Some(pause_ms) = again.pause_ms(lost) else { return false };
        let time = self.clock.last;
        let left = Left { units, room: self.allocations.contains_key(&home) };
        let begin = (pause_ms > 0).then(|| time.after(pause_ms));
        one_less(&mut self.inside, home);
        self.warnings.remove(id);
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
        let job = job.clone();
        self.line_up(&job);
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
