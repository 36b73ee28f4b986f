//! `status`: one share, and what is left of the machine.

use super::{Account, Beside, Endpoint, Needs, Turn};
use crate::contract::Status;
use crate::policy::Role;

impl Endpoint for Status {
    const LEAST: Role = Role::ReadOnly;
    const TURN: Turn = Turn::Nobodys;
    const WHEN_DEGRADED: bool = true;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: true };
    const AT_HAND: bool = true;
    const QUESTION: bool = true;
    const BESIDE: Beside = Beside::Nothing;
}
