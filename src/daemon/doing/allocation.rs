//! Carries out effects: intent stored, systemd told, its job awaited, the kernel read back, outcome stored, answered.
//!
//! One task an effect, each a straight line. The ledger hears of it through [`Said::Settle`].

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::freezer;
use super::io::IoHands;
use super::occupants::{self, Naming, Occupants};
use super::persist::Persist;
use super::read_back::{READ_BACK_TIMEOUT, ReadBack};
use super::said::Said;
use super::unkillable;
use crate::cgroup::{CgroupFault, Cgroups};
use crate::contract::{Answer, HeldShare, JobStarted, Released, ShareInfo};
use crate::daemon::asking::accounts::Accounts;
use crate::daemon::asking::deed::Whom;
use crate::daemon::telling::answer;
use crate::daemon::telling::reply::Reply;
use crate::enforced::{Difference, Enforced, KernelLimits};
use crate::identity::{AllocationId, JobId, Uid, UnitName};
use crate::ledger::allocation::Allocation;
use crate::ledger::beside::Beside;
use crate::ledger::refusal::Refusal;
use crate::ledger::{Image, Outcome};
use crate::quantity::{Bytes, MilliCpu};
use crate::serving::logging::{chain, in_full};
use crate::state::StateFault;
use crate::systemd::property::{self, Property};
use crate::systemd::{Fault, Systemd};
use crate::wire::error::{Code, WireError};

/// How long the removal of an empty slice may take.
const WITHDRAW_TIMEOUT: Duration = Duration::from_secs(10);

/// How long stopping a busy share may take: ten seconds after SIGTERM, and then what SIGKILL takes.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// What an effect is carried out with.
#[derive(Clone)]
pub struct Context {
    /// Writes the state.
    pub persist: Persist,
    /// Asks PID 1.
    pub systemd: Systemd,
    /// Asks the kernel.
    pub cgroups: Arc<Cgroups>,
    /// Tells the owner of the ledger.
    pub said: mpsc::Sender<Said>,
    /// The path of the daemon's socket, of letters, digits and what else means nothing to systemd.
    pub socket: Arc<str>,
    /// Asks the user database.
    pub accounts: Accounts,
    /// The CPU that all shares have together.
    pub capacity: MilliCpu,
    /// Bounds the I/O of shares.
    pub io: IoHands,
}

/// Frees a member for the next command when the effect's task is over, however it ends.
pub struct Turn {
    uid: Uid,
    said: mpsc::Sender<Said>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (uid, said) = (self.uid, self.said.clone());
        // The channel may be full at this moment: the word must come all the same.
        tokio::spawn(async move { said.send(Said::Free(uid)).await });
    }
}

impl Context {
    /// A turn at changing a member's units, which ends with the value.
    pub fn turn(&self, uid: Uid) -> Turn {
        Turn { uid, said: self.said.clone() }
    }

    /// Tells the ledger how an effect went; what must then be stored.
    pub(crate) async fn settle(&self, id: AllocationId, outcome: Outcome) -> Option<Image> {
        let (reply, image) = oneshot::channel();
        self.said.send(Said::Settle { id, outcome, reply }).await.ok()?;
        image.await.ok()
    }

    /// Stores an outcome. Where that fails the intent is still in the file, and a start settles it. Logged here.
    pub(crate) async fn store_outcome(&self, image: Option<Image>) -> Result<(), WireError> {
        let Some(image) = image else { return Err(answer::stopping()) };
        self.persist.save_what_gives_back(image).await.map_err(|fault| unwritten(&fault))
    }

    /// Stores that a share was made. Logged here.
    async fn store_made(&self, image: Option<Image>) -> Result<(), WireError> {
        let Some(image) = image else { return Err(answer::stopping()) };
        self.persist.save(image).await.map_err(|fault| unwritten(&fault))
    }

    /// Waits until the kernel holds this of a slice.
    pub async fn read_back(&self, unit: UnitName, enforced: &Enforced) -> Result<(), WireError> {
        self.read_back_unit(unit, |limits| limits.hold(enforced)).await
    }

