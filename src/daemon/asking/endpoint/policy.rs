//! `policy`: what the policy says for one member.

use super::{Account, Beside, Due, Endpoint, Needs, Turn};
use crate::contract::{Answer, Policy, PolicyAnswer};
use crate::daemon::asking::caller::{Asking, Caller};
use crate::daemon::asking::deed::Deed;
use crate::daemon::asking::present::Present;
use crate::daemon::telling::answer;
use crate::policy::Role;
use crate::wire::error::WireError;

impl Endpoint for Policy {
    const LEAST: Role = Role::ReadOnly;
    const TURN: Turn = Turn::Nobodys;
    const WHEN_DEGRADED: bool = false;
    const NEEDS: Needs = Needs { account: Account::OfAnother, capacity: false };
    const DUE: Due = Due::InTheSameBreath;
    const QUESTION: bool = true;
    const BESIDE: Beside = Beside::Nothing;
    const STARTS_A_UNIT: bool = false;

    type Act = ();

    fn act(self, _asking: &mut Asking<'_>) -> Result<Self::Act, WireError> {
        Ok(())
    }

    fn deed(_act: &Self::Act, by: &Caller, now: &Present<'_>) -> Result<Deed, WireError> {
        let capacity = now.shown.ledger.capacity().whole().cpu();
        let policy = answer::policy(&now.member(&by.whom)?.policy, now.policy()?, capacity);
        Ok(Deed::Answer(Answer::Policy(PolicyAnswer { policy })))
    }
}
