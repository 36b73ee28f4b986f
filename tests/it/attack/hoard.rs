//! Many users who each hold as much of the daemon's memory as they can get.

use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::ops::Range;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use fairshare::wire::frame::FRAME_BYTES_MAX;

use super::daemon::Daemon;
use super::peer::Peer;
use crate::root::is_root;

/// Users with this many connections each, who have all but four of the 1008 places of members between them.
const HOARDERS: [(usize, usize); 2] = [(MANY, 64), (75, 4)];
const MANY: usize = 11;
/// The largest frame that a connection may hold back beside all others.
const SMALL: usize = 16 << 10;

/// All but the last byte of a frame.
fn held_back(length: usize) -> Vec<u8> {
    let mut frame = u32::try_from(length).unwrap().to_be_bytes().to_vec();
    frame.resize(length + 3, 0x40);
    frame
}

/// Holds frames back, a large one and small ones, until it is told that it is enough. Does nothing but where it was started by
/// the test below: another user must be another process.
#[test]
fn hoarder() {
    let Some(socket) = std::env::var_os("FAIRSHARE_HOARD") else { return };
    let count: usize = std::env::var("FAIRSHARE_HOARD_CONNECTIONS").unwrap().parse().unwrap();
    let (large, small) = (held_back(FRAME_BYTES_MAX), held_back(SMALL));
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let mut peers: Vec<Peer> = (0..count).map(|_| Peer::new(Path::new(&socket))).collect();
    println!("connected");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let mut left = vec![&small[..]; count];
    left[0] = &large;
    // As much as the daemon takes: what is in the kernel's buffers is not the daemon's memory.
    for _ in 0..40 {
        for (peer, left) in peers.iter_mut().zip(&mut left) {
            peer.stream.set_nonblocking(true).unwrap();
            match peer.stream.write(left) {
                Ok(count) => *left = &left[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
        std::thread::yield_now();
    }
    println!("hoarding");
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn frames_held_back_by_many_users_do_not_add_up() {
    if !is_root() {
        return; // one user cannot be many
    }
    let mut daemon = Daemon::start();
    // Starting so many programs keeps the machine busy, and not the daemon: they wait until all are there.
    let counts = HOARDERS.into_iter().flat_map(|(users, count)| (0..users).map(move |_| count));
    let mut hoarders: Vec<_> =
        (20_000..).zip(counts).map(|(uid, count)| start(&daemon.socket(), uid, count)).collect();
    let mut said: Vec<_> =
        hoarders.iter_mut().map(|hoarder| BufReader::new(hoarder.stdout.take().unwrap()).lines()).collect();
    let mut all_say = |these: Range<usize>, word: &str| {
        for lines in &mut said[these] {
            assert!(lines.map_while(Result::ok).any(|line| line.contains(word)), "{word} was not said");
        }
    };
    let all = 0..hoarders.len();
    all_say(all.clone(), "ready");
    daemon.survives_once("1004 frames of 16 KiB and of 1 MiB held back by 86 users", |_| {
        let mut go = |these: Range<usize>| {
            for hoarder in &mut hoarders[these] {
                hoarder.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
            }
        };
        // Who takes many places must have them before they are scarce.
        for these in [0..MANY, MANY..all.end] {
            go(these.clone());
            all_say(these, "connected");
        }
        go(all.clone());
        all_say(all, "hoarding");
        for mut hoarder in hoarders {
            hoarder.kill().unwrap();
            hoarder.wait().unwrap();
        }
    });
}

fn start(socket: &Path, uid: u32, connections: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "attack::hoard::hoarder", "--nocapture"])
        .env("FAIRSHARE_HOARD", socket)
        .env("FAIRSHARE_HOARD_CONNECTIONS", connections.to_string())
        .uid(uid)
        .gid(uid)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}
