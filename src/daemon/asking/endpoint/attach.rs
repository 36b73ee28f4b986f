//! `attach`: put processes into the caller's share.

use super::{Account, Beside, Due, Endpoint, Needs, Turn};
use crate::contract::Attach;
use crate::daemon::asking::caller::{Asking, Caller};
use crate::daemon::asking::deed::{Deed, Destination, Whom};
use crate::daemon::asking::present::Present;
use crate::daemon::asking::refuse::bad;
use crate::policy::Role;
use crate::quantity::TASKS_MAX;
use crate::wire::error::WireError;

impl Endpoint for Attach {
    const LEAST: Role = Role::Operator;
    const TURN: Turn = Turn::OfTarget;
    const WHEN_DEGRADED: bool = false;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: false };
    const DUE: Due = Due::Later;
    const QUESTION: bool = false;
    const BESIDE: Beside = Beside::Nothing;
    const STARTS_A_UNIT: bool = true;

    type Act = Vec<u32>;

    fn act(self, _asking: &mut Asking<'_>) -> Result<Self::Act, WireError> {
        self.pids.into_iter().map(pid).collect()
    }

    fn deed(act: &Self::Act, _by: &Caller, _now: &Present<'_>) -> Result<Deed, WireError> {
        Ok(Deed::Enter(Destination::Standing, Whom::Named(act.clone())))
    }
}

/// A process id. Process 1 is everybody's, and nobody's to move.
fn pid(raw: u64) -> Result<u32, WireError> {
    u32::try_from(raw)
        .ok()
        .filter(|pid| *pid > 1 && u64::from(*pid) <= TASKS_MAX)
        .ok_or_else(|| bad(format!("pids: {raw} is not a process id")))
}