    /// Waits until the kernel holds what is asked of a unit's limits.
    pub async fn read_back_unit(
        &self,
        unit: UnitName,
        held: impl Fn(&KernelLimits) -> Result<(), Difference>,
    ) -> Result<(), WireError> {
        let mut read_back = ReadBack::within(READ_BACK_TIMEOUT);
        loop {
            let limits = self.cgroups.limits(unit).map_err(|fault| answer::cgroup(&fault))?;
            let difference = match limits.as_ref().map(&held) {
                Some(Ok(())) => return Ok(()),
                Some(Err(difference)) => difference.to_string(),
                None => "there is no such cgroup".to_owned(),
            };
            if !read_back.again().await {
                let message = "The kernel does not hold the limits that systemd was told";
                return Err(WireError::new(Code::Systemd, message).detail(format!("{unit}: {difference}")));
            }
        }
    }

    /// Sees to it that a member's slice is there and that the kernel holds this of it: what all their allocations have
    /// together, before one of them has it.
    pub async fn surround(&self, allocation: &Allocation, around: &Enforced) -> Result<(), WireError> {
        let unit = UnitName::Share(allocation.id.uid);
        match self.holds(unit, around).map_err(|fault| answer::cgroup(&fault))? {
            Some(true) => Ok(()),
            Some(false) | None => self.make(unit, allocation, around).await,
        }
    }

    /// Whether the kernel holds this of a slice; `None` where there is no such cgroup.
    pub(crate) fn holds(&self, unit: UnitName, enforced: &Enforced) -> Result<Option<bool>, CgroupFault> {
        Ok(self.cgroups.limits(unit)?.map(|limits| limits.hold(enforced).is_ok()))
    }

    /// Sets what a member's slice has around what is left of their allocations; where nothing is left, and nobody inside, the
    /// slice goes. What fails is logged, and mended by the sweep.
    pub(crate) async fn settle_around(&self, uid: Uid, around: Option<&Enforced>) {
        let unit = UnitName::Share(uid);
        let done = match around {
            Some(around) => match self.holds(unit, around) {
                Ok(Some(false)) => {
                    self.set_these(unit, property::limits(around, self.capacity), around).await
                }
                Ok(Some(true) | None) => Ok(()),
                Err(fault) => Err(answer::cgroup(&fault)),
            },
            None => match self.cgroups.populated(unit) {
                // What is inside is none of ours.
                Ok(Some(true)) => Ok(()),
                Ok(Some(false) | None) => {
                    let stopped = self.systemd.stop(unit, WITHDRAW_TIMEOUT).await;
                    stopped.map(drop).map_err(|fault| logged(&fault))
                }
                Err(fault) => Err(answer::cgroup(&fault)),
            },
        };
        if let Err(error) = done {
            warn!(unit = %unit, "{unit} is not as it should be around what is in it: {}", in_full(&error));
        }
    }

    /// Makes the slice of an allocation, or sets its limits where it is there, and proves that the kernel holds them: those of
    /// its member's slice `around` it first.
    pub async fn enforce(&self, allocation: &Allocation, around: &Enforced) -> Result<(), WireError> {
        self.surround(allocation, around).await?;
        if allocation.in_share {
            return Ok(());
        }
        self.make(allocation.unit(), allocation, &allocation.enforced()).await
    }

    /// Makes a slice of the member's whose allocation this is, or sets its limits.
    async fn make(
        &self,
        unit: UnitName,
        allocation: &Allocation,
        enforced: &Enforced,
    ) -> Result<(), WireError> {
        let display = allocation.user.clone().unwrap_or_else(|| format!("uid {}", allocation.id.uid));
        let properties = property::share(unit, &display, enforced, self.capacity);
        self.systemd.start_slice(unit, &properties).await.map_err(|fault| logged(&fault))?;
        self.read_back(unit, enforced).await
    }

    /// Sets all that the kernel is to hold of an allocation, and proves that it does.
    pub(crate) async fn set(&self, allocation: &Allocation) -> Result<(), WireError> {
        let enforced = allocation.enforced();
        self.set_these(allocation.unit(), property::limits(&enforced, self.capacity), &enforced).await
    }

