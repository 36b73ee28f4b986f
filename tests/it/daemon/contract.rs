//! The bounds of the contract, against the real daemon. The figures are the contract's, written down once more here.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use ciborium::cbor;
use fairshare::contract::{Answer, Body, Call, Health, HeldShare, List, Ping, Pong, Response};
use fairshare::wire::error::{Code, WireError};
use fairshare::wire::hello::{HelloReply, decode_hello_reply};
use rustix::io::ioctl_fionread;

use super::harness::{Daemon, Home, PATIENCE};
use super::raw::{Raw, frame, hello_frame, request, request_frame, resize_mem};
use super::strace::Tracer;
use crate::poll::until;
use crate::stand_in::World;

const HELLO_TIMEOUT: Duration = Duration::from_secs(2);
const FRAME_TIMEOUT: Duration = Duration::from_secs(5);
const FRAME_BYTES_MAX: u32 = 1_048_576;
const CONNECTIONS_PER_UID: usize = 64;
const VIOLATIONS: usize = 5;
const CLOSINGS: usize = 3;

/// The world first: it ends last.
fn daemon() -> (World, Home, Daemon) {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    (world, home, daemon)
}

fn cbor(value: &ciborium::Value) -> Vec<u8> {
    let mut payload = Vec::new();
    ciborium::into_writer(value, &mut payload).unwrap();
    frame(&payload)
}

/// The error of a response, and the number of the request that it answers.
fn error(response: Option<Response>) -> (u64, WireError) {
    match response.expect("the connection was closed without a word") {
        Response { request_id, body: Body::Err(error), .. } => (request_id, error),
        other => panic!("no error: {other:?}"),
    }
}

/// The daemon says this of the connection, and closes it.
fn closes_with(raw: &mut Raw, code: Code) -> WireError {
    let (request_id, error) = error(raw.response());
    assert_eq!(request_id, 0);
    assert!(error.is(code), "{error:?}");
    assert!(raw.response().is_none(), "not closed");
    error
}

fn between(time: Duration, least: Duration) {
    // How much later a busy machine may be.
    assert!(time >= least && time < least + Duration::from_secs(8), "{time:?} instead of {least:?}");
}

#[test]
fn no_hello_in_time_is_a_timeout() {
    let (_world, _home, daemon) = daemon();
    let began = Instant::now();
    let mut silent = Raw::connect(daemon.socket());
    let mut slow = Raw::connect(daemon.socket());
    let hello = hello_frame();
    slow.send(&hello[..hello.len() - 1]);
    closes_with(&mut silent, Code::Timeout);
    between(began.elapsed(), HELLO_TIMEOUT);
    closes_with(&mut slow, Code::Timeout);
    between(began.elapsed(), HELLO_TIMEOUT);
    assert!(daemon.client().healthy());
}

#[test]
fn a_frame_that_does_not_end_is_a_timeout() {
    let (_world, _home, daemon) = daemon();
    let frame = request_frame(1, &Call::Ping(Ping {}));
    for part in [1, 4, frame.len() - 1] {
        let mut raw = daemon.client();
        let began = Instant::now();
        raw.send(&frame[..part]);
        closes_with(&mut raw, Code::Timeout);
        between(began.elapsed(), FRAME_TIMEOUT);
    }
}

#[test]
fn a_length_that_no_frame_has_closes_before_any_payload() {
    let (_world, _home, daemon) = daemon();
    for length in [0, FRAME_BYTES_MAX + 1, 1 << 31, u32::MAX] {
        for greeted in [false, true] {
            let mut raw = Raw::connect(daemon.socket());
            if greeted {
                raw.greet().unwrap();
            }
            raw.send(&length.to_be_bytes());
            assert!(raw.response().is_none(), "{length}");
        }
    }
    daemon.wait_logged("protocol_violation: a frame of no bytes");
    daemon.wait_logged("protocol_violation: a frame of 1048577 bytes");
    assert!(daemon.client().healthy());
}

