//! `health`: whether all is well.

use super::{Account, Beside, Endpoint, Needs, Turn};
use crate::contract::Health;
use crate::policy::Role;

impl Endpoint for Health {
    const LEAST: Role = Role::ReadOnly;
    const TURN: Turn = Turn::Nobodys;
    const WHEN_DEGRADED: bool = true;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: false };
    const AT_HAND: bool = false;
    const QUESTION: bool = true;
    const BESIDE: Beside = Beside::Nothing;
}
