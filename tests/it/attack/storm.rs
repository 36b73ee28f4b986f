//! Much of everything.

use std::io::{ErrorKind, Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use fairshare::contract::{Body, Call, Health, List, Ping, Release, Status};
use fairshare::wire::error::Code;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};

use super::daemon::{Daemon, PATIENCE, number};
use super::peer::{Peer, frame, hello, request};

/// Connections that one user can have, with none left for what else the test does as this user.
const CONNECTIONS: usize = 14;

fn code(peer: &mut Peer) -> Option<u64> {
    match peer.response()?.body {
        Body::Err(error) => Some(error.code),
        _ => Some(0),
    }
}

#[test]
fn silence_garbage_and_lengths_that_no_frame_has() {
    let mut daemon = Daemon::start();
    daemon.survives("1000 silent connections", |socket| {
        let mut silent: Vec<Peer> = (0..1000).map(|_| Peer::silent(socket)).collect();
        // All but the first are told at once that they are too many, and all are closed in the end.
        let codes: Vec<u64> = silent.iter_mut().filter_map(code).collect();
        let count = |of: Code| codes.iter().filter(|code| **code == of.number()).count();
        assert!((62..=64).contains(&count(Code::Timeout)), "{codes:?}");
        assert_eq!(count(Code::Busy) + count(Code::Timeout), 1000);
    });
    daemon.survives("lengths that no frame has", |socket| {
        for length in [0_u32, 1 << 31, u32::MAX, (1 << 20) + 1] {
            for greeted in [false, true] {
                let mut peer = if greeted { Peer::new(socket) } else { Peer::silent(socket) };
                peer.send(&length.to_be_bytes());
                peer.closed();
            }
        }
    });
    daemon.survives("slow drips", |socket| {
        let mut peers: Vec<Peer> = (0..CONNECTIONS).map(|_| Peer::new(socket)).collect();
        let started = Instant::now();
        // A byte, and the next one when nothing was answered for a while.
        let pause = Some(Duration::from_millis(20));
        peers.iter().for_each(|peer| peer.stream.set_read_timeout(pause).unwrap());
        let mut bytes = frame(&[0x40; 4096]).into_iter();
        let mut open = true;
        while open {
            let byte = bytes.next().unwrap_or_default();
            open = peers.iter_mut().fold(false, |open, peer| open | peer.send(&[byte]));
            let _ = peers[0].stream.read(&mut [0; 64]);
        }
        let took = started.elapsed();
        assert!(took > Duration::from_secs(4) && took < PATIENCE, "{took:?}, where a frame has 5 s");
    });
    // Last: for this the user is shut out for a while.
    daemon.survives("garbage", |socket| {
        for seed in 0..200_u32 {
            let mut peer = Peer::silent(socket);
            let noise = (0..4096_u32).map(|i| (i ^ seed).wrapping_mul(2_654_435_761).to_be_bytes()[0]);
            peer.send(&noise.collect::<Vec<u8>>());
            peer.closed();
        }
    });
}

#[test]
fn descriptors_where_none_belong_are_not_kept() {
    let mut daemon = Daemon::start();
    let sends = number("FAIRSHARE_SENDS", 10_000);
    daemon.survives("descriptors sent along", |socket| {
        let mut peer = Peer::new(socket);
        for id in 0..sends {
            peer.send_with_descriptors(&request(id as u64, Call::Ping(Ping {})));
            // The daemon stops reading when too much is unanswered.
            if id >= 8 {
                assert_eq!(peer.response().unwrap().request_id, id as u64 - 8);
            }
        }
        // And with half a frame, with a hello, with a frame that is none.
        let mut peer = Peer::silent(socket);
        peer.send_with_descriptors(&hello("attack", "1"));
        peer.payload().unwrap();
        peer.send_with_descriptors(&[0, 0]);
        let mut peer = Peer::silent(socket);
        peer.send_with_descriptors(&[0xff; 64]);
        peer.closed();
    });
}