#[test]
fn the_largest_frame_is_read() {
    let (_world, _home, daemon) = daemon();
    let mut raw = daemon.client();
    raw.send(&frame(&vec![0xff; FRAME_BYTES_MAX as usize]));
    assert!(error(raw.response()).1.is(Code::BadRequest));
    assert!(raw.healthy());
}

#[test]
fn a_hello_comes_first() {
    let (_world, _home, daemon) = daemon();
    let ping = request_frame(1, &Call::Ping(Ping {}));
    for first in [ping, frame(b"GET / HTTP/1.1\r\n\r\n"), cbor(&cbor!({}).unwrap())] {
        let mut raw = Raw::connect(daemon.socket());
        raw.send(&first);
        let error = closes_with(&mut raw, Code::BadRequest);
        assert_eq!(error.message, "A hello comes first");
    }
}

#[test]
fn who_the_kernel_does_not_name_is_unauthorized() {
    let (_world, home, daemon) = daemon();
    // The first and the second question about who has connected.
    for (nth, asked) in [(1, "SO_PEERCRED"), (2, "SO_PEERGROUPS")] {
        let inject = format!("getsockopt:error=EACCES:when={nth}");
        let tracer = Tracer::attach(&daemon, &home, "getsockopt", Some(&inject), &[]);
        let mut raw = Raw::connect(daemon.socket());
        let error = raw.greet().expect_err("nobody was greeted");
        assert!(error.is(Code::Unauthorized) && !error.retryable, "{error:?}");
        assert!(error.more().unwrap().starts_with(asked), "{asked}");
        assert!(raw.response().is_none(), "not closed");
        tracer.detach();
        assert!(daemon.client().healthy());
    }
    daemon.wait_logged("result_code=3");
}

#[test]
fn versions_are_negotiated() {
    let (_world, _home, daemon) = daemon();
    let hello = |version: u64| {
        let name = "test";
        cbor!({
            "protocol_version" => version, "client_name" => name, "client_version" => "0", "supports" => ["what-is-this"],
        })
    };
    let mut old = Raw::connect(daemon.socket());
    // Version 1 was never released.
    old.send(&cbor(&hello(1).unwrap()));
    let error = closes_with(&mut old, Code::IncompatibleProtocol);
    let versions = error.detail.and_then(|detail| detail.versions).map(|both| (both.oldest, both.newest));
    assert_eq!(versions, Some((2, 2)));
    let mut new = Raw::connect(daemon.socket());
    new.send(&cbor(&hello(99).unwrap()));
    let ack: ciborium::Value = ciborium::from_reader(new.payload().unwrap().as_slice()).unwrap();
    let version = ack.as_map().unwrap().iter().find(|(key, _)| key.as_text() == Some("protocol_version"));
    assert_eq!(version.unwrap().1, 2.into());
    assert!(new.healthy());
}

#[test]
fn what_does_not_parse_is_a_bad_request_and_the_connection_stays() {
    let (_world, _home, daemon) = daemon();
    let mut raw = daemon.client();
    let wrong = [
        cbor!({"v" => 1, "request_id" => 41, "endpoint" => "ping", "body" => {}}),
        cbor!({"v" => 2, "request_id" => 41, "endpoint" => "explode", "body" => {}}),
        cbor!({"v" => 2, "request_id" => 41, "endpoint" => "ping", "body" => {"surprise" => 1}}),
        cbor!({"v" => 2, "request_id" => 41, "endpoint" => "resize", "body" => {"cpu_milli" => -1}}),
    ];
    for wrong in wrong {
        raw.send(&cbor(&wrong.unwrap()));
        let (request_id, error) = error(raw.response());
        assert_eq!(request_id, 41);
        assert!(error.is(Code::BadRequest), "{error:?}");
    }
    assert!(raw.healthy());
}

