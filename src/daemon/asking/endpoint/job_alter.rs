//! `job_alter`: hold a job that waits, release it, or put it before others of its member's.

use super::{Account, Beside, Due, Endpoint, Needs, Turn};
use crate::contract::JobAlter;
use crate::daemon::asking::caller::{Asking, Caller};
use crate::daemon::asking::deed::{Deed, Saying};
use crate::daemon::asking::figures::priority;
use crate::daemon::asking::present::Present;
use crate::daemon::asking::refuse::bad;
use crate::daemon::telling::shown::Shown;
use crate::identity::JobId;
use crate::ledger::apart::Change;
use crate::ledger::{Command, Decided};
use crate::policy::Role;
use crate::wire::error::WireError;

impl Endpoint for JobAlter {
    const LEAST: Role = Role::Operator;
    const TURN: Turn = Turn::Nobodys;
    const WHEN_DEGRADED: bool = false;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: false };
    const DUE: Due = Due::Later;
    const QUESTION: bool = false;
    const BESIDE: Beside = Beside::Nothing;
    const STARTS_A_UNIT: bool = false;

    type Act = (JobId, Change);

    fn act(self, _asking: &mut Asking<'_>) -> Result<Self::Act, WireError> {
        let Self { job_id, hold, first, priority: number } = self;
        let change = Change { hold, first, priority: number.map(priority).transpose()? };
        if change == Change::default() {
            return Err(bad("job_alter is to change something: name hold, first or priority"));
        }
        Ok((JobId(job_id), change))
    }

    fn deed(act: &Self::Act, by: &Caller, _now: &Present<'_>) -> Result<Deed, WireError> {
        let (job, change) = *act;
        let altered = move |shown: &Shown<'_>, _: &Decided| shown.one_job(job);
        Ok(Deed::Say(Saying::new(Command::Alter { job, by: by.peer.uid, change }).or_at_once(altered)))
    }
}
