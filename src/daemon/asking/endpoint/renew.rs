//! `renew`: move the end of a lease.

use super::{Account, Beside, Endpoint, Needs, Turn};
use crate::contract::Renew;
use crate::policy::Role;

impl Endpoint for Renew {
    const LEAST: Role = Role::Operator;
    const TURN: Turn = Turn::OfTarget;
    const WHEN_DEGRADED: bool = false;
    // A renewal takes a share anew where its lease was over.
    const NEEDS: Needs = Needs { account: Account::OfAnother, capacity: true };
    const AT_HAND: bool = false;
    const QUESTION: bool = false;
    const BESIDE: Beside = Beside::Nothing;
}
