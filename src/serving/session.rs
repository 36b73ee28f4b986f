//! One connection: bytes in, frames, calls, answers out, and every deadline of the contract.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, error};

use super::account::{Connected, FRAME_SMALL_BYTES_MAX, LargeFrame, Start, User};
use super::closing::{self, Connection};
use super::incoming::{Incoming, Message, Read};
use super::peer::Peer;
use super::service::{Answered, Due, Service, Went};
use crate::wire::detail::{Detail, Versions};
use crate::wire::envelope::{Body, Calls as _, Request, Response, decode_request};
use crate::wire::error::{Code, WireError};
use crate::wire::frame::{FRAME_BYTES_MAX, FrameError, encode_frame};
use crate::wire::hello::{Authz, HelloAck, PROTOCOL_VERSION, PROTOCOL_VERSION_OLDEST, decode_hello};

/// From being accepted to the end of the hello.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(2);

/// From the first byte of a frame to its last.
pub const FRAME_TIMEOUT: Duration = Duration::from_secs(5);

/// With nothing said in either direction; also how long an answer waits for a client to read it.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// Requests of one connection that are accepted and whose answers are not written.
pub const REQUESTS_OUTSTANDING_MAX: usize = 16;

/// Answers are written out when they come to this many bytes, however few requests they answer.
const ANSWER_BYTES_HELD_MAX: usize = 64 << 10;

/// So much room for answers a connection keeps when they are written: what it takes while it has nothing to say.
const ANSWER_BYTES_KEPT_MAX: usize = 4 << 10;

/// The most descriptors that go with one answer.
pub const DESCRIPTORS_SENT_MAX: usize = 4;

/// This many violations ...
pub const VIOLATIONS_MAX: usize = 5;

/// ... in this time close the connection.
pub const VIOLATIONS_WINDOW: Duration = Duration::from_secs(10);

/// How long a client that violated the contract too often should wait.
pub const VIOLATIONS_RETRY_AFTER: Duration = VIOLATIONS_WINDOW;

