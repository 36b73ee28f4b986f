//! How long an allocation is held: what its member asks for, within what the policy allows.

use std::time::Duration;

use crate::ledger::care::Care;
use crate::ledger::refusal::Refusal;
use crate::policy::{DURATION_MAX, DURATION_MIN, LEASE_MIN, MemberPolicy};

/// The lease of an allocation that is requested: as asked, else the policy's own.
pub(super) fn of_allocation(
    policy: &MemberPolicy,
    asked: Option<Duration>,
) -> Result<Option<Duration>, Refusal> {
    match asked {
        Some(asked) => checked(policy, asked, LEASE_MIN).map(Some),
        None => Ok(policy.lease_default),
    }
}

/// The lease of an allocation that a submitted command brings: the command's time limit, however short; else none
/// (1-product.md "Leases").
pub(super) fn of_work(policy: &MemberPolicy, limit: Option<Duration>) -> Result<Option<Duration>, Refusal> {
    match limit {
        Some(limit) if limit.is_zero() => Err(Refusal::NoTime),
        Some(limit) => checked(policy, limit, DURATION_MIN).map(Some),
        None => Ok(None),
    }
}

/// Whether a submitted command may have this time limit, and be warned before it.
pub(super) fn limited(limit: Option<Duration>, care: &Care) -> Result<(), Refusal> {
    match limit {
        Some(limit) if limit.is_zero() => Err(Refusal::NoTime),
        None if care.warning.is_some() => Err(Refusal::WarnsOfNothing),
        Some(_) | None => Ok(()),
    }
}

/// A lease within its bounds. Where the policy has no longest one the longest time that any policy can name is it.
pub(super) fn checked(policy: &MemberPolicy, asked: Duration, least: Duration) -> Result<Duration, Refusal> {
    let max = policy.lease_max.unwrap_or(DURATION_MAX);
    if asked > max {
        return Err(Refusal::LeaseTooLong { asked, max });
    }
    if asked < least { Err(Refusal::LeaseTooShort { asked, least }) } else { Ok(asked) }
}
