//! The state file: torn, damaged, newer, not writable.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use fairshare::contract::{Call, Reload, Undrain};
use fairshare::testing::state::{self, STATE_VERSION, StateFile, Unusable};
use fairshare::wire::error::Code;

use super::degraded::FIGURES;
use super::harness::{DEFAULTS, Home, image, share};
use super::raw::request;
use crate::stand_in::World;

/// A state file with one share, as bytes.
fn sound() -> Vec<u8> {
    state::encode(&image(vec![share(1, DEFAULTS), share(2, DEFAULTS)])).unwrap()
}

/// The bytes with a version and the checksum that goes with it, as a newer daemon would write them.
fn of_version(mut bytes: Vec<u8>, version: u32) -> Vec<u8> {
    bytes[8..12].copy_from_slice(&version.to_be_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..16]);
    hasher.update(&bytes[20..]);
    bytes[16..20].copy_from_slice(&hasher.finalize().to_be_bytes());
    bytes
}

#[test]
fn torn_at_any_byte_it_is_damaged() {
    let bytes = sound();
    assert!(state::parse(&bytes).is_ok());
    for length in 0..bytes.len() {
        let parsed = state::parse(&bytes[..length]);
        assert!(matches!(parsed, Err(Unusable::Damaged(_))), "{length} of {}: {parsed:?}", bytes.len());
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(matches!(state::parse(&longer), Err(Unusable::Damaged(_))));
}

/// A sound header and checksum, and more than the one item that a state is.
#[test]
fn bytes_after_the_state_are_damage() {
    let mut longer = sound();
    longer.push(0);
    let length = u32::try_from(longer.len() - 20).unwrap();
    longer[12..16].copy_from_slice(&length.to_be_bytes());
    let longer = of_version(longer, STATE_VERSION);
    assert_eq!(state::parse(&longer), Err(Unusable::Damaged("bytes after its end".into())));
}

#[test]
fn a_write_that_failed_leaves_nothing_beside_the_state() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = StateFile::open(dir.path()).unwrap();
    // No file takes the place of a folder.
    fs::create_dir(dir.path().join("state")).unwrap();
    assert!(file.save(image(Vec::new())).is_err());
    assert!(!dir.path().join("state.new").exists());
}

/// What others hold is nobody's business, whatever the folder's mode.
#[test]
fn the_file_is_the_daemons_own() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    daemon.client().granted(&request());
    let mode = fs::metadata(home.state_file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
}

/// A file of the version before is read, and written anew with the first change.
#[test]
fn a_file_of_an_older_version_is_read_and_written_anew() {
    let world = World::start();
    let mut home = Home::new(&world);
    let old = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/state/1")).unwrap();
    fs::write(home.state_file(), &old).unwrap();
    let daemon = home.activate();
    let mut raw = daemon.client();
    // All of it was of another boot, and new requests are stopped: that outlives an upgrade.
    raw.refused(&request(), Code::Draining);
    raw.ask(&Call::Undrain(Undrain {})).unwrap();
    raw.granted(&request());
    let written = fs::read(home.state_file()).unwrap();
    assert_eq!(written[8..12], STATE_VERSION.to_be_bytes());
    assert!(home.corrupt_files().is_empty());
}

#[test]
fn any_flipped_bit_is_noticed() {
    let bytes = sound();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            let parsed = state::parse(&flipped);
            assert!(matches!(parsed, Err(Unusable::Damaged(_))), "byte {at} bit {bit}: {parsed:?}");
        }
    }
}

#[test]
fn versions_are_told_apart() {
    assert_eq!(of_version(sound(), STATE_VERSION), sound());
    let newer = state::parse(&of_version(sound(), STATE_VERSION + 1));
    assert_eq!(newer, Err(Unusable::Newer(STATE_VERSION + 1)));
    assert!(matches!(state::parse(&of_version(sound(), 0)), Err(Unusable::Damaged(_))));
}

