//! Accepts connections, gives each a session, and keeps count by user so that no one takes another's place.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::set_socket_oobinline;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, info, warn};

use super::closing::{Connection, Origin};
use super::logging::in_full;
use super::peer;
use super::places::Places;
use super::quota::Quota;
use super::service::Service;
use super::session::{End, Session};
use crate::identity::Uid;
use crate::wire::envelope::{Body, Response};
use crate::wire::error::{Code, WireError};
use crate::wire::frame::encode_frame;
use crate::wire::hello::PROTOCOL_VERSION;

/// This many connections of one user closed for violations ...
pub const CLOSINGS_MAX: usize = 3;

/// ... in this time shut the user out ...
pub const CLOSINGS_WINDOW: Duration = Duration::from_secs(60);

/// ... for this time.
pub const SHUT_OUT: Duration = Duration::from_secs(60);

/// How long answers in flight have when the daemon stops.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Lines about one user's broken connections in each [`CLOSINGS_WINDOW`]: a member must not fill the journal.
const COMPLAINTS_MAX: u32 = 5;

/// How long nobody is accepted after accepting failed, as it does when descriptors run out.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// What is known of one user's connections.
#[derive(Debug, Default)]
struct User {
    open: usize,
    closings: VecDeque<Instant>,
    shut_out_until: Option<Instant>,
    complaints: u32,
    complaints_since: Option<Instant>,
    quota: Arc<Quota>,
}

impl User {
    fn of(uid: Uid) -> Self {
        Self { quota: Arc::new(Quota::of(uid)), ..Self::default() }
    }

    fn admit(&self, now: Instant) -> Result<(), WireError> {
        let left = self.shut_out_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        if !left.is_zero() {
            let left = left.max(Duration::from_millis(1));
            return Err(WireError::new(Code::RateLimited, "Too many broken connections").retry_after(left));
        }
        Ok(())
    }

    fn closed_for_violations(&mut self, now: Instant) {
        self.closings.retain(|at| now.duration_since(*at) < CLOSINGS_WINDOW);
        self.closings.push_back(now);
        if self.closings.len() >= CLOSINGS_MAX {
            self.closings.clear();
            self.shut_out_until = Some(now + SHUT_OUT);
        }
    }

    /// Whether one more line about this user may go to the journal.
    fn may_complain(&mut self, now: Instant) -> bool {
        if self.complaints_since.is_none_or(|since| now.duration_since(since) >= CLOSINGS_WINDOW) {
            (self.complaints, self.complaints_since) = (0, Some(now));
        }
        self.complaints = self.complaints.saturating_add(1);
        self.complaints <= COMPLAINTS_MAX
    }

    /// Whether nothing needs to be remembered.
    fn is_blank(&self, now: Instant) -> bool {
        let over = |at: Option<Instant>, window| at.is_none_or(|at| now.duration_since(at) >= window);
        self.open == 0
            && self.shut_out_until.is_none_or(|until| until <= now)
            && over(self.closings.back().copied(), CLOSINGS_WINDOW)
            && over(self.complaints_since, CLOSINGS_WINDOW)
            && self.quota.is_blank()
    }
}

/// The listening socket and the sessions that came from it.
pub struct Listener<S> {
    socket: UnixListener,
    service: S,
    /// Whether the daemon stops.
    stopping: watch::Receiver<bool>,
    places: Places,
    users: BTreeMap<Uid, User>,
    sessions: JoinSet<(Uid, i32, End)>,
}

impl<S: Service> Listener<S> {
    /// A listener that has accepted nobody yet.
    pub fn new(socket: UnixListener, service: S, stopping: watch::Receiver<bool>) -> Self {
        Self {
            socket,
            service,
            stopping,
            places: Places::default(),
            users: BTreeMap::new(),
            sessions: JoinSet::new(),
        }
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
                accepted = self.socket.accept(), if self.places.any() => match accepted {
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
        let peer = match peer::identify(&stream) {
            Ok(peer) => peer,
            Err(error) => {
                warn!(result_code = error.code, "a connection was closed: {}", in_full(&error));
                return refuse(&stream, error);
            }
        };
        let now = Instant::now();
        let user = self.users.entry(peer.uid).or_insert_with(|| User::of(peer.uid));
        if let Err(error) = user.admit(now).and_then(|()| self.places.take(peer.uid, user.open)) {
            if user.may_complain(now) {
                let peer_uid = peer.uid.get();
                info!(
                    peer_uid,
                    peer_pid = peer.pid,
                    result_code = error.code,
                    "refused uid {peer_uid}: {error}"
                );
            }
            refuse(&stream, error);
            return stream.is_of(peer.uid);
        }
        user.open += 1;
        let (uid, pid, quota) = (peer.uid, peer.pid, Arc::clone(&user.quota));
        stream.is_of(uid);
        let session =
            Session::new(stream, Arc::new(peer), quota, self.service.clone(), self.stopping.clone());
        self.sessions.spawn(async move { (uid, pid, session.serve().await) });
    }

    fn ended(&mut self, ended: Result<(Uid, i32, End), tokio::task::JoinError>) {
        let (uid, pid, end) = match ended {
            Ok(ended) => ended,
            // Sessions are never cancelled, and a panic ends the whole daemon.
            Err(error) => return warn!("a session ended without saying how, proceeding: {error}"),
        };
        let now = Instant::now();
        let user = self.users.entry(uid).or_insert_with(|| User::of(uid));
        user.open = user.open.saturating_sub(1);
        self.places.give_back(uid);
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
                user.closed_for_violations(now);
                Some("protocol_violation: too many requests that do not parse".to_owned())
            }
        };
        if let Some(complaint) = complaint.filter(|_| user.may_complain(now)) {
            let peer_uid = uid.get();
            info!(peer_uid, peer_pid = pid, "closed a connection of uid {peer_uid}: {complaint}");
        }
        self.users.retain(|_, user| !user.is_blank(now));
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
