use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::contract::{EndInfo, EndKind, JobState};
use crate::identity::Uid;

fn end(uid: u64, job: u64, ended_ms: u64) -> Ended {
    let end = EndInfo {
        kind: EndKind::Submit,
        job_id: Some(job),
        task: None,
        uid,
        user: Some("alice".to_owned()),
        name: None,
        state: JobState::Done,
        cpu_milli: 1000,
        mem_bytes: 1 << 30,
        tasks_max: 64,
        lease_ms: None,
        created_ms: ended_ms.saturating_sub(10),
        waited_ms: 4,
        started_ms: Some(ended_ms.saturating_sub(6)),
        ended_ms,
        held_ms: Some(6),
        exit_code: Some(0),
        signal: None,
        oom: Some(false),
        peak_mem_bytes: None,
        needed_bytes: None,
        cpu_usec: Some(17),
        oom_kills: None,
    };
    Ended { begun_ms: end.created_ms, end }
}

fn open(dir: &Path) -> History {
    let (history, said) = History::open(dir, 77).unwrap();
    assert_eq!(said, None);
    history
}

fn all(only: Option<u64>) -> Asked {
    let only = only.and_then(Uid::new);
    Asked { only, since_ms: 0, until_ms: u64::MAX, after: None, limit: 1000 }
}

fn jobs(history: &History, asked: &Asked) -> Vec<u64> {
    history.ends(asked).unwrap().history.iter().filter_map(|end| end.job_id).collect()
}

#[test]
fn what_ended_is_there_once_whoever_opens_it() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path());
    history.add(&[end(1, 7, 100), end(2, 8, 90), end(1, 7, 100)], 0).unwrap();
    // It comes again after a start, told by another clock.
    history.add(&[Ended { begun_ms: 90, ..end(1, 7, 105) }], 0).unwrap();
    history.close();
    let history = open(dir.path());
    assert_eq!((jobs(&history, &all(None)), jobs(&history, &all(Some(1)))), (vec![8, 7], vec![7]));
    // A number that another state gave out is another job's.
    history.add(&[Ended { begun_ms: 200, ..end(1, 7, 300) }], 0).unwrap();
    assert_eq!(jobs(&history, &all(Some(1))), [7, 7]);
    let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("history"), mode("history/history.redb")), (0o700, 0o600));
}

#[test]
fn pages_come_one_after_the_other_and_leave_nothing_out() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path());
    // Many end in the same millisecond.
    let ends: Vec<Ended> = (0..50).map(|job| end(job % 2, job + 1, 100 + job / 20)).collect();
    history.add(&ends, 0).unwrap();
    for only in [None, Some(0), Some(1)] {
        for limit in [1, 7, 25, 50, 51] {
            let (mut found, mut asked) = (Vec::new(), Asked { limit, ..all(only) });
            loop {
                let answer = history.ends(&asked).unwrap();
                assert!(answer.history.len() <= limit);
                found.extend(answer.history.iter().filter_map(|end| end.job_id));
                let Some(next) = answer.next else { break };
                asked.after = Some(next);
            }
            let expected: Vec<u64> =
                (0..50).filter(|job| only.is_none_or(|only| job % 2 == only)).map(|job| job + 1).collect();
            assert_eq!(found, expected, "{only:?} {limit}");
        }
    }
    let between = Asked { since_ms: 101, until_ms: 102, ..all(None) };
    assert_eq!(jobs(&history, &between), (21..=40).collect::<Vec<u64>>());
    let never = Asked { since_ms: 102, until_ms: 101, ..all(Some(1)) };
    assert_eq!(jobs(&history, &never), Vec::<u64>::new());
}

#[test]
fn the_oldest_go_first_by_age_and_by_number() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(dir.path());
    history.bounds = Bounds { per_uid: 3, all: 5 };
    history.add(&(1..=4).map(|job| end(1, job, job * 10)).collect::<Vec<_>>(), 0).unwrap();
    assert_eq!(jobs(&history, &all(None)), [2, 3, 4]);
    history.add(&(5..=7).map(|job| end(2, job, job * 10)).collect::<Vec<_>>(), 0).unwrap();
    assert_eq!(
        (jobs(&history, &all(None)), jobs(&history, &all(Some(1)))),
        (vec![3, 4, 5, 6, 7], vec![3, 4])
    );
    history.add(&[], 50).unwrap();
    assert_eq!((jobs(&history, &all(None)), jobs(&history, &all(Some(1)))), (vec![5, 6, 7], Vec::new()));
    // What is too old already does not come in again.
    history.add(&[end(1, 4, 40)], 50).unwrap();
    assert_eq!(jobs(&history, &all(None)), [5, 6, 7]);
    // What was forgotten is no longer known, and counts for nobody.
    history.add(&(1..=3).map(|job| end(1, job, 100 + job)).collect::<Vec<_>>(), 0).unwrap();
    assert_eq!(jobs(&history, &all(Some(1))), [1, 2, 3]);
}

#[test]
fn an_end_is_written_as_this_version_has_it() {
    let mut bytes = Vec::new();
    ciborium::into_writer(&(90u64, end(1, 7, 100).end), &mut bytes).unwrap();
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    // A field more or another name of one takes a raised version.
    assert_eq!(
        (VERSION, text.as_str()),
        (1, include_str!("../../tests/data/history/end-v1.hex").trim()),
        "the records of this version are read by other daemons of it"
    );
}

