//! Whose processes go into a share.

use crate::identity::Uid;
use crate::ledger::refusal::Refusal;
use crate::ledger::share::{Phase, Share};
use crate::ledger::{Effect, Ledger};

impl Ledger {
    pub(in crate::ledger) fn go_in(&mut self, uid: Uid, effects: &mut Vec<Effect>) -> Result<(), Refusal> {
        self.active(uid)?;
        self.alter(uid, |share| share.empty_since = None);
        let run = self.next_run;
        self.next_run = self.next_run.saturating_add(1);
        effects.push(Effect::Enter { uid, run });
        Ok(())
    }

    pub(in crate::ledger) fn active(&self, uid: Uid) -> Result<&Share, Refusal> {
        let share = self.shares.get(&uid).ok_or(Refusal::NoShare)?;
        match share.phase {
            Phase::Active => Ok(share),
            Phase::Stopping { .. } | Phase::Releasing => Err(Refusal::Stopping),
            Phase::Granting { .. } | Phase::Resizing { .. } | Phase::Lowering | Phase::Renewing { .. } => {
                Err(Refusal::Unsettled)
            }
        }
    }
}
