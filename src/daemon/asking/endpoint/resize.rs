//! `resize`: change the figures of a share.

use super::{Account, Beside, Due, Endpoint, Needs, Turn};
use crate::contract::Resize;
use crate::daemon::asking::caller::{Asking, Caller};
use crate::daemon::asking::deed::{Deed, Saying};
use crate::daemon::asking::figures::figures;
use crate::daemon::asking::present::Present;
use crate::identity::JobId;
use crate::ledger::Command;
use crate::policy::Role;
use crate::quantity::PartialAmount;
use crate::wire::error::WireError;

impl Endpoint for Resize {
    const LEAST: Role = Role::Operator;
    const TURN: Turn = Turn::OfTarget;
    const WHEN_DEGRADED: bool = false;
    const NEEDS: Needs = Needs { account: Account::OfAnother, capacity: true };
    const DUE: Due = Due::Later;
    const QUESTION: bool = false;
    const BESIDE: Beside = Beside::Nothing;
    const STARTS_A_UNIT: bool = false;

    type Act = (Option<JobId>, PartialAmount);

    fn act(self, _asking: &mut Asking<'_>) -> Result<Self::Act, WireError> {
        Ok((self.job_id.map(JobId), figures(self.amounts())?))
    }

    fn deed(act: &Self::Act, by: &Caller, now: &Present<'_>) -> Result<Deed, WireError> {
        let (job, amount) = *act;
        let id = now.named(by.whom.uid, job)?;
        let (member, in_use) = (now.member(&by.whom)?, now.memory(id)?.in_use());
        let command = Command::Resize { member, of: id.purpose, amount, in_use };
        Ok(Deed::Say(Saying::new(command).or_as_held(by.whom.uid)))
    }
}
