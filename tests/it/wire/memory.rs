//! What decoding costs at most, counted by the allocator.

use allocation_counter::measure;
use fairshare::contract::{decode_request, decode_response};
use fairshare::wire::frame::{FRAME_BYTES_MAX, FrameBuffer, READ_CHUNK_BYTES};
use fairshare::wire::hello::decode_hello;

/// What a request or hello may take beyond its own frame, in bytes.
const DECODE_BYTES_MAX: usize = 4 << 20;

/// What a response may: the daemon is believed more than a member, and answers with larger things.
const RESPONSE_BYTES_MAX: usize = 8 << 20;

/// What `act` held at most, in bytes, beyond what was held before.
fn peak(act: impl FnOnce()) -> usize {
    usize::try_from(measure(act).bytes_max).unwrap()
}

/// `head`, then `unit` as often as it fits a frame, then `tail`.
fn full(head: &[u8], unit: &[u8], tail: &[u8]) -> Vec<u8> {
    let count = (FRAME_BYTES_MAX - head.len() - tail.len()) / unit.len();
    [head, &unit.repeat(count), tail].concat()
}

const SUBMIT: &[u8] = b"\xa4\x61v\x02\x6arequest_id\x02\x68endpoint\x66submit\x64body\xa3";

fn submit(body: &[u8]) -> Vec<u8> {
    [SUBMIT, body].concat()
}

/// An environment of `count` variables, each key and value by `pair`.
fn environment(count: usize, pair: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let pairs: Vec<u8> = (0..count).flat_map(pair).collect();
    let head = submit(b"\x64argv\x81\x61x\x63cwd\x61/\x63env\xbf");
    assert!(head.len() + pairs.len() < FRAME_BYTES_MAX);
    [&head[..], &pairs, &[0xff]].concat()
}

#[test]
fn a_hostile_request_costs_no_more_than_4_mib() {
    let argv = submit(b"\x64argv\x9f");
    let rest = b"\xff\x63cwd\x61/\x63env\xa0";
    let claim = submit(b"\x64argv\x9b\xff\xff\xff\xff\xff\xff\xff\xff");
    let text_claim = submit(b"\x64argv\x81\x7b\x7f\xff\xff\xff\xff\xff\xff\xff");
    let requests = [
        ("empty arguments", full(&argv, b"\x60", rest)),
        ("arguments to the limit", full(&argv, &[&b"\x78\x3c"[..], &[b'x'; 60]].concat(), rest)),
        (
            "one argument in segments of one byte",
            full(&[&argv[..], b"\x7f"].concat(), b"\x61x", &[&b"\xff"[..], rest].concat()),
        ),
        (
            "one argument in segments of bytes",
            full(&[&argv[..], b"\x5f"].concat(), b"\x41\xe9", &[&b"\xff"[..], rest].concat()),
        ),
        ("empty arguments of bytes", full(&argv, b"\x40", rest)),
        (
            "a claimed length of bytes",
            full(&submit(b"\x64argv\x81\x5b\x7f\xff\xff\xff\xff\xff\xff\xff"), b"x", b""),
        ),
        ("a claimed count", full(&claim, b"\x60", b"")),
        ("a claimed length", full(&text_claim, b"x", b"")),
        ("small variables", environment(16_384, |n| format!("\x66{n:06}\x60").into_bytes())),
        (
            "large variables",
            environment(16_384, |n| [format!("\x66{n:06}\x78\x36").into_bytes(), vec![b'v'; 54]].concat()),
        ),
        (
            "keys in segments",
            environment(16_384, |n| {
                [format!("\x7f\x66{n:06}\x78\x2a").into_bytes(), vec![b'k'; 42], b"\xff\x60".to_vec()]
                    .concat()
            }),
        ),
        ("too many variables", environment(100_000, |n| format!("\x66{n:06}\x60").into_bytes())),
        ("unknown keys", full(b"\xbf", b"\x61x\xa0", b"\xff")),
        ("numbers for keys", full(b"\xbf", b"\x01\x01", b"\xff")),
        ("depth", vec![0x81; FRAME_BYTES_MAX]),
        ("tags", vec![0xc0; FRAME_BYTES_MAX]),
        ("a deep body", full(b"\xa1\x64body", b"\x81", b"\x01")),
        (
            "pids",
            full(
                b"\xa4\x61v\x02\x6arequest_id\x02\x68endpoint\x66attach\x64body\xa1\x64pids\x9f",
                b"\x01",
                b"\xff",
            ),
        ),
        ("a long endpoint", full(b"\xa1\x68endpoint\x7f", b"\x61\x1b", b"\xff")),
        ("a long key", full(b"\xa1\x7f", b"\x61x", b"\xff\x01")),
    ];
    let mut largest = 0;
    for (name, payload) in requests {
        assert!(payload.len() <= FRAME_BYTES_MAX);
        let bytes = peak(|| drop(std::hint::black_box(decode_request(&payload))));
        assert!(bytes <= DECODE_BYTES_MAX, "{name}: {bytes} bytes");
        largest = largest.max(bytes);
        let bytes = peak(|| drop(std::hint::black_box(decode_hello(&payload))));
        assert!(bytes <= DECODE_BYTES_MAX, "{name} as a hello: {bytes} bytes");
    }
    assert!(largest > FRAME_BYTES_MAX, "nothing was counted");
}

#[test]
fn a_large_answer_costs_no_more_than_8_mib() {
    let ok = |key: &[u8]| [b"\xa3\x61v\x02\x6arequest_id\x02\x64body\xa1\x62ok\xbf", key].concat();
    let job = b"\xa5\x66job_id\x01\x63uid\x01\x64kind\x67request\x65state\x66queued\x6acreated_ms\x01";
    let check = b"\xa2\x64name\x60\x62ok\xf5";
    for payload in [
        full(&ok(b"\x64jobs\x9f"), job, b"\xff\xff"),
        full(&ok(b"\x66checks\x9f"), check, b"\xff\x67healthy\xf5\xff"),
        [&ok(b"\x64jobs\x9f")[..], &job.repeat(15_000), b"\xff\xff"].concat(),
    ] {
        let bytes = peak(|| drop(std::hint::black_box(decode_response(&payload))));
        assert!(bytes <= RESPONSE_BYTES_MAX, "{bytes} bytes");
    }
}

#[test]
fn a_buffer_holds_what_came_and_one_chunk() {
    let mut buffer = FrameBuffer::new();
    let bytes = peak(|| {
        buffer.space().unwrap().copy_from_slice(&[0, 0x10, 0, 0]);
        assert_eq!(buffer.filled(4), None);
    });
    assert_eq!(bytes, 0);
    let bytes = peak(|| {
        let frame = loop {
            let count = buffer.space().unwrap().len();
            if let Some(frame) = buffer.filled(count) {
                break frame;
            }
        };
        assert_eq!(frame.len(), FRAME_BYTES_MAX);
    });
    // While it grows, the old half is still there.
    assert!(bytes <= FRAME_BYTES_MAX + FRAME_BYTES_MAX / 2 + READ_CHUNK_BYTES, "{bytes} bytes");
}
