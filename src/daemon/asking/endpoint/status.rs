//! `status`: one share with its allocations, and what is left of the machine.

use super::{Account, Beside, Due, Endpoint, Needs, Turn};
use crate::contract::{Answer, Status, StatusAnswer};
use crate::daemon::asking::caller::{Asking, Caller};
use crate::daemon::asking::deed::Deed;
use crate::daemon::asking::present::Present;
use crate::policy::Role;
use crate::wire::error::WireError;

impl Endpoint for Status {
    const LEAST: Role = Role::ReadOnly;
    const TURN: Turn = Turn::Nobodys;
    const WHEN_DEGRADED: bool = true;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: true };
    const DUE: Due = Due::AtOnce;
    const QUESTION: bool = true;
    const BESIDE: Beside = Beside::Nothing;
    const STARTS_A_UNIT: bool = false;

    type Act = ();

    fn act(self, _asking: &mut Asking<'_>) -> Result<Self::Act, WireError> {
        Ok(())
    }

    fn deed(_act: &Self::Act, by: &Caller, now: &Present<'_>) -> Result<Deed, WireError> {
        let share = now.shown.share_in_use(by.whom.uid);
        Ok(Deed::Answer(Answer::Status(StatusAnswer { share, capacity: now.shown.capacity() })))
    }
}
