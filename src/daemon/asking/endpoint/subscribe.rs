//! `subscribe`: what happens, as it happens.

use super::{Account, Beside, Due, Endpoint, Needs, Turn};
use crate::contract::Subscribe;
use crate::daemon::asking::caller::{Asking, Caller};
use crate::daemon::asking::deed::Deed;
use crate::daemon::asking::present::Present;
use crate::daemon::telling::feed::Interest;
use crate::identity::JobId;
use crate::policy::Role;
use crate::wire::error::WireError;

impl Endpoint for Subscribe {
    const LEAST: Role = Role::ReadOnly;
    const TURN: Turn = Turn::Nobodys;
    const WHEN_DEGRADED: bool = false;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: false };
    const DUE: Due = Due::AtOnce;
    const QUESTION: bool = false;
    const BESIDE: Beside = Beside::Events;
    const STARTS_A_UNIT: bool = false;

    type Act = Interest;

    fn act(self, asking: &mut Asking<'_>) -> Result<Self::Act, WireError> {
        let job = self.job_id.map(JobId);
        // An admin may follow anybody's job by its id.
        let all = asking.whole(self.all)? || (job.is_some() && asking.of_everybody());
        Ok(Interest { uid: asking.caller.peer.uid, all, job })
    }

    fn deed(act: &Self::Act, _by: &Caller, _now: &Present<'_>) -> Result<Deed, WireError> {
        Ok(Deed::Follow(*act))
    }
}
