//! `policy`: what the policy says for one member.

use super::{Account, Beside, Endpoint, Needs, Turn};
use crate::contract::Policy;
use crate::policy::Role;

impl Endpoint for Policy {
    const LEAST: Role = Role::ReadOnly;
    const TURN: Turn = Turn::Nobodys;
    const WHEN_DEGRADED: bool = false;
    const NEEDS: Needs = Needs { account: Account::OfAnother, capacity: false };
    const AT_HAND: bool = true;
    const QUESTION: bool = true;
    const BESIDE: Beside = Beside::Nothing;
}
