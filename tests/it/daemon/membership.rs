//! Who is served: accounts in the members' group, by the user database; and that no one takes the others' places.

use std::fs;
use std::process::Command;

use fairshare::contract::{Answer, Body, Call, List, Ping, Pong, Reload};
use fairshare::wire::error::{Code, WireError};
use rustix::fs::{FileType, Mode, mknodat};

use super::harness::{Daemon, Home, PATIENCE};
use super::raw::{Raw, request};
use super::users::{MALLORY, MEMBER, OF_A_CONTAINER, connections, member};
use crate::poll::until;
use crate::root::is_root;
use crate::stand_in::World;

/// Places in all, those of root among them, those of one user, and how many a user has at least when places are scarce.
const PLACES: usize = 1024;
const OF_ROOT: usize = 16;
const OF_A_USER: usize = 64;
const FEW: usize = 4;
const SCARCE: usize = 768;

fn daemon() -> Option<(World, Home, Daemon)> {
    if !is_root() {
        return None;
    }
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    Some((world, home, daemon))
}

/// How a new connection of this user is refused, and closed.
fn turned_away(daemon: &Daemon, uid: u32) -> WireError {
    let mut raw = connections(daemon, uid, 1).remove(0);
    let error = raw.greet().expect_err("it was greeted");
    assert!(raw.response().is_none(), "not closed");
    error
}

#[test]
fn who_is_no_member_is_refused_and_told_what_is_needed() {
    let Some((_world, home, daemon)) = daemon() else { return };
    assert!(member(&daemon, MEMBER).ask(&Call::Ping(Ping {})).is_ok());
    for (uid, needs) in [(MALLORY, "adduser mallory fairshare"), (OF_A_CONTAINER, "no account")] {
        let error = turned_away(&daemon, uid);
        assert!(error.is(Code::Forbidden) && !error.retryable, "{error:?}");
        assert!(error.more().as_deref().unwrap().contains(needs), "{error:?}");
    }
    assert!(daemon.client().shares().is_empty());
    let group = home.accounts().join("group");
    let without = fs::read_to_string(&group).unwrap().replace("\nfairshare:", "\nothers:");
    fs::write(&group, without).unwrap();
    // Root is served whatever the database says.
    assert!(daemon.client().healthy());
    let error = turned_away(&daemon, MEMBER + 1);
    assert!(error.more().as_deref().unwrap().contains("systemd-sysusers"), "{error:?}");
}

/// A database that hangs: reading it waits for somebody who writes, and nobody does.
#[test]
fn a_database_that_hangs_holds_up_nobody_whose_answer_is_known() {
    let Some((_world, home, daemon)) = daemon() else { return };
    let mut known = member(&daemon, MEMBER);
    let passwd = home.accounts().join("passwd");
    let text = fs::read_to_string(&passwd).unwrap();
    fs::remove_file(&passwd).unwrap();
    mknodat(rustix::fs::CWD, &passwd, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let mut unknown = connections(&daemon, MEMBER + 1, 1).remove(0);
    unknown.send(&super::raw::hello_frame());
    // What needs no answer of it is served meanwhile: known members, root, lists, what a member's own name goes into.
    assert!(known.ask(&Call::List(List {})).is_ok());
    known.granted(&request());
    assert!(member(&daemon, MEMBER).ask(&Call::Ping(Ping {})).is_ok());
    assert!(daemon.client().shares().len() == 1);
    let error = match unknown.response().map(|response| response.body) {
        Some(Body::Err(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(error.is(Code::Degraded) && error.retryable, "{error:?}");
    // It comes back by itself.
    let hung = fs::OpenOptions::new().write(true).open(&passwd).unwrap();
    fs::remove_file(&passwd).unwrap();
    fs::write(&passwd, text).unwrap();
    drop(hung);
    until("the database", PATIENCE, || connections(&daemon, MEMBER + 1, 1).remove(0).greet().ok());
}

#[test]
fn who_is_no_member_any_more_loses_what_is_open() {
    let Some((_world, home, daemon)) = daemon() else { return };
    let mut open = member(&daemon, MEMBER);
    let mut follows = member(&daemon, MEMBER);
    follows.follow(None, None);
    let group = home.accounts().join("group");
    let without = fs::read_to_string(&group).unwrap().replace(&format!("user{MEMBER},"), "");
    fs::write(&group, without).unwrap();
    // A reload asks again; without one it would be asked within half a minute.
    daemon.client().ask(&Call::Reload(Reload {})).unwrap();
    let error = loop {
        match follows.response().map(|response| response.body) {
            Some(Body::Err(error)) => break error,
            Some(Body::Event(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(error.is(Code::Forbidden), "{error:?}");
    assert!(follows.response().is_none(), "not closed");
    open.refused(&Call::Ping(Ping {}), Code::Forbidden);
    assert!(open.response().is_none(), "not closed");
    assert!(turned_away(&daemon, MEMBER).is(Code::Forbidden));
}

fn fairshare(daemon: &Daemon, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairshare"));
    let output = command.arg("--socket").arg(daemon.socket()).args(arguments).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

/// All places that members can have are taken: a few more get none, root does, and what is open is served.
#[test]
fn members_together_leave_places_for_root_and_a_few_for_each_other() {
    let Some((_world, _home, daemon)) = daemon() else { return };
    let (_, most) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, most, most).unwrap();
    let mut open: Vec<Raw> = Vec::new();
    let mut uid = 20_000;
    while open.len() < SCARCE {
        open.extend(connections(&daemon, uid, OF_A_USER));
        open.iter_mut().rev().take(OF_A_USER).for_each(|raw| drop(raw.greet().unwrap()));
        assert!(turned_away(&daemon, uid).is(Code::Busy));
        uid += 1;
    }
    while open.len() < PLACES - OF_ROOT {
        open.extend(connections(&daemon, uid, FEW));
        open.iter_mut().rev().take(FEW).for_each(|raw| drop(raw.greet().unwrap()));
        assert!(turned_away(&daemon, uid).is(Code::Busy));
        uid += 1;
    }
    let error = turned_away(&daemon, uid);
    assert_eq!((error.is(Code::Busy), error.retry_after_ms), (true, Some(1000)));
    for arguments in [["admin", "drain"], ["admin", "undrain"], ["admin", "reload"]] {
        let (code, said) = fairshare(&daemon, &arguments);
        assert_eq!(code, 0, "{arguments:?}: {said}");
    }
    for raw in &mut open {
        assert!(matches!(raw.ask(&Call::Ping(Ping {})), Ok(Answer::Pong(Pong { .. }))));
    }
    open.truncate(PLACES - OF_ROOT - FEW);
    until("the places that were given back", PATIENCE, || {
        connections(&daemon, uid, 1).remove(0).greet().ok()
    });
}
