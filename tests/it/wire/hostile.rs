//! What a sender may do that the schema alone does not forbid or allow, byte by byte.

use fairshare::contract::{Call, Ping, Status, decode_request};
use fairshare::wire::cbor::{DEPTH_MAX, ITEMS_MAX};
use fairshare::wire::hello::decode_hello;

use super::messages;

/// A request to `endpoint` of which the body is these bytes.
fn request(endpoint: &str, body: &[u8]) -> Vec<u8> {
    let mut payload = vec![0xa4];
    payload.extend(b"\x61v\x02\x6arequest_id\x18\x63\x68endpoint");
    payload.push(0x60 + u8::try_from(endpoint.len()).unwrap());
    payload.extend(endpoint.as_bytes());
    payload.extend(b"\x64body");
    payload.extend(body);
    payload
}

/// `request_id` and message of what is refused.
fn refusal(payload: &[u8]) -> (u64, String) {
    let bad = decode_request(payload).unwrap_err();
    assert_eq!(bad.answer().code, 1);
    (bad.request_id, bad.reason.to_string())
}

#[test]
fn any_well_formed_encoding_is_taken() {
    let ping = Call::Ping(Ping {});
    let status = Call::Status(Status { for_uid: Some(5) });
    for (call, payload) in [
        (&ping, request("ping", &[0xbf, 0xff])),
        (&ping, request("ping", &[0xb8, 0])),
        (&ping, request("ping", &[0xbb, 0, 0, 0, 0, 0, 0, 0, 0])),
        (&status, request("status", b"\xa1\x67for_uid\x1b\0\0\0\0\0\0\0\x05")),
        (&status, request("status", b"\xbf\x78\x07for_uid\x19\0\x05\xff")),
        (&status, request("status", b"\xbf\x7f\x63for\x60\x78\x04_uid\xff\x18\x05\xff")),
        (
            &ping,
            b"\xbf\x61v\x02\x6arequest_id\x18\x63\x68endpoint\x64ping\x7f\x62bo\x62dy\xff\xa0\xff".to_vec(),
        ),
        (&ping, b"\xa4\x64body\xa0\x68endpoint\x64ping\x6arequest_id\x18\x63\x61v\x02".to_vec()),
        (
            &ping,
            b"\xbf\x64body\xa0\x68endpoint\x7f\x62pi\x62ng\xff\x6arequest_id\x18\x63\x61v\x02\xff".to_vec(),
        ),
    ] {
        let decoded = decode_request(&payload).unwrap_or_else(|bad| panic!("{bad}"));
        assert_eq!((decoded.v, decoded.request_id, &decoded.call), (2, 99, call));
    }
    let indefinite = b"\xbf\x64argv\x9f\x7f\x62tr\x62ue\xff\xff\x63cwd\x61/\x63env\xbf\x61A\x7f\xff\xff\xff";
    match decode_request(&request("submit", indefinite)).unwrap().call {
        Call::Submit(submission) => {
            assert_eq!(submission.argv, ["true".into()]);
            assert_eq!(submission.env[&"A".into()], "".into());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_the_kernel_takes_is_text_or_bytes_and_the_same_either_way() {
    let bodies = [
        &b"\xa3\x64argv\x82\x64true\x41\xe9\x63cwd\x61/\x63env\xa1\x61A\x41\xff"[..],
        b"\xa3\x64argv\x82\x44true\x5f\x41\xe9\xff\x63cwd\x41/\x63env\xa1\x41A\x58\x01\xff",
        b"\xbf\x64argv\x9f\x5f\x42tr\x42ue\xff\x5f\x40\x41\xe9\xff\xff\x63cwd\x5f\x41/\xff\x63env\xbf\x5f\x41A\xff\x5f\x41\xff\xff\xff\xff",
    ];
    let [text, bytes, segments] = bodies.map(|body| {
        match decode_request(&request("submit", body)).unwrap_or_else(|bad| panic!("{bad}")).call {
            Call::Submit(submission) => submission,
            other => panic!("{other:?}"),
        }
    });
    assert_eq!((&text, &text), (&bytes, &segments));
    assert_eq!(text.argv, ["true".into(), vec![0xe9].into()]);
    assert_eq!((text.cwd, &text.env[&"A".into()]), ("/".into(), &vec![0xff].into()));
}

#[test]
fn what_is_not_in_the_contract_is_refused_with_the_id_of_the_request() {
    for (endpoint, body, message) in [
        ("ping", &b"\xa0\0"[..], "1 bytes after the item"),
        ("ping", b"\x80", "body: expected a map, found an array"),
        ("status", b"\xa2\x67for_uid\x01\x67for_uid\x01", "body: repeated key `for_uid`"),
        ("status", b"\xbf\x67for_uid\x01\x7f\x63for\x64_uid\xff\x01\xff", "body: repeated key `for_uid`"),
        ("status", b"\xa1\x67for_uid\xf6", "body.for_uid: expected an unsigned integer, found null"),
        ("status", b"\xa1\x67for_uid\xf7", "body.for_uid: expected an unsigned integer, found undefined"),
        (
            "status",
            b"\xa1\x67for_uid\x20",
            "body.for_uid: expected an unsigned integer, found a negative integer",
        ),
        ("status", b"\xa1\x67for_uid\xf9\x3c\0", "body.for_uid: expected an unsigned integer, found a float"),
        ("status", b"\xa1\x67for_uid\xc2\x41\x05", "body.for_uid: expected an unsigned integer, found a tag"),
        ("status", b"\xa1\x67for_uid\xc0\x05", "body.for_uid: expected an unsigned integer, found a tag"),
        ("status", b"\xa1\x47for_uid\x05", "body: expected text, found a byte string"),
        ("status", b"\xa1\x05\x05", "body: expected text, found an unsigned integer"),
        ("status", b"\xd9\xd9\xf7\xa0", "body: expected a map, found a tag"),
        ("release", b"\xa1\x64stop\x01", "body.stop: expected a boolean, found an unsigned integer"),
        ("release", b"\xa1\x64stop\xe0", "body.stop: expected a boolean, found a simple value"),
        ("release", b"\xa1\x64stop\xf8\x15", "a reserved head"),
        ("renew", b"\xa0", "body: the key `lease_ms` is missing"),
        ("attach", b"\xa1\x64pids\x80", "body.pids: expected 1 to 64 pids, found 0"),
        ("job_status", b"\xa1\x66job_id\x1c", "a reserved head"),
        ("job_status", b"\xa1\x66job_id\xff", "a break where an item belongs"),
        ("no\x1bsuch", b"\xa0", r"endpoint: no such endpoint: `no\u{1b}such`"),
    ] {
        let (request_id, reason) = refusal(&request(endpoint, body));
        assert_eq!(request_id, 99, "{reason}");
        assert!(reason.starts_with(message), "{reason}");
    }
}

#[test]
fn a_command_that_is_not_as_the_contract_has_it_is_refused_where_it_is_not() {
    for (body, message) in [
        (&b"\xa3\x64argv\x80\x63cwd\x60\x63env\xa0"[..], "body.argv: expected a command, found none"),
        (b"\xa3\x64argv\x81\x62\xc3\x28\x63cwd\x60\x63env\xa0", "body.argv[0]: text that is not UTF-8"),
        (
            b"\xa3\x64argv\x81\x7f\x61\xc3\x61\xa9\xff\x63cwd\x60\x63env\xa0",
            "body.argv[0]: text that is not UTF-8",
        ),
        (b"\xa3\x64argv\x81\x61x\x63cwd\x60\x63env\xa2\x61A\x60\x61A\x60", "body.env: repeated key `A`"),
        (
            b"\xa3\x64argv\x81\x61x\x63cwd\x60\x63env\xa1\x61A\x01",
            "body.env.A: expected text or a byte string, found an unsigned integer",
        ),
        (
            b"\xa3\x64argv\x81\x61x\x63cwd\x60\x63env\xa1\x42\x9b\xe9\xf6",
            r"body.env.\x9b\xe9: expected text or a byte string, found null",
        ),
        (
            b"\xa3\x64argv\x81\x61x\x63cwd\x60\x63env\xa1\x01\x60",
            "body.env: expected text or a byte string, found an unsigned integer",
        ),
        (b"\xa3\x64argv\x81\x61x\x63cwd\x60\x63env\xa2\x61A\x60\x41A\x60", "body.env: repeated key `A`"),
        (
            b"\xa3\x64argv\x81\x81\x18\x78\x63cwd\x60\x63env\xa0",
            "body.argv[0]: expected text or a byte string, found an array",
        ),
        (
            b"\xa3\x64argv\x81\xd8\x18\x41x\x63cwd\x60\x63env\xa0",
            "body.argv[0]: expected text or a byte string, found a tag",
        ),
        (b"\xa3\x64argv\x81\x5f\x61x\xff\x63cwd\x60\x63env\xa0", "a segment of another kind than its string"),
        (
            b"\xa3\x64argv\x81\x5f\x5f\x41x\xff\xff\x63cwd\x60\x63env\xa0",
            "a segment of another kind than its string",
        ),
        (
            b"\xa4\x64argv\x81\x61x\x63cwd\x60\x63env\xa0\x64name\x41x",
            "body.name: expected text, found a byte string",
        ),
        (
            b"\xa3\x64argv\x81\x7f\x7f\x61x\xff\xff\x63cwd\x60\x63env\xa0",
            "a segment of another kind than its string",
        ),
    ] {
        let (request_id, reason) = refusal(&request("submit", body));
        assert_eq!(request_id, 99, "{reason}");
        assert!(reason.starts_with(message), "{reason}");
    }
}

#[test]
fn the_envelope_is_as_strict_as_the_body() {
    for (payload, id, message) in [
        (&b"\xa4\x61v\x02\x61v\x02\x6arequest_id\x02\x68endpoint\x64ping"[..], 2, "repeated key `v`"),
        (
            b"\xa5\x61v\x02\x6arequest_id\x02\x6arequest_id\x02\x68endpoint\x64ping\x64body\xa0",
            2,
            "repeated key `request_id`",
        ),
        (
            b"\xa4\x61v\x02\x6arequest_id\x20\x68endpoint\x64ping\x64body\xa0",
            0,
            "request_id: expected an unsigned integer",
        ),
        (
            b"\xa4\x61v\x02\x01\x01\x68endpoint\x64ping\x6arequest_id\x02",
            2,
            "expected text, found an unsigned integer",
        ),
        (b"\x84\x01\x02\x64ping\xa0", 0, "expected a map, found an array"),
        (b"\xa1\x6arequest_id\x02", 2, "the key `v` is missing"),
        (b"\xa2\x6arequest_id\x02\x61v", 2, "the data ends within an item"),
        (b"\xa2\x64body\xc1\xfb\0\0\0\0\0\0\0\0\x6arequest_id\x02", 2, "the key `v` is missing"),
        (b"", 0, "the data ends within an item"),
    ] {
        let (request_id, reason) = refusal(payload);
        assert_eq!((request_id, reason.starts_with(message)), (id, true), "{reason}");
    }
}

#[test]
fn depth_counts_from_the_message_itself() {
    for (depth, deep) in [(DEPTH_MAX - 1, false), (DEPTH_MAX, true)] {
        // The request's own map is the first level.
        let mut body = vec![0x81; depth];
        body.push(0);
        let (request_id, reason) = refusal(&request("ping", &body));
        assert_eq!(request_id, 99);
        assert_eq!(reason.contains("nested deeper than 16"), deep, "{reason}");
    }
}

#[test]
fn an_attachment_is_of_1_to_64_processes() {
    let attach = |count: u8| {
        let body = [&b"\xa1\x64pids\x98"[..], &[count], &vec![7; count.into()]].concat();
        request("attach", &body)
    };
    assert!(decode_request(&attach(1)).is_ok() && decode_request(&attach(64)).is_ok());
    for count in [0, 65] {
        assert!(refusal(&attach(count)).1.starts_with("body.pids: expected 1 to 64 pids, found"), "{count}");
    }
}

#[test]
fn names_are_of_1_to_64_bytes() {
    let hello = |name: &[u8]| {
        let head = [0x78, u8::try_from(name.len()).unwrap()];
        let parts = [&b"\xa4\x70protocol_version\x01\x6bclient_name"[..], &head, name];
        [&parts.concat()[..], b"\x6eclient_version\x61v\x68supports\x80"].concat()
    };
    assert!(decode_hello(&hello(&[b'x'; 64])).is_ok());
    assert!(decode_hello(&hello("é".repeat(32).as_bytes())).is_ok());
    for name in [&b""[..], &[b'x'; 65], "é".repeat(33).as_bytes()] {
        let error = decode_hello(&hello(name)).unwrap_err().to_string();
        assert!(error.starts_with("client_name: expected 1 to 64 bytes of text"), "{error}");
    }
}

#[test]
fn what_a_command_needs_fits_and_what_none_needs_does_not() {
    let submit = |arguments: usize, variables: usize| {
        let mut body = b"\xa3\x64argv\x9f".to_vec();
        body.extend(b"\x61x".repeat(arguments));
        body.extend(b"\xff\x63cwd\x61/\x63env\xbf");
        for variable in 0..variables {
            body.extend(format!("\x6cV{variable:05}=23456\x78\x20").as_bytes());
            body.extend([b'v'; 32]);
        }
        body.push(0xff);
        decode_request(&request("submit", &body))
    };
    assert!(submit(2000, 12_000).is_ok());
    assert!(submit(ITEMS_MAX, ITEMS_MAX).is_ok());
    for (arguments, variables, place) in [(ITEMS_MAX + 1, 0, "argv"), (1, ITEMS_MAX + 1, "env")] {
        let reason = submit(arguments, variables).unwrap_err().to_string();
        assert!(reason.starts_with(&format!("body.{place}: more than {ITEMS_MAX} entries")), "{reason}");
    }
}

#[test]
fn every_truncation_and_every_trailing_byte_is_refused() {
    for (name, message) in messages::all() {
        let frame = message.frame();
        for end in 4..frame.len() {
            assert!(message.decode(&frame[4..end]).is_err(), "{name} cut at {end}");
        }
        assert!(message.decode(&[&frame[4..], &[0xf6]].concat()).is_err(), "{name}");
    }
}

#[test]
fn a_message_about_a_hostile_text_is_short_and_plain() {
    let endpoint = "\u{1b}]0;\u{7}".repeat(100_000);
    let mut payload = b"\xa1\x68endpoint\x7a".to_vec();
    payload.extend(u32::try_from(endpoint.len()).unwrap().to_be_bytes());
    payload.extend(endpoint.as_bytes());
    let (_, reason) = refusal(&payload);
    assert!(reason.len() < 130 && !reason.contains(char::is_control), "{reason}");
}
