//! The bounds of one connection, in the contract's figures, under a clock that stands still until it is moved.

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream as Blocking;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use crate::contract::{
    Answer, Attach, Body, Call, InUnit, Ping, Pong, Request, Response, Subscribe, Subscribed, decode_response,
};
use crate::daemon::asking::accounts::Accounts;
use crate::daemon::asking::service::Fairshare;
use crate::daemon::asking::submission::Submission;
use crate::daemon::telling::feed::{Feed, Interest};
use crate::host::account::Directory;
use crate::identity::{Gid, Uid};
use crate::serving::account::{START_PERIOD, STARTS_MAX, Users};
use crate::serving::closing::Connection;
use crate::serving::peer::Peer;
use crate::serving::session::*;
use crate::wire::error::{Code, WireError};
use crate::wire::frame::{FrameBuffer, encode_frame};
use crate::wire::hello::{Hello, HelloReply, decode_hello_reply};

/// A session under way, and what is around it. The clock runs ahead whenever nothing else is to be done.
pub struct Served {
    pub session: tokio::task::JoinHandle<End>,
    pub client: UnixStream,
    pub calls: mpsc::Receiver<Submission>,
    pub stop: watch::Sender<bool>,
}

/// A session on one end of a connection, for a client at the other.
pub fn serve(ours: Blocking, theirs: Blocking) -> Served {
    let stream = |socket: Blocking| {
        socket.set_nonblocking(true).unwrap();
        UnixStream::from_std(socket).unwrap()
    };
    let peer = Peer { uid: Uid::ROOT, gid: Gid::ROOT, pid: 1, groups: vec![Gid::ROOT], connected_boot_ms: 0 };
    let (stop, stopping) = watch::channel(false);
    let (calls_sender, calls) = mpsc::channel(1);
    let ours = Connection::new(stream(ours), peer.uid);
    let (_, policy) = watch::channel(None);
    let service = Fairshare { calls: calls_sender, policy, accounts: Accounts::of(Directory::System) };
    // Root has no bound on what it starts.
    let user = Users::default().connect(Uid::new(1000).unwrap(), Instant::now()).unwrap();
    let session = Session::new(ours, Arc::new(peer), user, service, stopping);
    Served { session: tokio::spawn(session.serve()), client: stream(theirs), calls, stop }
}

/// The same, where nothing is asked of the event loop.
fn session() -> (tokio::task::JoinHandle<End>, UnixStream, watch::Sender<bool>) {
    let (ours, theirs) = Blocking::pair().unwrap();
    let Served { session, client, stop, .. } = serve(ours, theirs);
    (session, client, stop)
}

pub fn hello() -> Vec<u8> {
    let name = "test".to_owned();
    let (client_name, client_version) = (name.clone(), name);
    let hello = Hello { protocol_version: 2, client_name, client_version, supports: Vec::new() };
    let mut frame = Vec::new();
    encode_frame(&hello, &mut frame).unwrap();
    frame
}

/// A request as it is sent.
pub fn request(request_id: u64, call: Call) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_frame(&Request { v: 2, request_id, call }, &mut frame).unwrap();
    frame
}

/// A frame that does not parse.
pub const BROKEN: [u8; 5] = [0, 0, 0, 1, 0xff];

