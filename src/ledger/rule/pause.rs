//! Who pauses a command that is at work, and has it go on.

use crate::identity::{JobId, Uid};
use crate::ledger::job::JobState;
use crate::ledger::refusal::{NotPaused, Refusal};
use crate::ledger::{Effect, Ledger, Now};

impl Ledger {
    /// As often as one likes. Nothing of it is remembered here: that a command is paused is what the kernel says of it.
    ///
    /// What is being ended is not paused any more, for what stands still does not end; it can always be had go on.
    pub(in crate::ledger) fn pause_job(
        &self,
        now: Now,
        (id, by): (JobId, Uid),
        pause: bool,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let job = self.own_job(by, id)?;
        let no = |why| Err(Refusal::NotPaused { job: id, why });
        match job.state {
            _ if job.array().is_some() && !job.ended() => return no(NotPaused::Array),
            JobState::Queued { .. } => return no(NotPaused::Waits),
            JobState::Ended { .. } => return no(NotPaused::Over),
            JobState::Running { .. } => {}
        }
        let Some(home) = job.home() else { return no(NotPaused::NoCommand) };
        let going = self.allocation(home).is_none_or(|allocation| allocation.phase.gives_back());
        let ended = job.work().is_some_and(|work| work.ending.is_some());
        if pause && (going || ended || job.called_back() || job.out_of_time(now)) {
            return no(NotPaused::Ending);
        }
        effects.push(Effect::Pause { uid: by, job: id, pause });
        Ok(())
    }
}
