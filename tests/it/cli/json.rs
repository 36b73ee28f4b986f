//! `fairshare json`: what programs without CBOR say and are told.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use fairshare::contract::{
    Amounts, Answer, Attach, Call, HeldShare, JobList, Ping, Pong, Released, Renew, RequestResources,
    ShareInfo, Status, StatusAnswer,
};
use fairshare::wire::error::{Code, WireError};
use fairshare::wire::os_text::OsText;

use super::*;

/// The lines that come out for the lines that go in. The command must end well, having said nothing else.
#[track_caller]
fn answers(daemon: &Daemon, lines: &[u8]) -> Vec<String> {
    let mut child = daemon
        .command("json")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines).unwrap();
    shown(&child.wait_with_output().unwrap()).lines().map(str::to_owned).collect()
}

fn four() -> ShareInfo {
    ShareInfo { cpu_milli: 4000, mem_bytes: 16 * GIB, usage: None, ..share() }
}

#[test]
fn the_short_forms_are_answered_in_their_own_shapes() {
    let daemon = Daemon::saying([
        Answer::Share(HeldShare { share: four() }).into(),
        WireError::new(Code::AlreadyAllocated, "A share is held").into(),
        Answer::Status(StatusAnswer { share: Some(four()), capacity: capacity() }).into(),
        Answer::Status(StatusAnswer {
            share: Some(ShareInfo { cpu_milli: 250, ..four() }),
            capacity: capacity(),
        })
        .into(),
        Answer::Status(StatusAnswer { share: None, capacity: capacity() }).into(),
        Answer::Released(Released { released: true }).into(),
        Answer::Released(Released { released: false }).into(),
        Answer::Share(HeldShare { share: ShareInfo { cpu_milli: 1000, mem_bytes: 3 << 29, ..four() } })
            .into(),
    ]);
    let lines = br#"{"type":"request_resources","cpu":4,"mem":"16G"}
{"type":"request_resources","cpu":0.25,"mem":1073741824,"tasks":9,"for":"90m"}
{"type":"status"}
{"type":"status"}

{"type":"status"}
{"type":"release"}
{"type":"release"}
{"type":"request_resources"}"#;
    assert_eq!(
        answers(&daemon, lines),
        [
            r#"{"type":"success","message":"Resources allocated: 4 CPUs, 16G memory"}"#,
            r#"{"type":"error","error":"A share is held","code":13}"#,
            r#"{"type":"status_info","allocated_cpu":4,"allocated_mem":"16G"}"#,
            r#"{"type":"status_info","allocated_cpu":0.25,"allocated_mem":"16G"}"#,
            r#"{"type":"status_info","allocated_cpu":0,"allocated_mem":"0"}"#,
            r#"{"type":"success","message":"Resources released"}"#,
            r#"{"type":"success","message":"No resources were allocated"}"#,
            r#"{"type":"success","message":"Resources allocated: 1 CPU, 1536M memory"}"#,
        ]
    );
    let request = |cpu_milli, mem_bytes, tasks_max, lease_ms| {
        Call::RequestResources(RequestResources {
            lease_ms,
            wait: None,
            for_uid: None,
            ..RequestResources::of(Amounts { cpu_milli, mem_bytes, tasks_max })
        })
    };
    assert_eq!(
        daemon.calls()[..2],
        [
            request(Some(4000), Some(16 * GIB), None, None),
            request(Some(250), Some(GIB), Some(9), Some(5_400_000)),
        ]
    );
    let connections = daemon.heard().into_iter().filter(|heard| *heard == Heard::Connected).count();
    assert_eq!(connections, 1, "one connection is kept");
}

