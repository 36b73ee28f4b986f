//! Descriptors whose close takes as long as who sent them likes: nobody else waits for it.

use std::io::{ErrorKind, IoSlice, Write as _};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use fairshare::wire::call::Call;
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::harness::{Daemon, Home};
use super::raw::{Raw, request_frame};
use crate::stand_in::World;

/// How long the last close of such a socket waits: `SO_LINGER`, socket(7).
const LINGER: Duration = Duration::from_secs(60);
/// In which another member is answered. Natively it takes a few milliseconds.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// A socket with more to be sent than anybody reads, and the other end of it.
fn lingering() -> (TcpStream, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    stream.set_nonblocking(true).unwrap();
    loop {
        match stream.write(&[0; 1 << 16]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    stream.set_nonblocking(false).unwrap();
    set_socket_linger(&stream, Some(LINGER)).unwrap();
    (stream, listener)
}

/// Sends these bytes with the socket, of which the daemon then has the last descriptor.
fn send(raw: &Raw, bytes: &[u8], socket: TcpStream) {
    let descriptors = [socket.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    sendmsg(&raw.stream, &[IoSlice::new(bytes)], &mut control, SendFlags::empty()).unwrap();
}

fn others_are_answered(daemon: &Daemon) {
    let began = Instant::now();
    for _ in 0..10 {
        daemon.client().ask(&Call::Ping).unwrap();
    }
    assert!(began.elapsed() < ANSWERED_WITHIN, "{:?}", began.elapsed());
}

#[test]
fn a_socket_that_lingers_holds_up_nobody() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let ping = request_frame(1, &Call::Ping);
    // With a call that takes none; with the beginning of a frame that never ends; where nothing is read any more.
    let (socket, _with_a_call) = lingering();
    let mut raw = daemon.client();
    send(&raw, &ping, socket);
    assert!(raw.response().is_some());
    others_are_answered(&daemon);

    let (socket, _with_a_part) = lingering();
    let raw = daemon.client();
    send(&raw, &ping[..6], socket);
    drop(raw);
    others_are_answered(&daemon);

    let (socket, _while_following) = lingering();
    let mut raw = daemon.client();
    raw.ask(&Call::Subscribe { all: None, job_id: None }).unwrap();
    send(&raw, &ping, socket);
    assert!(raw.response().is_none(), "closed");
    others_are_answered(&daemon);
}
