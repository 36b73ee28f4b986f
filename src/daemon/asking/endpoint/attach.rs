//! `attach`: put processes into the caller's share.

use super::{Account, Beside, Endpoint, Needs, Turn};
use crate::contract::Attach;
use crate::policy::Role;

impl Endpoint for Attach {
    const LEAST: Role = Role::Operator;
    const TURN: Turn = Turn::OfTarget;
    const WHEN_DEGRADED: bool = false;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: false };
    const AT_HAND: bool = false;
    const QUESTION: bool = false;
    const BESIDE: Beside = Beside::Nothing;
}
