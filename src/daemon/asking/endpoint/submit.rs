//! `submit`: run a command in the background.

use super::{Account, Beside, Endpoint, Needs, Turn};
use crate::contract::Submit;
use crate::policy::Role;

impl Endpoint for Submit {
    const LEAST: Role = Role::Operator;
    const TURN: Turn = Turn::OfTarget;
    const WHEN_DEGRADED: bool = false;
    // The name goes into the slice's description, where a share is taken.
    const NEEDS: Needs = Needs { account: Account::Always, capacity: true };
    const AT_HAND: bool = false;
    const QUESTION: bool = false;
    const BESIDE: Beside = Beside::Nothing;
}