#[test]
fn going_away_at_every_step_leaves_nothing_behind() {
    let mut daemon = Daemon::start();
    daemon.survives("disconnecting after every byte", |socket| {
        let calls = [
            request(1, Call::Ping(Ping {})),
            request(2, Call::List(List {})),
            request(3, Call::Health(Health {})),
        ]
        .concat();
        let talk = [hello("attack", "1"), calls].concat();
        for end in 0..=talk.len() {
            let mut peer = Peer::silent(socket);
            peer.send(&talk[..end]);
        }
    });
}

#[test]
fn who_asks_and_does_not_read_waits_alone() {
    let mut daemon = Daemon::start();
    for (what, call) in [
        ("pipelined pings", Call::Ping(Ping {})),
        ("pipelined lists", Call::List(List {})),
        ("pipelined calls that are refused", Call::Status(Status { for_uid: Some(u64::MAX) })),
        (
            "pipelined calls that change nothing",
            Call::Release(Release { job_id: None, stop: None, for_uid: None }),
        ),
        ("pipelined looks at everything", Call::Health(Health {})),
    ] {
        daemon.survives(what, |socket| unread(socket, &request(1, call.clone()).repeat(2000)));
        assert!(!daemon.log().contains("bug"), "who leaves is no fault of the daemon's: {}", daemon.log());
        daemon.survives(&format!("{what}, read"), |socket| read_all(socket, &request(1, call.clone())));
    }
}

/// Fills every connection until nothing more is taken, and leaves.
fn unread(socket: &Path, requests: &[u8]) {
    let mut peers: Vec<Peer> = (0..CONNECTIONS).map(|_| Peer::new(socket)).collect();
    for peer in &mut peers {
        peer.stream.set_nonblocking(true).unwrap();
        loop {
            match peer.stream.write(requests) {
                Ok(count) if count == requests.len() => {}
                // What came after a part of it would begin within a frame.
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Keeps every connection busy and reads all answers.
fn read_all(socket: &Path, request: &[u8]) {
    let batch = request.repeat(100);
    let mut peers: Vec<Peer> = (0..CONNECTIONS).map(|_| Peer::new(socket)).collect();
    for _ in 0..3 {
        peers.iter_mut().for_each(|peer| assert!(peer.send(&batch)));
        // In turn, so that none is left unread for as long as the daemon bears with.
        (0..100).for_each(|_| peers.iter_mut().for_each(|peer| drop(peer.response().unwrap())));
    }
}

#[test]
fn an_address_says_nothing_about_who_is_there() {
    let mut daemon = Daemon::start();
    let name = format!("root\nPEER_UID=0 {}", std::process::id());
    daemon.survives("a client bound to an abstract address", |socket| {
        let client = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&client, &SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap()).unwrap();
        rustix::net::connect(&client, &SocketAddrUnix::new(socket).unwrap()).unwrap();
        let mut stream = std::os::unix::net::UnixStream::from(client);
        stream.write_all(&[hello("attack", "1"), vec![0; 4]].concat()).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    });
    assert!(!daemon.log().contains("PEER_UID=0"), "{}", daemon.log());
}

#[test]
fn connections_in_a_row_leave_nothing_behind() {
    let mut daemon = Daemon::start();
    let connections = number("FAIRSHARE_CONNECTIONS", 20_000);
    let row = |socket: &Path, count: usize| (0..count).for_each(|_| drop(Peer::new(socket)));
    row(&daemon.socket(), 2000);
    let before = daemon.memory("VmRSS");
    let started = Instant::now();
    // From here on it would be found by other members' calls.
    daemon.survives("connections in a row", |socket| row(socket, connections));
    let after = daemon.memory("VmRSS");
    eprintln!(
        "{connections} connections in {:?}: {} KiB before, {} KiB after",
        started.elapsed(),
        before >> 10,
        after >> 10
    );
    assert!(after < before + (2 << 20), "{before} bytes before, {after} after");
}