/// The next frames that are said to the client, so many, or all until the end.
pub async fn heard(stream: &UnixStream, count: usize) -> Vec<Vec<u8>> {
    let (mut buffer, mut frames) = (FrameBuffer::new(), Vec::new());
    while frames.len() < count {
        stream.readable().await.unwrap();
        match stream.try_read(buffer.space().unwrap()) {
            Ok(0) => break,
            Ok(count) => frames.extend(buffer.filled(count)),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
    frames
}

/// All that was said to the client.
pub async fn said(stream: &UnixStream) -> Vec<Vec<u8>> {
    heard(stream, usize::MAX).await
}

/// The error in a frame, and the request that it answers.
pub fn error_in(frame: &[u8]) -> (u64, WireError) {
    match decode_response(frame).unwrap() {
        Response { request_id, body: Body::Err(error), .. } => (request_id, error),
        other => panic!("no error: {other:?}"),
    }
}

fn timed_out(frame: &[u8]) {
    let (request_id, error) = error_in(frame);
    assert!(request_id == 0 && error.is(Code::Timeout), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_on_which_nothing_is_said_is_closed_after_the_idle_time() {
    let (session, mut client, _stop) = session();
    let began = Instant::now();
    client.write_all(&hello()).await.unwrap();
    assert!(matches!(session.await.unwrap(), End::TimedOut("Nothing was asked for too long")));
    assert_eq!(began.elapsed().as_secs(), 300);
    let frames = said(&client).await;
    assert!(matches!(decode_hello_reply(&frames[0]), Ok(HelloReply::Ack(_))));
    timed_out(&frames[1]);
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_began_has_its_own_deadline() {
    let (session, mut client, _stop) = session();
    let began = Instant::now();
    client.write_all(&hello()).await.unwrap();
    client.write_all(&[0, 0]).await.unwrap();
    assert!(matches!(session.await.unwrap(), End::TimedOut(_)));
    assert_eq!(began.elapsed().as_secs(), 5);
    timed_out(&said(&client).await[1]);
}

#[tokio::test(start_paused = true)]
async fn a_hello_that_drips_is_late_all_the_same() {
    let (session, mut client, _stop) = session();
    let began = Instant::now();
    for byte in hello().into_iter().take(4) {
        client.write_all(&[byte]).await.unwrap();
        tokio::time::advance(Duration::from_millis(400)).await;
    }
    assert!(matches!(session.await.unwrap(), End::TimedOut("No hello in time")));
    assert_eq!(began.elapsed().as_secs(), 2);
    timed_out(&said(&client).await[0]);
}

/// Its time begins with its first byte, and not anew with each.
#[tokio::test(start_paused = true)]
async fn a_frame_that_drips_is_late_all_the_same() {
    let (ours, theirs) = Blocking::pair().unwrap();
    let other_end = ours.try_clone().unwrap();
    let Served { session, mut client, stop: _stop, .. } = serve(ours, theirs);
    client.write_all(&hello()).await.unwrap();
    heard(&client, 1).await;
    let began = Instant::now();
    for byte in request(1, Call::Ping(Ping {})).into_iter().take(4) {
        client.write_all(&[byte]).await.unwrap();
        // Read before the clock moves.
        while rustix::io::ioctl_fionread(&other_end).unwrap() > 0 {
            tokio::task::yield_now().await;
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert!(matches!(session.await.unwrap(), End::TimedOut("The rest of a frame did not come in time")));
    assert_eq!(began.elapsed().as_secs(), 5);
    drop(other_end);
    timed_out(&said(&client).await[0]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_when_the_daemon_stops() {
    let (session, mut client, stop) = session();
    client.write_all(&hello()).await.unwrap();
    client.readable().await.unwrap();
    stop.send_replace(true);
    assert!(matches!(session.await.unwrap(), End::Closed));
    assert_eq!(said(&client).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_follows_events_is_not_closed_for_saying_nothing() {
    let (ours, theirs) = Blocking::pair().unwrap();
    let Served { session, mut client, mut calls, stop } = serve(ours, theirs);
    client.write_all(&hello()).await.unwrap();
    client.write_all(&request(7, Call::Subscribe(Subscribe { all: None, job_id: None }))).await.unwrap();
    let Some(submission) = calls.recv().await else { panic!("nothing was asked") };
    let mut feed = Feed::default();
    let all = Interest { uid: Uid::ROOT, all: true, job: None };
    feed.add(
        all,
        Arc::clone(submission.authorised.peer()),
        submission.outlet.expect("somewhere for events to go"),
    );
    submission.reply.send(Ok(Answer::Subscribed(Subscribed { subscribed: true })));
    assert_eq!(heard(&client, 2).await.len(), 2);
    tokio::time::advance(Duration::from_secs(7 * 86_400)).await;
    feed.everybody("drained", None);
    let event = decode_response(&heard(&client, 1).await[0]).unwrap();
    assert!(
        matches!(event, Response { request_id: 7, body: Body::Event(event), .. } if event.kind == "drained")
    );
    stop.send_replace(true);
    assert!(matches!(session.await.unwrap(), End::Closed));
}

#[tokio::test(start_paused = true)]
async fn sixteen_requests_can_be_unanswered_and_the_next_is_read_when_one_was_answered() {
    let (mut ours, mut theirs) = Blocking::pair().unwrap();
    // Nothing that is answered finds room.
    ours.set_nonblocking(true).unwrap();
    let mut in_the_way = 0;
    for size in [4096, 1] {
        while let Ok(count) = ours.write(&vec![0; size]) {
            in_the_way += count;
        }
    }
    theirs.write_all(&hello()).unwrap();
    for id in 0..40 {
        theirs.write_all(&request(id, Call::Ping(Ping {}))).unwrap();
    }
    let Served { session, mut client, mut calls, stop: _stop, .. } = serve(ours, theirs);
    let mut accepted = 0;
    // Answers wait for 300 s to be read.
    while let Ok(Some(submission)) = timeout(Duration::from_secs(100), calls.recv()).await {
        submission.reply.send(Ok(Answer::Pong(Pong { at_ms: 0 })));
        accepted += 1;
    }
    assert_eq!(accepted, 16);
    client.read_exact(&mut vec![0; in_the_way]).await.unwrap();
    assert!(calls.recv().await.is_some(), "the 17th was not read");
    assert_eq!(heard(&client, 17).await.len(), 17, "the hello and 16 answers");
    assert!(!session.is_finished());
}

#[tokio::test(start_paused = true)]
async fn five_violations_within_ten_seconds_close_the_connection() {
    let (session, mut client, _stop) = session();
    let began = Instant::now();
    client.write_all(&hello()).await.unwrap();
    client.write_all(&BROKEN.repeat(4)).await.unwrap();
    assert_eq!(heard(&client, 5).await.len(), 5);
    assert_eq!(began.elapsed(), Duration::ZERO, "a clock that was not moved");
    tokio::time::advance(Duration::from_secs(10)).await;
    client.write_all(&BROKEN.repeat(4)).await.unwrap();
    // The first four are forgotten, the others a moment before they would be are not.
    assert_eq!(heard(&client, 4).await.len(), 4);
    tokio::time::advance(Duration::from_millis(9_999)).await;
    client.write_all(&BROKEN).await.unwrap();
    let last = said(&client).await;
    let [bad, closing] = &last[..] else { panic!("{} frames", last.len()) };
    assert!(error_in(bad).1.is(Code::BadRequest));
    let (request_id, error) = error_in(closing);
    assert!(request_id == 0 && error.is(Code::RateLimited), "{error:?}");
    assert_eq!(error.retry_after_ms, Some(10_000));
    assert!(matches!(session.await.unwrap(), End::RateLimited));
}

/// What PID 1 starts it tells the journal, which drops what is too much of that, whomever it is about.
#[tokio::test(start_paused = true)]
async fn who_has_many_units_started_waits_for_the_next() {
    let (ours, theirs) = Blocking::pair().unwrap();
    let Served { session, mut client, mut calls, stop } = serve(ours, theirs);
    client.write_all(&hello()).await.unwrap();
    assert_eq!(heard(&client, 1).await.len(), 1);
    let began = Instant::now();
    for request_id in 0..u64::from(STARTS_MAX) + 20 {
        client.write_all(&request(request_id, Call::Attach(Attach { pids: vec![2] }))).await.unwrap();
        let Some(submission) = calls.recv().await else { panic!("nothing was asked") };
        // A refusal starts nothing, and counts for nothing.
        let refused = Err(WireError::new(Code::Forbidden, "This process is in a sandbox"));
        let started =
            Ok(Answer::Unit(InUnit { unit: String::new(), cpu_milli: 1, mem_bytes: 1, job_id: None }));
        // Whoever has gone when PID 1 had started the unit had it started all the same.
        let gone = Err(WireError::new(Code::NotFound, "There is no such process"));
        submission.reply.send(match request_id {
            0..10 => refused,
            10..20 => gone,
            _ => started,
        });
        assert_eq!(heard(&client, 1).await.len(), 1);
    }
    assert_eq!(began.elapsed().as_millis() / START_PERIOD.as_millis(), 10);
    // What starts nothing waits for nothing, and when the daemon stops nobody does.
    let began = Instant::now();
    let both = [request(1, Call::Ping(Ping {})), request(2, Call::Attach(Attach { pids: vec![2] }))].concat();
    client.write_all(&both).await.unwrap();
    let Some(submission) = calls.recv().await else { panic!("nothing was asked") };
    submission.reply.send(Ok(Answer::Pong(Pong { at_ms: 0 })));
    assert_eq!(heard(&client, 1).await.len(), 1);
    assert!(calls.try_recv().is_err());
    stop.send_replace(true);
    assert!(calls.recv().await.is_some());
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(matches!(session.await.unwrap(), End::Closed));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_fits_no_frame_is_an_internal_error_of_its_request() {
    let (ours, theirs) = Blocking::pair().unwrap();
    let Served { mut client, mut calls, stop: _stop, .. } = serve(ours, theirs);
    client.write_all(&hello()).await.unwrap();
    for request_id in [1, 2] {
        client.write_all(&request(request_id, Call::Ping(Ping {}))).await.unwrap();
    }
    for unit in ["x".repeat(1 << 20), "small".to_owned()] {
        let Some(submission) = calls.recv().await else { panic!("nothing was asked") };
        submission.reply.send(Ok(Answer::Unit(InUnit { unit, cpu_milli: 1, mem_bytes: 1, job_id: None })));
    }
    let frames = heard(&client, 3).await;
    let (request_id, error) = error_in(&frames[1]);
    assert!(request_id == 1 && error.is(Code::Internal), "{error:?}");
    assert!(matches!(
        decode_response(&frames[2]).unwrap(),
        Response { request_id: 2, body: Body::Ok(_), .. }
    ));
}
