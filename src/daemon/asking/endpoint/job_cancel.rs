//! `job_cancel`: end a job.

use super::{Account, Beside, Due, Endpoint, Needs, Turn};
use crate::contract::JobCancel;
use crate::daemon::asking::caller::{Asking, Caller};
use crate::daemon::asking::deed::{Deed, Saying};
use crate::daemon::asking::present::Present;
use crate::daemon::telling::shown::Shown;
use crate::identity::JobId;
use crate::ledger::{Canceller, Command, Decided};
use crate::policy::Role;
use crate::wire::error::WireError;

impl Endpoint for JobCancel {
    const LEAST: Role = Role::Operator;
    const TURN: Turn = Turn::Nobodys;
    const WHEN_DEGRADED: bool = false;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: false };
    const DUE: Due = Due::Later;
    const QUESTION: bool = false;
    const BESIDE: Beside = Beside::Nothing;
    const STARTS_A_UNIT: bool = false;

    type Act = JobId;

    fn act(self, _asking: &mut Asking<'_>) -> Result<Self::Act, WireError> {
        Ok(JobId(self.job_id))
    }

    fn deed(act: &Self::Act, by: &Caller, _now: &Present<'_>) -> Result<Deed, WireError> {
        let job = *act;
        let by = if by.role == Role::Admin { Canceller::Admin } else { Canceller::Member(by.peer.uid) };
        let ended = move |shown: &Shown<'_>, _: &Decided| shown.one_job(job);
        Ok(Deed::Say(Saying::new(Command::Cancel { job, by }).or_at_once(ended)))
    }
}
