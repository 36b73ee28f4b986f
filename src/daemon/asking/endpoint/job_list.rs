//! `job_list`: all jobs that the caller may see.

use super::{Account, Beside, Due, Endpoint, Needs, Turn};
use crate::contract::{Answer, JobList, Jobs};
use crate::daemon::asking::caller::{Asking, Caller};
use crate::daemon::asking::deed::Deed;
use crate::daemon::asking::present::Present;
use crate::daemon::telling::fit::{JOB_BYTES_MAX, Space};
use crate::policy::Role;
use crate::wire::error::WireError;

impl Endpoint for JobList {
    const LEAST: Role = Role::ReadOnly;
    const TURN: Turn = Turn::Nobodys;
    const WHEN_DEGRADED: bool = false;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: false };
    const DUE: Due = Due::AtOnce;
    const QUESTION: bool = true;
    const BESIDE: Beside = Beside::Nothing;
    const STARTS_A_UNIT: bool = false;

    type Act = bool;

    fn act(self, asking: &mut Asking<'_>) -> Result<Self::Act, WireError> {
        asking.whole(self.all)
    }

    fn deed(act: &Self::Act, by: &Caller, now: &Present<'_>) -> Result<Deed, WireError> {
        let jobs = now.shown.ledger.jobs().values().filter(|job| *act || job.uid == by.peer.uid);
        let mut jobs = now.shown.jobs(jobs);
        let jobs_left_out = Space::of_a_frame().last(&mut jobs, JOB_BYTES_MAX);
        Ok(Deed::Answer(Answer::Jobs(Jobs { jobs, jobs_left_out })))
    }
}
