//! `ping`: whether the daemon answers.

use super::{Account, Beside, Due, Endpoint, Needs, Turn};
use crate::contract::{Answer, Ping, Pong};
use crate::daemon::asking::caller::{Asking, Caller};
use crate::daemon::asking::deed::Deed;
use crate::daemon::asking::present::Present;
use crate::policy::Role;
use crate::wire::error::WireError;

impl Endpoint for Ping {
    const LEAST: Role = Role::ReadOnly;
    const TURN: Turn = Turn::Nobodys;
    const WHEN_DEGRADED: bool = true;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: false };
    const DUE: Due = Due::InTheSameBreath;
    const QUESTION: bool = true;
    const BESIDE: Beside = Beside::Nothing;
    const STARTS_A_UNIT: bool = false;

    type Act = ();

    fn act(self, _asking: &mut Asking<'_>) -> Result<Self::Act, WireError> {
        Ok(())
    }

    fn deed(_act: &Self::Act, _by: &Caller, now: &Present<'_>) -> Result<Deed, WireError> {
        Ok(Deed::Answer(Answer::Pong(Pong { at_ms: now.shown.now.wall_ms })))
    }
}
