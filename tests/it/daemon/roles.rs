//! Who may do what, as other users: only root can become them, so that for anyone else these tests show nothing.

use std::io::{ErrorKind, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::thread;

use fairshare::wire::answer::Answer;
use fairshare::wire::call::Call;
use fairshare::wire::decode::{HelloReply, decode_hello_reply};
use fairshare::wire::error::Code;
use fairshare::wire::message::Body;

use super::harness::{Daemon, Home, POLICY};
use super::raw::{Raw, hello_frame, request_for};
use crate::stand_in::World;

const NOGROUP: u32 = 65_534;
const MEMBER: u32 = 4001;

/// How a command of this user ended, and what it said.
fn fairshare(daemon: &Daemon, uid: u32, gid: u32, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_fairshare"))
        .arg("--socket")
        .arg(daemon.socket())
        .args(arguments)
        .uid(uid)
        .gid(gid)
        .current_dir("/")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

/// The daemon under this policy; none where the test cannot become another user.
fn daemon(policy: &str) -> Option<(World, Home, Daemon)> {
    if !rustix::process::getuid().is_root() {
        return None;
    }
    let world = World::start();
    let mut home = Home::new(&world);
    home.set_policy(&format!("{POLICY}{policy}"));
    let daemon = home.activate();
    Some((world, home, daemon))
}

/// What each tier adds, as the command has it.
const LOOKING: [&[&str]; 4] = [&["status"], &["status", "--all"], &["health"], &["policy", "show"]];
const HOLDING: [&[&str]; 3] = [&["request"], &["resize", "--mem", "128M"], &["release"]];
const RULING: [&[&str]; 4] = [
    &["admin", "reload"],
    &["admin", "request", "--user", "bin"],
    &["admin", "resize", "--user", "bin", "--mem", "32M"],
    &["admin", "release", "--user", "bin"],
];

fn check(daemon: &Daemon, uid: u32, gid: u32, may_hold: bool, may_rule: bool) {
    let tiers = [(&LOOKING[..], true), (&HOLDING[..], may_hold), (&RULING[..], may_rule)];
    for (commands, may) in tiers {
        for arguments in commands {
            let (code, said) = fairshare(daemon, uid, gid, arguments);
            assert_eq!(code, if may { 0 } else { 77 }, "uid {uid} gid {gid} {arguments:?}: {said}");
            assert_eq!(said.contains("your role is") || said.contains("role"), !may || said.contains("role"));
        }
    }
}

#[test]
fn roles_are_what_the_policy_and_the_kernel_say() {
    let roles = "users: {daemon: {role: admin}}\ngroups: {nogroup: {role: read_only}, sys: {role: admin}}\n";
    let Some((_world, _home, daemon)) = daemon(roles) else { return };
    check(&daemon, 0, 0, true, true);
    check(&daemon, 1, 1, true, true);
    check(&daemon, MEMBER, 3, true, true);
    check(&daemon, MEMBER, MEMBER, true, false);
    check(&daemon, MEMBER, NOGROUP, false, false);
}

#[test]
fn a_share_of_another_is_out_of_reach_and_untouched() {
    let Some((world, home, daemon)) = daemon("") else { return };
    assert_eq!(fairshare(&daemon, 1, 1, &["request"]).0, 0);
    let before = world.unit("fairshare-1.slice");
    for arguments in [
        &["admin", "release", "--user", "daemon"][..],
        &["admin", "release", "--user", "daemon", "--stop"],
        &["admin", "resize", "--user", "daemon", "--mem", "4M"],
    ] {
        let (code, said) = fairshare(&daemon, MEMBER, MEMBER, arguments);
        assert_eq!(code, 77, "{said}");
    }
    assert_eq!(world.unit("fairshare-1.slice"), before);
    assert_eq!(home.state().shares.len(), 1);
}

#[test]
fn totals_hide_who_holds_what() {
    let Some((_world, _home, daemon)) = daemon("visibility: totals\n") else { return };
    for uid in [1, 2] {
        assert_eq!(fairshare(&daemon, uid, uid, &["request"]).0, 0);
    }
    let (_, said) = fairshare(&daemon, 1, 1, &["status", "--all", "--json"]);
    assert!(said.contains("fairshare-1.slice") && !said.contains("fairshare-2.slice"), "{said}");
    let (_, said) = fairshare(&daemon, 0, 0, &["status", "--all", "--json"]);
    assert!(said.contains("fairshare-1.slice") && said.contains("fairshare-2.slice"), "{said}");
}

/// Ids that do not fit an `int`, and the last that there is.
#[test]
fn large_user_ids_are_user_ids() {
    let Some((world, mut home, daemon)) = daemon("") else { return };
    let uids = [(1 << 31) - 1, 1 << 31, u32::MAX - 1];
    for uid in uids {
        let (code, said) = fairshare(&daemon, uid, uid, &["request"]);
        assert_eq!(code, 0, "{uid}: {said}");
        let slice = format!("fairshare-{uid}.slice");
        assert_eq!(world.unit(&slice).map(|unit| unit.active), Some("active"));
        let (_, said) = fairshare(&daemon, uid, uid, &["status", "--json"]);
        assert!(said.contains(&slice), "{said}");
    }
    daemon.kill();
    let daemon = home.activate();
    for uid in uids {
        let (code, said) = fairshare(&daemon, uid, uid, &["release"]);
        assert_eq!(code, 0, "{uid}: {said}");
        assert!(world.unit(&format!("fairshare-{uid}.slice")).is_none());
    }
    // One more is nobody: the kernel keeps it for "leave as it is".
    let error = daemon.client().refused(&request_for(u32::MAX.into()), Code::BadRequest);
    assert!(error.message.contains("user"), "{error:?}");
}

/// One user with all the connections that a user can have keeps nobody else out.
#[test]
fn connections_are_counted_by_user() {
    let Some((_world, _home, daemon)) = daemon("") else { return };
    let _open: Vec<_> = (0..16).map(|_| daemon.client()).collect();
    let (code, said) = fairshare(&daemon, 0, 0, &["status"]);
    assert_eq!(code, 75, "{said}");
    assert_eq!(fairshare(&daemon, MEMBER, MEMBER, &["request"]).0, 0);
}

/// Connections of another user: the kernel notes whose they are when they are made, by the thread that makes them.
fn connections(daemon: &Daemon, uid: u32, count: usize) -> Vec<Raw> {
    let socket = daemon.socket();
    let connect = move || {
        rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(uid)).unwrap();
        (0..count).map(|_| Raw::connect(socket)).collect()
    };
    thread::scope(|scope| scope.spawn(connect).join().unwrap())
}

/// 512 in all: who comes then waits unheard, while what is open is served and the deadlines run.
#[test]
fn all_connections_together_are_bounded() {
    let Some((_world, _home, daemon)) = daemon("") else { return };
    let mut open: Vec<Raw> = (0..32).flat_map(|user| connections(&daemon, MEMBER + user, 16)).collect();
    for raw in &mut open {
        raw.greet().unwrap();
    }
    let mut one_more = connections(&daemon, MEMBER + 100, 1).remove(0);
    one_more.send(&hello_frame());
    for raw in &mut open {
        assert!(matches!(raw.ask(&Call::Ping), Ok(Answer::Pong { .. })));
    }
    one_more.stream.set_nonblocking(true).unwrap();
    let heard = one_more.stream.read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(heard, Err(ErrorKind::WouldBlock));
    one_more.stream.set_nonblocking(false).unwrap();
    // Somebody's frame does not end: its deadline makes room.
    open[0].send(&hello_frame()[..1]);
    match open[0].response().map(|response| response.body) {
        Some(Body::Err(error)) => assert!(error.is(Code::Timeout), "{error:?}"),
        other => panic!("no error: {other:?}"),
    }
    assert!(matches!(decode_hello_reply(&one_more.payload().unwrap()), Ok(HelloReply::Ack(_))));
}
