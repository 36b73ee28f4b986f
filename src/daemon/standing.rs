//! What not even SIGKILL has ended.
//!
//! A process that waits in the kernel, as for a file system that does not answer (FUSE, NFS), ends when that does. systemd gives
//! up on it after a while (`TimeoutStopSec=`, systemd.service(5)): its unit is over then, and its cgroup is not. It still uses
//! what it used: nothing is said to be over, and no room given to others, before it is gone.

use std::time::Duration;

use tokio::time::sleep;
use tracing::{error, info, warn};

use super::answer;
use super::logging::chain;
use super::query::PIDS_READ_MAX;
use crate::cgroup::Cgroups;
use crate::identity::UnitName;

/// Between two looks at who stands: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Who is still in a unit that has been stopped, for a person; `None` where nobody is.
pub fn standing(cgroups: &Cgroups, unit: UnitName) -> Option<String> {
    let pids = cgroups.pids(unit, PIDS_READ_MAX).unwrap_or_else(|fault| {
        error!(unit = %unit, "{}, proceeding as if nobody was inside", chain(&fault));
        Vec::new()
    });
    let (processes, named) = answer::processes(&pids, pids.len());
    (!pids.is_empty()).then(|| {
        format!("{processes} still in {unit}: {named}; who waits in the kernel, as for a file system, cannot be killed")
    })
}

/// Waits until nobody is in a unit that is over.
pub async fn gone(cgroups: &Cgroups, unit: UnitName) {
    let mut pause = PAUSE.0;
    while let Some(standing) = standing(cgroups, unit) {
        if pause == PAUSE.0 {
            warn!(unit = %unit, "{standing}: waiting");
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
    if pause > PAUSE.0 {
        info!(unit = %unit, "{unit} is empty at last");
    }
}
