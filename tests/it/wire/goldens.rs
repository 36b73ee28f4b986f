//! Every kind of message against the frames in `tests/data/frames`, byte for byte.
//!
//! `FAIRSHARE_WRITE_FRAMES=1 cargo test --test it wire::goldens` writes them anew; what then differs is a change of
//! the contract, and is to be read as one.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use super::messages::{self, Message};

fn directory() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "data", "frames"].iter().collect()
}

/// The frame with its prefix, in lines of 32 bytes.
fn to_hex(frame: &[u8]) -> String {
    let mut hex = String::new();
    for line in frame.chunks(32) {
        line.iter().for_each(|byte| write!(hex, "{byte:02x}").unwrap());
        hex.push('\n');
    }
    hex
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

/// The payload as another decoder reads it, in the diagnostic notation of RFC 8949.
fn diagnostic(frame: &[u8]) -> String {
    format!("{}\n", minicbor::display(&frame[4..]))
}

fn golden(name: &str, extension: &str) -> String {
    let path = directory().join(format!("{name}.{extension}"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn what_is_sent_is_what_is_written_down() {
    let write = std::env::var_os("FAIRSHARE_WRITE_FRAMES").is_some();
    for (name, message) in messages::all() {
        let frame = message.frame();
        if write {
            fs::create_dir_all(directory()).unwrap();
            fs::write(directory().join(format!("{name}.hex")), to_hex(&frame)).unwrap();
            fs::write(directory().join(format!("{name}.diag")), diagnostic(&frame)).unwrap();
        }
        assert_eq!(to_hex(&frame), golden(&name, "hex"), "{name}");
        assert_eq!(diagnostic(&frame), golden(&name, "diag"), "{name}");
    }
}

#[test]
fn what_is_written_down_is_taken_for_what_it_is() {
    for (name, message) in messages::all() {
        let frame = from_hex(&golden(&name, "hex"));
        let length = u32::from_be_bytes(frame[..4].try_into().unwrap());
        assert_eq!(length as usize, frame.len() - 4, "{name}");
        assert_eq!(message.decode(&frame[4..]), Ok(message), "{name}");
    }
}

#[test]
fn there_is_a_frame_for_each_message_and_no_other() {
    let expected: BTreeSet<String> = messages::all()
        .iter()
        .flat_map(|(name, _)| [format!("{name}.hex"), format!("{name}.diag")])
        .collect();
    let found: BTreeSet<String> = fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, expected);
}

/// Written by hand from the contract, so that the encoder is not its own only witness.
#[test]
fn a_ping_is_these_bytes() {
    let (_, ping) = messages::all().into_iter().find(|(name, _)| name == "request-ping").unwrap();
    assert!(matches!(ping, Message::Request(_)));
    let by_hand = [
        &[0, 0, 0, 0x24, 0xa4][..],
        b"\x61v\x02",
        b"\x6arequest_id\x01",
        b"\x68endpoint\x64ping",
        b"\x64body\xa0",
    ];
    assert_eq!(ping.frame(), by_hand.concat());
}
