//! Closing what members sent, on threads of its own: it takes as long as they like.
//!
//! The last close of a socket that lingers (`SO_LINGER`, socket(7)), or of a file on a file system that a member serves
//! (FUSE) or whose server is away (NFS), waits for the other side, and cannot always be interrupted. Descriptors that
//! nobody takes from a socket are closed with it, or by whoever reads past them. So all of them are taken, and closed here.

use std::collections::BTreeMap;
use std::net::Shutdown;
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::net::UnixStream;
use tokio::sync::Notify;
use tracing::error;

use crate::identity::Uid;

/// What of one user may wait to be closed before more is read from their connections. More than that comes with one read.
pub const CLOSING_PER_UID_MAX: usize = 8;

/// Threads that close at a time, one for each user: of the 32 tasks that the unit allows.
const CLOSERS_MAX: usize = 8;

static CLOSING: Mutex<Closing> =
    Mutex::new(Closing { waiting: BTreeMap::new(), at_work: BTreeMap::new(), idle: 0 });
static CLOSED: Notify = Notify::const_new();

/// What is to be closed, by whose it was.
struct Closing {
    waiting: BTreeMap<Uid, Vec<OwnedFd>>,
    /// How many a thread is closing.
    at_work: BTreeMap<Uid, usize>,
    /// Threads that have been started and have not taken anything yet.
    idle: usize,
}

/// Descriptors that a member sent.
#[derive(Debug)]
pub struct Received {
    uid: Uid,
    descriptors: Vec<OwnedFd>,
}

impl Received {
    /// None yet, from this member.
    pub fn from(uid: Uid) -> Self {
        Self { uid, descriptors: Vec::new() }
    }

    /// These too.
    pub fn extend(&mut self, descriptors: impl IntoIterator<Item = OwnedFd>) {
        self.descriptors.extend(descriptors);
    }

    /// Those of another that came from the same member.
    pub fn append(&mut self, mut other: Self) {
        self.descriptors.append(&mut other.descriptors);
    }

    /// The first of them only.
    pub fn truncate(&mut self, count: usize) {
        let rest = self.descriptors.split_off(count.min(self.descriptors.len()));
        close(self.uid, rest);
    }
}

impl Deref for Received {
    type Target = [OwnedFd];

    fn deref(&self) -> &[OwnedFd] {
        &self.descriptors
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        close(self.uid, std::mem::take(&mut self.descriptors));
    }
}

/// Ends a connection, with whatever was sent on it and not read.
pub fn connection(stream: UnixStream, uid: Uid) {
    let Ok(stream) = stream.into_std() else { return };
    // From here on nothing more can be sent, so that what is not there now will not be.
    let _ = stream.shutdown(Shutdown::Both);
    if rustix::io::ioctl_fionread(&stream).is_ok_and(|unread| unread > 0) {
        close(uid, vec![stream.into()]);
    }
}

/// Whether little enough of this member's is left to be closed.
pub fn has_room(uid: Uid) -> bool {
    closing().of(uid) <= CLOSING_PER_UID_MAX
}

/// Waits until it is.
pub async fn room(uid: Uid) {
    loop {
        let closed = CLOSED.notified();
        if has_room(uid) {
            return;
        }
        closed.await;
    }
}

fn close(uid: Uid, descriptors: Vec<OwnedFd>) {
    if descriptors.is_empty() {
        return;
    }
    let mut closing = closing();
    closing.waiting.entry(uid).or_default().extend(descriptors);
    let threads = closing.idle + closing.at_work.len();
    // Whoever is at work for this member goes on with these.
    if closing.at_work.contains_key(&uid) || closing.idle > 0 || threads >= CLOSERS_MAX {
        return;
    }
    closing.idle += 1;
    drop(closing);
    if let Err(error) = std::thread::Builder::new().name("closing".to_owned()).spawn(work) {
        self::closing().idle -= 1;
        error!("what members sent is not closed for now, no thread can be started: {error}");
    }
}

/// Closes what waits, until nothing does, or only what is of members for whom another thread is at work.
fn work() {
    let mut closing = self::closing();
    closing.idle -= 1;
    while let Some((uid, descriptors)) = closing.next() {
        drop(closing);
        for descriptor in descriptors {
            // Of one that is no socket, or lingers again before it is closed, there is nothing more to be done.
            let _ = rustix::net::sockopt::set_socket_linger(&descriptor, None);
            drop(descriptor);
        }
        closing = self::closing();
        closing.at_work.remove(&uid);
        CLOSED.notify_waiters();
    }
}

fn closing() -> MutexGuard<'static, Closing> {
    CLOSING.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Closing {
    fn of(&self, uid: Uid) -> usize {
        let waiting = self.waiting.get(&uid).map_or(0, Vec::len);
        waiting + self.at_work.get(&uid).copied().unwrap_or(0)
    }

    fn next(&mut self) -> Option<(Uid, Vec<OwnedFd>)> {
        let uid = self.waiting.keys().copied().find(|uid| !self.at_work.contains_key(uid))?;
        let descriptors = self.waiting.remove(&uid)?;
        self.at_work.insert(uid, descriptors.len());
        Some((uid, descriptors))
    }
}