/// Sends what does not parse until the connection is closed for it.
fn violate(daemon: &Daemon) {
    let mut raw = daemon.client();
    for _ in 0..VIOLATIONS {
        raw.send(&frame(b"\xff"));
        assert!(error(raw.response()).1.is(Code::BadRequest));
    }
    let error = closes_with(&mut raw, Code::RateLimited);
    assert_eq!(error.retry_after_ms, Some(10_000));
}

#[test]
fn too_many_violations_close_and_too_many_closings_shut_out() {
    let (_world, _home, daemon) = daemon();
    let mut open = daemon.client();
    for _ in 0..CLOSINGS {
        violate(&daemon);
    }
    let refused = until("to be shut out", PATIENCE, || Raw::connect(daemon.socket()).greet().err());
    assert!(refused.is(Code::RateLimited), "{refused:?}");
    let retry = refused.retry_after_ms.unwrap();
    assert!(retry > 50_000 && retry <= 60_000, "{retry}");
    // What is open stays.
    assert!(open.healthy());
}

#[test]
fn one_user_has_64_connections() {
    let (_world, _home, daemon) = daemon();
    let mut open: Vec<Raw> = (0..CONNECTIONS_PER_UID).map(|_| daemon.client()).collect();
    let mut one_more = Raw::connect(daemon.socket());
    let error = one_more.greet().unwrap_err();
    assert!(error.is(Code::Busy) && error.retryable, "{error:?}");
    assert_eq!(error.retry_after_ms, Some(1000));
    assert!(one_more.response().is_none());
    assert!(open.iter_mut().all(Raw::healthy));
    drop(open.pop());
    until("room", PATIENCE, || Raw::connect(daemon.socket()).greet().ok());
}

/// Who ends badly gives the place back all the same.
#[test]
fn a_connection_that_broke_the_contract_leaves_its_place() {
    let (_world, _home, daemon) = daemon();
    for _ in 0..CONNECTIONS_PER_UID + 4 {
        let mut raw = Raw::connect(daemon.socket());
        raw.send(&0u32.to_be_bytes());
        assert!(raw.response().is_none());
    }
    assert!(daemon.client().healthy());
}

#[test]
fn answers_come_in_the_order_of_their_requests() {
    let (_world, _home, daemon) = daemon();
    let mut raw = daemon.client();
    let mut bytes = Vec::new();
    let calls =
        [request(), Call::Ping(Ping {}), super::raw::release(), Call::Health(Health {}), Call::List(List {})];
    for id in 0..100 {
        bytes.extend(request_frame(id, &calls[id as usize % calls.len()]));
    }
    raw.send(&bytes);
    for id in 0..100 {
        let response = raw.response().unwrap();
        assert_eq!(response.request_id, id);
        assert!(matches!(response.body, Body::Ok(_)), "{response:?}");
    }
}

/// A client that does not read is not read from either, and loses nothing.
#[test]
fn requests_without_reading_are_held_back() {
    let (_world, _home, daemon) = daemon();
    let mut raw = daemon.client();
    raw.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut sent = 0u64;
    let mut rest = Vec::new();
    // Far more than any buffer between the two takes.
    while sent < 200_000 {
        let frame = request_frame(sent, &Call::Ping(Ping {}));
        match raw.stream.write(&frame) {
            Ok(count) if count == frame.len() => sent += 1,
            Ok(count) => {
                rest = frame[count..].to_vec();
                break;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                break;
            }
        }
    }
    assert!(sent < 200_000, "everything was read without an answer being taken");
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let rss = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let rss: u64 = rss.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(rss < 64 << 10, "{rss} kB");
    // Others are served all the while.
    assert!(daemon.client().healthy());
    let whole = sent + u64::from(!rest.is_empty());
    let mut writer = raw.stream.try_clone().unwrap();
    writer.set_write_timeout(Some(PATIENCE)).unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&rest).unwrap());
    for id in 0..whole {
        let response = raw.response().unwrap();
        assert_eq!(response.request_id, id);
        assert!(matches!(response.body, Body::Ok(Answer::Pong(Pong { .. }))));
    }
    writing.join().unwrap();
}

