//! `renew`: move the end of a lease.

use std::time::Duration;

use super::{Account, Beside, Due, Endpoint, Needs, Turn};
use crate::contract::Renew;
use crate::daemon::asking::caller::{Asking, Caller};
use crate::daemon::asking::deed::{Deed, Saying};
use crate::daemon::asking::present::Present;
use crate::identity::JobId;
use crate::ledger::Command;
use crate::policy::Role;
use crate::wire::error::WireError;

impl Endpoint for Renew {
    const LEAST: Role = Role::Operator;
    const TURN: Turn = Turn::OfTarget;
    const WHEN_DEGRADED: bool = false;
    // A renewal takes a share anew where its lease was over.
    const NEEDS: Needs = Needs { account: Account::OfAnother, capacity: true };
    const DUE: Due = Due::Later;
    const QUESTION: bool = false;
    const BESIDE: Beside = Beside::Nothing;
    const STARTS_A_UNIT: bool = false;

    type Act = (Option<JobId>, Duration);

    fn act(self, _asking: &mut Asking<'_>) -> Result<Self::Act, WireError> {
        Ok((self.job_id.map(JobId), Duration::from_millis(self.lease_ms)))
    }

    fn deed(act: &Self::Act, by: &Caller, now: &Present<'_>) -> Result<Deed, WireError> {
        let (job, lease) = *act;
        let of = now.named(by.whom.uid, job)?.purpose;
        let command = Command::Renew { member: now.member(&by.whom)?, of, lease };
        Ok(Deed::Say(Saying::new(command).or_as_held(by.whom.uid)))
    }
}
