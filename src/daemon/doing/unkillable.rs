//! What not even SIGKILL has ended.
//!
//! A process that waits in the kernel, as for a file system that does not answer (FUSE, NFS), ends when that does. systemd gives
//! up on it after a while (`TimeoutStopSec=`, systemd.service(5)): its unit is over then, and its cgroup is not. It still uses
//! what it used: nothing is said to be over, and no room given to others, before it is gone.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{error, info, warn};

use super::occupants::{self, Naming, Occupants};
use crate::cgroup::Cgroups;
use crate::identity::UnitName;
use crate::serving::logging::chain;
use crate::time::backoff;

/// Between two looks at who stands: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Whether nobody is in a unit that has been stopped. What cannot be read is taken for occupied: its room stays in use.
///
/// # Errors
/// Who is still inside, or that it could not be read, for a person.
pub async fn over(cgroups: &Arc<Cgroups>, unit: UnitName) -> Result<(), String> {
    let unknown = |why: String| {
        error!(unit = %unit, "{why}, proceeding as if somebody was inside");
        format!("whether somebody is still in {unit} is not known: {why}")
    };
    // One file of one cgroup, and nearly always all that is to be read.
    match cgroups.populated(unit) {
        Ok(Some(true)) => (),
        Ok(_) => return Ok(()),
        Err(fault) => return Err(unknown(chain(&fault))),
    }
    let looking = {
        let cgroups = Arc::clone(cgroups);
        tokio::task::spawn_blocking(move || occupants::look(&cgroups, unit, Naming::Number))
    };
    match looking.await {
        Ok(Ok(None)) => Ok(()),
        Ok(Ok(Some(Occupants { count, named }))) => Err(format!(
            "{count} still in {unit}: {named}; who waits in the kernel, as for a file system, cannot be killed"
        )),
        Ok(Err(fault)) => Err(unknown(chain(&fault))),
        Err(ended) => Err(unknown(ended.to_string())),
    }
}

/// Waits until nobody is in a unit that is over.
pub async fn gone(cgroups: &Arc<Cgroups>, unit: UnitName) {
    let (mut pauses, mut waited) = (backoff(PAUSE), false);
    while let Err(still) = over(cgroups, unit).await {
        if !waited {
            warn!(unit = %unit, "{still}: waiting");
        }
        waited = true;
        sleep(pauses.pause()).await;
    }
    if waited {
        info!(unit = %unit, "{unit} is empty at last");
    }
}
