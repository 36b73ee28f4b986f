//! Submitted commands: what they are checked for, how they are started, followed to their end and cleared away.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::{error, info, warn};

use super::allocation::{Context, stored_with};
use super::at_end;
use super::fetch::Fetch;
use super::freezer;
use super::insist::{self, ASK_AGAIN_PAUSE, answered};
use super::offer::{Running, known, refuse, serve};
use super::said::Said;
use super::unkillable;
use crate::cgroup::Spent;
use crate::contract::handover::{BECOME, NOTIFY};
use crate::contract::{Answer, JobStarted};
use crate::daemon::asking::handover::Offer;
use crate::daemon::asking::spec::Spec;
use crate::daemon::telling::answer;
use crate::daemon::telling::reply::Reply;
use crate::enforced::Limit;
use crate::identity::{JobId, JobUnits, UnitName};
use crate::ledger::Image;
use crate::ledger::job::{Cause, Exit, JobEnd, Ran, Work};
use crate::quantity::{Amount, Bytes, PartialAmount};
use crate::serving::logging::{chain, in_full};
use crate::systemd::service::Changes;
use crate::systemd::unit::{Ended, Held};
use crate::systemd::{Fault, Program, ServiceState, property};
use crate::time::backoff;
use crate::wire::error::{Code, WireError};

/// What becomes the command: the members' own command, started as the member.
const PROGRAM: &str = "/usr/bin/fairshare";

/// How long stopping a command may take: ten seconds after SIGTERM, and then what SIGKILL takes.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// What a command is.
#[derive(Debug)]
pub struct ToRun {
    /// As it is in memory; `None` where it is on disk alone.
    pub spec: Option<Arc<Spec>>,
    /// Whether it is kept on disk.
    pub kept: bool,
    /// Whether it is still to be written there.
    pub unwritten: bool,
    /// The job under whose number it is there.
    pub file: JobId,
}

/// How a command comes to be followed.
#[derive(Debug)]
pub enum Following {
    /// This connection has started it, and so holds it and hears of its end.
    Started(Changes),
    /// This connection was to start it, and nobody has said whether it did.
    Asked(Changes),
    /// It is found again.
    Lost {
        /// Whether it has been called back, and is to be stopped.
        called_back: bool,
    },
}

/// Stores that a command is to run, answers, starts it, and follows it to its end. `amount` is what it has.
pub async fn run(
    cx: Context,
    (running, amount): (Running, Amount),
    work: Work,
    (command, fetches): (ToRun, mpsc::Receiver<Fetch>),
    intent: Image,
    reply: Reply,
) {
    let (uid, job) = (running.uid(), running.job);
    let turn = cx.turn(uid);
    let to_keep = command.spec.as_deref().filter(|_| command.unwritten).and_then(Spec::kept);
    let keeps = to_keep.is_some();
    if let Err(fault) = stored_with(&cx, to_keep.map(|bytes| (job, bytes)), intent).await {
        error!("{}", chain(&*fault));
        // Who is told so has submitted nothing, whatever of the state came to the disk.
        if keeps && let Err(fault) = cx.persist.remove_command(job).await {
            error!("{}, proceeding", chain(&fault));
        }
        reply.send(Err(answer::store(&fault)));
        // The failed write may have got as far as the file, where a start would look for it.
        return over(&cx, running, JobEnd::Failed("the state could not be written".to_owned())).await;
    }
    reply.send(Ok(Answer::JobStarted(JobStarted { job_started: job.0 })));
    let kept = command.kept;
    let started = match known(&cx, uid, command.file, command.spec).await {
        Ok(spec) => start(&cx, running, &work, spec, kept).await,
        Err(why) => Err(why),
    };
    drop(turn);
    match started {
        Ok((following, offer)) => {
            // However long the process takes, and whoever follows the command then.
            tokio::spawn(serve(cx.clone(), (running, amount), (offer, kept), (None, fetches)));
            follow(cx, running, following).await;
        }
        Err(why) => {
            refuse(fetches, &why);
            warn!(job_id = job.0, "job {job} of uid {uid} could not be started: {why}");
            over(&cx, running, JobEnd::Failed(why)).await;
        }
    }
}

