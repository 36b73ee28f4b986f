//! Submitted commands: what they are checked for, how they are started, followed to their end and cleared away.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use tracing::{error, info, warn};

use super::allocation::Context;
use super::caller::is_its_process;
use super::freezer;
use super::said::Said;
use super::unkillable;
use crate::cgroup::Spent;
use crate::contract::handover::BECOME;
use crate::contract::{Answer, Handed, JobStarted};
use crate::daemon::asking::handover::{Offer, Taker};
use crate::daemon::asking::spec::Spec;
use crate::daemon::telling::answer;
use crate::daemon::telling::job as told;
use crate::daemon::telling::reply::Reply;
use crate::enforced::Limit;
use crate::identity::{JobId, JobUnits, Uid, UnitName};
use crate::ledger::Image;
use crate::ledger::array::Task;
use crate::ledger::job::{Cause, Exit, JobEnd, Ran, Work};
use crate::quantity::{Amount, Bytes, PartialAmount};
use crate::serving::logging::{chain, in_full};
use crate::serving::peer::Peer;
use crate::serving::service::Handed as _;
use crate::state::StateFault;
use crate::systemd::service::Changes;
use crate::systemd::unit::{Ended, Held};
use crate::systemd::{Fault, Program, ServiceState, property};
use crate::time::backoff;
use crate::wire::error::{Code, WireError};

/// What becomes the command: the members' own command, started as the member.
const PROGRAM: &str = "/usr/bin/fairshare";

/// How long stopping a command may take: ten seconds after SIGTERM, and then what SIGKILL takes.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Between two questions about a command of which the first failed: from the first to the last, doubled each time, so that
/// what cannot be had is no more than a line a minute.
const ASK_AGAIN_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Calls for one command that wait at a time. There is one process that may make one.
pub const FETCHES_WAITING_MAX: usize = 4;

/// A call of the process that becomes a command.
#[derive(Debug)]
pub struct Fetch {
    /// The process.
    pub peer: Arc<Peer>,
    /// Where what it fetches goes.
    pub taker: Taker,
    /// Where the answer goes.
    pub reply: Reply,
}

/// What a command is.
#[derive(Debug)]
pub struct ToRun {
    /// As it is in memory; `None` where it is on disk alone.
    pub spec: Option<Arc<Spec>>,
    /// Whether it is on disk, or on its way there.
    pub kept: bool,
    /// The job under whose number it is there.
    pub file: JobId,
}

/// A command that runs, or is to run: its job, and its units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// The job of the command.
    pub job: JobId,
    /// The units of the command.
    pub units: JobUnits,
    /// The slice of the allocation that it runs in.
    pub within: UnitName,
    /// Of which array it is a task, where it is one.
    pub task: Option<Task>,
    /// How often it was tried before, where it is one that is run again.
    pub tries: Option<u64>,
}

impl Running {
    fn uid(&self) -> Uid {
        self.units.service.uid()
    }
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
    if let Err(fault) = cx.persist.save(intent).await {
        error!("{}", chain(&*fault));
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
            tokio::spawn(serve(cx.clone(), (running, amount), offer, fetches));
            follow(cx, running, following).await;
        }
        Err(why) => {
            refuse(fetches, &why);
            warn!(job_id = job.0, "job {job} of uid {uid} could not be started: {why}");
            over(&cx, running, JobEnd::Failed(why)).await;
        }
    }
}

/// What a command is, where that is not in memory by what is kept on disk under this number.
async fn known(cx: &Context, uid: Uid, file: JobId, spec: Option<Arc<Spec>>) -> Result<Arc<Spec>, String> {
    match spec {
        Some(spec) => Ok(spec),
        None => {
            let kept = cx.persist.command(file).await.map_err(|fault| not_kept(&fault))?;
            Ok(Arc::new(Spec::of_kept(uid, &kept)?))
        }
    }
}

fn not_kept(fault: &StateFault) -> String {
    error!("{}", chain(fault));
    fault.to_string()
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
        Ok(offer) => serve(cx, (running, amount), offer, fetches).await,
        Err(why) => {
            warn!(job_id = job.0, "job {job} of uid {uid} cannot be handed over: {why}");
            fetches.close();
            while let Some(fetch) = fetches.recv().await {
                let _ = cx.said.send(Said::NeverBegan(job, fetch.reply)).await;
            }
        }
    }
}

