//! What others sent: received whole, and closed on threads of its own, for that takes as long as they like.
//!
//! The last close of a socket that lingers (`SO_LINGER`, socket(7)), and each close of a file on a file system that a member
//! serves (FUSE) or whose server is away (NFS), waits for the other side, and cannot always be interrupted. Descriptors that
//! nobody takes from a socket are closed with it, or by whoever reads past them. So all of them are taken, and closed here.
//!
//! They are closed by this process and not by one of its own. A descriptor that was received is in the table of who received
//! it, and each way out of that table flushes the file, also where another process has a copy of it, and also at the exit.

use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, Shutdown, recvmsg, shutdown,
};
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tracing::error;

use crate::identity::Uid;

/// The most descriptors that the kernel sends at a time: `SCM_MAX_FD` (unix(7)). What there is no space for it would close
/// on the spot.
pub const DESCRIPTORS_AT_ONCE_MAX: usize = 253;

/// Descriptors of one user that may wait to be closed before more of them are taken. More than that come with one read.
pub const CLOSING_PER_UID_MAX: usize = 8;

/// Descriptors of strangers that may wait to be closed before more of them are taken.
pub const CLOSING_OF_STRANGERS_MAX: usize = 1024;

/// Descriptors of all that may wait to be closed before no more are taken of who has one waiting: of the 32 768 that the unit
/// allows.
pub const CLOSING_MAX: usize = 4096;

/// Threads that close at a time, one for each user: of the 64 tasks that the unit allows. One that is stuck takes a thread
/// for as long as it is, so that this many users are needed to keep everybody else's descriptors from being closed.
const CLOSERS_MAX: usize = 32;

static CLOSING: Mutex<Closing> =
    Mutex::new(Closing { waiting: BTreeMap::new(), at_work: BTreeMap::new(), idle: 0 });
static CLOSED: Notify = Notify::const_new();

/// Who sent a descriptor. What is of one origin waits for nothing that is of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A user who has connected.
    Member(Uid),
    /// Somebody of whom nothing is known: whoever uses the bus, or a peer that the kernel does not name.
    Stranger,
}

impl From<Uid> for Origin {
    fn from(uid: Uid) -> Self {
        Self::Member(uid)
    }
}

/// What is to be closed, by whose it was.
struct Closing {
    waiting: BTreeMap<Origin, Vec<OwnedFd>>,
    /// How many descriptors a thread is closing.
    at_work: BTreeMap<Origin, usize>,
    /// Threads that have been started and have not taken anything yet.
    idle: usize,
}

/// Descriptors that somebody sent. Closed on a thread of their own when the value ends.
#[derive(Debug)]
pub struct Received {
    origin: Origin,
    descriptors: Vec<OwnedFd>,
}

impl Received {
    /// No descriptors, of this origin.
    pub fn from(origin: impl Into<Origin>) -> Self {
        Self { origin: origin.into(), descriptors: Vec::new() }
    }

    /// Takes these descriptors too.
    pub fn extend(&mut self, descriptors: impl IntoIterator<Item = OwnedFd>) {
        self.descriptors.extend(descriptors);
    }

    /// Takes the descriptors of another value, that came from the same origin.
    pub fn append(&mut self, mut other: Self) {
        self.descriptors.append(&mut other.descriptors);
    }

    /// Keeps the first `count` of them only.
    pub fn truncate(&mut self, count: usize) {
        let rest = self.descriptors.split_off(count.min(self.descriptors.len()));
        close(self.origin, rest);
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
        close(self.origin, std::mem::take(&mut self.descriptors));
    }
}

/// A connection whose peer may have sent descriptors that are never read: it ends on a thread of its own where there can be
/// any.
#[derive(Debug)]
pub struct Connection {
    // Dropped in this order: the last descriptor of the connection is the one in `unread`.
    stream: UnixStream,
    unread: Received,
}

