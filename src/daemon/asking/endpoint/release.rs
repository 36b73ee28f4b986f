//! `release`: give a share back.

use super::{Account, Beside, Due, Endpoint, Needs, Turn};
use crate::contract::{Answer, Release, Released};
use crate::daemon::asking::caller::{Asking, Caller};
use crate::daemon::asking::deed::{Deed, Saying};
use crate::daemon::asking::present::Present;
use crate::identity::JobId;
use crate::ledger::Command;
use crate::policy::Role;
use crate::wire::error::WireError;

impl Endpoint for Release {
    const LEAST: Role = Role::Operator;
    const TURN: Turn = Turn::OfTarget;
    const WHEN_DEGRADED: bool = false;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: false };
    const DUE: Due = Due::Later;
    const QUESTION: bool = false;
    const BESIDE: Beside = Beside::Nothing;
    const STARTS_A_UNIT: bool = false;

    type Act = (Option<JobId>, bool);

    fn act(self, _asking: &mut Asking<'_>) -> Result<Self::Act, WireError> {
        Ok((self.job_id.map(JobId), self.stop.unwrap_or(false)))
    }

    fn deed(act: &Self::Act, by: &Caller, now: &Present<'_>) -> Result<Deed, WireError> {
        let (job, stop) = *act;
        let Some(id) = now.released(by.whom.uid, job)? else {
            return Ok(Deed::Answer(Answer::Released(Released { released: false })));
        };
        let command = Command::Release { id, populated: now.populated(id)?, stop };
        Ok(Deed::Say(
            Saying::new(command).or_at_once(|_, _| Ok(Answer::Released(Released { released: false }))),
        ))
    }
}