/// Offers what is kept of a command to its process, which was started for a daemon that has gone, and has not had it.
pub async fn offer_again(
    cx: Context,
    (running, amount): (Running, Amount),
    (limits, file): (PartialAmount, JobId),
    mut fetches: mpsc::Receiver<Fetch>,
) {
    let (uid, job) = (running.uid(), running.job);
    let offer = async {
        let spec = known(&cx, uid, file, None).await?;
        prove(&cx, running.units.slice, limits).await?;
        Offer::of(&spec.handover, Arc::clone(&spec.stdio), spec.room.clone())
    };
    match offer.await {
        Ok(offer) => serve(cx, (running, amount), (offer, true), (None, fetches)).await,
        Err(why) => {
            warn!(job_id = job.0, "job {job} of uid {uid} cannot be handed over: {why}");
            fetches.close();
            while let Some(fetch) = fetches.recv().await {
                let _ = cx.said.send(Said::NeverBegan(job, fetch.reply)).await;
            }
        }
    }
}

/// Has systemd start a command, and proves its limits. Of one that is `kept` on disk a daemon before this one may have had that done:
/// then there is its unit.
async fn start(
    cx: &Context,
    running: Running,
    work: &Work,
    spec: Arc<Spec>,
    kept: bool,
) -> Result<(Following, Offer), String> {
    let (job, JobUnits { service, slice }) = (running.job, running.units);
    let offer = Offer::of(&spec.handover, Arc::clone(&spec.stdio), spec.room.clone())?;
    let inherited = spec.inherited;
    drop(spec);
    let number = job.to_string();
    let at_end = ["fairshare", NOTIFY, &number, &cx.socket];
    let program = Program {
        path: PROGRAM,
        argv: &["fairshare", BECOME, &number, &cx.socket],
        argv_at_end: running.notifies.then_some(&at_end),
    };
    let mut properties = property::service(&running.units, job, work.time_limit_ms, work.care.out_of_memory);
    properties.extend(property::inherited(inherited.no_new_privs, inherited.rlimits.properties()));
    // The slice of an allocation of its own is there already.
    let of_slice = (slice != running.within).then(|| property::job_slice(work.limits));
    // Before the start, so that no change is missed.
    let changes = cx.systemd.follow(service).await.map_err(|fault| told(&fault))?;
    let started =
        cx.systemd.start_service(service, &properties, &program, (slice, of_slice.as_deref())).await;
    let following = match started {
        Ok(()) => Ok(Following::Started(changes)),
        // Without an outcome it may have been started all the same: the kernel says whether within its limits, and following it
        // whether at all.
        Err(Fault::Timeout { .. } | Fault::Bus { .. }) => Ok(Following::Asked(changes)),
        Err(fault) if kept && fault.is_unit_exists() => Ok(Following::Lost { called_back: false }),
        Err(fault) => Err(told(&fault)),
    };
    let held = match following {
        Ok(following) => prove(cx, slice, work.limits).await.map(|()| following),
        Err(why) => Err(why),
    };
    if held.is_err() {
        cx.systemd.let_go(service).await;
    }
    held.map(|following| (following, offer))
}

/// Waits until the kernel holds what a command may use within its share.
async fn prove(cx: &Context, slice: UnitName, limits: PartialAmount) -> Result<(), String> {
    if limits == PartialAmount::default() {
        return Ok(());
    }
    let proof = cx.read_back_unit(slice, |held| held.hold_most(limits)).await;
    proof.map_err(|error| in_full(&error))
}

fn told(fault: &Fault) -> String {
    error!("{}", chain(fault));
    fault.to_string()
}

/// Follows a command that may run to its end, and clears away what is left of its units. Where the bus is lost meanwhile the
/// loop is told, and has it followed again when the bus is back.
pub async fn follow(cx: Context, running: Running, following: Following) {
    let (uid, job) = (running.uid(), running.job);
    let (called_back, lost) = match following {
        Following::Lost { called_back } => (called_back, !called_back),
        Following::Started(_) | Following::Asked(_) => (false, false),
    };
    match followed(&cx, running, following).await {
        Ok(None) if lost && is_unbegun(&cx, running).await => once_more(&cx, running).await,
        Ok(Some(ran)) => {
            info!(job_id = job.0, "job {job} of uid {uid} has ended: {:?}", ran.exit);
            over(&cx, running, JobEnd::Ran(ran)).await;
        }
        Ok(None) => {
            if !called_back {
                warn!(
                    job_id = job.0,
                    "job {job} of uid {uid} has no unit: it never ran, or was cleared away"
                );
            }
            over(&cx, running, JobEnd::Interrupted).await;
        }
        Err(fault) => {
            warn!(job_id = job.0, "job {job} of uid {uid} is out of sight: {}", chain(&fault));
            let _ = cx.said.send(Said::WorkLost(job)).await;
        }
    }
}

