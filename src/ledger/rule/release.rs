//! Who gives an allocation back.

use std::sync::Arc;

use crate::identity::{AllocationId, JobId};
use crate::ledger::again::Again;
use crate::ledger::allocation::Phase;
use crate::ledger::job::{Job, JobKind, JobState};
use crate::ledger::refusal::Refusal;
use crate::ledger::{Effect, Ledger, Now};

impl Ledger {
    pub(in crate::ledger) fn release(
        &mut self,
        now: Now,
        id: AllocationId,
        populated: bool,
        stop: bool,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        if !self.allocations.contains_key(&id) {
            return Ok(());
        }
        self.active(id)?;
        // A submitted command may be on its way in.
        let works = self.works_in(id);
        if !populated && works && !stop {
            return Err(Refusal::Unsettled);
        }
        if !populated && !works {
            self.alter(id, |allocation| allocation.phase = Phase::Releasing);
            effects.push(Effect::Withdraw(id));
            return Ok(());
        }
        if !stop {
            return Err(Refusal::Occupied);
        }
        let job = self.stopping(now, id);
        effects.push(Effect::Stop { id, job });
        Ok(())
    }

    /// The allocation is being stopped, watched by a new job.
    pub(in crate::ledger) fn stopping(&mut self, now: Now, id: AllocationId) -> JobId {
        // Somebody wants that it ends: also where a daemon goes in between, it is not run again.
        if let Some(work) =
            id.job().and_then(|job| self.jobs.get_mut(&job)).map(Arc::make_mut).and_then(Job::work_mut)
        {
            work.again.iter_mut().for_each(Again::no_more);
        }
        let job = self.new_job(now, id.uid, JobKind::Release, JobState::Running { started: now });
        self.alter(id, |allocation| allocation.phase = Phase::Stopping { job });
        job
    }
}
