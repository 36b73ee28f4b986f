//! `request_resources`: take a share.

use super::{Account, Beside, Endpoint, Needs, Turn};
use crate::contract::RequestResources;
use crate::policy::Role;

impl Endpoint for RequestResources {
    const LEAST: Role = Role::Operator;
    const TURN: Turn = Turn::OfTarget;
    const WHEN_DEGRADED: bool = false;
    // The name goes into the slice's description.
    const NEEDS: Needs = Needs { account: Account::Always, capacity: true };
    const AT_HAND: bool = false;
    const QUESTION: bool = false;
    const BESIDE: Beside = Beside::Nothing;
}