fn descriptors(daemon: &Daemon) -> usize {
    fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count()
}

#[test]
fn a_client_that_goes_at_any_step_costs_nothing() {
    let (world, home, daemon) = daemon();
    daemon.client().healthy();
    let before = until("the sessions to end", PATIENCE, || {
        let count = descriptors(&daemon);
        (count <= 32).then_some(count)
    });
    let (hello, ask) = (hello_frame(), request_frame(1, &request()));
    let whole: Vec<u8> = hello.iter().chain(&ask).copied().collect();
    for length in 0..whole.len() {
        let mut raw = Raw::connect(daemon.socket());
        // A violation or two is logged; to be shut out takes five on one connection.
        raw.send(&whole[..length]);
        if length % 2 == 0 {
            raw.stream.shutdown(Shutdown::Write).unwrap();
        }
        drop(raw);
        // Who comes later is accepted later: when this one is greeted, that one has been.
        until("a hello", PATIENCE, || Raw::connect(daemon.socket()).greet().ok());
    }
    until("all descriptors back", PATIENCE, || (descriptors(&daemon) <= before).then_some(()));
    // Nobody has asked for anything with part of a frame.
    let mut raw = daemon.client();
    assert!(raw.status().0.is_none());
    raw.post(&request());
    drop(raw);
    // What was asked for by who went is done: there is one share, and it is enforced and remembered.
    let mut raw = daemon.client();
    until("the share", PATIENCE, || raw.status().0);
    until("the state", PATIENCE, || (home.state().allocations.len() == 1).then_some(()));
    // The state has the intent before systemd has the unit.
    until("the unit", PATIENCE, || world.unit(&super::systemd_faults::own_slice()).map(drop));
    until("health", PATIENCE, || raw.healthy().then_some(()));
}

/// Who has not heard the daemon's hello may take it that nothing was changed, and ask again on another connection.
#[test]
fn the_hello_is_answered_before_a_call_that_came_with_it() {
    let (_world, home, daemon) = daemon();
    daemon.client().granted(&request());
    // The loop stands still over the call, for which nobody's name has to be looked up.
    let release = home.cpus_from_a_pipe();
    let mut raw = Raw::connect(daemon.socket());
    raw.send(&[hello_frame(), request_frame(1, &resize_mem(32 << 20))].concat());
    let hello = raw.payload().expect("no answer to a hello");
    assert!(matches!(decode_hello_reply(&hello), Ok(HelloReply::Ack(_))));
    release("0-7\n");
    assert!(matches!(raw.response().unwrap().body, Body::Ok(Answer::Share(HeldShare { .. }))));
}

/// What is in the kernel's buffer for a client is the daemon's memory.
#[test]
fn for_who_does_not_read_little_is_kept_and_others_are_answered() {
    const UNREAD_BYTES_MAX: u64 = 32 << 10;
    let (_world, _home, daemon) = daemon();
    let mut deaf = daemon.client();
    deaf.stream.set_nonblocking(true).unwrap();
    let asked = request_frame(7, &Call::Ping(Ping {})).repeat(40_000);
    let (mut sent, mut before) = (0, 0);
    let kept = until("the daemon to write no more", PATIENCE, || {
        let from = sent;
        while let Ok(count) = deaf.stream.write(&asked[sent..]) {
            sent += count;
        }
        assert!(sent < asked.len(), "all was taken");
        let kept = ioctl_fionread(&deaf.stream).unwrap();
        let stands = sent == from && kept == std::mem::replace(&mut before, kept) && kept > 0;
        // Whoever waits for others is answered in between.
        daemon.client().ask(&Call::Ping(Ping {})).unwrap();
        stands.then_some(kept)
    });
    assert!(kept <= UNREAD_BYTES_MAX, "{kept}");
}
