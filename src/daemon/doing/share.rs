//! Carries out effects: intent stored, systemd told, its job awaited, the kernel read back, outcome stored, answered.
//!
//! One task an effect, each a straight line. The ledger hears of it through [`Said::Settle`].

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use super::io::IoHands;
use super::occupants::{self, Naming, Occupants};
use super::persist::Persist;
use super::said::Said;
use super::unkillable;
use crate::cgroup::Cgroups;
use crate::contract::{Answer, HeldShare, JobStarted, Released, ShareInfo};
use crate::daemon::asking::accounts::Accounts;
use crate::daemon::telling::answer;
use crate::daemon::telling::reply::Reply;
use crate::enforced::{Difference, Enforced, KernelLimits};
use crate::identity::{JobId, Uid, UnitName};
use crate::ledger::refusal::Refusal;
use crate::ledger::share::Share;
use crate::ledger::{Image, Outcome};
use crate::quantity::{Bytes, MilliCpu};
use crate::serving::logging::{chain, in_full};
use crate::state::StateFault;
use crate::systemd::property::{self, Property};
use crate::systemd::{Fault, Systemd};
use crate::time::backoff;
use crate::wire::error::{Code, WireError};

/// How long the kernel's files may lag behind what systemd said.
pub const READ_BACK_TIMEOUT: Duration = Duration::from_secs(5);

/// Between two looks at the kernel's files: at first, and at most.
pub const READ_BACK_PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

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
    pub(crate) async fn settle(&self, uid: Uid, outcome: Outcome) -> Option<Image> {
        let (reply, image) = oneshot::channel();
        self.said.send(Said::Settle { uid, outcome, reply }).await.ok()?;
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

    /// Waits until the kernel holds this of a member's share.
    pub async fn read_back(&self, uid: Uid, enforced: &Enforced) -> Result<(), WireError> {
        self.read_back_unit(UnitName::Share(uid), |limits| limits.hold(enforced)).await
    }

    /// Waits until the kernel holds what is asked of a unit's limits.
    pub async fn read_back_unit(
        &self,
        unit: UnitName,
        held: impl Fn(&KernelLimits) -> Result<(), Difference>,
    ) -> Result<(), WireError> {
        let deadline = Instant::now() + READ_BACK_TIMEOUT;
        let mut pauses = backoff(READ_BACK_PAUSE);
        loop {
            let limits = self.cgroups.limits(unit).map_err(|fault| answer::cgroup(&fault))?;
            let difference = match limits.as_ref().map(&held) {
                Some(Ok(())) => return Ok(()),
                Some(Err(difference)) => difference.to_string(),
                None => "there is no such cgroup".to_owned(),
            };
            if Instant::now() >= deadline {
                let message = "The kernel does not hold the limits that systemd was told";
                return Err(WireError::new(Code::Systemd, message).detail(format!("{unit}: {difference}")));
            }
            sleep(pauses.pause()).await;
        }
    }

    /// Makes the slice of a share, or sets its limits where it is there, and proves that the kernel holds them.
    pub async fn enforce(&self, share: &Share) -> Result<(), WireError> {
        let display = share.user.clone().unwrap_or_else(|| format!("uid {}", share.uid));
        let enforced = share.enforced();
        let properties = property::share(share.uid, &display, &enforced, self.capacity);
        self.systemd
            .start_slice(UnitName::Share(share.uid), &properties)
            .await
            .map_err(|fault| logged(&fault))?;
        self.read_back(share.uid, &enforced).await
    }

    /// Sets all that the kernel is to hold of a share, and proves that it does.
    pub(crate) async fn set(&self, share: &Share) -> Result<(), WireError> {
        let enforced = share.enforced();
        self.set_these(share.uid, property::limits(&enforced, self.capacity), &enforced).await
    }

    /// Sets these properties, and proves that the kernel then holds `enforced`.
    pub(crate) async fn set_these(
        &self,
        uid: Uid,
        properties: Vec<Property>,
        enforced: &Enforced,
    ) -> Result<(), WireError> {
        let unit = UnitName::Share(uid).to_string();
        self.systemd.set_properties(&unit, &properties).await.map_err(|fault| logged(&fault))?;
        self.read_back(uid, enforced).await
    }
}

