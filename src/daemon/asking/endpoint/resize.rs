//! `resize`: change the figures of a share.

use super::{Account, Beside, Endpoint, Needs, Turn};
use crate::contract::Resize;
use crate::policy::Role;

impl Endpoint for Resize {
    const LEAST: Role = Role::Operator;
    const TURN: Turn = Turn::OfTarget;
    const WHEN_DEGRADED: bool = false;
    const NEEDS: Needs = Needs { account: Account::OfAnother, capacity: true };
    const AT_HAND: bool = false;
    const QUESTION: bool = false;
    const BESIDE: Beside = Beside::Nothing;
}
