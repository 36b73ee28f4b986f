//! Processes of a member on their way into the share: which may go, and that they got there.

use std::collections::HashSet;
use std::sync::Arc;

use super::allocation::{Context, logged};
use super::said::Said;
use crate::contract::{Answer, InUnit};
use crate::daemon::asking::deed::Whom;
use crate::daemon::telling::answer;
use crate::daemon::telling::reply::Reply;
use crate::host::process::{self, ProcessError, ProcessId};
use crate::identity::{AllocationId, FAIRSHARE_SLICE, JobId, Uid, UnitName, Within};
use crate::quantity::Amount;
use crate::systemd::{Process, property};
use crate::wire::detail::{Detail, Resource};
use crate::wire::error::{Code, WireError};

/// How many scopes there are in one share at most. Each is a unit of PID 1's, a file of it and two inotify watches of root's,
/// of which a machine of 1 GB has 8192.
pub const SCOPES_MAX: usize = 256;

/// How many processes of a scope are read at most to find those that were moved there: what moved can have forked.
const MOVED_READ_MAX: usize = 65_536;

/// Processes that are to go into an allocation of their member's.
pub struct Entering {
    /// The allocation.
    pub id: AllocationId,
    /// The scope that they go in.
    pub scope: UnitName,
    /// What the allocation has.
    pub amount: Amount,
    /// Which they are.
    pub whom: Whom,
    /// Whether they may come out of a sandbox (`from_sandboxes` of the policy).
    pub from_sandboxes: bool,
}

/// Where a process is before it is moved, by its cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// In a login, in a share, or in no unit.
    Own,
    /// In the member's own systemd, which has other units of theirs in its hands.
    UserManager,
    /// In a unit of the system's.
    System,
}

impl Origin {
    fn of(cgroup: &str) -> Self {
        let mut parts = cgroup.split('/').filter(|part| !part.is_empty());
        match parts.next() {
            None => Self::Own,
            Some("user.slice") => {
                let parts: Vec<&str> = parts.collect();
                match parts.as_slice() {
                    [.., manager, "init.scope"] if is_manager(manager) => Self::UserManager,
                    _ => Self::Own,
                }
            }
            Some(FAIRSHARE_SLICE) => Self::Own,
            Some(_) => Self::System,
        }
    }
}

fn is_manager(unit: &str) -> bool {
    unit.starts_with("user@") && unit.ends_with(".service")
}

/// The command of this member's that brought room and whose process this is: by the cgroup that PID 1 put it in.
pub fn job_of(pid: u32, uid: Uid) -> Option<(JobId, UnitName)> {
    let process = ProcessId::open(pid, uid).ok()?;
    let cgroup = process::cgroup_of(pid).ok()?;
    process.recheck().ok()?;
    let (job, unit) = cgroup.split('/').find_map(|part| match part.parse().ok()? {
        unit @ (UnitName::JobService(of, _, job) | UnitName::Run(of, Within::Run(job), _)) if of == uid => {
            Some((job, unit))
        }
        _ => None,
    })?;
    let below = cgroup.strip_prefix('/')?.strip_prefix(unit.cgroup_path().as_str())?;
    (below.is_empty() || below.starts_with('/')).then_some((job, unit))
}

/// Puts processes of a member in a scope of an allocation of theirs.
pub async fn enter(cx: Context, entering: Entering, reply: Reply) {
    let id = entering.id;
    let turn = cx.turn(id.uid);
    let result = entered(&cx, &entering).await;
    if result.is_err() {
        let _ = cx.said.send(Said::NotEntered(id)).await;
    }
    drop(turn);
    let Amount { cpu, mem, .. } = entering.amount;
    let job_id = id.job().map(|job| job.0);
    let answer =
        |unit: UnitName| InUnit { unit: unit.to_string(), cpu_milli: cpu.0, mem_bytes: mem.0, job_id };
    reply.send(result.map(|unit| Answer::Unit(answer(unit))));
}

