//! What is over goes to the history: jobs and standing allocations. Nothing waits for it, and nothing depends on it.

use super::EventLoop;
use crate::daemon::clock;
use crate::daemon::telling::ended;
use crate::history::Ended;
use crate::identity::JobId;
use crate::ledger::allocation::Allocation;
use crate::ledger::job::{Job, JobEnd, JobState};

impl EventLoop {
    /// The state is open: the history beside it is, and gets what the state remembers as over. It may have that already, all
    /// but what was not written when the last daemon ended.
    pub(crate) fn open_history(&mut self) {
        let over = self.ledger.jobs().keys().filter_map(|job| self.ended(*job)).collect();
        self.history.open(self.parts.state.clone(), over);
    }

    fn ended(&self, id: JobId) -> Option<Ended> {
        let job = self.ledger.jobs().get(&id).filter(|job| job.ended())?;
        // Its tasks tell of it, where there were any.
        if job.array().is_some_and(|array| array.done + array.failed > 0) {
            return None;
        }
        let home = job.home().filter(|_| !job.is_work());
        let spent = home.and_then(|home| self.history.spent_in(home));
        ended::of_job(job, self.shown().job(job), spent)
    }

    /// A job is over.
    pub(crate) fn job_over(&mut self, id: JobId) {
        let ended = self.ended(id);
        ended.into_iter().for_each(|ended| self.history.add(ended));
    }

    /// A try of a job has ended like this, and the job waits to be tried again: what was held and used for it counts.
    pub(crate) fn try_over(&mut self, tried: &Job, end: JobEnd) {
        let JobState::Running { started } = tried.state else { return };
        let state = JobState::Ended { started: Some(started), ended: clock::now(), end };
        let tried = Job { state, ..tried.clone() };
        let ended = ended::of_job(&tried, self.shown().job(&tried), None);
        ended.into_iter().for_each(|ended| self.history.add(ended));
    }

    /// An allocation is over. Where it was a job's, the job tells of it.
    pub(crate) fn allocation_over(&mut self, was: &Allocation) {
        let told = was.id.job().is_some_and(|job| self.ledger.jobs().contains_key(&job));
        if !told {
            let spent = self.history.spent_in(was.id);
            self.history.add(ended::of_allocation(was, clock::now(), spent));
        }
        self.history.forget(was.id);
    }
}