/// Whether it is certain that nobody has begun with a command.
async fn is_unbegun(cx: &Context, running: Running) -> bool {
    cx.persist.is_unbegun(running.job, running.file()).await.unwrap_or_else(|fault| {
        error!("{}, proceeding", chain(&fault));
        false
    })
}

/// Has a command started once more of which a start is over that came to nothing: whoever was to follow it had gone.
async fn once_more(cx: &Context, running: Running) {
    let (uid, job) = (running.uid(), running.job);
    info!(job_id = job.0, "job {job} of uid {uid} has not begun, and is started once more");
    cx.systemd.let_go(running.units.service).await;
    if !clear(cx, running).await {
        return drop(cx.said.send(Said::WorkLost(job)).await);
    }
    // What stands in the way each time is not to keep systemd busy.
    sleep(ASK_AGAIN_PAUSE.0).await;
    let _ = cx.said.send(Said::NotBegun(job)).await;
}

/// How it ended; `None` where systemd knows no such unit, or one of a daemon before in which it never began.
async fn followed(cx: &Context, running: Running, following: Following) -> Result<Option<Ran>, Fault> {
    let unit = running.units.service;
    let lost = matches!(following, Following::Lost { called_back: false });
    let (mut changes, started) = match following {
        Following::Started(changes) => (changes, true),
        Following::Asked(changes) => (changes, false),
        Following::Lost { called_back } => {
            let changes = cx.systemd.follow(unit).await?;
            match answered(cx, || cx.systemd.hold(unit)).await? {
                Held::Kept => {}
                Held::Unkept(fault) => warn!(unit = %unit, "{}, proceeding", chain(&fault)),
                Held::Gone => return Ok(None),
            }
            match called_back {
                // It is over only when what is run at its end is, which waits for who follows it.
                true if running.notifies => drop(tokio::spawn(stop_lost(cx.clone(), running))),
                true => stop_lost(cx.clone(), running).await?,
                false => {}
            }
            (changes, false)
        }
    };
    if started {
        changes.next().await?;
    }
    let end = loop {
        match answered(cx, || cx.systemd.service_state(unit)).await? {
            ServiceState::Running => {}
            // What an administrator's drop-in has run after it is a part of it.
            ServiceState::Ended(end) if end.after && !running.notifies => {}
            ServiceState::Ended(end) => break end,
            ServiceState::Gone => return Ok(None),
        }
        changes.next().await?;
    };
    if !end.after {
        unkillable::gone(&cx.cgroups, running.units.slice).await;
    }
    if lost && is_unbegun(cx, running).await {
        return Ok(None);
    }
    let ran = read(cx, running, &end);
    if running.notifies {
        at_end::run(cx, running, ran, end.after).await?;
        unkillable::gone(&cx.cgroups, running.units.slice).await;
    }
    Ok(Some(ran))
}

/// Stops a command that was called back when there was another daemon.
async fn stop_lost(cx: Context, running: Running) -> Result<(), Fault> {
    let unit = running.units.service;
    answered(&cx, || freezer::stop(&cx.systemd, &cx.cgroups, unit, stop_timeout(running))).await.map(drop)
}

/// How long stopping a command may take.
fn stop_timeout(running: Running) -> Duration {
    if running.notifies { at_end::STOP_TIMEOUT } else { STOP_TIMEOUT }
}

/// What the kernel still says of a command that is over, and what systemd said.
fn read(cx: &Context, running: Running, end: &Ended) -> Ran {
    let slice = running.units.slice;
    let spent = cx.cgroups.spent(slice).unwrap_or_else(|fault| {
        warn!("{}, proceeding", chain(&fault));
        None
    });
    let peak = spent.and_then(|spent| spent.mem_peak).filter(|peak| *peak > Bytes(0));
    // The shell that started what was killed has an exit code of its own.
    let killed = end.exit != Ok(0) && spent.is_some_and(|spent| spent.oom_kills > 0);
    let cause = match end.result.as_str() {
        "timeout" => Some(Cause::Time),
        "oom-kill" => Some(Cause::Memory),
        _ if end.stopped => Some(Cause::Outside),
        _ if killed => Some(Cause::Memory),
        _ => None,
    };
    let byte = |raw: i32| u8::try_from(raw).ok();
    let exit = match end.exit {
        Ok(code) => byte(code).map_or(Exit::Unknown, Exit::Code),
        Err(signal) => byte(signal).filter(|signal| *signal > 0).map_or(Exit::Unknown, Exit::Signal),
    };
    let mem_limit = [slice, running.within].into_iter().filter_map(|unit| memory_limit(cx, unit)).min();
    // What it needed went with its processes: the owner has what was seen of it.
    let (cpu_usec, oom_kills) = (spent.map(|spent| spent.cpu_usec), spent.and_then(Spent::kills));
    Ran { exit, cause, peak, needed: None, mem_limit, cpu_usec, oom_kills }
}

