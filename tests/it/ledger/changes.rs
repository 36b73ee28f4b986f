//! A large state: what changes is written beside it, and read with it; torn, damaged, newer, of another file.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use fairshare::testing::identity::JobId;
use fairshare::testing::ledger::{Canceller, Command, Image, Ledger, Wait};
use fairshare::testing::quantity::Bytes;
use fairshare::testing::state::{self, Loaded, STATE_VERSION, StateFile, Unusable};

use super::village::{GIB, ledger, named, policy, request, say, submit};

/// As many who wait as make a state large.
const MANY: u64 = 170;

/// A machine that is full, and many who wait for it.
fn large() -> Ledger {
    let mut ledger = ledger();
    let policy = policy();
    say(&mut ledger, 0, request(&policy, 9, named(8000, 8 * GIB), None, Wait::No)).unwrap();
    for raw in 0..MANY {
        add(&mut ledger, raw);
    }
    assert!(state::encode(&ledger.image()).unwrap().len() > 64 << 10, "too small to be called large");
    ledger
}

fn add(ledger: &mut Ledger, ms: u64) -> JobId {
    let id = JobId(ledger.next_job());
    say(ledger, ms, submit(&policy(), 1 + ms % 5, named(4000, GIB), None, Bytes(9))).unwrap();
    id
}

fn cancel(ledger: &mut Ledger, ms: u64, job: JobId) {
    let by = Canceller::Admin;
    say(ledger, ms, Command::Cancel { job, by }).unwrap();
}

fn loaded(dir: &Path) -> Image {
    match StateFile::open(dir).unwrap().load(7).unwrap() {
        Loaded::Image { image, torn: 0 } => image,
        other => panic!("{other:?}"),
    }
}

/// The image as it is read: who is inside is not remembered.
fn read(image: &Image) -> Image {
    state::parse(&state::encode(image).unwrap()).unwrap()
}

/// The state file's own bytes, and those of the changes beside it.
fn bytes(dir: &Path) -> (Vec<u8>, Vec<u8>) {
    (fs::read(dir.join("state")).unwrap(), fs::read(dir.join("state.changes")).unwrap_or_default())
}

/// A large state and these changes beside it: the folder, and the images, of which the last was stored last.
fn with_changes(count: u64) -> (tempfile::TempDir, Vec<Image>) {
    let dir = tempfile::tempdir().unwrap();
    let mut file = StateFile::open(dir.path()).unwrap();
    let mut ledger = large();
    let mut images = vec![ledger.image()];
    file.save(ledger.image()).unwrap();
    for more in 0..count {
        let job = add(&mut ledger, MANY + more);
        if more % 3 == 2 {
            cancel(&mut ledger, MANY + more, JobId(job.0 - 1));
        }
        file.save(ledger.image()).unwrap();
        images.push(ledger.image());
    }
    (dir, images)
}

/// The same with each of these bytes of the changes where they are, and what a daemon makes of it.
fn with(dir: &Path, changes: &[u8]) -> Result<Image, Unusable> {
    state::parse_with(&bytes(dir).0, changes)
}

#[test]
fn of_a_large_state_what_changes_is_written() {
    let (dir, images) = with_changes(8);
    let (file, changes) = bytes(dir.path());
    assert_eq!(file, state::encode(&images[0]).unwrap(), "the state file was written again");
    assert!(changes.len() * 4 < file.len(), "{} bytes of changes beside {}", changes.len(), file.len());
    assert_eq!(fs::metadata(dir.path().join("state.changes")).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(loaded(dir.path()), read(images.last().unwrap()));
}

#[test]
fn a_small_state_is_written_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = StateFile::open(dir.path()).unwrap();
    let mut ledger = ledger();
    for more in 0..20 {
        add(&mut ledger, more);
        file.save(ledger.image()).unwrap();
        assert_eq!(state::parse(&bytes(dir.path()).0), Ok(read(&ledger.image())));
    }
    assert!(!dir.path().join("state.changes").exists());
}

/// Each change is as large as a job: the file of changes comes to be as large as the state, and is begun anew.
#[test]
fn changes_never_outgrow_the_state() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = StateFile::open(dir.path()).unwrap();
    let mut ledger = large();
    let (mut anew, mut before) = (0, Vec::new());
    for more in 0..2 * MANY {
        let job = add(&mut ledger, MANY + more);
        cancel(&mut ledger, MANY + more, job);
        file.save(ledger.image()).unwrap();
        let (whole, changes) = bytes(dir.path());
        assert!(changes.len() <= whole.len(), "{} bytes of changes beside {}", changes.len(), whole.len());
        if whole != before {
            anew += 1;
            assert_eq!(changes.len(), 0, "changes of an older state beside a newer one");
        }
        before = whole;
        if more.is_multiple_of(16) {
            assert_eq!(state::parse_with(&before, &changes), Ok(read(&ledger.image())));
        }
    }
    assert!((2..20).contains(&anew), "written anew {anew} times");
}

