//! Requests that come in the same breath: those whose answers are short and at hand are with the owner together.

use std::os::unix::net::UnixStream as Blocking;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::session::{BROKEN, Served, error_in, heard, hello, request, said, serve};
use crate::contract::{
    Answer, Attach, Body, Call, Drain, JobList, Ping, Policy, Pong, Response, Status, Subscribe, Subscribed,
    decode_response,
};
use crate::daemon::asking::submission::Submission;
use crate::serving::session::{End, REQUESTS_OUTSTANDING_MAX};
use crate::wire::error::{Code, WireError};

const PING: Call = Call::Ping(Ping {});

/// As many as can be unanswered.
const ALL: u64 = REQUESTS_OUTSTANDING_MAX as u64;

/// A session whose client has been greeted, and has then sent these calls in one message, numbered from one.
async fn asked(calls: impl IntoIterator<Item = Call>) -> Served {
    sent((1..).zip(calls).flat_map(|(id, call)| request(id, call)).collect()).await
}

/// A session whose client has been greeted, and has then sent these bytes.
async fn sent(bytes: Vec<u8>) -> Served {
    let (ours, theirs) = Blocking::pair().unwrap();
    let mut served = serve(ours, theirs);
    served.client.write_all(&hello()).await.unwrap();
    assert_eq!(heard(&served.client, 1).await.len(), 1);
    served.client.write_all(&bytes).await.unwrap();
    served
}

impl Served {
    /// So many calls, none of which is answered.
    async fn calls(&mut self, count: usize) -> Vec<Submission> {
        let mut calls = Vec::new();
        while calls.len() < count {
            let call = timeout(Duration::from_secs(1), self.calls.recv()).await;
            calls.push(call.expect("nothing more is asked").expect("a call"));
        }
        calls
    }

    /// Whether no call comes until something else happens.
    async fn asks_nothing(&mut self) -> bool {
        timeout(Duration::from_secs(1), self.calls.recv()).await.is_err()
    }
}

/// Answers a call with a number by which it is known.
fn answer(call: Submission, at_ms: u64) {
    call.reply.send(Ok(Answer::Pong(Pong { at_ms })));
}

