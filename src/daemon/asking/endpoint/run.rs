//! `run`: put the caller into its share.

use super::{Account, Beside, Due, Endpoint, Needs, Turn};
use crate::contract::Run;
use crate::daemon::asking::caller::{Asking, Caller};
use crate::daemon::asking::deed::{Deed, Whom};
use crate::daemon::asking::present::Present;
use crate::policy::Role;
use crate::wire::error::WireError;

impl Endpoint for Run {
    const LEAST: Role = Role::Operator;
    const TURN: Turn = Turn::OfTarget;
    const WHEN_DEGRADED: bool = false;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: false };
    const DUE: Due = Due::Later;
    const QUESTION: bool = false;
    const BESIDE: Beside = Beside::Nothing;
    const STARTS_A_UNIT: bool = true;

    type Act = ();

    fn act(self, _asking: &mut Asking<'_>) -> Result<Self::Act, WireError> {
        Ok(())
    }

    fn deed(_act: &Self::Act, by: &Caller, _now: &Present<'_>) -> Result<Deed, WireError> {
        Ok(Deed::Enter(Whom::Caller(by.peer.pid.unsigned_abs())))
    }
}
