//! What the kernel holds and says of one share, at this moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cgroup::Cgroups;
use crate::contract::Usage;
use crate::daemon::telling::shown::usage;
use crate::enforced::Enforced;
use crate::identity::{Uid, UnitName};
use crate::ledger::allocation::Allocation;
use crate::ledger::{Ledger, share};
use crate::serving::logging::chain;

/// Threads that read figures of all shares at a time ...
const USAGES_READERS_MAX: usize = 2;

/// ... each of at least so many shares: for fewer, a second thread costs more than it saves.
const USAGES_PER_READER_MIN: usize = 32;

/// Whether the kernel holds the figures of this allocation.
///
/// # Errors
/// In words, what it holds instead.
pub fn limits_hold(cgroups: &Cgroups, allocation: &Allocation) -> Result<(), String> {
    hold(cgroups, allocation.unit(), &allocation.enforced())
}

/// Whether the kernel holds what it is to hold of a member: of their slice, and of each allocation in it.
///
/// # Errors
/// In words, what it holds instead.
pub fn share_holds(cgroups: &Cgroups, ledger: &Ledger, uid: Uid) -> Result<(), String> {
    let Some(around) = share::enforced(ledger.allocations_of(uid)) else { return Ok(()) };
    hold(cgroups, UnitName::Share(uid), &around)?;
    let mut own = ledger.allocations_of(uid).filter(|allocation| !allocation.in_share);
    own.try_for_each(|allocation| limits_hold(cgroups, allocation))
}

fn hold(cgroups: &Cgroups, unit: UnitName, enforced: &Enforced) -> Result<(), String> {
    match cgroups.limits(unit) {
        Ok(Some(limits)) => limits.hold(enforced).map_err(|difference| format!("{unit}: {difference}")),
        Ok(None) => Err(format!("{unit}: there is no such cgroup")),
        Err(fault) => Err(chain(&fault)),
    }
}

/// What these shares use, of each of which the kernel says it.
pub async fn usages(cgroups: &Arc<Cgroups>, uids: &[Uid]) -> BTreeMap<Uid, Usage> {
    let at_once = uids.len().div_ceil(USAGES_READERS_MAX).max(USAGES_PER_READER_MIN);
    let readers: Vec<_> = uids
        .chunks(at_once)
        .map(|uids| {
            let (uids, cgroups) = (uids.to_vec(), Arc::clone(cgroups));
            let read = move |uid| Some((uid, usage(&cgroups, UnitName::Share(uid))?));
            tokio::task::spawn_blocking(move || uids.into_iter().filter_map(read).collect::<Vec<_>>())
        })
        .collect();
    let mut usages = BTreeMap::new();
    for reader in readers {
        usages.extend(reader.await.unwrap_or_default());
    }
    usages
}