/// The number of a request and the one by which its answer is known.
fn answered(frame: &[u8]) -> (u64, u64) {
    match decode_response(frame).unwrap() {
        Response { request_id, body: Body::Ok(Answer::Pong(Pong { at_ms })), .. } => (request_id, at_ms),
        other => panic!("not answered: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_in_the_same_breath_is_asked_before_the_first_is_answered() {
    let mut served = asked(std::iter::repeat_n(PING, 40)).await;
    for first in [0, ALL] {
        let calls = served.calls(REQUESTS_OUTSTANDING_MAX).await;
        assert!(served.asks_nothing().await, "more than can be unanswered");
        // In whatever order they are answered, the client hears the answers in that of its requests.
        for (at, call) in calls.into_iter().enumerate().rev() {
            answer(call, first + at as u64);
        }
        let frames = heard(&served.client, REQUESTS_OUTSTANDING_MAX).await;
        let answers: Vec<_> = frames.iter().map(|frame| answered(frame)).collect();
        assert_eq!(answers, (first..first + ALL).map(|at| (at + 1, at)).collect::<Vec<_>>());
    }
    assert_eq!(served.calls(8).await.len(), 8);
}

#[tokio::test(start_paused = true)]
async fn what_takes_its_time_or_is_long_is_asked_alone() {
    let (drain, list) = (Call::Drain(Drain {}), Call::JobList(JobList { all: None }));
    let status = Call::Status(Status { for_uid: None });
    for other in [Call::Attach(Attach { pids: vec![2] }), drain, list, status] {
        let mut served = asked([PING, PING, other, PING, PING]).await;
        for (first, count) in [(1, 2), (3, 1), (4, 2)] {
            let calls = served.calls(count).await;
            assert!(served.asks_nothing().await, "what came after it is asked too");
            (first..).zip(calls).for_each(|(id, call)| answer(call, id));
        }
        let frames = heard(&served.client, 5).await;
        let answers: Vec<_> = frames.iter().map(|frame| answered(frame)).collect();
        assert_eq!(answers, [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_request_is_told_in_its_place() {
    let middle = [request(1, PING), request(2, PING), BROKEN.to_vec(), request(3, PING)].concat();
    let mut served = sent(middle).await;
    let calls = served.calls(2).await;
    assert!(served.asks_nothing().await);
    (1..).zip(calls).for_each(|(id, call)| answer(call, id));
    let third = served.calls(1).await;
    third.into_iter().for_each(|call| answer(call, 3));
    let frames = heard(&served.client, 4).await;
    assert_eq!((answered(&frames[0]), answered(&frames[1]), answered(&frames[3])), ((1, 1), (2, 2), (3, 3)));
    assert!(error_in(&frames[2]).1.is(Code::BadRequest));
}

/// What cannot be a length ends the connection, and not before what was asked is answered.
#[tokio::test(start_paused = true)]
async fn what_was_asked_before_a_length_that_no_frame_has_is_answered() {
    let mut served = sent([request(1, PING), request(2, PING), vec![0; 4], request(3, PING)].concat()).await;
    (1..).zip(served.calls(2).await).for_each(|(id, call)| answer(call, id));
    let frames = said(&served.client).await;
    assert_eq!(frames.iter().map(|frame| answered(frame)).collect::<Vec<_>>(), [(1, 1), (2, 2)]);
    assert!(matches!(served.session.await.unwrap(), End::Frame(_)));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_refused_is_refused_for_itself() {
    let mut served = asked([PING, Call::Policy(Policy { for_uid: None }), PING]).await;
    for (id, call) in (1..).zip(served.calls(3).await) {
        match id {
            2 => call.reply.send(Err(WireError::new(Code::Forbidden, "Not this one"))),
            _ => answer(call, id),
        }
    }
    let frames = heard(&served.client, 3).await;
    assert_eq!((answered(&frames[0]), answered(&frames[2])), ((1, 1), (3, 3)));
    let (request_id, refusal) = error_in(&frames[1]);
    assert!(request_id == 2 && refusal.is(Code::Forbidden), "{refusal:?}");
}

/// What a client that has gone has asked for is done all the same, and its session ends.
#[tokio::test(start_paused = true)]
async fn a_client_that_goes_in_the_middle_ends_its_session() {
    let mut served = asked(std::iter::repeat_n(PING, 10)).await;
    let calls = served.calls(10).await;
    let Served { session, client, .. } = served;
    drop(client);
    calls.into_iter().for_each(|call| answer(call, 0));
    assert!(matches!(session.await.unwrap(), End::Closed | End::Io(_)));
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_stops_in_the_middle_answers_what_it_has_taken() {
    let mut served = asked(std::iter::repeat_n(PING, 10)).await;
    let calls = served.calls(10).await;
    served.stop.send_replace(true);
    calls.into_iter().for_each(|call| answer(call, 0));
    assert_eq!(said(&served.client).await.len(), 10);
    assert!(matches!(served.session.await.unwrap(), End::Closed));
}

/// The owner has gone, as it has when the daemon ends: each is told so, and nobody waits.
#[tokio::test(start_paused = true)]
async fn without_an_owner_each_is_told_that_the_daemon_stops() {
    let mut served = asked(std::iter::repeat_n(PING, 3)).await;
    served.calls(1).await.into_iter().for_each(|call| answer(call, 1));
    served.calls.close();
    drop(served.calls);
    let frames = heard(&served.client, 3).await;
    assert_eq!(answered(&frames[0]), (1, 1));
    for (frame, id) in frames[1..].iter().zip([2, 3]) {
        let (request_id, error) = error_in(frame);
        assert!(request_id == id && error.is(Code::Draining), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_follows_after_other_requests_is_answered_and_hears_events() {
    let follow = Call::Subscribe(Subscribe { all: None, job_id: None });
    let mut served = asked([PING, PING, follow]).await;
    let calls = served.calls(2).await;
    assert!(served.asks_nothing().await, "it follows before it is answered");
    (1..).zip(calls).for_each(|(id, call)| answer(call, id));
    for call in served.calls(1).await {
        assert!(call.outlet.is_some());
        call.reply.send(Ok(Answer::Subscribed(Subscribed { subscribed: true })));
    }
    let frames = heard(&served.client, 3).await;
    assert!(matches!(
        decode_response(&frames[2]).unwrap(),
        Response { request_id: 3, body: Body::Ok(Answer::Subscribed(_)), .. }
    ));
}
