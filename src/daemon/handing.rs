//! What a submitted command is, until its process has fetched it: given to that process alone, and once.
//!
//! Nothing of a member's is queued where PID 1 could come to close it. The process connects by itself, and what it does not
//! take goes with its connection.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tracing::{error, warn};

use super::answer;
use super::closing::Received;
use super::event::Reply;
use super::event_loop::EventLoop;
use super::execute::{Context, not_movable};
use super::logging::chain;
use super::peer::Peer;
use super::work::Spec;
use crate::cgroup::Cgroups;
use crate::identity::{JobId, Uid, UnitName};
use crate::ledger::Command;
use crate::procfs::ProcessId;
use crate::wire::answer::Answer;
use crate::wire::error::{Code, WireError};

/// Calls for one command that wait at a time. There is one process that may make one.
pub const FETCHES_WAITING_MAX: usize = 4;

/// How many processes of a command's service are looked through for the one that calls. Until it has what it becomes there is
/// that one, and what a debugger made of it.
const PROCESSES_LOOKED_AT_MAX: usize = 64;

/// How soon a process that could not be served now asks again, in milliseconds.
pub const FETCH_RETRY_AFTER_MS: u64 = 1000;

/// Where what a command is goes.
pub type Taker = oneshot::Sender<Delivery>;

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

/// The sealed file with what a command is.
#[derive(Debug)]
pub struct HandedFile {
    file: OwnedFd,
    /// The room that the command takes of its member's: for as long as the bytes are memory of the daemon's.
    _room: Option<Arc<OwnedSemaphorePermit>>,
}

/// What is on its way to a command's process.
#[derive(Debug)]
pub struct Delivery {
    file: Arc<HandedFile>,
    stdio: Arc<Received>,
    given: oneshot::Sender<()>,
}

/// What a command's process can fetch.
pub struct Offer {
    file: Arc<HandedFile>,
    stdio: Arc<Received>,
}

impl HandedFile {
    fn write(spec: &Spec) -> Result<Self, String> {
        let said = |errno: Errno| errno.to_string();
        let bytes = spec.handover.encode()?;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = rustix::fs::memfd_create("fairshare-job", flags).map_err(said)?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let written = rustix::io::write(&file, rest).map_err(said)?;
            rest = rest.get(written..).unwrap_or_default();
        }
        // It can still be emptied, see `emptied`.
        let seals = SealFlags::SEAL | SealFlags::GROW | SealFlags::WRITE;
        rustix::fs::fcntl_add_seals(&file, seals).map_err(said)?;
        Ok(Self { file, _room: spec.room.clone() })
    }

    /// Takes the bytes out of the file: whoever holds it on would else hold memory of the daemon's.
    pub fn emptied(&self) {
        if let Err(errno) = rustix::fs::ftruncate(&self.file, 0) {
            warn!("what a command was handed stays in memory: {errno}, proceeding");
        }
    }
}

impl Delivery {
    /// What is sent, in the order of the contract: the file, then standard input, output and error.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        std::iter::once(self.file.file.as_fd()).chain(self.stdio.iter().map(AsFd::as_fd)).collect()
    }

    /// It was sent. The daemon lets go of the member's own descriptors, and keeps the file until that was read.
    pub fn given(self) -> Arc<HandedFile> {
        // Where the command is over by now nobody waits for it.
        let _ = self.given.send(());
        self.file
    }
}

impl Offer {
    /// What `spec` comes to.
    ///
    /// # Errors
    /// In words, what the kernel said.
    pub fn of(spec: Arc<Spec>) -> Result<Self, String> {
        let file = Arc::new(HandedFile::write(&spec)?);
        Ok(Self { file, stdio: Arc::clone(&spec.stdio) })
    }

    /// Gives it to the command's process, and is over when that was done, or when the command is.
    pub async fn serve(self, cx: Context, job: JobId, mut fetches: mpsc::Receiver<Fetch>) {
        while let Some(Fetch { peer, taker, reply }) = fetches.recv().await {
            if let Err(error) = is_its_process(&cx.cgroups, &peer, job) {
                reply.send(Err(error));
                continue;
            }
            let (given, was_given) = oneshot::channel();
            let delivery = Delivery { file: Arc::clone(&self.file), stdio: Arc::clone(&self.stdio), given };
            let handed = u64::try_from(delivery.descriptors().len()).unwrap_or(u64::MAX);
            if taker.send(delivery).is_err() {
                continue;
            }
            reply.send(Ok(Answer::Handed { handed }));
            if was_given.await.is_ok() {
                return;
            }
        }
    }
}

