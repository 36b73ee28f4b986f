//! Who gives a share back.

use crate::identity::{JobId, Uid};
use crate::ledger::job::{JobKind, JobState};
use crate::ledger::refusal::Refusal;
use crate::ledger::share::Phase;
use crate::ledger::{Effect, Ledger, Now};

impl Ledger {
    pub(in crate::ledger) fn release(
        &mut self,
        now: Now,
        uid: Uid,
        populated: bool,
        stop: bool,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        if !self.shares.contains_key(&uid) {
            return Ok(());
        }
        self.active(uid)?;
        // A submitted command may be on its way in.
        let works = self.works(uid);
        if !populated && works && !stop {
            return Err(Refusal::Unsettled);
        }
        if !populated && !works {
            self.alter(uid, |share| share.phase = Phase::Releasing);
            effects.push(Effect::Withdraw(uid));
            return Ok(());
        }
        if !stop {
            return Err(Refusal::Occupied);
        }
        let job = self.stopping(now, uid);
        effects.push(Effect::Stop { uid, job });
        Ok(())
    }

    /// The share is being stopped, watched by a new job.
    pub(in crate::ledger) fn stopping(&mut self, now: Now, uid: Uid) -> JobId {
        let job = self.new_job(now, uid, JobKind::Release, JobState::Running { started: now });
        self.alter(uid, |share| share.phase = Phase::Stopping { job });
        job
    }
}