fn unwritten(fault: &StateFault) -> WireError {
    error!("{}", chain(fault));
    answer::store(fault)
}

/// Makes the slice of a share that was just asked for.
pub async fn grant(cx: Context, share: Share, shown: ShareInfo, intent: Image, reply: Reply) {
    let turn = cx.turn(share.uid);
    let result = granted(&cx, &share, intent).await;
    drop(turn);
    reply.send(result.map(|()| Answer::Share(HeldShare { share: shown })));
}

/// Makes the slice of a share that is taken for a submitted command. Answered as soon as that is certain to be remembered.
pub async fn grant_for_work(
    cx: Context,
    share: Share,
    work: Option<(JobId, Option<Vec<u8>>)>,
    intent: Image,
    reply: Reply,
) {
    let _turn = cx.turn(share.uid);
    let (job, kept) = work.map_or((None, None), |(job, kept)| (Some(job), kept));
    if let Err(fault) = stored_with(&cx, job.zip(kept), intent).await {
        return reply.send(Err(intent_failed(&cx, share.uid, &fault).await));
    }
    reply.send(Ok(Answer::JobStarted(JobStarted { job_started: job.map_or(0, |job| job.0) })));
    if let Err(error) = made(&cx, &share).await {
        warn!(result_code = error.code, "no share for a command of uid {}: {}", share.uid, in_full(&error));
    }
}

/// Stores what a command is to run, where that is to be kept, and then the state that knows of the command.
async fn stored_with(
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

async fn granted(cx: &Context, share: &Share, intent: Image) -> Result<(), WireError> {
    let uid = share.uid;
    if let Err(fault) = cx.persist.save(intent).await {
        return Err(intent_failed(cx, uid, &fault).await);
    }
    made(cx, share).await
}

/// Makes a slice that the state remembers, or sees to it that neither is left.
async fn made(cx: &Context, share: &Share) -> Result<(), WireError> {
    let uid = share.uid;
    let result = cx.enforce(share).await;
    if result.is_ok()
        && let Some(held) = cx.io.hold(uid).await
    {
        let _ = cx.said.send(Said::Io(uid, held)).await;
    }
    let result = match result {
        Ok(()) => cx.store_made(cx.settle(uid, Outcome::Done).await).await,
        failed => failed,
    };
    if let Err(error) = result {
        // Nothing was granted, so nothing may stay: neither the slice nor the memory of it.
        let outcome = withdraw(cx, uid, &error).await;
        let image = cx.settle(uid, outcome).await;
        let _ = cx.store_outcome(image).await;
        return Err(error);
    }
    Ok(())
}

/// Takes back an intent that could not be stored. The failed write may have got as far as the file, where a start
/// would finish it: what holds is stored again, as far as that goes.
pub(crate) async fn intent_failed(cx: &Context, uid: Uid, fault: &StateFault) -> WireError {
    error!("{}", chain(fault));
    let image = cx.settle(uid, Outcome::undone(fault)).await;
    let _ = cx.store_outcome(image).await;
    answer::store(fault)
}

/// Removes a slice that was made for nothing, because of this error; only an empty one, for what is inside is somebody's work.
async fn withdraw(cx: &Context, uid: Uid, error: &WireError) -> Outcome {
    let unit = UnitName::Share(uid);
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

/// Removes the empty slice of a share that its member gave back.
pub async fn release(cx: Context, uid: Uid, intent: Image, reply: Reply) {
    let turn = cx.turn(uid);
    let result = withdrawn(&cx, uid, intent).await;
    drop(turn);
    reply.send(result.map(|()| Answer::Released(Released { released: true })));
}

async fn withdrawn(cx: &Context, uid: Uid, intent: Image) -> Result<(), WireError> {
    let unit = UnitName::Share(uid);
    let share = intent.shares.iter().find(|share| share.uid == uid).cloned();
    if let Err(fault) = cx.persist.save_what_gives_back(intent).await {
        return Err(intent_failed(cx, uid, &fault).await);
    }
    // Stopping a slice kills what is inside, and what was empty when it was decided may not be any more: looked at last, with
    // nothing awaited after it.
    let error = match cx.cgroups.populated(unit) {
        Ok(Some(false) | None) => return stopped(cx, uid, share, WITHDRAW_TIMEOUT).await,
        Ok(Some(true)) => WireError::new(Code::Busy, "Processes have entered the share"),
        Err(fault) => {
            error!(unit = %unit, "{}", chain(&fault));
            answer::cgroup(&fault)
        }
    };
    let _ = cx.store_outcome(cx.settle(uid, Outcome::undone(&error)).await).await;
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
            let (sender, image) = oneshot::channel();
            let _ = cx.said.send(Said::Uncalled(job, sender)).await;
            reply.send(match image.await {
                // The failed write may have got as far as the file, where a start would find the request.
                Ok(Some(image)) => {
                    let _ = cx.store_outcome(Some(image)).await;
                    Err(answer::store(&fault))
                }
                // It was served meanwhile, and what has become of that is stored by who carries it out.
                Ok(None) => Ok(Answer::JobStarted(JobStarted { job_started: job.0 })),
                Err(_) => Err(answer::stopping()),
            });
        }
    }
}