/// Has systemd start a command, and proves its limits. Of one that is `kept` it is on disk first that systemd is asked: another
/// daemon must not ask again.
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
    let program = Program { path: PROGRAM, argv: &["fairshare", BECOME, &number, &cx.socket] };
    let mut properties = property::service(&running.units, job, work.time_limit_ms, work.care.out_of_memory);
    properties.extend(property::inherited(inherited.no_new_privs, inherited.rlimits.properties()));
    // The slice of an allocation of its own is there already.
    let of_slice = (slice != running.within).then(|| property::job_slice(work.limits));
    // Before the start, so that no change is missed.
    let changes = cx.systemd.follow(service).await.map_err(|fault| told(&fault))?;
    if kept {
        cx.persist.begin_command(job).await.map_err(|fault| not_kept(&fault))?;
    }
    let started =
        cx.systemd.start_service(service, &properties, &program, (slice, of_slice.as_deref())).await;
    let following = match started {
        Ok(()) => Ok(Following::Started(changes)),
        // Without an outcome it may have been started all the same: the kernel says whether within its limits, and following it
        // whether at all.
        Err(Fault::Timeout { .. } | Fault::Bus { .. }) => Ok(Following::Asked(changes)),
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

/// Gives what is offered to the command's process, and is over when that was done, or when the command is.
async fn serve(
    cx: Context,
    (running, amount): (Running, Amount),
    offer: Offer,
    mut fetches: mpsc::Receiver<Fetch>,
) {
    while let Some(Fetch { peer, taker, reply }) = fetches.recv().await {
        if let Err(error) = is_its_process(&cx.cgroups, &peer, (running.units.service, running.job)) {
            reply.send(Err(error));
            continue;
        }
        let (delivery, was_given) = offer.delivery();
        let handed = u64::try_from(delivery.descriptors().len()).unwrap_or(u64::MAX);
        if taker.send(delivery).is_err() {
            continue;
        }
        let Amount { cpu, mem, .. } = amount;
        let (task, tries) = (running.task.map(told::task), running.tries);
        reply.send(Ok(Answer::Handed(Handed { handed, cpu_milli: cpu.0, mem_bytes: mem.0, task, tries })));
        if was_given.await.is_ok() {
            return;
        }
    }
}

/// Tells the process of a command that it is not to become it.
fn refuse(mut fetches: mpsc::Receiver<Fetch>, why: &str) {
    fetches.close();
    while let Ok(fetch) = fetches.try_recv() {
        let error = WireError::new(Code::Systemd, "The command is not to run").detail(why);
        fetch.reply.send(Err(error));
    }
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
    match followed(&cx, running, following).await {
        Ok(Some(ran)) => {
            info!(job_id = job.0, "job {job} of uid {uid} has ended: {:?}", ran.exit);
            over(&cx, running, JobEnd::Ran(ran)).await;
        }
        Ok(None) => {
            warn!(job_id = job.0, "job {job} of uid {uid} has no unit: it never ran, or was cleared away");
            over(&cx, running, JobEnd::Interrupted).await;
        }
        Err(fault) => {
            warn!(job_id = job.0, "job {job} of uid {uid} is out of sight: {}", chain(&fault));
            let _ = cx.said.send(Said::WorkLost(job)).await;
        }
    }
}

/// How it ended; `None` where systemd knows no such unit.
async fn followed(cx: &Context, running: Running, following: Following) -> Result<Option<Ran>, Fault> {
    let unit = running.units.service;
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
            if called_back {
                answered(cx, || freezer::stop(&cx.systemd, &cx.cgroups, unit, STOP_TIMEOUT)).await?;
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
            ServiceState::Ended(end) => break end,
            ServiceState::Gone => return Ok(None),
        }
        changes.next().await?;
    };
    unkillable::gone(&cx.cgroups, running.units.slice).await;
    Ok(Some(read(cx, running, &end)))
}

/// Asks systemd until it does. What may be the end of a command, or what is left of one, must not be lost to one call that
/// failed.
///
/// # Errors
/// The last [`Fault`], where the connection is gone.
async fn answered<T, Answer>(cx: &Context, ask: impl Fn() -> Answer) -> Result<T, Fault>
where
    Answer: Future<Output = Result<T, Fault>>,
{
    let mut pauses = backoff(ASK_AGAIN_PAUSE);
    loop {
        match ask().await {
            Err(fault) if !cx.systemd.is_closed() => warn!("{}, proceeding", chain(&fault)),
            answer => return answer,
        }
        sleep(pauses.pause()).await;
    }
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

/// A try of a command has ended like this: nothing of it is left when that is stored, so that it can be run again where it is.
async fn over(cx: &Context, running: Running, end: JobEnd) {
    let again = ended(cx, running.job, end).await;
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

/// Tells the ledger how a try of a command ended, and has that stored, however long the disk takes. Whether it waits to be run
/// again.
async fn ended(cx: &Context, job: JobId, end: JobEnd) -> bool {
    let (reply, image) = oneshot::channel();
    let mut due = Said::WorkEnded { job, end, reply };
    let (mut image, mut pauses) = (image, backoff(ASK_AGAIN_PAUSE));
    while cx.said.send(due).await.is_ok() {
        let Ok(ended) = image.await else { return false };
        let found = ended.jobs.binary_search_by_key(&job, |job| job.id);
        let again = found.is_ok_and(|at| ended.jobs.get(at).is_some_and(|job| job.queued()));
        let Err(fault) = cx.persist.save_what_gives_back(ended).await else { return again };
        error!("how job {job} ended is not stored: {}", chain(&*fault));
        sleep(pauses.pause()).await;
        let (reply, anew) = oneshot::channel();
        (due, image) = (Said::Image(reply), anew);
    }
    false
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
    let stopped = freezer::stop(&cx.systemd, &cx.cgroups, unit, STOP_TIMEOUT).await;
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
