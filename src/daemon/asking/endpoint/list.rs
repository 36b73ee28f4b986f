//! `list`: all shares that the caller may see.

use super::{Account, Beside, Due, Endpoint, Needs, Turn};
use crate::contract::List;
use crate::daemon::asking::caller::{Asking, Caller};
use crate::daemon::asking::deed::Deed;
use crate::daemon::asking::present::Present;
use crate::policy::Role;
use crate::policy::Visibility;
use crate::wire::error::WireError;

impl Endpoint for List {
    const LEAST: Role = Role::ReadOnly;
    const TURN: Turn = Turn::Nobodys;
    const WHEN_DEGRADED: bool = true;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: true };
    const DUE: Due = Due::Later;
    const QUESTION: bool = true;
    const BESIDE: Beside = Beside::Nothing;
    const STARTS_A_UNIT: bool = false;

    type Act = ();

    fn act(self, _asking: &mut Asking<'_>) -> Result<Self::Act, WireError> {
        Ok(())
    }

    fn deed(_act: &Self::Act, by: &Caller, now: &Present<'_>) -> Result<Deed, WireError> {
        let names = now.policy.as_ref().is_ok_and(|policy| policy.visibility == Visibility::Names);
        let all = names || by.role == Role::Admin;
        Ok(Deed::List { only: (!all).then_some(by.peer.uid) })
    }
}
