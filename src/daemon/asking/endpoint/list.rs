//! `list`: all shares that the caller may see.

use super::{Account, Beside, Endpoint, Needs, Turn};
use crate::contract::List;
use crate::policy::Role;

impl Endpoint for List {
    const LEAST: Role = Role::ReadOnly;
    const TURN: Turn = Turn::Nobodys;
    const WHEN_DEGRADED: bool = true;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: true };
    const AT_HAND: bool = false;
    const QUESTION: bool = true;
    const BESIDE: Beside = Beside::Nothing;
}