impl Connection {
    /// A connection whose peer is this one.
    pub fn new(stream: UnixStream, peer: impl Into<Origin>) -> Self {
        Self { stream, unread: Received::from(peer) }
    }

    /// The peer is known by now.
    pub fn is_of(&mut self, peer: impl Into<Origin>) {
        self.unread.origin = peer.into();
    }
}

impl Deref for Connection {
    type Target = UnixStream;

    fn deref(&self) -> &UnixStream {
        &self.stream
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut UnixStream {
        &mut self.stream
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // From here on nothing more can be sent, so that what is not there by then will not be.
        let _ = shutdown(&self.stream, Shutdown::Both);
        if rustix::io::ioctl_fionread(&self.stream).map_or(true, |unread| unread > 0) {
            match self.stream.as_fd().try_clone_to_owned() {
                Ok(last) => self.unread.extend([last]),
                Err(error) => error!("a connection is closed where it was read, proceeding: {error}"),
            }
        }
    }
}

/// What one `recvmsg(2)` brought.
#[derive(Debug, Clone, Copy)]
pub struct Came {
    /// How many bytes; 0 at the end of the stream.
    pub bytes: usize,
    /// Whether the kernel had descriptors that it could not place, as when the daemon may have no more: it has closed them.
    pub cut: bool,
}

/// One `recvmsg(2)`, with space for all descriptors that can come with it.
///
/// # Errors
/// What the socket said.
pub fn receive(socket: impl AsFd, space: &mut [u8], came: &mut Received) -> io::Result<Came> {
    let mut control = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_AT_ONCE_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut control);
    let received = recvmsg(socket, &mut [IoSliceMut::new(space)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            came.extend(descriptors);
        }
    }
    Ok(Came { bytes: received.bytes, cut: received.flags.contains(ReturnFlags::CTRUNC) })
}

