//! `log`: what the journal is told.

use super::{Account, Beside, Due, Endpoint, Needs, Turn};
use crate::contract::{Log, LogLevel};
use crate::daemon::asking::caller::{Asking, Caller};
use crate::daemon::asking::deed::Deed;
use crate::daemon::asking::present::Present;
use crate::policy::Role;
use crate::wire::error::WireError;

impl Endpoint for Log {
    const LEAST: Role = Role::Admin;
    const TURN: Turn = Turn::Nobodys;
    // More is to be seen most where something is missing.
    const WHEN_DEGRADED: bool = true;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: false };
    const DUE: Due = Due::Later;
    const QUESTION: bool = false;
    const BESIDE: Beside = Beside::Nothing;
    const STARTS_A_UNIT: bool = false;

    type Act = LogLevel;

    fn act(self, _asking: &mut Asking<'_>) -> Result<Self::Act, WireError> {
        Ok(self.level)
    }

    fn deed(act: &Self::Act, _by: &Caller, _now: &Present<'_>) -> Result<Deed, WireError> {
        Ok(Deed::Log(*act))
    }
}
