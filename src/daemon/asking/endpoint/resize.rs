//! `resize`: change the figures of a share.

use super::{Account, Beside, Due, Endpoint, Needs, Turn};
use crate::contract::Resize;
use crate::daemon::asking::caller::{Asking, Caller};
use crate::daemon::asking::deed::{Deed, Saying};
use crate::daemon::asking::figures::figures;
use crate::daemon::asking::present::Present;
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

    type Act = PartialAmount;

    fn act(self, _asking: &mut Asking<'_>) -> Result<Self::Act, WireError> {
        figures(self.amounts())
    }

    fn deed(act: &Self::Act, by: &Caller, now: &Present<'_>) -> Result<Deed, WireError> {
        let (member, in_use) = (now.member(&by.whom)?, now.memory(by.whom.uid)?.in_use());
        let command = Command::Resize { member, amount: *act, in_use };
        Ok(Deed::Say(Saying::new(command).or_as_held(by.whom.uid)))
    }
}
