//! `audit`: is every promise kept, and where does the members' work run?

use super::{Account, Beside, Due, Endpoint, Needs, Turn};
use crate::contract::Audit;
use crate::daemon::asking::caller::{Asking, Caller};
use crate::daemon::asking::deed::Deed;
use crate::daemon::asking::present::Present;
use crate::policy::Role;
use crate::wire::error::WireError;

impl Endpoint for Audit {
    const LEAST: Role = Role::ReadOnly;
    const TURN: Turn = Turn::Nobodys;
    // What is outside is looked for most where something is missing.
    const WHEN_DEGRADED: bool = true;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: false };
    const DUE: Due = Due::Later;
    const QUESTION: bool = true;
    const BESIDE: Beside = Beside::Nothing;
    const STARTS_A_UNIT: bool = false;

    type Act = ();

    fn act(self, _asking: &mut Asking<'_>) -> Result<Self::Act, WireError> {
        Ok(())
    }

    fn deed(_act: &Self::Act, by: &Caller, _now: &Present<'_>) -> Result<Deed, WireError> {
        Ok(Deed::Audit { only: (by.role != Role::Admin).then(|| by.whom.clone()) })
    }
}