/// Stops what is in a share and removes its slice. Answered at once; the job says how it went.
pub async fn stop(cx: Context, uid: Uid, job: JobId, intent: Image, reply: Reply) {
    let _turn = cx.turn(uid);
    reply.send(Ok(Answer::JobStarted(JobStarted { job_started: job.0 })));
    let share = intent.shares.iter().find(|share| share.uid == uid).cloned();
    let stopped = match cx.persist.save_what_gives_back(intent).await {
        Ok(()) => stopped(&cx, uid, share, STOP_TIMEOUT).await,
        Err(fault) => Err(intent_failed(&cx, uid, &fault).await),
    };
    match stopped {
        Ok(()) => info!(job_id = job.0, unit = %UnitName::Share(uid), "stopped the share of uid {uid}"),
        Err(error) => warn!(
            job_id = job.0,
            result_code = error.code,
            unit = %UnitName::Share(uid),
            "the share of uid {uid} could not be stopped: {}", in_full(&error)
        ),
    }
}

/// Stops the slice of a share whose release is stored, with everything in it.
async fn stopped(cx: &Context, uid: Uid, share: Option<Share>, within: Duration) -> Result<(), WireError> {
    let in_memory = cx.cgroups.files_in_memory(UnitName::Share(uid)).unwrap_or_default();
    if let Err(fault) = cx.systemd.stop(UnitName::Share(uid), within).await {
        let error = logged(&fault);
        // A stop that was not refused may still be under way.
        let outcome = match fault {
            Fault::Call { .. } => Outcome::undone(&fault),
            _ => Outcome::Unknown,
        };
        let image = cx.settle(uid, outcome).await;
        let _ = cx.store_outcome(image).await;
        return Err(error);
    }
    if let (Some(share), Err(still)) = (share, unkillable::over(&cx.cgroups, UnitName::Share(uid)).await) {
        return Err(kept(cx, &share, still).await);
    }
    // Before anybody is given room that is not there.
    if in_memory > Bytes(0)
        && let Ok(left) = cx.cgroups.left_behind()
    {
        let _ = cx.said.send(Said::LeftBehind(left)).await;
    }
    // The intent is stored, and a start would finish it: where the outcome is not, nothing is lost.
    let _ = cx.store_outcome(cx.settle(uid, Outcome::Done).await).await;
    Ok(())
}

/// What was stopped, with somebody in it whom that did not end, stays a share: its room is in use.
async fn kept(cx: &Context, share: &Share, still: String) -> WireError {
    let outcome = match cx.enforce(share).await {
        Ok(()) => Outcome::undone(&still),
        Err(_) => Outcome::Unknown,
    };
    let _ = cx.store_outcome(cx.settle(share.uid, outcome).await).await;
    WireError::new(Code::CleanupFailed, "Not everything in the share could be ended").detail(still)
}

/// Answers a release that is refused with who is inside.
pub async fn occupied(cgroups: Arc<Cgroups>, uid: Uid, naming: Naming, reply: Reply) {
    let inside = occupants::look_for_refusal(cgroups, UnitName::Share(uid), naming).await;
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
