//! `run`: put the caller into its share.

use super::{Account, Beside, Endpoint, Needs, Turn};
use crate::contract::Run;
use crate::policy::Role;

impl Endpoint for Run {
    const LEAST: Role = Role::Operator;
    const TURN: Turn = Turn::OfTarget;
    const WHEN_DEGRADED: bool = false;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: false };
    const AT_HAND: bool = false;
    const QUESTION: bool = false;
    const BESIDE: Beside = Beside::Nothing;
}