#[test]
fn every_call_goes_by_its_endpoint() {
    let lines: Vec<(&str, Call)> = vec![
        (r#"{"endpoint":"ping"}"#, Call::Ping(Ping {})),
        (r#"{"endpoint":"ping","body":{}}"#, Call::Ping(Ping {})),
        (r#"{"body":{"for_uid":5},"endpoint":"status"}"#, Call::Status(Status { for_uid: Some(5) })),
        (
            r#"{"endpoint":"renew","body":{"lease_ms":7}}"#,
            Call::Renew(Renew { lease_ms: 7, job_id: None, for_uid: None }),
        ),
        (r#"{"endpoint":"attach","body":{"pids":[4,5]}}"#, Call::Attach(Attach { pids: vec![4, 5] })),
        (r#"{"endpoint":"job_list","body":{"all":true}}"#, Call::JobList(JobList { all: Some(true) })),
    ];
    let error = WireError::new(Code::NoCapacity, "no").detail("later").retry_after_ms(5);
    let script = lines.iter().map(|_| Next::from(error.clone()));
    let daemon = Daemon::saying(script.chain([Answer::Pong(Pong { at_ms: 9 }).into()]));
    let mut text: String = lines.iter().map(|(line, _)| format!("{line}\n")).collect();
    text.push_str(r#"{"endpoint":"ping"}"#);
    let said = answers(&daemon, text.as_bytes());
    let refused = r#"{"err":{"code":12,"name":"NoCapacity","message":"no","detail":{"text":"later"},"retryable":true,"retry_after_ms":5}}"#;
    assert_eq!(said[..lines.len()], vec![refused; lines.len()]);
    assert_eq!(said[lines.len()], r#"{"ok":{"at_ms":9}}"#);
    let calls = daemon.calls();
    assert_eq!(calls[..lines.len()], lines.into_iter().map(|(_, call)| call).collect::<Vec<_>>());
}

#[test]
fn what_is_not_text_goes_as_the_array_of_its_bytes() {
    let text = r#"{"endpoint":"submit","body":{"argv":["cat",[99,97,102,233]],"cwd":[47,233],"env":{"V":[255],"W":""}}}"#;
    let mut lines = format!("{text}\n").into_bytes();
    for wrong in ["[256]", "[-1]", r#"["a"]"#, "7", "null"] {
        let line = format!(r#"{{"endpoint":"submit","body":{{"argv":["a"],"cwd":{wrong},"env":{{}}}}}}"#);
        lines.extend_from_slice(format!("{line}\n").as_bytes());
    }
    let daemon = Daemon::saying([WireError::new(Code::NoCapacity, "no").into()]);
    let said = answers(&daemon, &lines);
    assert!(said[0].contains("NoCapacity"), "{said:?}");
    assert_eq!(said[1..].iter().filter(|line| line.contains("\"message\":\"body: ")).count(), 5, "{said:?}");
    let calls = daemon.calls();
    let [Call::Submit(asked)] = &calls[..] else { panic!("{calls:?}") };
    let bytes = |bytes: &[u8]| OsText::from(bytes.to_vec());
    assert_eq!(asked.argv, [bytes(b"cat"), bytes(b"caf\xe9")]);
    assert_eq!(asked.cwd, bytes(b"/\xe9"));
    assert_eq!(asked.env, BTreeMap::from([(bytes(b"V"), bytes(b"\xff")), (bytes(b"W"), bytes(b""))]));
}

#[test]
fn a_line_that_cannot_be_understood_is_answered_and_the_next_one_is_too() {
    let bad: Vec<Vec<u8>> = [
        "{",
        "[]",
        "7",
        r#"{"type":"status","type":"release"}"#,
        r#"{"type":"fly"}"#,
        r#"{"type":"status","cpu":1}"#,
        r#"{"type":"status","body":{}}"#,
        r#"{"type":"request_resources","cpu":"many"}"#,
        r#"{"type":"request_resources","cpu":1e3}"#,
        r#"{"type":"request_resources","mem":"16 gigs"}"#,
        r#"{"type":"request_resources","for":"soon"}"#,
        r#"{"type":"request_resources","colour":"red"}"#,
        "{}",
        r#"{"type":"status"} {"type":"status"}"#,
    ]
    .iter()
    .map(|line| line.as_bytes().to_vec())
    .chain([b"\xff\xfe".to_vec(), b"\0".to_vec(), vec![b'['; 100_000], vec![b'x'; 3 << 20]])
    .collect();
    let daemon = Daemon::saying(bad.iter().map(|_| status()));
    let mut lines = Vec::new();
    for line in &bad {
        lines.extend_from_slice(line);
        lines.extend_from_slice(b"\n{\"type\":\"status\"}\n");
    }
    let said = answers(&daemon, &lines);
    assert_eq!(said.len(), 2 * bad.len());
    for (pair, line) in said.chunks(2).zip(&bad) {
        let error: serde_json::Value = serde_json::from_str(&pair[0]).unwrap();
        let line = String::from_utf8_lossy(&line[..line.len().min(60)]);
        assert_eq!((&error["type"], &error["code"]), (&"error".into(), &1.into()), "{line}: {error}");
        assert_eq!(
            pair[1], r#"{"type":"status_info","allocated_cpu":2,"allocated_mem":"8G"}"#,
            "after {line}"
        );
    }
    for (line, says) in [
        (r#"{"endpoint":"fly"}"#, "no such endpoint: `fly`"),
        (r#"{"endpoint":"renew","body":{}}"#, "body: missing field `lease_ms`"),
        (r#"{"endpoint":"renew","body":{"lease_ms":1,"lease_ms":2}}"#, "duplicate field"),
        (r#"{"endpoint":"ping","body":{"x":1}}"#, "unknown field"),
        (r#"{"endpoint":"status","cpu":1}"#, "figures belong"),
        (r#"{"type":"status","endpoint":"status"}"#, "only one"),
    ] {
        let said = answers(&daemon, line.as_bytes());
        let error: serde_json::Value = serde_json::from_str(&said[0]).unwrap();
        assert_eq!(error["err"]["code"], 1, "{error}");
        assert!(error["err"]["message"].as_str().unwrap().contains(says), "{error}");
    }
}

#[test]
fn what_kept_the_daemon_from_answering_is_an_answer_too() {
    // The daemon is restarted: what may be repeated is, what may not is not.
    let daemon = Daemon::saying([Next::Closes, status(), Next::Closes, status()]);
    let lines = b"{\"type\":\"status\"}\n{\"type\":\"request_resources\"}\n{\"type\":\"status\"}\n";
    let said = answers(&daemon, lines);
    assert!(said[0].contains("status_info"), "{said:?}");
    assert!(said[1].contains(r#""code":15"#), "{said:?}");
    assert!(said[2].contains("status_info"), "{said:?}");

    let daemon = Daemon::refusing(WireError::new(Code::Busy, "Too many").into());
    assert_eq!(
        answers(&daemon, b"{\"type\":\"status\"}\n"),
        [r#"{"type":"error","error":"Too many","code":6}"#]
    );
    let daemon = Daemon::refusing(Next::Sends(b"\xff\xff\xff\xff"));
    assert!(answers(&daemon, b"{\"endpoint\":\"ping\"}\n")[0].starts_with(r#"{"err":{"code":255,"#));
    let daemon = Daemon::saying([]);
    std::fs::remove_file(daemon.socket()).unwrap();
    assert!(answers(&daemon, b"{\"endpoint\":\"ping\"}\n")[0].starts_with(r#"{"err":{"code":9,"#));
}

#[test]
fn a_subscription_streams_and_a_reader_that_goes_ends_it_quietly() {
    let daemon = Daemon::saying([Next::Streams(vec![event("drained")], Then::Closes), status()]);
    let said = answers(&daemon, b"{\"endpoint\":\"subscribe\",\"body\":{}}\n{\"type\":\"status\"}\n");
    assert_eq!(said[0], r#"{"ok":{"subscribed":true}}"#);
    assert_eq!(said[1], r#"{"event":{"at_ms":1000,"kind":"drained"}}"#);
    assert!(said[2].starts_with(r#"{"err":{"code":15,"#), "{said:?}");
    assert!(said[3].contains("status_info"), "{said:?}");

    let daemon = Daemon::saying((0..2).map(|_| status()));
    let mut child = daemon
        .command("json")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdin.write_all(b"{\"type\":\"status\"}\n").unwrap();
    let mut line = String::new();
    // Each answer comes at once, with the input still open.
    stdout.read_line(&mut line).unwrap();
    assert!(line.contains("status_info"));
    drop(stdout);
    stdin.write_all(b"{\"type\":\"status\"}\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}
