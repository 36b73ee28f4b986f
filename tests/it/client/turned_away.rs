//! A daemon that has no place, or says no to the connection: what the client waits for, and what it does not.

use std::time::{Duration, Instant};

use fairshare::client::{Client, ClientError, Deadlines, Violation};
use fairshare::contract::{Body, Call, Ping};
use fairshare::wire::error::{Code, WireError};

use super::{Daemon, Peer, pong, scene};

/// A client that connects with its first call, and one that has connected.
fn lazy(daemon: &Daemon) -> Client {
    Client::new(&daemon.path(), "test", "0", Deadlines::default())
}

fn refuse(peer: &mut Peer, code: Code, retry_after_ms: u64) {
    peer.say(0, Body::Err(WireError::new(code, "not now").retry_after_ms(retry_after_ms)));
}

#[test]
fn a_client_without_a_place_waits_as_told_and_tries_again() {
    for code in [Code::Busy, Code::RateLimited] {
        let busy = move |peer: &mut Peer| refuse(peer, code, 50);
        let served = |peer: &mut Peer| {
            peer.greet();
            peer.answer(pong(1));
        };
        let daemon = Daemon::play(vec![scene(busy), scene(busy), scene(served)]);
        let began = Instant::now();
        assert_eq!(lazy(&daemon).call_any(&Call::Ping(Ping {})).unwrap(), pong(1));
        assert!(began.elapsed() >= Duration::from_millis(100), "{:?}", began.elapsed());
        daemon.end();
        let daemon = Daemon::play(vec![scene(busy), scene(served)]);
        assert_eq!(daemon.connect().unwrap().call_any(&Call::Ping(Ping {})).unwrap(), pong(1));
        daemon.end();
    }
}

/// What does not pass by waiting, or not within a minute, is told at once. Each daemon here plays one scene.
#[test]
fn a_client_that_would_wait_in_vain_is_told_at_once() {
    for (code, retry) in [(Code::RateLimited, 61_000), (Code::Forbidden, 10), (Code::Degraded, 10)] {
        let daemon = Daemon::play(vec![scene(move |peer| refuse(peer, code, retry))]);
        let error = lazy(&daemon).call(&Ping {}).unwrap_err();
        assert!(matches!(&error, ClientError::Refused(refusal) if refusal.is(code)), "{error:?}");
        daemon.end();
    }
}

/// The same words on a connection that was greeted are its end, and not a place to wait for.
#[test]
fn a_connection_that_is_ended_for_what_it_did_is_not_tried_again() {
    for code in [Code::RateLimited, Code::Busy] {
        let daemon = Daemon::play(vec![scene(move |peer| {
            peer.greet();
            peer.request();
            refuse(peer, code, 10);
        })]);
        let error = lazy(&daemon).call(&Ping {}).unwrap_err();
        assert!(matches!(&error, ClientError::Refused(refusal) if refusal.is(code)), "{error:?}");
        daemon.end();
    }
}

#[test]
fn a_refused_call_is_not_made_again() {
    let daemon = Daemon::play(vec![scene(|peer| {
        peer.greet();
        let request = peer.request();
        let busy = WireError::new(Code::Busy, "1 process is inside").retry_after_ms(10);
        peer.say(request.request_id, Body::Err(busy));
        peer.end();
    })]);
    let mut client = lazy(&daemon);
    assert!(matches!(client.call(&Ping {}).unwrap_err(), ClientError::Refused(_)));
    drop(client);
    daemon.end();
}

#[test]
fn the_hello_has_a_deadline_of_its_own() {
    let daemon = Daemon::play(vec![scene(|peer| while peer.payload().is_some() {})]);
    let deadlines = Deadlines { hello: Duration::from_millis(100), call: Duration::from_secs(600) };
    let mut client = Client::new(&daemon.path(), "test", "0", deadlines);
    let error = client.call(&Ping {}).unwrap_err();
    assert!(matches!(error, ClientError::Timeout { after } if after == deadlines.hello), "{error:?}");
    daemon.end();
}

#[test]
fn a_version_that_was_not_offered_is_a_violation() {
    for version in [0, 1, 99] {
        let daemon = Daemon::play(vec![scene(move |peer| peer.greet_as(version))]);
        let error = daemon.connect().unwrap_err();
        let said = matches!(error, ClientError::Protocol(Violation::Version(said)) if said == version);
        assert!(said, "{error:?}");
        daemon.end();
    }
}

/// Who is told to wait for longer than a hello or a call may take has all of that time again afterwards.
#[test]
fn what_is_waited_as_told_is_not_taken_off_a_deadline() {
    let time = Duration::from_secs(10);
    let deadlines = Deadlines { hello: time, call: time };
    let daemons = [(); 2].map(|()| {
        let busy = |peer: &mut Peer| refuse(peer, Code::Busy, 10_100);
        let served = |peer: &mut Peer| {
            peer.greet();
            peer.answer(pong(1));
        };
        Daemon::play(vec![scene(busy), scene(served)])
    });
    std::thread::scope(|scope| {
        let [connecting, calling] = &daemons;
        scope.spawn(|| {
            let mut client = Client::connect(&connecting.path(), "test", "0", deadlines).unwrap();
            assert_eq!(client.call(&Ping {}).unwrap().at_ms, 1);
        });
        let mut client = Client::new(&calling.path(), "test", "0", deadlines);
        assert_eq!(client.call(&Ping {}).unwrap().at_ms, 1);
    });
    daemons.into_iter().for_each(Daemon::end);
}
