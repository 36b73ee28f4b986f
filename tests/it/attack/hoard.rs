//! Many users who each hold as much of the daemon's memory as they can get.

use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use fairshare::wire::frame::FRAME_BYTES_MAX;

use super::daemon::Daemon;
use super::peer::Peer;
use crate::root::is_root;

/// Users, who have all but a few of the 512 connections between them.
const HOARDERS: u32 = 31;
/// Connections that one user can have.
const CONNECTIONS: usize = 16;

/// Holds 16 frames back, each but for its last byte, until it is told that it is enough. Does nothing but where it was
/// started by the test below: another user must be another process.
#[test]
fn hoarder() {
    let Some(socket) = std::env::var_os("FAIRSHARE_HOARD") else { return };
    let mut frame = u32::try_from(FRAME_BYTES_MAX).unwrap().to_be_bytes().to_vec();
    frame.resize(FRAME_BYTES_MAX + 3, 0x40);
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let mut peers: Vec<Peer> = (0..CONNECTIONS).map(|_| Peer::new(Path::new(&socket))).collect();
    let mut left = vec![&frame[..]; CONNECTIONS];
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
    let mut hoarders: Vec<_> = (0..HOARDERS).map(|number| start(&daemon.socket(), 20_000 + number)).collect();
    let mut said: Vec<_> =
        hoarders.iter_mut().map(|hoarder| BufReader::new(hoarder.stdout.take().unwrap()).lines()).collect();
    let mut all_say = |word: &str| {
        for lines in &mut said {
            assert!(lines.map_while(Result::ok).any(|line| line.contains(word)), "{word} was not said");
        }
    };
    all_say("ready");
    daemon.survives("16 frames of 1 MiB held back by each of 31 users", |_| {
        for hoarder in &mut hoarders {
            hoarder.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        }
        all_say("hoarding");
        for mut hoarder in hoarders {
            hoarder.kill().unwrap();
            hoarder.wait().unwrap();
        }
    });
}

fn start(socket: &Path, uid: u32) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "attack::hoard::hoarder", "--nocapture"])
        .env("FAIRSHARE_HOARD", socket)
        .uid(uid)
        .gid(uid)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}
