//! What a client says of itself and of others is shown, and neither obeyed nor believed.

use ciborium::{Value, cbor};
use fairshare::contract::{Body, Call, Status};
use fairshare::wire::error::{Code, MESSAGE_BYTES_MAX};

use super::daemon::Daemon;
use super::peer::{Peer, frame, hello, request};

/// What a terminal or a journal might take for its own.
const EVIL: &str = "\n2026-01-01 fairshared: granted to EVIL\r\x1b[2J\u{9b}31m\u{202e}\0<EVIL>";

fn framed(value: &Value) -> Vec<u8> {
    let mut payload = Vec::new();
    ciborium::into_writer(value, &mut payload).unwrap();
    frame(&payload)
}

/// Requests with hostile text in every place where there can be text, and in every place where there can be none.
fn hostile(text: &str) -> Vec<Value> {
    [
        cbor!({"v" => 2, "request_id" => 1, "endpoint" => text, "body" => {}}),
        cbor!({"v" => 2, "request_id" => 1, "endpoint" => "ping", "body" => text}),
        cbor!({"v" => 2, "request_id" => 1, "endpoint" => "ping", "body" => {text => 1}}),
        cbor!({"v" => 2, "request_id" => 1, "endpoint" => "ping", "body" => {}, text => 1}),
        cbor!({"v" => text, "request_id" => 1, "endpoint" => "ping", "body" => {}}),
        cbor!({"v" => 2, "request_id" => 1, "endpoint" => "submit", "body" =>
            {"argv" => [text], "cwd" => text, "env" => {text => text}, "name" => "a\nb"}}),
        cbor!({"v" => 2, "request_id" => 1, "endpoint" => "submit", "body" =>
            {"argv" => [text], "cwd" => text, "env" => {}, "name" => text}}),
        // The variable is looked at after the argument, which is right.
        cbor!({"v" => 2, "request_id" => 1, "endpoint" => "submit", "body" =>
            {"argv" => ["true"], "cwd" => "/", "env" => {format!("{text}=") => "x"}}}),
        cbor!({"v" => 2, "request_id" => 1, "endpoint" => "renew", "body" => {"lease_ms" => text}}),
    ]
    .into_iter()
    .map(Result::unwrap)
    .collect()
}

#[test]
fn hostile_text_does_not_reach_the_journal_as_it_is() {
    let mut daemon = Daemon::start();
    let long = format!("{EVIL}{}", "x".repeat(65_536 - EVIL.len()));
    for text in [EVIL, &long] {
        daemon.survives("hostile text", |socket| {
            // Three closings for violations would shut this user out: a few a connection, and none is closed for it.
            for requests in hostile(text).chunks(4) {
                let mut peer = Peer::new(socket);
                for request in requests {
                    peer.send(&framed(request));
                    let Body::Err(error) = peer.response().unwrap().body else {
                        panic!("{request:?} was done");
                    };
                    assert!(error.message.len() <= MESSAGE_BYTES_MAX, "{error:?}");
                    assert!(!error.message.contains(char::is_control), "{error:?}");
                    assert!(!error.message.contains(&"x".repeat(65)), "{error:?}");
                }
            }
            let mut peer = Peer::silent(socket);
            peer.send(&hello(&text[..text.len().min(64)], "1\n2"));
            peer.payload();
        });
    }
    let log = daemon.log();
    assert!(!log.contains("EVIL") || !log.lines().any(|line| line.starts_with("2026-01-01")), "{log}");
    for (number, line) in log.lines().enumerate() {
        assert!(!line.contains(['\u{9b}', '\u{202e}', '\0', '\r']), "line {number}: {line:?}");
        assert!(!line.contains("\u{1b}[2J"), "line {number}: {line:?}");
        assert!(line.len() < 2000, "line {number} has {} bytes", line.len());
    }
}

#[test]
fn a_message_does_not_make_its_sender_another() {
    let mut daemon = Daemon::start();
    let me = u64::from(rustix::process::geteuid().as_raw());
    daemon.survives("messages that claim another uid", |socket| {
        let mut peer = Peer::new(socket);
        for value in [
            cbor!({"v" => 2, "request_id" => 1, "endpoint" => "ping", "body" => {}, "uid" => 0}),
            cbor!({"v" => 2, "request_id" => 1, "endpoint" => "list", "body" => {"for_uid" => 0}}),
            cbor!({"v" => 2, "request_id" => 1, "endpoint" => "status", "body" => {"uid" => 0}}),
            cbor!({"v" => 2, "request_id" => 1, "endpoint" => "run", "body" => {"for_uid" => 7}}),
        ] {
            peer.send(&framed(&value.unwrap()));
            let Body::Err(error) = peer.response().unwrap().body else { panic!("it was done") };
            assert!(error.is(Code::BadRequest), "{error:?}");
        }
        if me != 0 {
            peer.send(&request(1, Call::Status(Status { for_uid: Some(me + 1) })));
            let Body::Err(error) = peer.response().unwrap().body else { panic!("it was done") };
            assert!(error.is(Code::Forbidden), "{error:?}");
        }
        let mut peer = Peer::silent(socket);
        peer.send(&framed(
            &cbor!({"protocol_version" => 2, "client_name" => "x", "client_version" => "1", "supports" => [],
                    "authz" => {"uid" => 0, "gid" => 0, "role" => "admin"}})
            .unwrap(),
        ));
        let Body::Err(error) = peer.response().unwrap().body else { panic!("it was welcome") };
        assert!(error.is(Code::BadRequest), "{error:?}");
    });
}
