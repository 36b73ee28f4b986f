//! Units that stand still: frozen and thawed by systemd, and proved by what the kernel says.

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use super::read_back::{READ_BACK_TIMEOUT, ReadBack};
use crate::cgroup::{CgroupFault, Cgroups};
use crate::identity::UnitName;
use crate::serving::logging::chain;
use crate::systemd::{Fault, StopResult, Systemd};

/// Stops a unit and everything in it. What stands still in it is thawed first: a signal reaches nobody who is frozen, and
/// systemd has been seen to say that a slice is stopped with a frozen process in it.
///
/// # Errors
/// Those of [`Systemd::stop`].
pub async fn stop(
    systemd: &Systemd,
    cgroups: &Arc<Cgroups>,
    unit: UnitName,
    within: Duration,
) -> Result<StopResult, Fault> {
    thaw(systemd, cgroups, unit).await;
    systemd.stop(unit, within).await
}

/// Thaws a unit, and whatever else stands still in it. What fails is logged: SIGKILL ends what is frozen too.
///
/// Where an administrator has frozen what is around it, it is left so: with it systemd thaws the slices that it is in (seen with
/// 252).
pub async fn thaw(systemd: &Systemd, cgroups: &Arc<Cgroups>, unit: UnitName) {
    match cgroups.frozen_around(unit) {
        Ok(None) => {}
        Ok(Some(around)) => return info!(unit = %unit, "{unit} is not thawed: {around} is frozen"),
        Err(fault) => {
            error!(unit = %unit, "{}, proceeding as if nothing around it were frozen", chain(&fault))
        }
    }
    let looking = {
        let cgroups = Arc::clone(cgroups);
        tokio::task::spawn_blocking(move || cgroups.to_stand_still(unit))
    };
    let found = match looking.await {
        Ok(Ok(found)) => found,
        Ok(Err(fault)) => {
            return error!(unit = %unit, "{}, proceeding as if nothing were frozen", chain(&fault));
        }
        Err(ended) => return error!(unit = %unit, "{ended}, proceeding as if nothing were frozen"),
    };
    for unit in found {
        if let Err(fault) = systemd.thaw(unit).await {
            warn!(unit = %unit, "{}, proceeding", chain(&fault));
            continue;
        }
        match holds(cgroups, unit, false).await {
            Ok(Some(true) | None) => {}
            Ok(Some(false)) => warn!(unit = %unit, "{unit} still stands still, proceeding"),
            Err(fault) => error!(unit = %unit, "{}, proceeding", chain(&fault)),
        }
    }
}

/// Waits until a unit stands still, or does no longer. Whether it came to that in time; `None` where there is no such cgroup any
/// more.
///
/// # Errors
/// Any [`CgroupFault`].
pub async fn holds(cgroups: &Cgroups, unit: UnitName, frozen: bool) -> Result<Option<bool>, CgroupFault> {
    let mut read_back = ReadBack::within(READ_BACK_TIMEOUT);
    loop {
        let held = cgroups.frozen(unit)?.map(|is| is == frozen);
        if held != Some(false) || !read_back.again().await {
            return Ok(held);
        }
    }
}
