//! What the kernel holds and says of one share, at this moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cgroup::Cgroups;
use crate::contract::Usage;
use crate::daemon::telling::shown::usage;
use crate::identity::{Uid, UnitName};
use crate::ledger::share::Share;
use crate::serving::logging::chain;

/// Threads that read figures of all shares at a time ...
const USAGES_READERS_MAX: usize = 2;

/// ... each of at least so many shares: for fewer, a second thread costs more than it saves.
const USAGES_PER_READER_MIN: usize = 32;

/// Whether the kernel holds the figures of this share.
///
/// # Errors
/// In words, what it holds instead.
pub fn limits_hold(cgroups: &Cgroups, share: &Share) -> Result<(), String> {
    let unit = UnitName::Share(share.uid);
    match cgroups.limits(unit) {
        Ok(Some(limits)) => {
            limits.hold(&share.enforced()).map_err(|difference| format!("{unit}: {difference}"))
        }
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
            let read = move |uid| Some((uid, usage(&cgroups, uid)?));
            tokio::task::spawn_blocking(move || uids.into_iter().filter_map(read).collect::<Vec<_>>())
        })
        .collect();
    let mut usages = BTreeMap::new();
    for reader in readers {
        usages.extend(reader.await.unwrap_or_default());
    }
    usages
}
