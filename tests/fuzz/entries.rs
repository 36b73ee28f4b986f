//! What each fuzz target does with its bytes. Shared with the native tests, which replay the corpora.

use std::io;

use fairshare::contract::{Call, decode_request, decode_response};
use fairshare::testing::cgroup;
use fairshare::testing::host::process;
use fairshare::testing::identity::{Gid, Uid};
use fairshare::testing::ledger::{BootId, Ledger};
use fairshare::testing::policy::file::{Names, parse};
use fairshare::testing::state;
use fairshare::wire::frame::{FRAME_BYTES_MAX, FrameBuffer, PREFIX_BYTES, READ_CHUNK_BYTES, encode_frame};
use fairshare::wire::hello::{decode_hello, decode_hello_reply};

/// A target: its name, which is that of its corpus, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("frames", frames),
    ("hello", hello),
    ("call", call),
    ("state", state),
    ("policy", policy),
    ("proc", proc),
];

/// Frames come out of a stream as they went in, in whichever pieces it comes: the first byte says how many bytes there
/// are to a piece.
pub fn frames(data: &[u8]) {
    let Some((piece, stream)) = data.split_first() else { return };
    let pieces = cut(stream, usize::from(*piece).max(1));
    assert_eq!(pieces, cut(stream, usize::MAX), "in pieces of {piece}");
    // And as the contract says, by code that has nothing of the reader's.
    let mut rest = stream;
    let mut frames = pieces.0.iter();
    while let Some((prefix, after)) = rest.split_first_chunk::<PREFIX_BYTES>() {
        let length = u32::from_be_bytes(*prefix) as usize;
        if length == 0 || length > FRAME_BYTES_MAX {
            assert!(pieces.1, "a length of {length} was taken");
            break;
        }
        let Some((payload, after)) = after.split_at_checked(length) else { break };
        assert_eq!(frames.next().map(Vec::as_slice), Some(payload));
        rest = after;
    }
    assert_eq!(frames.next(), None);
}

/// The frames, and whether a length ended it that no frame has.
fn cut(mut stream: &[u8], piece: usize) -> (Vec<Vec<u8>>, bool) {
    let (mut buffer, mut frames) = (FrameBuffer::new(), Vec::new());
    while !stream.is_empty() {
        let Ok(space) = buffer.space() else { return (frames, true) };
        assert!((1..=READ_CHUNK_BYTES).contains(&space.len()));
        let count = space.len().min(piece).min(stream.len());
        let (now, later) = stream.split_at(count);
        space[..count].copy_from_slice(now);
        stream = later;
        frames.extend(buffer.filled(count));
    }
    let over = buffer.space().is_err();
    (frames, over)
}

/// Whatever is taken for a hello, or for the answer to one, is one: it survives being sent.
pub fn hello(data: &[u8]) {
    if let Ok(hello) = decode_hello(data) {
        assert_eq!(decode_hello(&payload(&hello)), Ok(hello));
    }
    let _ = decode_hello_reply(data);
}

/// Whatever is taken for a request or a response is one; a refusal fits a line of the journal.
pub fn call(data: &[u8]) {
    match decode_request(data) {
        Ok(request) => {
            let endpoint = request.call.endpoint();
            assert_eq!(decode_request(&payload(&request)), Ok(request.clone()));
            // All that JSON cannot say of a call is the name of a variable that is not text.
            match serde_json::to_string(&request.call) {
                Ok(json) => {
                    let mut json = serde_json::Deserializer::from_str(&json);
                    assert_eq!(Call::from_body(endpoint, &mut json).expect("and back"), request.call);
                }
                Err(error) => {
                    let Call::Submit(submit) = &request.call else { panic!("{error}: {:?}", request.call) };
                    assert!(submit.env.keys().any(|name| name.as_os_str().to_str().is_none()), "{error}");
                }
            }
        }
        Err(bad) => {
            let told = bad.to_string();
            assert!(told.len() < 4096 && !told.contains(char::is_control), "{told:?}");
        }
    }
    if let Ok(response) = decode_response(data) {
        assert_eq!(decode_response(&payload(&response)), Ok(response));
    }
}

/// Whatever is taken for a state file is one.
pub fn state(data: &[u8]) {
    if let Ok(image) = state::parse(data) {
        let again = state::encode(&image).expect("an image that was read");
        assert_eq!(state::parse(&again).ok().as_ref(), Some(&image));
    }
    // The checksum keeps most of what is tried from ever being looked into: here it is made to fit.
    let empty = Ledger::new(BootId("boot".to_owned())).image();
    let file = state::encode(&empty).expect("an empty state");
    if let Ok(image) = state::parse(&sealed(&file, data)) {
        assert!(state::encode(&image).is_ok());
    }
    // And as what changed since an empty state.
    let of = state::checksum_of(&file);
    let nothing = state::changes::encoded(of, 0, &empty.since(&empty)).expect("no change");
    let head = nothing.get(20..32).expect("a file and a number");
    for changes in [data, &sealed(&nothing, &[head, data].concat())] {
        if let Ok(image) = state::parse_with(&file, changes) {
            let none = image.since(&image);
            assert!(none.new.jobs.is_empty() && none.jobs.is_empty() && none.allocations.is_empty());
            assert_eq!(empty.clone().followed_by([image.since(&empty)]), image);
        }
    }
}

/// A policy is valid or refused at a place that is in it.
pub fn policy(data: &[u8]) {
    match parse(data, &Everyone) {
        Ok(policy) => {
            let member = policy.member(Uid::new(1000).expect("a user"), &[]);
            assert!(member.max.cpu >= member.defaults.cpu && member.max.mem >= member.defaults.mem);
        }
        Err(error) => {
            // A carriage return alone ends a line too (YAML 1.2, 5.4).
            let lines = data.split(|byte| matches!(byte, b'\n' | b'\r')).count();
            // One past the end is where what is missing would be.
            assert!(error.position.is_none_or(|place| place.line <= lines + 1), "{error}");
            assert!(!error.problem.is_empty());
        }
    }
}

/// The kernel is believed in what it says, and not in how much there is of it.
pub fn proc(data: &[u8]) {
    let _ = process::parse_start_time(data);
    let _ = process::parse_ids(data);
    let _ = process::parse_cgroup(data);
    let _ = process::parse_umask(data);
    let _ = process::rlimits::Rlimits::parse(data);
    let _ = cgroup::parse::parse_cpu_max(data);
    let _ = cgroup::parse::parse_limit(data, |limit| limit);
    let _ = cgroup::parse::parse_number(data);
    let _ = cgroup::parse::parse_key(data, "populated");
    let _ = cgroup::parse::parse_pressure(data);
}

/// A file as this one that holds `payload`, whatever that is.
fn sealed(file: &[u8], payload: &[u8]) -> Vec<u8> {
    // Magic and version; length and checksum are made anew.
    let mut bytes = file.get(..12).expect("a header").to_vec();
    bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes);
    hasher.update(payload);
    bytes.extend_from_slice(&hasher.finalize().to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn payload(message: &impl serde::Serialize) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_frame(message, &mut frame).expect("what came in a frame fits one");
    frame.split_off(PREFIX_BYTES)
}

/// A machine on which every short name is somebody's.
struct Everyone;

impl Names for Everyone {
    fn user(&self, name: &str) -> io::Result<Option<Uid>> {
        Ok((name.len() < 8).then(|| Uid::new(1000)).flatten())
    }

    fn group(&self, name: &str) -> io::Result<Option<Gid>> {
        Ok((name.len() < 8).then(|| Gid::new(100)).flatten())
    }
}
