//! `job_fetch`: what a submitted command is, for its own process.

use super::{Account, Beside, Endpoint, Needs, Turn};
use crate::contract::JobFetch;
use crate::policy::Role;

impl Endpoint for JobFetch {
    // The job's own process: who could submit it may have another role by then.
    const LEAST: Role = Role::ReadOnly;
    const TURN: Turn = Turn::Nobodys;
    // What a command is was granted before: its process asks for no more than that.
    const WHEN_DEGRADED: bool = true;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: false };
    const AT_HAND: bool = false;
    const QUESTION: bool = false;
    const BESIDE: Beside = Beside::Descriptors;
}
