//! `job_status`: one job.

use super::{Account, Beside, Due, Endpoint, Needs, Turn};
use crate::contract::{Answer, JobStatus, OneJob};
use crate::daemon::asking::caller::{Asking, Caller};
use crate::daemon::asking::deed::Deed;
use crate::daemon::asking::present::Present;
use crate::daemon::telling::answer;
use crate::daemon::telling::job as told;
use crate::identity::JobId;
use crate::ledger::refusal::Refusal;
use crate::policy::Role;
use crate::wire::error::WireError;

impl Endpoint for JobStatus {
    const LEAST: Role = Role::ReadOnly;
    const TURN: Turn = Turn::Nobodys;
    const WHEN_DEGRADED: bool = false;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: false };
    const DUE: Due = Due::AtOnce;
    const QUESTION: bool = true;
    const BESIDE: Beside = Beside::Nothing;
    const STARTS_A_UNIT: bool = false;

    type Act = JobId;

    fn act(self, _asking: &mut Asking<'_>) -> Result<Self::Act, WireError> {
        Ok(JobId(self.job_id))
    }

    fn deed(act: &Self::Act, by: &Caller, now: &Present<'_>) -> Result<Deed, WireError> {
        let job = now.shown.ledger.jobs().get(act);
        // Who may not know of it is not told that there is one.
        let job = job.filter(|job| job.uid == by.peer.uid || by.role == Role::Admin);
        let job = job.ok_or_else(|| answer::refusal(&Refusal::NoJob))?;
        // The name is the member's own choice: whoever else opened it would open what they chose.
        let own = job.uid == by.peer.uid;
        Ok(Deed::Answer(Answer::Job(OneJob {
            job: now.shown.job(job),
            output: own.then(|| told::output(job)).flatten(),
        })))
    }
}