    /// Sets these properties of a slice, and proves that the kernel then holds `enforced`.
    pub(crate) async fn set_these(
        &self,
        unit: UnitName,
        properties: Vec<Property>,
        enforced: &Enforced,
    ) -> Result<(), WireError> {
        self.systemd.set_properties(&unit.to_string(), &properties).await.map_err(|fault| logged(&fault))?;
        self.read_back(unit, enforced).await
    }
}

fn unwritten(fault: &StateFault) -> WireError {
    error!("{}", chain(fault));
    answer::store(fault)
}

/// Makes the slice of an allocation that was just asked for.
pub async fn grant(cx: Context, allocation: Allocation, shown: ShareInfo, intent: Image, reply: Reply) {
    let turn = cx.turn(allocation.id.uid);
    let result = granted(&cx, &allocation, intent).await;
    drop(turn);
    reply.send(result.map(|()| Answer::Share(HeldShare { share: shown })));
}

/// Makes the slice of an allocation that a command in the foreground brings, and has its process go in, which is answered then.
pub async fn grant_for_run(cx: Context, allocation: Allocation, intent: Image, (whom, reply): (Whom, Reply)) {
    let turn = cx.turn(allocation.id.uid);
    match granted(&cx, &allocation, intent).await {
        Ok(()) => drop(cx.said.send(Said::LetIn(allocation.id, whom, reply)).await),
        Err(error) => reply.send(Err(error)),
    }
    drop(turn);
}

/// Makes the slice of an allocation that a submitted command brings. Answered as soon as that is certain to be remembered.
pub async fn grant_for_work(
    cx: Context,
    allocation: Allocation,
    work: Option<(JobId, Option<Vec<u8>>)>,
    intent: Image,
    reply: Reply,
) {
    let _turn = cx.turn(allocation.id.uid);
    let (job, kept) = work.map_or((None, None), |(job, kept)| (Some(job), kept));
    let others = intent.beside(allocation.id);
    if let Err(fault) = stored_with(&cx, job.zip(kept), intent).await {
        let error = intent_failed(&cx, allocation.id, &fault).await;
        // Who is told that it failed has not submitted anything: it does not wait to be run again.
        if let Some(job) = job.filter(|_| reply.is_awaited()) {
            uncalled(&cx, job).await;
        }
        return reply.send(Err(error));
    }
    reply.send(Ok(Answer::JobStarted(JobStarted { job_started: job.map_or(0, |job| job.0) })));
    if let Err(error) = made(&cx, &allocation, &others).await {
        warn!(result_code = error.code, "{} could not be made: {}", allocation.id, in_full(&error));
    }
}

/// Stores what a command is to run, where that is to be kept, and then the state that knows of the command.
pub async fn stored_with(
    cx: &Context,
    command: Option<(JobId, Vec<u8>)>,
    image: Image,
) -> Result<(), Arc<StateFault>> {
    if let Some((job, kept)) = command {
        cx.persist.keep_command(job, kept).await?;
        let _ = cx.said.send(Said::Kept(job)).await;
    }
    cx.persist.save(image).await
}

async fn granted(cx: &Context, allocation: &Allocation, intent: Image) -> Result<(), WireError> {
    let others = intent.beside(allocation.id);
    if let Err(fault) = cx.persist.save(intent).await {
        return Err(intent_failed(cx, allocation.id, &fault).await);
    }
    made(cx, allocation, &others).await
}

/// Makes a slice that the state remembers, beside the `others` in it, or sees to it that neither is left.
async fn made(cx: &Context, allocation: &Allocation, others: &Beside) -> Result<(), WireError> {
    let id = allocation.id;
    let result = cx.enforce(allocation, &others.with(allocation)).await;
    if result.is_ok()
        && let Some(held) = cx.io.hold(id.uid).await
    {
        let _ = cx.said.send(Said::Io(id.uid, held)).await;
    }
    let result = match result {
        Ok(()) => cx.store_made(cx.settle(id, Outcome::Done).await).await,
        failed => failed,
    };
    if let Err(error) = result {
        // Nothing was granted, so nothing may stay: neither the slice nor the memory of it.
        let outcome = withdraw(cx, allocation, &error).await;
        if outcome != Outcome::Unknown {
            cx.settle_around(id.uid, others.without().as_ref()).await;
        }
        let image = cx.settle(id, outcome).await;
        let _ = cx.store_outcome(image).await;
        return Err(error);
    }
    Ok(())
}

