//! Who calls a job back.

use crate::identity::JobId;
use crate::ledger::job::{JobEnd, JobKind, JobState};
use crate::ledger::refusal::Refusal;
use crate::ledger::{Canceller, Effect, Ledger, Now};

impl Ledger {
    pub(in crate::ledger) fn cancel(
        &mut self,
        now: Now,
        id: JobId,
        by: Canceller,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let job = self.jobs.get(&id).ok_or(Refusal::NoJob)?;
        if by != Canceller::Admin && by != Canceller::Member(job.uid) {
            return Err(Refusal::NotYours { job: id });
        }
        if job.array().is_some() {
            return self.cancel_array(now, id, by, effects);
        }
        let work = matches!(job.kind, JobKind::Submit(_));
        match job.state {
            // As often as one likes: who did not hear the first answer asks again.
            JobState::Ended { .. } => Ok(()),
            JobState::Running { .. } if work => {
                self.call_back(id, effects);
                Ok(())
            }
            JobState::Running { .. } if matches!(job.kind, JobKind::Run(_)) => {
                self.stop_run(now, id, effects)
            }
            JobState::Running { .. } => Err(Refusal::JobAtWork { job: id }),
            JobState::Queued { .. } => {
                self.end_job(now, id, JobEnd::Cancelled, effects);
                Ok(())
            }
        }
    }

    /// No more tasks are made of an array, and those that are there are called back; where it is over there are none.
    fn cancel_array(
        &mut self,
        now: Now,
        id: JobId,
        by: Canceller,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        self.end_job(now, id, JobEnd::Cancelled, effects);
        for task in self.tasks_of(id) {
            // Each is called back once for it: who asks again and again has nothing done anew.
            if !self.jobs.get(&task).is_some_and(|task| task.called_back()) {
                self.cancel(now, task, by, effects)?;
            }
        }
        Ok(())
    }

    /// A command in the foreground is not wanted any more: what is in its allocation is stopped.
    fn stop_run(&mut self, now: Now, id: JobId, effects: &mut Vec<Effect>) -> Result<(), Refusal> {
        let Some(home) = self.jobs.get(&id).and_then(|job| job.home()) else { return Err(Refusal::NoJob) };
        match self.active(home) {
            Ok(_) => {
                let job = self.stopping(now, home);
                effects.push(Effect::Stop { id: home, job });
                Ok(())
            }
            // It is on its way already.
            Err(Refusal::Stopping) => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }
}
