//! What becomes of an [array](super::array): its tasks are made one by one, each when it is the array's turn, and it is over when
//! the last of them is.

use std::sync::Arc;

use super::apart::Apart;
use super::array::Task;
use super::expire::RETRY_MS;
use super::job::{Job, JobEnd, JobKind, JobState, WORKS_PER_UID_MAX, Work};
use super::{Ledger, Now};
use crate::identity::{JobId, Uid};

/// How many tasks of one member's arrays wait to be run again before no more are made: as many as may be at work.
const TASKS_WAITING_MAX: usize = WORKS_PER_UID_MAX;

impl Ledger {
    /// Makes the next task of an array that waits, and has the array wait on for the one after it. It keeps its place among its
    /// member's own, and no reservation: each task takes its own.
    pub(super) fn next_task(&mut self, now: Now, id: JobId) -> Option<Arc<Job>> {
        // Its member waits on, and counts as one who does at every moment.
        let left = self.take_out(id);
        let since = self.clock.last;
        let job = self.jobs.get_mut(&id).map(Arc::make_mut)?;
        let work = job.work_mut()?;
        let array = work.array.as_mut()?;
        let index = array.take()?;
        let (rest, full) = (array.next.is_some(), array.is_full());
        let of_task = Work {
            name: work.name.clone(),
            output: work.output.clone(),
            time_limit_ms: work.time_limit_ms,
            ask: work.ask.clone(),
            task: Some(Task { of: id, index }),
            again: work.again,
            care: work.care,
            ..Work::default()
        };
        work.apart = (rest && full).then(|| Box::new(Apart { full: true, ..Apart::default() }));
        job.state = if rest { JobState::Queued { since } } else { JobState::Running { started: now } };
        let (uid, created, array) = (job.uid, job.created, job.clone());
        if rest {
            self.line_up(&array);
        } else {
            left.into_iter().for_each(|uid| self.recount(uid));
        }
        self.reserved = self.reserved.filter(|first| *first != id);
        let kind = JobKind::Submit(Box::new(of_task));
        let made = self.new_job(created, uid, kind, JobState::Running { started: now });
        self.jobs.get(&made).cloned()
    }

    /// A task has ended like this: its array, and how that ends, where it was the last.
    pub(super) fn task_over(&mut self, task: Task, end: &JobEnd) -> Option<(JobId, JobEnd)> {
        let job = self.jobs.get_mut(&task.of).filter(|job| !job.ended()).map(Arc::make_mut)?;
        let work = job.work_mut()?;
        let array = work.array.as_mut()?;
        array.ended(end.went_well());
        work.worst = Some(JobEnd::worse(work.worst.take(), end));
        if array.next.is_none() && array.at_work == 0 {
            return Some((task.of, work.worst.clone().unwrap_or(JobEnd::Done)));
        }
        // Whatever kept this one from running keeps the next from it too: not all of them are to fail in a moment.
        let again = matches!(end, JobEnd::Failed(_)).then(|| self.clock.last.after(RETRY_MS));
        self.set_apart(task.of, |apart| apart.begin = apart.begin.max(again));
        let uid = self.jobs.get(&task.of).map(|job| job.uid);
        uid.into_iter().for_each(|uid| self.bound_arrays(uid));
        None
    }

    /// Has those of a member's arrays wait of which as many tasks are at work as may be, and all of them while as many tasks of theirs
    /// wait to be run again: each is a job of its own.
    pub(super) fn bound_arrays(&mut self, uid: Uid) {
        let waiting = self.tasks_waiting.get(&uid).is_some_and(|waiting| *waiting >= TASKS_WAITING_MAX);
        let own = self.queue.of(uid).chain(self.aside.of(uid));
        let arrays: Vec<(JobId, bool)> =
            own.filter_map(|id| Some((id, self.jobs.get(&id)?.array()?.is_full()))).collect();
        for (id, full) in arrays {
            self.set_apart(id, |apart| apart.full = full || waiting);
        }
    }

    /// An array is to end like this: no more tasks are made of it. Whether it is not over yet, for some are at work.
    pub(super) fn outlived_by_tasks(&mut self, now: Now, id: JobId, end: &JobEnd) -> bool {
        let at_work = |job: &Arc<Job>| job.array().is_some_and(|array| array.at_work > 0) && !job.ended();
        if !self.jobs.get(&id).is_some_and(at_work) {
            return false;
        }
        self.leave_line(id);
        if let Some(job) = self.jobs.get_mut(&id).map(Arc::make_mut)
            && let Some(work) = job.work_mut()
            && let Some(array) = &mut work.array
        {
            (array.next, work.apart) = (None, None);
            work.worst = Some(JobEnd::worse(work.worst.take(), end));
            if let JobState::Queued { .. } = job.state {
                job.state = JobState::Running { started: now };
            }
        }
        true
    }

    /// The tasks of an array that are not over.
    pub(super) fn tasks_of(&self, id: JobId) -> Vec<JobId> {
        // A task is made after its array.
        let later = self.jobs.range(id..).map(|(_, job)| job);
        later
            .filter(|job| !job.ended() && job.task().is_some_and(|task| task.of == id))
            .map(|job| job.id)
            .collect()
    }

    /// After a start: how many tasks of each array are at work.
    pub(super) fn count_tasks(&mut self) {
        let at_work: Vec<JobId> =
            self.jobs.values().filter(|job| !job.ended()).filter_map(|job| Some(job.task()?.of)).collect();
        for of in at_work {
            let job = self.jobs.get_mut(&of).map(Arc::make_mut);
            if let Some(array) = job.and_then(Job::work_mut).and_then(|work| work.array.as_mut()) {
                array.at_work = array.at_work.saturating_add(1);
            }
        }
    }
}
