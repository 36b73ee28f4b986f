//! `ping`: whether the daemon answers.

use super::{Account, Beside, Endpoint, Needs, Turn};
use crate::contract::Ping;
use crate::policy::Role;

impl Endpoint for Ping {
    const LEAST: Role = Role::ReadOnly;
    const TURN: Turn = Turn::Nobodys;
    const WHEN_DEGRADED: bool = true;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: false };
    const AT_HAND: bool = true;
    const QUESTION: bool = true;
    const BESIDE: Beside = Beside::Nothing;
}
