//! `reload`: read the policy again.

use super::{Account, Beside, Endpoint, Needs, Turn};
use crate::contract::Reload;
use crate::policy::Role;

impl Endpoint for Reload {
    const LEAST: Role = Role::Admin;
    const TURN: Turn = Turn::Nobodys;
    const WHEN_DEGRADED: bool = true;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: false };
    const AT_HAND: bool = false;
    const QUESTION: bool = false;
    const BESIDE: Beside = Beside::Nothing;
}
