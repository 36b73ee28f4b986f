//! Whose processes go into an allocation of theirs.

use crate::identity::AllocationId;
use crate::ledger::allocation::{Allocation, Goes, Phase};
use crate::ledger::refusal::Refusal;
use crate::ledger::{Effect, Ledger};

impl Ledger {
    pub(in crate::ledger) fn go_in(
        &mut self,
        id: AllocationId,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let goes = match (self.active(id)?.terms.goes, id.job()) {
            // One process goes in and starts the others, so that there are no more scopes than allocations for commands.
            (Goes::WithProcesses { entered: true }, Some(job)) => return Err(Refusal::JobAtWork { job }),
            (Goes::WithProcesses { .. }, _) => Goes::WithProcesses { entered: true },
            (goes @ (Goes::Released | Goes::WithWork), _) => goes,
        };
        self.alter(id, |allocation| (allocation.empty_since, allocation.terms.goes) = (None, goes));
        let run = self.next_run;
        self.next_run = self.next_run.saturating_add(1);
        effects.push(Effect::Enter { id, run });
        Ok(())
    }

    pub(in crate::ledger) fn active(&self, id: AllocationId) -> Result<&Allocation, Refusal> {
        let allocation = self.allocations.get(&id).ok_or(Refusal::NoShare)?;
        match allocation.phase {
            Phase::Active => Ok(allocation),
            Phase::Stopping { .. } | Phase::Releasing => Err(Refusal::Stopping),
            Phase::Granting { .. } | Phase::Resizing { .. } | Phase::Lowering | Phase::Renewing { .. } => {
                Err(Refusal::Unsettled)
            }
        }
    }
}
