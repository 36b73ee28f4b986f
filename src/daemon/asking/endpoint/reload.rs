//! `reload`: read the policy again.

use super::{Account, Beside, Due, Endpoint, Needs, Turn};
use crate::contract::Reload;
use crate::daemon::asking::caller::{Asking, Caller};
use crate::daemon::asking::deed::Deed;
use crate::daemon::asking::present::Present;
use crate::policy::Role;
use crate::wire::error::WireError;

impl Endpoint for Reload {
    const LEAST: Role = Role::Admin;
    const TURN: Turn = Turn::Nobodys;
    const WHEN_DEGRADED: bool = true;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: false };
    const DUE: Due = Due::Later;
    const QUESTION: bool = false;
    const BESIDE: Beside = Beside::Nothing;
    const STARTS_A_UNIT: bool = false;

    type Act = ();

    fn act(self, _asking: &mut Asking<'_>) -> Result<Self::Act, WireError> {
        Ok(())
    }

    fn deed(_act: &Self::Act, _by: &Caller, _now: &Present<'_>) -> Result<Deed, WireError> {
        Ok(Deed::Reload)
    }
}