#[test]
fn a_file_of_a_newer_version_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).close();
    let path = dir.path().join("history/history.redb");
    let database = Builder::new().create(&path).unwrap();
    let write = database.begin_write().unwrap();
    let meta: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("meta");
    write.open_table(meta).unwrap().insert("version", VERSION + 1).unwrap();
    write.commit().unwrap();
    drop(database);
    let fault = History::open(dir.path(), 77).unwrap_err();
    assert!(matches!(fault, HistoryFault::Newer { version: 2, .. }), "{fault}");
    assert!(path.exists());
}

/// Runs on a thread of the history's name.
fn on_its_thread<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name(THREAD.to_owned()).spawn_scoped(scope, act).unwrap();
        thread.join().unwrap()
    })
}

fn whole_file() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path());
    history.add(&(1..=300).map(|job| end(job % 3, job, job)).collect::<Vec<_>>(), 0).unwrap();
    history.close();
    fs::read(dir.path().join("history/history.redb")).unwrap()
}

/// Opens and uses what is left of a file: it does its work, with the same ends or after the file was put aside.
fn works(bytes: &[u8]) -> bool {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("history")).unwrap();
    fs::write(dir.path().join("history/history.redb"), bytes).unwrap();
    on_its_thread(|| {
        let (mut history, mut said) = History::open(dir.path(), 77).unwrap();
        // Some damage is seen no sooner than where it is.
        if let Err(HistoryFault::Damaged { .. }) = history.add(&[end(9, 1000, 5000)], 0) {
            said = Some(history.put_aside(77).unwrap());
            history = open(dir.path());
        }
        history.add(&[end(9, 1000, 5000)], 0).unwrap();
        assert_eq!(jobs(&history, &all(Some(9))), [1000]);
        let expected = if said.is_some() { 1 } else { 301 };
        assert_eq!(history.ends(&all(None)).unwrap().history.len(), expected);
        let aside = dir.path().join("history/history.damaged-77");
        assert_eq!(aside.exists(), said.is_some());
        said.is_some()
    })
}

#[test]
fn a_damaged_file_is_put_aside_and_another_one_begun() {
    let whole = whole_file();
    assert!(!works(&whole));
    for length in [1, 100, 4096, 5000, whole.len() / 2, whole.len() - 1] {
        assert!(works(&whole[..length]), "of {length} bytes");
    }
    assert!(works(b"not a database"));
    // Where the library keeps what all else hangs on.
    for at in 0..320 {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        works(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever byte is another one, nothing but the file's own content is lost, and nothing is told that is not so.
    #[test]
    fn no_byte_of_it_makes_anything_else_fail(at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let mut bytes = whole_file();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        works(&bytes);
    }
}

/// As where the disk is full: who wants room there finds as much as without a history.
#[test]
fn on_a_full_disk_the_file_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(dir.path());
    history.add(&(1..=500).map(|job| end(1, job, job)).collect::<Vec<_>>(), 0).unwrap();
    history.add(&[], 400).unwrap();
    let file = dir.path().join("history/history.redb");
    let before = fs::read(&file).unwrap();
    history.room_min = u64::MAX;
    for ends in [vec![end(1, 501, 501)], Vec::new()] {
        let fault = history.add(&ends, 450).unwrap_err();
        assert!(matches!(fault, HistoryFault::Full { .. }), "{fault}");
    }
    assert_eq!(jobs(&history, &all(None)), (400..=500).collect::<Vec<u64>>());
    history.leave();
    assert!(fs::read(&file).unwrap() == before, "it was written");
    // Where there is room, it is cut to what it needs.
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("history")).unwrap();
    let copied = copy.path().join("history/history.redb");
    fs::copy(&file, &copied).unwrap();
    open(copy.path()).leave();
    assert!(fs::metadata(&copied).unwrap().len() < before.len() as u64);
}

/// Whatever is done with it, and wherever it is left, a file that is whole is taken for whole.
#[test]
fn what_is_whole_is_not_put_aside() {
    use proptest::test_runner::{Config, TestRunner};
    let steps = prop::collection::vec(0..6u8, 1..24);
    TestRunner::new(Config::with_cases(60))
        .run(&steps, |steps| {
            let mut dir = tempfile::tempdir().unwrap();
            let mut history = open(dir.path());
            let mut next = 1;
            for step in &steps {
                match step {
                    0 => {
                        let ends: Vec<Ended> = (next..next + 40).map(|job| end(job % 3, job, job)).collect();
                        next += 40;
                        history.add(&ends, 0).unwrap();
                    }
                    1 => history.add(&[end(1, 1, 1)], 0).unwrap(),
                    2 => history.add(&[], next / 2).unwrap(),
                    3 => drop(history.ends(&all(None)).unwrap()),
                    4 => {
                        history.close();
                        let (again, said) = History::open(dir.path(), 77).unwrap();
                        prop_assert_eq!(said, None, "closed: {:?}", &steps);
                        history = again;
                    }
                    _ => {
                        // As SIGKILL leaves it.
                        std::mem::forget(history);
                        let copy = tempfile::tempdir().unwrap();
                        fs::create_dir(copy.path().join("history")).unwrap();
                        let file = "history/history.redb";
                        fs::copy(dir.path().join(file), copy.path().join(file)).unwrap();
                        dir = copy;
                        let (again, said) = History::open(dir.path(), 77).unwrap();
                        prop_assert_eq!(said, None, "killed: {:?}", &steps);
                        history = again;
                    }
                }
            }
            Ok(())
        })
        .unwrap();
}
