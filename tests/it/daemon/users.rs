//! Other users: a database that has them, and connections of theirs, which only root can make.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::thread;

use super::harness::Daemon;
use super::raw::Raw;

/// An account that is a member.
pub const MEMBER: u32 = 4001;

/// An account that is no member.
pub const MALLORY: u32 = 1666;

/// An id that is no account, as containers have them.
pub const OF_A_CONTAINER: u32 = 100_001;

/// A user database for a daemon: this machine's, and more users than a machine has. All are members but [`MALLORY`].
pub fn database(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let mut passwd = fs::read_to_string("/etc/passwd").unwrap();
    let group = fs::read_to_string("/etc/group").unwrap();
    let known = |passwd: &str, uid: u32| passwd.contains(&format!(":x:{uid}:"));
    let own = rustix::process::getuid().as_raw();
    let large = [own, (1 << 31) - 1, 1 << 31, u32::MAX - 1];
    for uid in (4001..4150).chain(20_000..20_300).chain(large) {
        if !known(&passwd, uid) {
            writeln!(passwd, "user{uid}:x:{uid}:{uid}:::").unwrap();
        }
    }
    let members: Vec<&str> = passwd.lines().filter_map(|line| line.split(':').next()).collect();
    let group: String = group
        .lines()
        .filter(|line| !line.starts_with("fairshare:"))
        .map(|line| format!("{line}\n"))
        .collect();
    let group = format!("{group}fairshare:x:990:{}\n", members.join(","));
    writeln!(passwd, "mallory:x:{MALLORY}:{MALLORY}:::").unwrap();
    fs::write(folder.join("passwd"), passwd).unwrap();
    fs::write(folder.join("group"), group).unwrap();
}

/// Connections of another user in these groups: the kernel notes whose they are when they are made, by the thread that
/// makes them.
pub fn connections_in(daemon: &Daemon, uid: u32, groups: &[u32], count: usize) -> Vec<Raw> {
    let socket = daemon.socket();
    let groups: Vec<_> = groups.iter().map(|gid| rustix::process::Gid::from_raw(*gid)).collect();
    let connect = move || {
        rustix::thread::set_thread_groups(&groups).unwrap();
        rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(uid)).unwrap();
        (0..count).map(|_| Raw::connect(socket)).collect()
    };
    thread::scope(|scope| scope.spawn(connect).join().unwrap())
}

/// Connections of another user, in no group but the one that is root's.
pub fn connections(daemon: &Daemon, uid: u32, count: usize) -> Vec<Raw> {
    connections_in(daemon, uid, &[], count)
}

/// A connection of another user that has said hello.
pub fn member(daemon: &Daemon, uid: u32) -> Raw {
    let mut raw = connections(daemon, uid, 1).remove(0);
    raw.greet().unwrap_or_else(|error| panic!("uid {uid}: {error:?}"));
    raw
}