/// How many bytes the next [`receive`] into this space brings, and whether descriptors come with them. They are left where
/// they are.
///
/// # Errors
/// What the socket said; `WouldBlock` where there is nothing.
pub fn look_ahead(socket: impl AsFd, space: &mut [u8]) -> io::Result<(usize, bool)> {
    // Without space for them the kernel says that they are there, and closes nothing: it has only looked.
    let mut none = RecvAncillaryBuffer::default();
    let seen =
        recvmsg(socket, &mut [IoSliceMut::new(space)], &mut none, RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
    Ok((seen.bytes, seen.flags.contains(ReturnFlags::CTRUNC)))
}

/// Whether little enough of this origin is left to be closed that more may be taken.
pub fn has_room(origin: impl Into<Origin>) -> bool {
    closing().has_room(origin.into())
}

/// Waits until it is.
pub async fn room(origin: impl Into<Origin>) {
    let origin = origin.into();
    loop {
        let closed = CLOSED.notified();
        if has_room(origin) {
            return;
        }
        closed.await;
    }
}

fn close(origin: Origin, descriptors: Vec<OwnedFd>) {
    if descriptors.is_empty() {
        return;
    }
    let mut closing = closing();
    closing.waiting.entry(origin).or_default().extend(descriptors);
    let threads = closing.idle + closing.at_work.len();
    // Whoever is at work for an origin goes on with what came meanwhile. Each other has a thread of its own on the way, for
    // the one before may be stuck.
    let unattended = closing.waiting.keys().filter(|origin| !closing.at_work.contains_key(origin)).count();
    if unattended <= closing.idle || threads >= CLOSERS_MAX {
        return;
    }
    closing.idle += 1;
    drop(closing);
    if let Err(error) = std::thread::Builder::new().name("closing".to_owned()).spawn(work) {
        self::closing().idle -= 1;
        error!("what members sent is not closed for now, no thread can be started: {error}");
    }
}

/// Closes what waits, until nothing does, or only what is of origins for which another thread is at work.
fn work() {
    let mut closing = self::closing();
    closing.idle -= 1;
    while let Some((origin, descriptors)) = closing.next() {
        drop(closing);
        for descriptor in descriptors {
            // Of one that is no socket, or lingers again before it is closed, there is nothing more to be done.
            let _ = rustix::net::sockopt::set_socket_linger(&descriptor, None);
            drop(descriptor);
        }
        closing = self::closing();
        closing.at_work.remove(&origin);
        CLOSED.notify_waiters();
    }
}

fn closing() -> MutexGuard<'static, Closing> {
    CLOSING.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Closing {
    fn of(&self, origin: Origin) -> usize {
        let waiting = self.waiting.get(&origin).map_or(0, Vec::len);
        waiting + self.at_work.get(&origin).copied().unwrap_or(0)
    }

    fn has_room(&self, origin: Origin) -> bool {
        let most = match origin {
            Origin::Member(_) => CLOSING_PER_UID_MAX,
            Origin::Stranger => CLOSING_OF_STRANGERS_MAX,
        };
        let all = self.waiting.values().map(Vec::len).sum::<usize>() + self.at_work.values().sum::<usize>();
        let of = self.of(origin);
        of <= most && (of == 0 || all <= CLOSING_MAX)
    }

    fn next(&mut self) -> Option<(Origin, Vec<OwnedFd>)> {
        let origin = self.waiting.keys().copied().find(|origin| !self.at_work.contains_key(origin))?;
        let descriptors = self.waiting.remove(&origin)?;
        self.at_work.insert(origin, descriptors.len());
        Some((origin, descriptors))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size, set_socket_send_buffer_size};
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

    use super::*;

    /// A socket that is in nobody's way, in whose queue is one that lingers: nothing that can be set on it makes its close
    /// shorter. And who does not read.
    fn stuck() -> (OwnedFd, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // Much more is sent than the other end ever takes: it is given no more memory later.
        set_socket_recv_buffer_size(&listener, 1 << 12).unwrap();
        let mut inner = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        set_socket_send_buffer_size(&inner, 1 << 18).unwrap();
        inner.set_nonblocking(true).unwrap();
        while inner.write(&[0; 1 << 16]).is_ok() {}
        set_socket_linger(&inner, Some(Duration::from_secs(600))).unwrap();
        let (outer, other) = UnixStream::pair().unwrap();
        let descriptors = [inner.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
        sendmsg(&other, &[io::IoSlice::new(b"x")], &mut control, SendFlags::empty()).unwrap();
        (outer.into(), listener)
    }

    #[test]
    fn twenty_users_whose_close_is_stuck_hold_up_nobody_else() {
        let uid = |uid| Uid::new(uid).unwrap();
        let unread: Vec<TcpListener> = (0..20)
            .map(|number| {
                let (descriptor, unread) = stuck();
                Received::from(uid(70_000 + number)).extend([descriptor]);
                unread
            })
            .collect();
        let (sent, mut other) = UnixStream::pair().unwrap();
        other.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Received::from(uid(80_000)).extend([sent.into()]);
        assert_eq!(other.read(&mut [0]).unwrap(), 0, "closed");
        drop(unread);
    }

    #[test]
    fn what_is_looked_at_before_it_is_read_stays_and_says_whether_descriptors_come_with_it() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut space = [0; 8];
        rustix::net::send(&theirs, b"ab", SendFlags::empty()).unwrap();
        assert_eq!(look_ahead(&ours, &mut space).unwrap(), (2, false));
        let (descriptor, other) = UnixStream::pair().unwrap();
        let descriptors = [descriptor.as_fd()];
        let mut control = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut control);
        assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
        sendmsg(&theirs, &[io::IoSlice::new(b"c")], &mut control, SendFlags::empty()).unwrap();
        drop(descriptor);
        assert!(look_ahead(&ours, &mut space).unwrap().1);
        let mut came = Received::from(Origin::Stranger);
        while came.is_empty() {
            assert!(receive(&ours, &mut space, &mut came).unwrap().bytes > 0);
        }
        assert_eq!(came.len(), 1);
        drop((came, other));
    }
}