/// Takes back an intent that could not be stored. The failed write may have got as far as the file, where a start
/// would finish it: what holds is stored again, as far as that goes.
/// A job that could not be stored waits no more, where it waits: whether it did. `None`: the daemon stops.
async fn uncalled(cx: &Context, job: JobId) -> Option<bool> {
    let (sender, image) = oneshot::channel();
    let _ = cx.said.send(Said::Uncalled(job, sender)).await;
    let image = image.await.ok()?;
    let waited = image.is_some();
    if waited {
        // The failed write may have got as far as the file, where a start would find the request.
        let _ = cx.store_outcome(image).await;
    }
    Some(waited)
}

pub(crate) async fn intent_failed(cx: &Context, id: AllocationId, fault: &StateFault) -> WireError {
    error!("{}", chain(fault));
    let image = cx.settle(id, Outcome::undone(fault)).await;
    let _ = cx.store_outcome(image).await;
    answer::store(fault)
}

/// Removes a slice that was made for nothing, because of this error; only an empty one, for what is inside is somebody's work.
async fn withdraw(cx: &Context, allocation: &Allocation, error: &WireError) -> Outcome {
    let unit = allocation.unit();
    match cx.cgroups.populated(unit) {
        Ok(Some(false) | None) => {}
        Ok(Some(true)) => return Outcome::Unknown,
        Err(fault) => {
            error!(unit = %unit, "{}", chain(&fault));
            return Outcome::Unknown;
        }
    }
    match cx.systemd.stop(unit, WITHDRAW_TIMEOUT).await {
        Ok(_) => Outcome::Withdrawn(in_full(error).to_string()),
        Err(fault) => {
            error!(unit = %unit, "{}", chain(&fault));
            Outcome::Unknown
        }
    }
}

/// Removes the empty slice of an allocation that is given back.
pub async fn release(cx: Context, allocation: Allocation, intent: Image, reply: Reply) {
    let turn = cx.turn(allocation.id.uid);
    let result = withdrawn(&cx, &allocation, intent).await;
    drop(turn);
    reply.send(result.map(|()| Answer::Released(Released { released: true })));
}

async fn withdrawn(cx: &Context, allocation: &Allocation, intent: Image) -> Result<(), WireError> {
    let (id, unit, others) = (allocation.id, allocation.unit(), intent.beside(allocation.id));
    if let Err(fault) = cx.persist.save_what_gives_back(intent).await {
        return Err(intent_failed(cx, id, &fault).await);
    }
    // Stopping a slice kills what is inside, and what was empty when it was decided may not be any more: looked at last, with
    // nothing awaited after it.
    let error = match cx.cgroups.populated(unit) {
        Ok(Some(false) | None) => return stopped(cx, allocation, &others, WITHDRAW_TIMEOUT).await,
        Ok(Some(true)) => WireError::new(Code::Busy, "Processes have entered the share"),
        Err(fault) => {
            error!(unit = %unit, "{}", chain(&fault));
            answer::cgroup(&fault)
        }
    };
    let _ = cx.store_outcome(cx.settle(id, Outcome::undone(&error)).await).await;
    Err(error)
}

/// Stores what the ledger has decided already, and then answers.
pub async fn stored(cx: Context, image: Image, reply: Reply, answer: Answer) {
    match cx.persist.save_what_gives_back(image).await {
        Ok(()) => reply.send(Ok(answer)),
        Err(fault) => {
            error!("{}", chain(&*fault));
            reply.send(Err(answer::not_stored(&fault)));
        }
    }
}

/// Stores a request that waits from now on, and then answers with its job. What is not stored does not wait.
pub async fn queued(cx: Context, work: (JobId, Option<Vec<u8>>), image: Image, reply: Reply) {
    let (job, kept) = work;
    match stored_with(&cx, kept.map(|kept| (job, kept)), image).await {
        Ok(()) => reply.send(Ok(Answer::JobStarted(JobStarted { job_started: job.0 }))),
        Err(fault) => {
            error!("{}", chain(&*fault));
            reply.send(match uncalled(&cx, job).await {
                Some(true) => Err(answer::store(&fault)),
                // It was served meanwhile, and what has become of that is stored by who carries it out.
                Some(false) => Ok(Answer::JobStarted(JobStarted { job_started: job.0 })),
                None => Err(answer::stopping()),
            });
        }
    }
}

