//! `drain`: grant nothing more.

use super::{Account, Beside, Due, Endpoint, Needs, Turn};
use crate::contract::Drain;
use crate::daemon::asking::caller::{Asking, Caller};
use crate::daemon::asking::deed::{Deed, Saying};
use crate::daemon::asking::present::Present;
use crate::ledger::{Command, Event};
use crate::policy::Role;
use crate::wire::error::WireError;

impl Endpoint for Drain {
    const LEAST: Role = Role::Admin;
    const TURN: Turn = Turn::Nobodys;
    const WHEN_DEGRADED: bool = false;
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
        Ok(Deed::Say(Saying::new(Command::Drain).or_whether_told(Event::Drained)))
    }
}
