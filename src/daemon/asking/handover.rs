//! What a submitted command is, until its process has fetched it: given to that process alone, and once.
//!
//! Nothing of a member's is queued where PID 1 could come to close it. The process connects by itself, and what it does not
//! take goes with its connection.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use tokio::sync::oneshot;
use tracing::warn;

use crate::contract::handover::HANDED_MAX;
use crate::serving::account::Room;
use crate::serving::closing::Received;
use crate::serving::service::Handed;
use crate::serving::session::DESCRIPTORS_SENT_MAX;

const _: () = assert!(HANDED_MAX <= DESCRIPTORS_SENT_MAX, "what a command is goes with one answer");

/// Where what a command is goes.
pub type Taker = oneshot::Sender<Delivery>;

/// The sealed file with what a command is.
#[derive(Debug)]
pub struct HandedFile {
    file: OwnedFd,
    /// The room that the command takes of its member's: for as long as the bytes are memory of the daemon's.
    _room: Option<Arc<Room>>,
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
    fn write(bytes: &[u8], room: Option<Arc<Room>>) -> Result<Self, String> {
        let said = |errno: Errno| errno.to_string();
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = rustix::fs::memfd_create("fairshare-job", flags).map_err(said)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = rustix::io::write(&file, rest).map_err(said)?;
            rest = rest.get(written..).unwrap_or_default();
        }
        // It can still be emptied, see `emptied`.
        let seals = SealFlags::SEAL | SealFlags::GROW | SealFlags::WRITE;
        rustix::fs::fcntl_add_seals(&file, seals).map_err(said)?;
        Ok(Self { file, _room: room })
    }

    /// Takes the bytes out of the file: whoever holds it on would else hold memory of the daemon's.
    fn emptied(&self) {
        if let Err(errno) = rustix::fs::ftruncate(&self.file, 0) {
            warn!("what a command was handed stays in memory: {errno}, proceeding");
        }
    }
}

impl Handed for Delivery {
    type Kept = Arc<HandedFile>;

    /// What is sent, in the order of the contract: the file, then standard input, output and error.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        std::iter::once(self.file.file.as_fd()).chain(self.stdio.iter().map(AsFd::as_fd)).collect()
    }

    /// It was sent. The daemon lets go of the member's own descriptors, and keeps the file until that was read.
    fn given(self) -> Arc<HandedFile> {
        // Where the command is over by now nobody waits for it.
        let _ = self.given.send(());
        self.file
    }

    fn read(file: Arc<HandedFile>) {
        file.emptied();
    }
}

impl Offer {
    /// An offer of these bytes, and of a command's own descriptors.
    ///
    /// # Errors
    /// In words, what the kernel said.
    pub fn of(bytes: &[u8], stdio: Arc<Received>, room: Option<Arc<Room>>) -> Result<Self, String> {
        Ok(Self { file: Arc::new(HandedFile::write(bytes, room)?), stdio })
    }

    /// What is sent to the command's process, and where it is heard that it was sent.
    pub fn delivery(&self) -> (Delivery, oneshot::Receiver<()>) {
        let (given, was_given) = oneshot::channel();
        (Delivery { file: Arc::clone(&self.file), stdio: Arc::clone(&self.stdio), given }, was_given)
    }
}
