//! What bounds all shares together.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{error, warn};

use super::share::{Context, READ_BACK_TIMEOUT};
use crate::cgroup::Group;
use crate::identity::FAIRSHARE_SLICE;
use crate::quantity::PartialAmount;
use crate::serving::logging::chain;
use crate::systemd::property;

/// Between two looks at whether the kernel holds the bound of all shares.
const BOUND_PAUSE: Duration = Duration::from_millis(20);

/// Bounds all shares together by what can be handed out, so that they can never starve the system.
///
/// Memory in use over its bound is left alone: the kernel would kill to get under it. The sweep tries again.
pub async fn bound_all(cx: &Context, bounds: PartialAmount) {
    // `None` while there is no share, and no cgroup above it.
    let holds = |bounds: PartialAmount| {
        let limits = cx.cgroups.limits(Group::All).ok().flatten();
        limits.map(|limits| limits.holds_named(bounds).is_ok())
    };
    if holds(bounds) == Some(true) {
        return;
    }
    let in_use = match cx.cgroups.memory(Group::All) {
        Ok(memory) => memory.unwrap_or_default(),
        Err(fault) => {
            error!("{}", chain(&fault));
            return;
        }
    };
    let mem = bounds.mem.filter(|mem| in_use <= *mem);
    if let (None, Some(bound)) = (mem, bounds.mem) {
        warn!(
            "{FAIRSHARE_SLICE} uses {in_use}, more than the {bound} that can be handed out: proceeding without setting its memory"
        );
    }
    let bounds = PartialAmount { mem, ..bounds };
    if holds(bounds) == Some(true) {
        return;
    }
    if let Err(fault) = cx.systemd.set_properties(FAIRSHARE_SLICE, &property::capacity(bounds)).await {
        return error!(unit = FAIRSHARE_SLICE, "{}", chain(&fault));
    }
    // systemd may answer before the kernel's files change, and who looks next must not see what was before.
    let deadline = Instant::now() + READ_BACK_TIMEOUT;
    while holds(bounds) == Some(false) {
        if Instant::now() >= deadline {
            return error!(
                unit = FAIRSHARE_SLICE,
                "the kernel does not hold the limits of {FAIRSHARE_SLICE}"
            );
        }
        sleep(BOUND_PAUSE).await;
    }
}
