//! `history`: how jobs and allocations ended.

use super::{Account, Beside, Due, Endpoint, Needs, Turn};
use crate::contract::{ENDS_PER_ANSWER_MAX, History};
use crate::daemon::asking::caller::{Asking, Caller};
use crate::daemon::asking::deed::Deed;
use crate::daemon::asking::present::Present;
use crate::daemon::asking::refuse::bad;
use crate::history::Asked;
use crate::policy::Role;
use crate::wire::error::WireError;

impl Endpoint for History {
    const LEAST: Role = Role::ReadOnly;
    const TURN: Turn = Turn::Nobodys;
    // What is missing holds up what is granted, and is nothing to what is over.
    const WHEN_DEGRADED: bool = true;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: false };
    const DUE: Due = Due::Later;
    const QUESTION: bool = true;
    const BESIDE: Beside = Beside::Nothing;
    const STARTS_A_UNIT: bool = false;

    type Act = Asked;

    fn act(self, asking: &mut Asking<'_>) -> Result<Self::Act, WireError> {
        let all = asking.whole(self.all)?;
        if all && self.for_uid.is_some() {
            return Err(bad("for_uid: one member is named, and all are asked for"));
        }
        if self.limit == Some(0) {
            return Err(bad("limit: must be at least 1"));
        }
        let limit = self.limit.unwrap_or(ENDS_PER_ANSWER_MAX).min(ENDS_PER_ANSWER_MAX);
        Ok(Asked {
            only: (!all).then_some(asking.caller.whom.uid),
            since_ms: self.since_ms.unwrap_or(0),
            until_ms: self.until_ms.unwrap_or(u64::MAX),
            after: self.after,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
        })
    }

    fn deed(act: &Self::Act, _by: &Caller, _now: &Present<'_>) -> Result<Deed, WireError> {
        Ok(Deed::History(*act))
    }
}
