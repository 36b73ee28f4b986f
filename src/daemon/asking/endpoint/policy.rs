//! `policy`: what the policy says for one member.

use super::{Account, Beside, Due, Endpoint, Needs, Turn};
use crate::contract::{Answer, KeyInfo, Policy, PolicyAnswer, PolicyInfo};
use crate::daemon::asking::caller::{Asking, Caller};
use crate::daemon::asking::deed::Deed;
use crate::daemon::asking::present::Present;
use crate::daemon::telling::answer;
use crate::ledger::told_key::ToldKey;
use crate::policy::Role;
use crate::wire::error::WireError;

impl Endpoint for Policy {
    const LEAST: Role = Role::ReadOnly;
    const TURN: Turn = Turn::Nobodys;
    const WHEN_DEGRADED: bool = false;
    const NEEDS: Needs = Needs { account: Account::OfAnother, capacity: false };
    const DUE: Due = Due::InTheSameBreath;
    const QUESTION: bool = true;
    const BESIDE: Beside = Beside::Nothing;
    const STARTS_A_UNIT: bool = false;

    type Act = ();

    fn act(self, _asking: &mut Asking<'_>) -> Result<Self::Act, WireError> {
        Ok(())
    }

    fn deed(_act: &Self::Act, by: &Caller, now: &Present<'_>) -> Result<Deed, WireError> {
        let capacity = now.shown.ledger.capacity().whole().cpu();
        let member = now.member(&by.whom)?;
        let key = now.shown.ledger.told_key(member.uid, member.policy.weight).map(|told| key(&told));
        let policy = PolicyInfo { key, ..answer::policy(&member.policy, now.policy()?, capacity) };
        Ok(Deed::Answer(Answer::Policy(PolicyAnswer { policy })))
    }
}

/// A member's own key as it is shown.
fn key(told: &ToldKey) -> KeyInfo {
    // Of 2^32, in thousandths to the nearest.
    let milli = |part: u64| (part.saturating_mul(1000).saturating_add(1 << 31)) >> 32;
    KeyInfo {
        held_milli: milli(told.held),
        had_milli: told.had.map(milli),
        waits: told.waits,
        others: told.others as u64,
        before: told.before as u64,
    }
}
