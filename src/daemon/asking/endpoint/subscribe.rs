//! `subscribe`: what happens, as it happens.

use super::{Account, Beside, Endpoint, Needs, Turn};
use crate::contract::Subscribe;
use crate::policy::Role;

impl Endpoint for Subscribe {
    const LEAST: Role = Role::ReadOnly;
    const TURN: Turn = Turn::Nobodys;
    const WHEN_DEGRADED: bool = false;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: false };
    const AT_HAND: bool = true;
    const QUESTION: bool = false;
    const BESIDE: Beside = Beside::Events;
}
