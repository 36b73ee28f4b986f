//! `job_status`: one job.

use super::{Account, Beside, Endpoint, Needs, Turn};
use crate::contract::JobStatus;
use crate::policy::Role;

impl Endpoint for JobStatus {
    const LEAST: Role = Role::ReadOnly;
    const TURN: Turn = Turn::Nobodys;
    const WHEN_DEGRADED: bool = false;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: false };
    const AT_HAND: bool = true;
    const QUESTION: bool = true;
    const BESIDE: Beside = Beside::Nothing;
}
