//! `run`: put the caller into its share.

use std::time::Duration;

use super::{Account, Beside, Due, Endpoint, Needs, Turn};
use crate::contract::Run;
use crate::daemon::asking::caller::{Asking, Caller};
use crate::daemon::asking::deed::{Deed, Destination, Whom};
use crate::daemon::asking::figures::{figures, place, waiting};
use crate::daemon::asking::present::Present;
use crate::daemon::asking::refuse::bad;
use crate::identity::JobId;
use crate::ledger::Wanted;
use crate::policy::Role;
use crate::wire::error::WireError;

/// Where the caller wants to go.
#[derive(Debug)]
pub enum Asked {
    /// Into what it has waited for.
    Of(JobId),
    /// Into what it says.
    Wanted(Wanted),
}

impl Endpoint for Run {
    const LEAST: Role = Role::Operator;
    const TURN: Turn = Turn::OfTarget;
    const WHEN_DEGRADED: bool = false;
    // The name goes into the slice's description, where an allocation is taken.
    const NEEDS: Needs = Needs { account: Account::Always, capacity: true };
    const DUE: Due = Due::Later;
    const QUESTION: bool = false;
    const BESIDE: Beside = Beside::Nothing;
    const STARTS_A_UNIT: bool = true;

    type Act = Asked;

    fn act(self, _asking: &mut Asking<'_>) -> Result<Self::Act, WireError> {
        let amount = figures(self.amounts())?;
        let Run { lease_ms, wait, in_share, job_id, .. } = self;
        let Some(job) = job_id else {
            let lease = lease_ms.map(Duration::from_millis);
            return Ok(Asked::Wanted(Wanted { amount, place: place(in_share), lease, wait: waiting(wait) }));
        };
        if self == (Run { job_id, ..Run::default() }) {
            Ok(Asked::Of(JobId(job)))
        } else {
            Err(bad("job_id: nothing else is said with it"))
        }
    }

    fn deed(act: &Self::Act, by: &Caller, now: &Present<'_>) -> Result<Deed, WireError> {
        let into = match act {
            Asked::Of(job) => Destination::Of(*job),
            Asked::Wanted(wanted) => Destination::Wanted(Box::new(now.member(&by.whom)?), *wanted),
        };
        Ok(Deed::Enter(into, Whom::Caller(by.peer.pid.unsigned_abs())))
    }
}