#[test]
fn a_damaged_file_is_kept_aside_and_systemd_is_believed() {
    let whole = sound();
    let mut flipped = whole.clone();
    flipped[30] ^= 4;
    let garbage = vec![0xff; 4096];
    for damaged in [Vec::new(), whole[..10].to_vec(), whole[..whole.len() - 1].to_vec(), flipped, garbage] {
        let world = World::start();
        let mut home = Home::new(&world);
        world.make_slice("fairshare-1-own.slice", &FIGURES);
        fs::write(home.state_file(), &damaged).unwrap();
        let daemon = home.activate();
        let held: Vec<u64> = daemon.client().shares().iter().map(|share| share.uid).collect();
        assert_eq!(held, [1], "not adopted");
        let logs = daemon.logs();
        assert!(logs.contains("ERROR") && logs.contains("the state file is damaged"), "{logs}");
        let aside = home.corrupt_files();
        assert_eq!(aside.len(), 1);
        assert!(logs.contains(aside[0].to_str().unwrap()), "{logs}");
        assert_eq!(fs::read(&aside[0]).unwrap(), damaged, "what was damaged is not what was kept");
        assert_eq!(home.state().allocations.len(), 1);
        assert!(daemon.client().healthy());
        daemon.client().granted(&request());
        daemon.kill();
        // Once is enough: the next start finds a sound file.
        let daemon = home.activate();
        assert_eq!(home.corrupt_files(), aside);
        assert_eq!(daemon.client().shares().len(), 2);
    }
}

#[test]
fn a_file_of_a_newer_version_is_not_touched() {
    let world = World::start();
    let mut home = Home::new(&world);
    world.make_slice("fairshare-1-own.slice", &FIGURES);
    world.make_slice("fairshare-424242-own.slice", &FIGURES);
    let newer = of_version(sound(), STATE_VERSION + 1);
    fs::write(home.state_file(), &newer).unwrap();
    world.take_calls();
    let daemon = home.activate_with(&[]);
    let ready = daemon.wait_ready();
    assert!(ready.contains("STATUS=degraded, 1 share kept: state: "), "{ready}");
    let mut raw = daemon.client();
    let detail = raw.refused(&request(), Code::Degraded).more().unwrap();
    assert!(detail.contains(&format!("state of version {}", STATE_VERSION + 1)), "{detail}");
    assert!(detail.contains("install the newer fairshared again, or move the file away"), "{detail}");
    // What systemd has is shown, and nothing is changed: neither there nor in the file.
    assert_eq!(raw.shares().len(), 1);
    assert!(raw.ask(&Call::Reload(Reload {})).is_ok());
    raw.refused(&request(), Code::Degraded);
    daemon.stop();
    assert_eq!(fs::read(home.state_file()).unwrap(), newer);
    assert!(home.corrupt_files().is_empty());
    assert!(world.unit("fairshare-424242-own.slice").is_some());
    let changed = world
        .take_calls()
        .into_iter()
        .find(|(method, _)| method != "Subscribe" && !method.starts_with("List"));
    assert_eq!(changed, None);
}

#[test]
fn by_hand_a_newer_file_ends_it_with_78() {
    let world = World::start();
    let home = Home::new(&world);
    let newer = of_version(sound(), STATE_VERSION + 1);
    fs::write(home.state_file(), &newer).unwrap();
    let mut daemon = home.by_hand();
    assert_eq!(daemon.wait_end().code(), Some(78));
    assert!(daemon.logs().contains("install the newer fairshared again"), "{}", daemon.logs());
    assert_eq!(fs::read(home.state_file()).unwrap(), newer);
}

/// A link or a folder in the file's place is not followed, and not renamed away as if it were damaged.
#[test]
fn what_is_no_file_is_left_alone() {
    let world = World::start();
    let mut home = Home::new(&world);
    let target = world.dir().join("secret");
    fs::write(&target, "secret").unwrap();
    std::os::unix::fs::symlink(&target, home.state_file()).unwrap();
    let daemon = home.activate();
    let detail = daemon.client().refused(&request(), Code::Degraded).more().unwrap();
    assert!(detail.contains("cannot open"), "{detail}");
    assert_eq!(fs::read(&target).unwrap(), b"secret");
    fs::remove_file(home.state_file()).unwrap();
    fs::create_dir(home.state_file()).unwrap();
    assert!(daemon.client().ask(&Call::Reload(Reload {})).is_ok());
    daemon.client().refused(&request(), Code::Degraded);
    assert!(home.state_file().is_dir());
}