/// Torn at any byte, as by a crash: what was stored before that is there, and nothing of what was not.
#[test]
fn a_change_is_there_whole_or_not_at_all() {
    let (dir, images) = with_changes(2);
    let (_, changes) = bytes(dir.path());
    let read: Vec<Image> = images.iter().map(read).collect();
    let mut last = 0;
    // Every one of a change's first and last bytes, and some of those between.
    let ends = [0, changes.len() / 2, changes.len()];
    let near =
        |length: &usize| ends.iter().any(|end| end.abs_diff(*length) < 24) || length.is_multiple_of(17);
    for length in (0..=changes.len()).filter(near) {
        let image = with(dir.path(), &changes[..length]).unwrap();
        let at = read.iter().position(|one| *one == image).unwrap_or_else(|| panic!("no image of {length}"));
        assert!(at == last || at == last + 1, "from image {last} to {at} with byte {length}");
        // What the file system may have put where nothing was written yet.
        for rest in [vec![0; 4096], vec![0xff; 4096]] {
            let torn = [&changes[..length], &rest].concat();
            assert_eq!(with(dir.path(), &torn).as_ref(), Ok(&image), "torn after {length} bytes");
        }
        last = at;
    }
    assert_eq!(last, images.len() - 1);
}

/// A bit that flips in a change after which there is another is damage, for that one was stored, and what came after it.
#[test]
fn a_flipped_bit_before_the_last_change_is_noticed() {
    let (dir, images) = with_changes(2);
    let (_, changes) = bytes(dir.path());
    let first = changes.len() - changes.windows(8).rev().position(|at| at == b"fairchg\n").unwrap() - 8;
    assert!(first > 100 && first < changes.len() - 100);
    for at in (0..changes.len()).filter(|at| at % 256 < 40 || at.is_multiple_of(11)) {
        let mut flipped = changes.clone();
        flipped[at] ^= 1 << (at % 8);
        let read_so = with(dir.path(), &flipped);
        match at < first {
            true => assert!(matches!(read_so, Err(Unusable::Damaged(_))), "byte {at}: {read_so:?}"),
            // As if it had never been written whole.
            false => assert_eq!(read_so, Ok(read(&images[1])), "byte {at}"),
        }
    }
}

/// A crash between the writing of a state file and the end of the changes before it; and a file that somebody put back.
#[test]
fn changes_of_another_state_file_are_not_believed() {
    let (dir, images) = with_changes(5);
    let (_, changes) = bytes(dir.path());
    let mut file = StateFile::open(dir.path()).unwrap();
    file.save(images[5].clone()).unwrap();
    fs::write(dir.path().join("state.changes"), &changes).unwrap();
    drop(file);
    assert_eq!(loaded(dir.path()), read(&images[5]));
    // And what comes after is appended to none of them.
    let mut file = StateFile::open(dir.path()).unwrap();
    file.save(images[3].clone()).unwrap();
    fs::write(dir.path().join("state.changes"), &changes).unwrap();
    file.save(images[4].clone()).unwrap();
    drop(file);
    assert_eq!(loaded(dir.path()), read(&images[4]));
}

#[test]
fn a_change_of_a_newer_version_is_not_touched() {
    let (dir, _) = with_changes(1);
    let (file, mut changes) = bytes(dir.path());
    changes[8..12].copy_from_slice(&(STATE_VERSION + 1).to_be_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&changes[..16]);
    hasher.update(&changes[20..]);
    changes[16..20].copy_from_slice(&hasher.finalize().to_be_bytes());
    fs::write(dir.path().join("state.changes"), &changes).unwrap();
    let refused = StateFile::open(dir.path()).unwrap().load(7).unwrap_err().to_string();
    assert!(refused.contains(&format!("state of version {}", STATE_VERSION + 1)), "{refused}");
    assert_eq!(bytes(dir.path()), (file, changes), "it was touched");
}

#[test]
fn what_is_damaged_is_kept_aside_with_the_state() {
    let (dir, _) = with_changes(3);
    let (file, mut changes) = bytes(dir.path());
    changes[40] ^= 4;
    fs::write(dir.path().join("state.changes"), &changes).unwrap();
    let (moved_to, why) = corrupt(dir.path(), 7);
    assert!(why.contains("a change after change 0 cannot be read"), "{why}");
    assert_eq!(moved_to, ["state.corrupt-7", "state.changes.corrupt-7"].map(|name| dir.path().join(name)));
    assert_eq!(moved_to.map(|path| fs::read(path).unwrap()), [file, changes]);
    assert!(matches!(StateFile::open(dir.path()).unwrap().load(8).unwrap(), Loaded::Fresh));
}

