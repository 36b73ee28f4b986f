//! What the daemon makes of a user database that answers, answers late, or does not.

use std::fs;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use tempfile::TempDir;

use super::*;
use crate::serving::service::Standing as _;

fn uid(raw: u64) -> Uid {
    Uid::new(raw).expect("a user")
}

/// A database of two files, with alice (1001) in the group, and mallory (1666) not.
struct Database(TempDir);

impl Database {
    fn new() -> (Self, Accounts) {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("passwd"), "alice:x:1001:1001:::\nmallory:x:1666:1666:::\n").unwrap();
        let database = Self(dir);
        database.members("alice");
        let accounts = Accounts::of(Directory::Files(database.0.path().to_owned()));
        (database, accounts)
    }

    fn members(&self, names: &str) {
        fs::write(self.0.path().join("group"), format!("fairshare:x:990:{names}\n")).unwrap();
    }

    /// From now on it says that it cannot be asked.
    fn fail(&self) {
        fs::remove_file(self.0.path().join("passwd")).unwrap();
    }
}

fn age(accounts: &Accounts, of: Uid, by: Duration) {
    let state = accounts.state();
    let entry = state.entries.get(&of).expect("somebody known");
    entry.known.send_modify(|known| known.at = known.at.and_then(|at| at.checked_sub(by)));
}

#[tokio::test]
async fn a_member_is_an_account_in_the_group() {
    let (_database, accounts) = Database::new();
    let alice = accounts.member(uid(1001)).await.unwrap();
    assert_eq!((alice.name().as_deref(), alice.holds()), (Some("alice"), Ok(())));
    for (stranger, needs) in [(1666, "adduser mallory fairshare"), (100_001, "no account of this machine")] {
        let error = accounts.member(uid(stranger)).await.unwrap_err();
        assert!(error.is(Code::Forbidden) && error.more().as_deref().unwrap().contains(needs), "{error:?}");
    }
    assert!(accounts.member(Uid::ROOT).await.is_ok());
}

#[tokio::test]
async fn what_was_given_and_taken_holds_soon() {
    let (database, accounts) = Database::new();
    let mut alice = accounts.member(uid(1001)).await.unwrap();
    assert!(accounts.member(uid(1666)).await.is_err());
    database.members("mallory");
    // Not before the time that is named.
    accounts.refresh();
    assert!(accounts.member(uid(1001)).await.is_ok());
    age(&accounts, uid(1666), Duration::from_secs(2));
    assert!(accounts.member(uid(1666)).await.is_ok());
    age(&accounts, uid(1001), Duration::from_secs(30));
    accounts.refresh();
    let lost = timeout(2 * MEMBER_FRESH, alice.lost()).await.expect("who is connected is asked for again");
    assert!(lost.is(Code::Forbidden));
    assert!(alice.holds().is_err() && accounts.member(uid(1001)).await.is_err());
}

#[tokio::test]
async fn while_the_database_does_not_answer_what_it_said_last_holds() {
    let (database, accounts) = Database::new();
    let alice = accounts.member(uid(1001)).await.unwrap();
    database.fail();
    age(&accounts, uid(1001), Duration::from_secs(30));
    assert!(accounts.member(uid(1001)).await.is_ok() && alice.holds().is_ok());
    let error = accounts.member(uid(1666)).await.unwrap_err();
    assert!(error.is(Code::Degraded) && error.retryable, "{error:?}");
    // It is asked again by itself, and then it answers.
    fs::write(database.0.path().join("passwd"), "mallory:x:1666:990:::\n").unwrap();
    age(&accounts, uid(1666), Duration::from_secs(2));
    assert!(accounts.member(uid(1666)).await.is_ok());
}

/// A look-up of one that hangs is not one of another.
#[tokio::test]
async fn a_look_up_that_hangs_holds_up_nobody_else() {
    let (_database, accounts) = Database::new();
    let (release, hang) = std::sync::mpsc::channel::<()>();
    let hang = Mutex::new(hang);
    let hanging = accounts.ask(Duration::from_millis(50), move |_| {
        let _ = hang.lock().unwrap().recv();
    });
    assert!(hanging.await.unwrap_err().contains("has not within"));
    assert!(accounts.member(uid(1001)).await.is_ok());
    drop(release);
}

/// A server that hangs for as many as can be asked about at a time, and more.
#[tokio::test]
async fn local_accounts_wait_for_no_server() {
    let (local, _) = Database::new();
    let server = TempDir::new().unwrap();
    let passwd = server.path().join("passwd");
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &passwd, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let files = |dir: &TempDir| Directory::Files(dir.path().to_owned());
    let accounts = Accounts::with_local(files(&server), files(&local.0));
    let asked = Instant::now();
    let hanging: Vec<_> = (0..20).map(|number| accounts.look(uid(100_000 + number), asked)).collect();
    let alice = accounts.member(uid(1001)).await.unwrap();
    assert_eq!(alice.name().as_deref(), Some("alice"));
    assert!(hanging.iter().all(|known| known.borrow().at.is_none()), "the server answered");
    // A look-up ends when the pipe has been opened to write and closed again after the look-up opened it.
    let pipe = server.path().join("pipe");
    fs::rename(&passwd, &pipe).unwrap();
    fs::write(&passwd, "").unwrap();
    while hanging.iter().any(|known| known.borrow().at.is_none()) {
        // ENXIO: no look-up has it open at this moment.
        let _ = rustix::fs::open(&pipe, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty());
        tokio::task::yield_now().await;
    }
}
