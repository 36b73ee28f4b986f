//! What the kernel holds and says of one share, at this moment.

use tracing::error;

use crate::cgroup::{Cgroups, Difference};
use crate::contract::Usage;
use crate::daemon::telling::answer;
use crate::identity::{Uid, UnitName};
use crate::ledger::share::Share;
use crate::serving::logging::chain;

/// What one share uses, `None` where the kernel does not say.
pub fn usage(cgroups: &Cgroups, uid: Uid) -> Option<Usage> {
    let unit = UnitName::Share(uid);
    match cgroups.usage(unit) {
        Ok(usage) => usage.map(answer::usage),
        Err(fault) => {
            error!(unit = %unit, "{}", chain(&fault));
            None
        }
    }
}

/// Whether the kernel holds the figures of this share.
///
/// # Errors
/// In words, what it holds instead.
pub fn limits_hold(cgroups: &Cgroups, share: &Share) -> Result<(), String> {
    let unit = UnitName::Share(share.uid);
    match cgroups.limits(unit) {
        Ok(Some(limits)) => limits
            .holds(&share.enforced(), share.swap)
            .and_then(|()| limits.holds_idle(share.keeps().is_some()))
            .map_err(|difference: Difference| format!("{unit}: {difference}")),
        Ok(None) => Err(format!("{unit}: there is no such cgroup")),
        Err(fault) => Err(chain(&fault)),
    }
}