/// Tells the process of a command that it is not to become it.
pub fn refuse(mut fetches: mpsc::Receiver<Fetch>, why: &str) {
    fetches.close();
    while let Ok(fetch) = fetches.try_recv() {
        let error = WireError::new(Code::Systemd, "The command is not to run").detail(why);
        fetch.reply.send(Err(error));
    }
}

/// Whether the peer is a process that PID 1 has started for a job: of the job's member, and in the service's own cgroup.
///
/// # Errors
/// Forbidden; what the kernel said.
fn is_its_process(cgroups: &Cgroups, peer: &Peer, job: JobId) -> Result<(), WireError> {
    let pid = peer.pid.unsigned_abs();
    let process = ProcessId::open(pid, peer.uid).map_err(|error| not_movable(&error))?;
    let service = UnitName::JobService(peer.uid, job);
    let inside = cgroups
        .pids(service, PROCESSES_LOOKED_AT_MAX)
        .map_err(|fault| answer::cgroup(&fault))?
        .contains(&pid);
    // After the look at the cgroup: until here the number meant one process.
    process.recheck().map_err(|error| not_movable(&error))?;
    if inside { Ok(()) } else { Err(not_its_process(peer.uid, job)) }
}

fn not_its_process(uid: Uid, job: JobId) -> WireError {
    WireError::new(Code::Forbidden, format!("This is no process that was started for job {job} of uid {uid}"))
}

fn nothing_left(job: JobId) -> WireError {
    WireError::new(Code::NotFound, format!("Nothing is left to be fetched for job {job}"))
}

impl EventLoop {
    /// Has a command's process given what it becomes.
    pub(super) fn fetch(&mut self, id: JobId, fetch: Fetch) {
        let uid = fetch.peer.uid;
        // Whether there is such a job of somebody else's is not told.
        let job = self.ledger.jobs().get(&id).filter(|job| job.is_work() && job.uid == uid);
        if job.is_none() && self.condition.is_degraded() {
            return fetch.reply.send(Err(self.condition.refusal()));
        }
        let Some(job) = job else { return fetch.reply.send(Err(not_its_process(uid, id))) };
        let ended = job.ended();
        if let Err(error) = is_its_process(&self.parts.cgroups, &fetch.peer, id) {
            return fetch.reply.send(Err(error));
        }
        let Some(offer) = self.offers.get(&id) else {
            return match ended {
                true => fetch.reply.send(Err(nothing_left(id))),
                false => self.never_began(id, fetch.reply),
            };
        };
        match offer.try_send(fetch) {
            Ok(()) => {}
            Err(TrySendError::Full(fetch)) => {
                let error = WireError::new(Code::Busy, "This is being fetched already");
                fetch.reply.send(Err(error.retry_after_ms(FETCH_RETRY_AFTER_MS)));
            }
            Err(TrySendError::Closed(fetch)) => fetch.reply.send(Err(nothing_left(id))),
        }
    }

    /// The daemon that started a command is gone, and what was to be run with it. The command's process hears of it when that
    /// is stored: with whatever it then ends, that is not how the command ended.
    fn never_began(&mut self, job: JobId, reply: Reply) {
        let Some(cx) = self.context.clone() else { return reply.send(Err(self.condition.refusal())) };
        warn!(job_id = job.0, "job {job} never began: the daemon that started it has gone");
        self.tell(Command::NeverBegan { job });
        self.tell_status();
        let image = self.ledger.image();
        tokio::spawn(async move {
            let answer = match cx.persist.save(image).await {
                Ok(()) => {
                    WireError::new(Code::Interrupted, "The daemon restarted before the command was started")
                }
                Err(fault) => {
                    error!("{}", chain(&*fault));
                    WireError::new(Code::Busy, "That the command never began could not be stored")
                        .retry_after_ms(FETCH_RETRY_AFTER_MS)
                }
            };
            reply.send(Err(answer));
        });
    }
}
