//! `release`: give a share back.

use super::{Account, Beside, Endpoint, Needs, Turn};
use crate::contract::Release;
use crate::policy::Role;

impl Endpoint for Release {
    const LEAST: Role = Role::Operator;
    const TURN: Turn = Turn::OfTarget;
    const WHEN_DEGRADED: bool = false;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: false };
    const AT_HAND: bool = false;
    const QUESTION: bool = false;
    const BESIDE: Beside = Beside::Nothing;
}
