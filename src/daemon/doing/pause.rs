//! Commands that are paused: what they run in is frozen and thawed. Nothing of it is stored: it is as the kernel says.

use std::time::Duration;

use tokio::time::sleep;
use tracing::{error, info};

use super::allocation::{Context, logged};
use super::freezer;
use super::said::Said;
use crate::cgroup::CgroupFault;
use crate::daemon::telling::answer;
use crate::daemon::telling::reply::Reply;
use crate::identity::{JobId, UnitName};
use crate::ledger::refusal::{NotPaused, Refusal};
use crate::serving::logging::{chain, in_full};
use crate::wire::error::{Code, WireError};

/// A command that is to stand still, or to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pausing {
    /// The command's job.
    pub job: JobId,
    /// What it runs in: its service, or the slice with its scopes.
    pub unit: UnitName,
    /// Whether it is to stand still.
    pub pause: bool,
}

/// Has a command stand still, or go on; the owner answers, who looks at what has come of it.
pub async fn pause(cx: Context, pausing: Pausing, reply: Reply) {
    let Pausing { job, unit, pause } = pausing;
    let turn = cx.turn(unit.uid());
    let done = done(&cx, pausing).await;
    let word = if pause { "paused" } else { "resumed" };
    match &done {
        Ok(()) => info!(job_id = job.0, unit = %unit, "{word} job {job}"),
        Err(error) => {
            // All or nothing: what froze before the failure, or may yet, goes on.
            if pause {
                freezer::thaw(&cx.systemd, &cx.cgroups, unit).await;
            }
            info!(job_id = job.0, unit = %unit, "job {job} could not be {word}: {}", in_full(error));
        }
    }
    let _ = cx.said.send(Said::Paused { uid: unit.uid(), job, done, reply }).await;
    drop(turn);
}

async fn done(cx: &Context, pausing: Pausing) -> Result<(), WireError> {
    let Pausing { job, unit, pause } = pausing;
    let around = cx.cgroups.frozen_around(unit).map_err(|fault| unread(&fault))?;
    if let (false, Some(around)) = (pause, around) {
        let error = answer::refusal(&Refusal::NotPaused { job, why: NotPaused::FrozenAround });
        return Err(error.detail(format!("{around} is frozen")));
    }
    let mut there = false;
    for unit in cx.cgroups.work(unit).map_err(|fault| unread(&fault))? {
        there |= told(cx, unit, pause).await?;
    }
    if there { Ok(()) } else { Err(answer::refusal(&Refusal::NotPaused { job, why: NotPaused::Gone })) }
}

/// Tells systemd, and waits until the kernel holds it. Whether there still is such a unit.
async fn told(cx: &Context, unit: UnitName, pause: bool) -> Result<bool, WireError> {
    let told = if pause { cx.systemd.freeze(unit).await } else { cx.systemd.thaw(unit).await };
    if let Err(fault) = told {
        // Who ended meanwhile explains the failure better than systemd does.
        return match cx.cgroups.populated(unit) {
            Ok(Some(false) | None) => Ok(false),
            Ok(Some(true)) => Err(logged(&fault)),
            Err(unreadable) => Err(unread(&unreadable)),
        };
    }
    match freezer::holds(&cx.cgroups, unit, pause).await.map_err(|fault| unread(&fault))? {
        Some(true) => Ok(true),
        // What has ended by now went on before that.
        None => Ok(!pause),
        Some(false) => {
            let is = if pause { "is not frozen" } else { "is still frozen" };
            let message = "The kernel does not do what systemd was told";
            Err(WireError::new(Code::Systemd, message).detail(format!("{unit} {is}")))
        }
    }
}

fn unread(fault: &CgroupFault) -> WireError {
    error!("{}", chain(fault));
    answer::cgroup(fault)
}

/// Thaws a command when its time is over: systemd ends it then, with a signal that reaches nobody who is frozen.
pub async fn thaw_in(cx: Context, unit: UnitName, left: Duration) {
    sleep(left).await;
    freezer::thaw(&cx.systemd, &cx.cgroups, unit).await;
}
