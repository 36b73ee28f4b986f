//! `job_fetch`: what a submitted command is, for its own process.

use super::{Account, Beside, Due, Endpoint, Needs, Turn};
use crate::contract::JobFetch;
use crate::daemon::asking::caller::{Asking, Caller};
use crate::daemon::asking::deed::Deed;
use crate::daemon::asking::present::Present;
use crate::identity::JobId;
use crate::policy::Role;
use crate::wire::error::WireError;

impl Endpoint for JobFetch {
    // The job's own process: who could submit it may have another role by then.
    const LEAST: Role = Role::ReadOnly;
    const TURN: Turn = Turn::Nobodys;
    // What a command is was granted before: its process asks for no more than that.
    const WHEN_DEGRADED: bool = true;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: false };
    const DUE: Due = Due::Later;
    const QUESTION: bool = false;
    const BESIDE: Beside = Beside::Descriptors;
    const STARTS_A_UNIT: bool = false;

    /// Of which job, and whether at its end.
    type Act = (JobId, bool);

    fn act(self, _asking: &mut Asking<'_>) -> Result<Self::Act, WireError> {
        Ok((JobId(self.job_id), self.at_end.unwrap_or(false)))
    }

    fn deed(act: &Self::Act, _by: &Caller, _now: &Present<'_>) -> Result<Deed, WireError> {
        let (job, at_end) = *act;
        Ok(Deed::Hand(job, at_end))
    }
}