/// The files that are put aside, and why.
fn corrupt(dir: &Path, wall_ms: u64) -> ([PathBuf; 2], String) {
    match StateFile::open(dir).unwrap().load(wall_ms).unwrap() {
        Loaded::Corrupt { moved_to, why } => (moved_to.try_into().unwrap(), why),
        other => panic!("it was believed: {other:?}"),
    }
}

/// Where a daemon died while it put both aside, or somebody took one away: nobody believes what is left.
#[test]
fn changes_without_their_state_are_told() {
    let (dir, _) = with_changes(3);
    let (_, changes) = bytes(dir.path());
    fs::rename(dir.path().join("state"), dir.path().join("elsewhere")).unwrap();
    let Loaded::Corrupt { moved_to, why } = StateFile::open(dir.path()).unwrap().load(7).unwrap() else {
        panic!("it was believed");
    };
    assert_eq!((moved_to.len(), why.as_str()), (1, "there is state.changes and no state"));
    assert_eq!(fs::read(&moved_to[0]).unwrap(), changes);
}

/// What root does to the files of a running daemon is healed by the next write, as it is where there is one file.
#[test]
fn what_is_taken_away_or_put_back_meanwhile_is_written_anew() {
    let away = |name: &'static str| move |dir: &Path| fs::remove_file(dir.join(name)).unwrap();
    let copied = |name: &'static str| {
        move |dir: &Path| {
            fs::copy(dir.join(name), dir.join("copy")).unwrap();
            fs::rename(dir.join("copy"), dir.join(name)).unwrap();
        }
    };
    let cut = |dir: &Path| {
        fs::OpenOptions::new().write(true).open(dir.join("state.changes")).unwrap().set_len(30).unwrap();
    };
    let another = |dir: &Path| {
        fs::write(dir.join("copy"), state::encode(&ledger().image()).unwrap()).unwrap();
        fs::rename(dir.join("copy"), dir.join("state")).unwrap();
    };
    let deeds: [&dyn Fn(&Path); 5] =
        [&away("state"), &away("state.changes"), &another, &copied("state.changes"), &cut];
    for (number, deed) in deeds.iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = StateFile::open(dir.path()).unwrap();
        let mut ledger = large();
        for more in 0..3 {
            add(&mut ledger, MANY + more);
            file.save(ledger.image()).unwrap();
        }
        deed(dir.path());
        for more in 3..6 {
            add(&mut ledger, MANY + more);
            file.save(ledger.image()).unwrap();
            let (state, changes) = bytes(dir.path());
            assert_eq!(state::parse_with(&state, &changes), Ok(read(&ledger.image())), "deed {number}");
        }
        drop(file);
        assert_eq!(loaded(dir.path()), read(&ledger.image()), "deed {number}");
    }
}

/// Where nothing can be appended the next change is written with all that there is.
#[test]
fn a_change_that_cannot_be_written_beside_the_state_is_written_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = StateFile::open(dir.path()).unwrap();
    let mut ledger = large();
    file.save(ledger.image()).unwrap();
    // No file takes the place of a folder.
    fs::create_dir(dir.path().join("state.changes")).unwrap();
    for more in 0..4 {
        add(&mut ledger, MANY + more);
        file.save(ledger.image()).unwrap();
        let written = fs::read(dir.path().join("state")).unwrap();
        assert_eq!(state::parse(&written), Ok(read(&ledger.image())));
    }
}

/// Bytes at the end that are no whole change are told: they may have been one.
#[test]
fn what_is_torn_is_told() {
    let (dir, images) = with_changes(2);
    let (_, changes) = bytes(dir.path());
    fs::write(dir.path().join("state.changes"), &changes[..changes.len() - 9]).unwrap();
    let Loaded::Image { image, torn } = StateFile::open(dir.path()).unwrap().load(7).unwrap() else {
        panic!("it is no image");
    };
    assert_eq!(image, read(&images[1]));
    assert!(torn > 100 && torn < changes.len() as u64 - 100, "{torn} bytes");
}

/// A file of changes of each version that had some: what is new, what is another, and of each kind something that is gone.
#[test]
fn changes_of_each_version_stay_readable() {
    let data = |name: String| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/state").join(name);
    for version in 9..=STATE_VERSION {
        let file = fs::read(data(version.to_string())).unwrap();
        let before = state::parse(&file).unwrap();
        let mut after = Image { revision: before.revision + 1, draining: !before.draining, ..before.clone() };
        let gone = (after.jobs.remove(0).id, after.allocations.remove(0).id);
        let account = after.fairness.accounts.pop_first().unwrap().0;
        after.allocations[0].user = Some("renamed".into());
        let changes = fs::read(data(format!("{version}.changes"))).unwrap();
        assert_eq!(state::parse_with(&file, &changes), Ok(after), "{gone:?} {account}");
    }
}