/// The memory limit that the kernel holds, where it holds one.
fn memory_limit(cx: &Context, unit: UnitName) -> Option<Bytes> {
    match cx.cgroups.limits(unit).ok().flatten()?.mem? {
        Limit::At(limit) => Some(limit),
        Limit::Max => None,
    }
}

/// A try of a command has ended like this: nothing of it is left when that is stored, so that it can be run again where it is. Where
/// the daemon stops meanwhile its unit says to the next one how it ended.
async fn over(cx: &Context, running: Running, end: JobEnd) {
    let job = running.job;
    let ended = |reply| Said::WorkEnded { job, end, reply };
    let again = insist::stored(cx, job, ended, |image| image.job(job).is_some_and(|job| job.queued()));
    let Some(again) = again.await else { return };
    // Not before that is stored: it is all that is known of it.
    cx.systemd.let_go(running.units.service).await;
    match again {
        true => clear_for_another(cx, running).await,
        false => drop(clear(cx, running).await),
    }
}

/// Takes away what is left of a command's try, so that it can be run again.
pub async fn clear_for_another(cx: &Context, running: Running) {
    let Running { job, task, tries, .. } = running;
    if !clear(cx, running).await {
        // It is tried again when the bus is back.
        return drop(cx.said.send(Said::WorkLost(job)).await);
    }
    let mut pauses = backoff(ASK_AGAIN_PAUSE);
    while let Err(fault) = cx.persist.command_not_begun(job, task.is_some()).await {
        error!("{}, proceeding", chain(&fault));
        sleep(pauses.pause()).await;
    }
    let _ = cx.said.send(Said::Cleared { job, tries: tries.unwrap_or_default() }).await;
}

/// Takes away what is left of a command's units; whether nothing is. Where the connection is lost meanwhile, whoever comes after it
/// does.
///
/// The slice of an allocation of its own goes with that.
async fn clear(cx: &Context, running: Running) -> bool {
    let JobUnits { service, slice } = running.units;
    let mut all = true;
    for unit in [Some(service), Some(slice).filter(|slice| *slice != running.within)].into_iter().flatten() {
        if let Err(fault) = answered(cx, || cx.systemd.clear(unit, STOP_TIMEOUT)).await {
            warn!(unit = %unit, "{}, proceeding", chain(&fault));
            all = false;
        }
    }
    all
}

/// Takes away what is left of a command's units, unless something is inside: nothing is killed by a start.
pub async fn clear_left(cx: Context, running: Running) {
    if matches!(cx.cgroups.populated(running.units.slice), Ok(Some(false) | None)) {
        let (uid, job) = (running.uid(), running.job);
        info!(job_id = job.0, "clearing away what is left of job {job} of uid {uid}");
        clear(&cx, running).await;
    }
}

/// Ends a command that is not wanted any more, and answers when it has ended.
pub async fn call_back(cx: Context, running: Running, intent: Image, reply: Reply) {
    let job = running.job;
    let turn = cx.turn(running.uid());
    if let Err(fault) = cx.persist.save_what_gives_back(intent).await {
        error!("{}", chain(&*fault));
        return reply.send(Err(answer::store(&fault)));
    }
    drop(turn);
    let unit = running.units.service;
    let stopped = freezer::stop(&cx.systemd, &cx.cgroups, unit, stop_timeout(running)).await;
    let detail = match (stopped, unkillable::over(&cx.cgroups, running.units.slice).await) {
        (Ok(_), Ok(())) => {
            let _ = cx.said.send(Said::CalledBack(job, reply)).await;
            return;
        }
        (Ok(_), Err(still)) => still,
        (Err(fault), Ok(())) => format!("{unit} still stands: {}", told(&fault)),
        (Err(fault), Err(still)) => format!("{}; {still}", told(&fault)),
    };
    reply.send(Err(WireError::new(Code::CleanupFailed, "The command could not be ended").detail(detail)));
}
