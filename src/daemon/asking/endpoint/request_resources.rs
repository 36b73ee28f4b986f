//! `request_resources`: take a share.

use std::time::Duration;

use super::{Account, Beside, Due, Endpoint, Needs, Turn};
use crate::contract::RequestResources;
use crate::daemon::asking::caller::{Asking, Caller};
use crate::daemon::asking::deed::{Deed, Saying};
use crate::daemon::asking::figures::figures;
use crate::daemon::asking::present::Present;
use crate::ledger::{Command, Wait};
use crate::policy::Role;
use crate::quantity::PartialAmount;
use crate::wire::error::WireError;

/// What is asked for.
#[derive(Debug)]
pub struct Asked {
    amount: PartialAmount,
    lease: Option<Duration>,
    wait: Wait,
}

impl Endpoint for RequestResources {
    const LEAST: Role = Role::Operator;
    const TURN: Turn = Turn::OfTarget;
    const WHEN_DEGRADED: bool = false;
    // The name goes into the slice's description.
    const NEEDS: Needs = Needs { account: Account::Always, capacity: true };
    const DUE: Due = Due::Later;
    const QUESTION: bool = false;
    const BESIDE: Beside = Beside::Nothing;
    const STARTS_A_UNIT: bool = true;

    type Act = Asked;

    fn act(self, _asking: &mut Asking<'_>) -> Result<Self::Act, WireError> {
        Ok(Asked {
            amount: figures(self.amounts())?,
            lease: self.lease_ms.map(Duration::from_millis),
            wait: if self.wait.unwrap_or(false) { Wait::Granted } else { Wait::No },
        })
    }

    fn deed(act: &Self::Act, by: &Caller, now: &Present<'_>) -> Result<Deed, WireError> {
        let Asked { amount, lease, wait } = *act;
        let member = now.member(&by.whom)?;
        now.refuse_to_strangle(&member, amount)?;
        Ok(Deed::Say(Saying::new(Command::Request { member, amount, lease, wait })))
    }
}