/// How a connection ended.
#[derive(Debug)]
pub enum End {
    /// The client closed it, or the daemon stops.
    Closed,
    /// A deadline passed.
    TimedOut(&'static str),
    /// A frame length that no frame may have: `protocol_violation`.
    Frame(FrameError),
    /// The client did not begin with a hello, or none that can be answered.
    NoHello,
    /// Too many violations.
    RateLimited,
    /// No member, or none any more.
    Refused(WireError),
    /// More than events was wanted of a connection that follows events.
    SpokeWhileFollowing,
    /// The socket failed.
    Io(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// One connection and what is known of it.
pub struct Session<S: Service> {
    stream: Connection,
    peer: Arc<Peer>,
    user: Connected,
    service: S,
    /// Whether the daemon stops.
    stopping: watch::Receiver<bool>,
    /// None before the user database was asked.
    standing: Option<S::Standing>,
    input: Incoming,
    /// While a large frame is read and decoded.
    large_frame: Option<LargeFrame>,
    output: Vec<u8>,
    /// Requests whose answers are in `output`.
    unanswered: usize,
    /// Requests that have come in the same breath and are answered together.
    together: Together<S>,
    version: u64,
    violations: VecDeque<Instant>,
}

/// What is said of a call in the journal, from before it was judged.
struct Called {
    /// The client's number for it.
    request_id: u64,
    /// The endpoint's name.
    endpoint: &'static str,
    /// When the whole request was there.
    started: Instant,
    /// Whether it was judged to be a question.
    is_question: bool,
}

/// Calls that were judged and wait for those that came with them, in their order. There are never more than a connection can
/// have unanswered.
struct Together<S: Service> {
    called: Vec<Called>,
    asked: Vec<S::Asked>,
}

impl<S: Service> Default for Together<S> {
    fn default() -> Self {
        Self { called: Vec::new(), asked: Vec::new() }
    }
}

impl<S: Service> Session<S> {
    /// A session on a connection that was just accepted.
    pub fn new(
        stream: Connection,
        peer: Arc<Peer>,
        user: Connected,
        service: S,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let uid = peer.uid;
        Self {
            stream,
            peer,
            user,
            service,
            stopping,
            standing: None,
            input: Incoming::from(uid, S::DESCRIPTORS_MAX),
            large_frame: None,
            output: Vec::new(),
            unanswered: 0,
            together: Together::default(),
            version: PROTOCOL_VERSION,
            violations: VecDeque::new(),
        }
    }

    /// Serves the connection to its end.
    pub async fn serve(mut self) -> End {
        let served = async {
            self.admit().await?;
            self.hello().await?;
            loop {
                let Some(frame) = self.frame(IDLE_TIMEOUT).await? else {
                    return Ok(());
                };
                self.handle(frame).await?;
            }
        };
        let end: Result<(), End> = served.await;
        let end = end.err().unwrap_or(End::Closed);
        if let End::TimedOut(what) = end {
            self.push(0, Body::Err(WireError::new(Code::Timeout, what)));
        }
        // What can still be said is said, as far as the client's buffer takes it: nobody waits for it to read.
        let _ = self.stream.try_write(&self.output);
        end
    }

    async fn hello(&mut self) -> Result<(), End> {
        let frame = match timeout(HELLO_TIMEOUT, self.frame(HELLO_TIMEOUT)).await {
            Ok(frame) => frame?.ok_or(End::Closed)?,
            Err(_) => return Err(End::TimedOut("No hello in time")),
        };
        let hello = match decode_hello(&frame.payload) {
            Ok(hello) => hello,
            Err(error) => {
                let error = WireError::new(Code::BadRequest, "A hello comes first").detail(error.to_string());
                self.push(0, Body::Err(error));
                return Err(End::NoHello);
            }
        };
        if hello.protocol_version < PROTOCOL_VERSION_OLDEST {
            let message = format!("Protocol version {} is too old", hello.protocol_version);
            let versions = Versions { oldest: PROTOCOL_VERSION_OLDEST, newest: PROTOCOL_VERSION };
            let error = WireError::new(Code::IncompatibleProtocol, message)
                .detail(Detail { versions: Some(versions), ..Detail::default() });
            self.push(0, Body::Err(error));
            return Err(End::NoHello);
        }
        self.version = hello.protocol_version.min(PROTOCOL_VERSION);
        debug!(
            peer_uid = self.peer.uid.get(),
            peer_pid = self.peer.pid,
            client_name = ?hello.client_name,
            client_version = ?hello.client_version,
            "hello"
        );
        let ack = HelloAck {
            protocol_version: self.version,
            daemon_version: env!("CARGO_PKG_VERSION").to_owned(),
            features: Vec::new(),
            max_frame: FRAME_BYTES_MAX as u64,
            authz: Authz {
                uid: self.peer.uid.get().into(),
                gid: self.peer.gid.get().into(),
                role: self.service.role(&self.peer),
            },
        };
        // A hello-ack is a few hundred bytes: it always fits a frame. It is written before the daemon waits for the next
        // frame, or with the answer to it where that is here already.
        let _ = encode_frame(&ack, &mut self.output);
        Ok(())
    }

    /// The next frame; `None` when the client closed the connection between two, or the daemon stops.
    ///
    /// Answers are written out before it waits, which is so long at most where none began.
    async fn frame(&mut self, idle: Duration) -> Result<Option<Message>, End> {
        self.after_large_frame().await;
        if let Some(message) = self.input.at_hand() {
            return Ok(Some(message));
        }
        self.answer_together().await?;
        // The first bytes of a frame may have come with the end of the one before.
        let began = self.input.partial();
        let mut deadline = Instant::now() + if began { FRAME_TIMEOUT } else { idle };
        loop {
            let length = self.input.length().map_err(End::Frame)?;
            if self.large_frame.is_none() && length > Some(FRAME_SMALL_BYTES_MAX) {
                self.room(deadline).await?;
            }
            let began = self.input.partial();
            match self.input.read(&self.stream).map_err(End::Frame)? {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.flush().await?;
                    if !self.wait_readable(deadline).await? {
                        return Ok(None);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error.into()),
                Ok(Read::Closed) => return Ok(None),
                Ok(Read::Frame(message)) => {
                    if let Some(large) = &mut self.large_frame {
                        // Never closed: it would be an error of ours, and it costs others no more than time.
                        let _ = large.turn().await;
                    }
                    return Ok(Some(message));
                }
                Ok(Read::Untaken) => self.closed(deadline).await?,
                Ok(Read::Part) if !began => deadline = Instant::now() + FRAME_TIMEOUT,
                Ok(Read::Part) => {}
            }
        }
    }

    /// Waits until the frame that is being read may take memory.
    async fn room(&mut self, deadline: Instant) -> Result<(), End> {
        self.flush().await?;
        let room = timeout_at(deadline, self.user.large_frame()).await;
        // Never closed: it would be an error of ours, and no room is the safe side of it.
        let room = room.ok().and_then(Result::ok);
        self.large_frame =
            Some(room.ok_or(End::TimedOut("Other frames of this user were still on their way"))?);
        Ok(())
    }

    /// Ends the turn of a large frame, after everybody else has had theirs: what came meanwhile was read, and timers were seen.
    async fn after_large_frame(&mut self) {
        if let Some(large) = self.large_frame.take() {
            tokio::task::yield_now().await;
            drop(large);
        }
    }

    /// Waits until more descriptors of this user may be taken.
    async fn closed(&mut self, deadline: Instant) -> Result<(), End> {
        self.flush().await?;
        let room = timeout_at(deadline, closing::room(self.peer.uid)).await;
        room.map_err(|_| End::TimedOut("What this user sent could not be closed"))
    }

    /// Waits for bytes; `false` when the daemon stops before a frame began.
    async fn wait_readable(&mut self, deadline: Instant) -> Result<bool, End> {
        let partial = self.input.partial();
        let what = if partial {
            "The rest of a frame did not come in time"
        } else {
            "Nothing was asked for too long"
        };
        tokio::select! {
            biased;
            ready = timeout_at(deadline, self.stream.readable()) => match ready {
                Ok(ready) => { ready?; Ok(true) }
                Err(_) => Err(End::TimedOut(what)),
            },
            _ = self.stopping.changed(), if !partial => Ok(false),
        }
    }

    async fn handle(&mut self, frame: Message) -> Result<(), End> {
        let request = match decode_request::<S::Call>(&frame.payload) {
            Ok(request) if request.v == self.version => request,
            Ok(Request { v, request_id, .. }) => {
                self.answer_together().await?;
                let message = format!("v is {v}, and the connection speaks {}", self.version);
                return self.violation(request_id, WireError::new(Code::BadRequest, message)).await;
            }
            Err(bad) => {
                self.answer_together().await?;
                return self.violation(bad.request_id, bad.answer()).await;
            }
        };
        if let Err(refusal) = self.still_admitted() {
            self.answer_together().await?;
            return Err(self.refuse(request.request_id, refusal));
        }
        let descriptors = frame.descriptors;
        drop(frame.payload);
        let Request { request_id: id, call, .. } = request;
        let (endpoint, started) = (call.endpoint_name(), Instant::now());
        let asked = self.service.judge(&self.peer, call, descriptors, &self.user);
        let is_question = asked.as_ref().is_ok_and(S::is_question);
        let called = Called { request_id: id, endpoint, started, is_question };
        self.after_large_frame().await;
        let asked = match asked {
            Ok(asked) if S::due(&asked) == Due::InTheSameBreath => {
                return self.put_together(called, asked).await;
            }
            asked => asked,
        };
        self.answer_together().await?;
        match self.call(&called, asked).await? {
            Err(error) => self.push(id, Body::Err(error)),
            Ok(Answered::Plain(answer)) => self.push(id, Body::Ok(answer)),
            Ok(Answered::Followed(answer, stream)) => {
                self.push(id, Body::Ok(answer));
                return self.follow(id, stream).await;
            }
            Ok(Answered::Handed(answer, handed)) => return self.hand(id, answer, handed).await,
        }
        self.flush_full().await
    }

    /// Writes the answers where they are as many as can be.
    async fn flush_full(&mut self) -> Result<(), End> {
        if self.unanswered >= REQUESTS_OUTSTANDING_MAX || self.output.len() >= ANSWER_BYTES_HELD_MAX {
            self.flush().await?;
            // Whoever has sent the next requests already has had a turn: what was refused at once awaited nothing.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Has one call answered that was judged, and logs how it went. The outer error is that of the connection: then nobody is
    /// there to be answered.
    async fn call(
        &mut self,
        called: &Called,
        asked: Result<S::Asked, WireError>,
    ) -> Result<Result<Answered<S>, WireError>, End> {
        let result = match asked {
            Ok(asked) => self.answer(asked).await?,
            Err(error) => Err(error),
        };
        self.log(called, Instant::now(), result.as_ref().map(Answered::answer));
        Ok(result)
    }

    /// Tells the journal how a call went.
    fn log(&self, called: &Called, answered: Instant, result: Result<&S::Answer, &WireError>) {
        self.service.log(&Went {
            request_id: called.request_id,
            endpoint: called.endpoint,
            peer: &self.peer,
            took: answered.duration_since(called.started),
            is_question: called.is_question,
            result,
            user: &self.user,
        });
    }

    async fn answer(&mut self, asked: S::Asked) -> Result<Result<Answered<S>, WireError>, End> {
        // What takes longer than a turn of the loop must not hold up the answers before it. And a client that has not heard
        // the daemon's hello may know that nothing was changed for it. One that has gone is no reason not to do what it asked.
        if S::due(&asked) == Due::Later
            && let Err(end @ End::TimedOut(_)) = self.flush().await
        {
            return Err(end);
        }
        let start = if S::is_start(&asked) { start(&self.user, self.stopping.clone()).await } else { None };
        let Some(standing) = &self.standing else { return Err(End::NoHello) };
        let answered = self.service.answer(&self.peer, standing, asked).await;
        // A fault may come after PID 1 was asked, and what it started was told of then.
        if !answered.as_ref().is_err_and(starts_nothing)
            && let Some(start) = start
        {
            start.started();
        }
        Ok(answered)
    }

    async fn violation(&mut self, request_id: u64, error: WireError) -> Result<(), End> {
        self.push(request_id, Body::Err(error));
        let now = Instant::now();
        self.violations.retain(|at| now.duration_since(*at) < VIOLATIONS_WINDOW);
        self.violations.push_back(now);
        if self.violations.len() < VIOLATIONS_MAX {
            return Ok(());
        }
        let error = WireError::new(Code::RateLimited, "Too many requests that do not parse")
            .retry_after(VIOLATIONS_RETRY_AFTER);
        self.push(0, Body::Err(error));
        Err(End::RateLimited)
    }

    /// Appends a response to what is to be written.
    fn push(&mut self, request_id: u64, body: Body<S::Answer, S::Event>) {
        let response = Response { v: self.version, request_id, body };
        if let Err(error) = encode_frame(&response, &mut self.output) {
            let (peer_uid, peer_pid) = (self.peer.uid.get(), self.peer.pid);
            error!(request_id, peer_uid, peer_pid, "an answer cannot be sent: {error}");
            let error = internal(&error.to_string());
            let response = Response::<(), ()> { v: self.version, request_id, body: Body::Err(error) };
            let _ = encode_frame(&response, &mut self.output);
        }
        self.unanswered += 1;
    }

    async fn flush(&mut self) -> Result<(), End> {
        if self.output.is_empty() {
            return Ok(());
        }
        timeout(IDLE_TIMEOUT, self.stream.write_all(&self.output))
            .await
            .map_err(|_| End::TimedOut("Answers were not read in time"))??;
        self.unanswered = 0;
        self.output.clear();
        self.output.shrink_to(ANSWER_BYTES_KEPT_MAX);
        Ok(())
    }
}

/// Waits for the turn of one of a user's starts. A daemon that stops has nobody wait.
async fn start(user: &User, mut stopping: watch::Receiver<bool>) -> Option<Start<'_>> {
    tokio::select! {
        biased;
        start = user.start() => Some(start),
        _ = stopping.wait_for(|stops| *stops) => None,
    }
}

/// Whether a call that was refused so had nothing started: what refuses it is known before anybody is asked to.
fn starts_nothing(error: &WireError) -> bool {
    error.is_any(&[
        Code::BadRequest,
        Code::Forbidden,
        Code::OverLimit,
        Code::NoCapacity,
        Code::AlreadyAllocated,
        Code::RateLimited,
        Code::Draining,
        Code::Degraded,
    ])
}

fn internal(why: &str) -> WireError {
    WireError::new(Code::Internal, "This is a bug: the journal has it under this request id").detail(why)
}

mod admission;
mod follow;
pub mod hand;
mod together;