async fn entered(cx: &Context, entering: &Entering) -> Result<UnitName, WireError> {
    let unit = entering.scope;
    let mut checked = checked(&entering.whom, entering.id.uid, entering.from_sandboxes)?;
    let scopes = cx.cgroups.scopes(unit, SCOPES_MAX).map_err(|fault| answer::cgroup(&fault))?;
    if scopes >= SCOPES_MAX {
        let full = Detail::full(Resource::Scopes, SCOPES_MAX);
        let message = format!("{SCOPES_MAX} commands and attachments of yours are in the share already");
        return Err(WireError::new(Code::Busy, message)
            .detail(full.and_text("`fairshare attach` takes many processes at once")));
    }
    let properties = property::scope(unit, &format!("work of uid {}", entering.id.uid));
    loop {
        let processes: Vec<Process<'_>> =
            checked.iter().map(|process| Process { pid: process.pid(), pidfd: process.pidfd() }).collect();
        let Err(fault) = cx.systemd.start_scope(unit, &properties, &processes).await else { break };
        // A process that ended meanwhile explains the failure better than systemd does, and the others go without it.
        let before = checked.len();
        let mut ended = None;
        for process in std::mem::take(&mut checked) {
            match process.recheck() {
                Ok(()) => checked.push(process),
                Err(error) => ended = Some(error),
            }
        }
        match ended {
            Some(ProcessError::Gone { .. }) if !checked.is_empty() && checked.len() < before => {}
            Some(error) => return Err(answer::process(&error)),
            None => return Err(logged(&fault)),
        }
    }
    let inside = inside(cx, unit).await?;
    let (mut moved, mut gone) = (0_usize, None);
    for process in &checked {
        match process.recheck() {
            Ok(()) if inside.contains(&process.pid()) => moved += 1,
            Ok(()) => {
                // Between the look at the cgroup and the look at the process nothing of ours moves it.
                let detail = format!("process {} is not in {unit}", process.pid());
                return Err(WireError::new(Code::Systemd, "A process could not be moved").detail(detail));
            }
            Err(error @ ProcessError::Gone { .. }) => gone = Some(error),
            Err(error) => return Err(answer::process(&error)),
        }
    }
    match gone {
        Some(error) if moved == 0 => Err(answer::process(&error)),
        _ => Ok(unit),
    }
}

/// The processes in a scope, of which what was moved there can have made many meanwhile: read on a thread of its own.
async fn inside(cx: &Context, unit: UnitName) -> Result<HashSet<u32>, WireError> {
    let cgroups = Arc::clone(&cx.cgroups);
    let looking = tokio::task::spawn_blocking(move || cgroups.pids(unit, MOVED_READ_MAX));
    match looking.await {
        Ok(Ok(pids)) => Ok(pids.into_iter().collect()),
        Ok(Err(fault)) => Err(answer::cgroup(&fault)),
        Err(ended) => {
            Err(WireError::new(Code::Internal, "The processes cannot be looked at").detail(ended.to_string()))
        }
    }
}

/// Whether processes may go into an allocation of this member's.
///
/// # Errors
/// They have gone, are not the member's own, or are in a sandbox.
pub fn may_go(whom: &Whom, uid: Uid, from_sandboxes: bool) -> Result<(), WireError> {
    checked(whom, uid, from_sandboxes).map(drop)
}

/// The processes that may go: all their member's own, and none out of a sandbox.
fn checked(whom: &Whom, uid: Uid, from_sandboxes: bool) -> Result<Vec<ProcessId>, WireError> {
    let (pids, named) = match whom {
        Whom::Caller(pid) => (std::slice::from_ref(pid), false),
        Whom::Named(pids) => (pids.as_slice(), true),
    };
    let mut checked = Vec::new();
    let mut left_out = None;
    for pid in pids {
        let looked = ProcessId::open(*pid, uid).and_then(|process| {
            let origin = Origin::of(&process::cgroup_of(*pid)?);
            let sandboxed = origin == Origin::System && process::is_sandboxed(*pid, uid)?;
            Ok((process, origin, sandboxed))
        });
        match looked {
            Ok((_, _, true)) if !from_sandboxes => return Err(in_a_sandbox(*pid)),
            Ok((_, Origin::UserManager, _)) if named => left_out = left_out.or(Some(user_manager(*pid))),
            Ok((process, ..)) => checked.push(process),
            Err(error @ ProcessError::Gone { .. }) if named => {
                left_out = left_out.or(Some(answer::process(&error)))
            }
            Err(error) => return Err(answer::process(&error)),
        }
    }
    match left_out {
        Some(error) if checked.is_empty() => Err(error),
        _ => Ok(checked),
    }
}

fn in_a_sandbox(pid: u32) -> WireError {
    let message = format!("Process {pid} is in the sandbox of a system service");
    let detail = Detail { setting: Some("from_sandboxes".to_owned()), ..Detail::default() };
    WireError::new(Code::Forbidden, message).detail(detail.and_text(
        "it has no_new_privs or a filter of system calls, and would leave its unit: \
         the policy allows that with `from_sandboxes: true`",
    ))
}

fn user_manager(pid: u32) -> WireError {
    let message = format!("Process {pid} is your own systemd, which stays where it is");
    WireError::new(Code::Forbidden, message).detail("name the processes that are to be moved")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_process_is_says_whether_it_may_leave() {
        for (cgroup, origin) in [
            ("/", Origin::Own),
            ("/user.slice/user-7.slice/session-3.scope", Origin::Own),
            ("/user.slice/user-7.slice/user@7.service/app.slice/tmux.service", Origin::Own),
            ("/user.slice/user-7.slice/user@7.service/init.scope", Origin::UserManager),
            ("/fairshare.slice/fairshare-7.slice/fairshare-7-run1.scope", Origin::Own),
            ("/system.slice/cron.service", Origin::System),
            ("/machine.slice/docker-1.scope", Origin::System),
            ("/batch.slice/x.service", Origin::System),
            ("/user.slicex/x.service", Origin::System),
        ] {
            assert_eq!(Origin::of(cgroup), origin, "{cgroup}");
        }
    }
}