/// Stops what is in an allocation and removes its slice. Answered at once; the job says how it went.
pub async fn stop(cx: Context, allocation: Allocation, job: JobId, intent: Image, reply: Reply) {
    let (id, unit, others) = (allocation.id, allocation.unit(), intent.beside(allocation.id));
    let _turn = cx.turn(id.uid);
    reply.send(Ok(Answer::JobStarted(JobStarted { job_started: job.0 })));
    let stopped = match cx.persist.save_what_gives_back(intent).await {
        Ok(()) => stopped(&cx, &allocation, &others, STOP_TIMEOUT).await,
        Err(fault) => Err(intent_failed(&cx, id, &fault).await),
    };
    match stopped {
        Ok(()) => info!(job_id = job.0, unit = %unit, "stopped {id}"),
        Err(error) => warn!(
            job_id = job.0,
            result_code = error.code,
            unit = %unit,
            "{id} could not be stopped: {}", in_full(&error)
        ),
    }
}

/// Stops the slice of an allocation whose release is stored, with everything in it; beside the `others` of its member.
async fn stopped(
    cx: &Context,
    allocation: &Allocation,
    others: &Beside,
    within: Duration,
) -> Result<(), WireError> {
    let (id, unit) = (allocation.id, allocation.unit());
    let in_memory = cx.cgroups.files_in_memory(unit).unwrap_or_default();
    let spent = cx.cgroups.spent(unit).ok().flatten();
    if let Err(fault) = freezer::stop(&cx.systemd, &cx.cgroups, unit, within).await {
        let error = logged(&fault);
        // A stop that was not refused may still be under way.
        let outcome = match fault {
            Fault::Call { .. } => Outcome::undone(&fault),
            _ => Outcome::Unknown,
        };
        let image = cx.settle(id, outcome).await;
        let _ = cx.store_outcome(image).await;
        return Err(error);
    }
    if let Err(still) = unkillable::over(&cx.cgroups, unit).await {
        return Err(kept(cx, allocation, others, still).await);
    }
    // Before anybody is given room that is not there, or that this member would still be promised.
    cx.settle_around(id.uid, others.without().as_ref()).await;
    if in_memory > Bytes(0)
        && let Ok(left) = cx.cgroups.left_behind()
    {
        let _ = cx.said.send(Said::LeftBehind(left)).await;
    }
    if let Some(spent) = spent {
        let _ = cx.said.send(Said::Spent(id, spent)).await;
    }
    // The intent is stored, and a start would finish it: where the outcome is not, nothing is lost.
    let _ = cx.store_outcome(cx.settle(id, Outcome::Done).await).await;
    Ok(())
}

/// What was stopped, with somebody in it whom that did not end, stays an allocation: its room is in use.
async fn kept(cx: &Context, allocation: &Allocation, others: &Beside, still: String) -> WireError {
    let outcome = match cx.enforce(allocation, &others.with(allocation)).await {
        Ok(()) => Outcome::undone(&still),
        Err(_) => Outcome::Unknown,
    };
    let _ = cx.store_outcome(cx.settle(allocation.id, outcome).await).await;
    WireError::new(Code::CleanupFailed, "Not everything in the share could be ended").detail(still)
}

/// Answers a release that is refused with who is inside.
pub async fn occupied(cgroups: Arc<Cgroups>, unit: UnitName, naming: Naming, reply: Reply) {
    let inside = occupants::look_for_refusal(cgroups, unit, naming).await;
    reply.send(Err(match inside {
        Some(Occupants { count, named }) => {
            WireError::new(Code::Busy, format!("{count} inside the share")).detail(named)
        }
        // Who was inside has gone meanwhile, or could not be looked up.
        None => answer::refusal(&Refusal::Occupied),
    }));
}

/// A fault on its way into an answer: this is where it is logged.
pub fn logged(fault: &Fault) -> WireError {
    error!("{}", chain(fault));
    answer::systemd(fault)
}
