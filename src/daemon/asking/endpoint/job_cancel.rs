//! `job_cancel`: end a job.

use super::{Account, Beside, Endpoint, Needs, Turn};
use crate::contract::JobCancel;
use crate::policy::Role;

impl Endpoint for JobCancel {
    const LEAST: Role = Role::Operator;
    const TURN: Turn = Turn::Nobodys;
    const WHEN_DEGRADED: bool = false;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: false };
    const AT_HAND: bool = false;
    const QUESTION: bool = false;
    const BESIDE: Beside = Beside::Nothing;
}
