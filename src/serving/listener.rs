//! Accepts connections, gives each a session, and keeps count by user so that no one takes another's place.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::{set_socket_oobinline, set_socket_send_buffer_size};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, info, warn};

use super::account::{Tell, Users};
use super::closing::{Connection, Origin};
use super::logging::in_full;
use super::peer;
use super::service::Service;
use super::session::{End, Session};
use crate::identity::Uid;
use crate::wire::envelope::{Body, Response};
use crate::wire::error::WireError;
use crate::wire::frame::encode_frame;
use crate::wire::hello::PROTOCOL_VERSION;

/// How long answers in flight have when the daemon stops.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long nobody is accepted after accepting failed, as it does when descriptors run out.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// What the kernel keeps for a client that does not read, in bytes of answers and of its own records of them: it is counted as
/// the daemon's memory (`memory.current`), on each of 64 connections of a user.
const UNREAD_BYTES_MAX: usize = 32 << 10;

/// The listening socket and the sessions that came from it.
pub struct Listener<S> {
    socket: UnixListener,
    service: S,
    /// Whether the daemon stops.
    stopping: watch::Receiver<bool>,
    users: Users,
    sessions: JoinSet<(Uid, i32, End)>,
}

/// Has the kernel keep no more than [`UNREAD_BYTES_MAX`] of answers for a client that does not read.
fn bound_answers(stream: &impl AsFd) -> io::Result<()> {
    // It keeps twice as much, for its records (socket(7), SO_SNDBUF).
    Ok(set_socket_send_buffer_size(stream, UNREAD_BYTES_MAX / 2)?)
}

impl<S: Service> Listener<S> {
    /// A listener that has accepted nobody yet.
    pub fn new(socket: UnixListener, service: S, stopping: watch::Receiver<bool>) -> Self {
        Self { socket, service, stopping, users: Users::default(), sessions: JoinSet::new() }
    }

    /// Accepts until the daemon stops, then waits for answers in flight.
    pub async fn serve(mut self) {
        let mut stopping = self.stopping.clone();
        let mut refresh = interval(S::REFRESH_PERIOD);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                // Changed at most once, and an error means that the loop is gone.
                _ = stopping.changed() => break,
                _ = refresh.tick(), if !self.sessions.is_empty() => self.service.refresh(),
                Some(ended) = self.sessions.join_next() => self.ended(ended),
                accepted = self.socket.accept(), if self.users.can_connect() => match accepted {
                    Ok((stream, _)) => self.accepted(stream),
                    Err(error) => {
                        warn!("a connection could not be accepted, proceeding: {error}");
                        sleep(ACCEPT_BACKOFF).await;
                    }
                },
            }
        }
        drop(self.socket);
        let drained = async { while self.sessions.join_next().await.is_some() {} };
        if timeout(DRAIN_TIMEOUT, drained).await.is_err() {
            warn!("some answers took longer than {DRAIN_TIMEOUT:?}, proceeding to stop without them");
        }
    }

    fn accepted(&mut self, stream: UnixStream) {
        let mut stream = Connection::new(stream, Origin::Stranger);
        // Before anything is read: a read without it throws an out-of-band byte away, and closes on this thread what
        // came with that.
        if let Err(error) = set_socket_oobinline(&stream, true) {
            return warn!("a connection was closed, its bytes cannot be had in line: {error}");
        }
        if let Err(error) = bound_answers(&stream) {
            return warn!("a connection was closed, what waits for its client cannot be bounded: {error}");
        }
        let peer = match peer::identify(&stream) {
            Ok(peer) => peer,
            Err(error) => {
                warn!(result_code = error.code, "a connection was closed: {}", in_full(&error));
                return refuse(&stream, error);
            }
        };
        let now = Instant::now();
        let (uid, pid) = (peer.uid, peer.pid);
        let connected = match self.users.connect(uid, now) {
            Ok(connected) => connected,
            Err(error) => {
                if self.may_complain(uid, now) {
                    let peer_uid = uid.get();
                    info!(
                        peer_uid,
                        peer_pid = pid,
                        result_code = error.code,
                        "refused uid {peer_uid}: {error}"
                    );
                }
                refuse(&stream, error);
                return stream.is_of(uid);
            }
        };
        stream.is_of(uid);
        let session =
            Session::new(stream, Arc::new(peer), connected, self.service.clone(), self.stopping.clone());
        self.sessions.spawn(async move { (uid, pid, session.serve().await) });
    }

    /// Whether one more line about this user's connections may go to the journal. Where there are too many of all users' that is
    /// said.
    fn may_complain(&mut self, uid: Uid, now: Instant) -> bool {
        let tell = self.users.may_complain(uid, now);
        if tell == Tell::NotFromHere {
            warn!("too many connections are refused or broken: ignoring the next of them in this journal");
        }
        tell == Tell::Yes
    }

    fn ended(&mut self, ended: Result<(Uid, i32, End), tokio::task::JoinError>) {
        let (uid, pid, end) = match ended {
            Ok(ended) => ended,
            // Sessions are never cancelled, and a panic ends the whole daemon.
            Err(error) => return warn!("a session ended without saying how, proceeding: {error}"),
        };
        let now = Instant::now();
        let complaint = match end {
            End::Closed => None,
            End::Io(error) => {
                debug!(peer_uid = uid.get(), peer_pid = pid, "a connection failed: {error}");
                None
            }
            End::Refused(error) => Some(format!("refused: {}", in_full(&error))),
            End::TimedOut(what) => Some(what.to_owned()),
            End::Frame(error) => Some(format!("protocol_violation: {error}")),
            End::NoHello => Some("protocol_violation: no hello that can be answered".to_owned()),
            End::SpokeWhileFollowing => {
                Some("protocol_violation: a request on a connection that follows events".to_owned())
            }
            End::RateLimited => {
                self.users.closed_for_violations(uid, now);
                Some("protocol_violation: too many requests that do not parse".to_owned())
            }
        };
        if let Some(complaint) = complaint.filter(|_| self.may_complain(uid, now)) {
            let peer_uid = uid.get();
            info!(peer_uid, peer_pid = pid, "closed a connection of uid {peer_uid}: {complaint}");
        }
        self.users.forget(now);
    }
}

/// Says why, as far as the client's buffer takes it.
fn refuse(stream: &UnixStream, error: WireError) {
    let mut frame = Vec::new();
    let response = Response::<(), ()> { v: PROTOCOL_VERSION, request_id: 0, body: Body::Err(error) };
    if encode_frame(&response, &mut frame).is_ok() {
        // The client may be gone already, and is nobody's concern any more.
        let _ = stream.try_write(&frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_who_does_not_read_little_is_kept() {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        bound_answers(&ours).unwrap();
        let kept = std::iter::from_fn(|| io::Write::write(&mut &ours, &[0; 1024]).ok()).sum::<usize>();
        assert!((1024..=UNREAD_BYTES_MAX).contains(&kept), "{kept}");
    }
}
