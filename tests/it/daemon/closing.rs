//! Descriptors whose close takes as long as who sent them likes: nobody else waits for it.

use std::io::{ErrorKind, IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use fairshare::contract::{Call, Ping, Subscribe};
use fairshare::testing::serving::closing::CLOSING_PER_UID_MAX;
use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size, set_socket_send_buffer_size};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::harness::{Daemon, Home};
use super::raw::{Raw, hello_frame, request_frame};
use crate::stand_in::World;

/// How long the last close of such a socket waits: `SO_LINGER`, socket(7). Far longer than anybody here waits for an answer.
const LINGER: Duration = Duration::from_secs(600);

/// A socket with more to be sent than anybody reads, and the other end of it.
pub fn lingering() -> (TcpStream, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // Much more is sent than the other end ever takes: it is given no more memory later.
    set_socket_recv_buffer_size(&listener, 1 << 12).unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    set_socket_send_buffer_size(&stream, 1 << 18).unwrap();
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

/// A socket that waits for nobody, in whose queue is one that lingers: nothing that the daemon sets on it makes its close
/// shorter. And the other end of the one that lingers.
fn lingering_inside() -> (UnixStream, TcpListener) {
    let (inner, other_end) = lingering();
    let (outer, sender) = UnixStream::pair().unwrap();
    send_over(&sender, b"x", inner, SendFlags::empty());
    (outer, other_end)
}

/// Sends these bytes with the socket, of which the daemon then has the last descriptor: it stands still until the test's own
/// is closed, so that the close that lingers is never the test's.
fn send(daemon: &Daemon, raw: &Raw, bytes: &[u8], socket: TcpStream, flags: SendFlags) {
    daemon.hold(|| {
        send_with(raw, bytes, &socket, flags);
        drop(socket);
    });
}

fn send_with(raw: &Raw, bytes: &[u8], descriptor: impl AsFd, flags: SendFlags) {
    send_over(&raw.stream, bytes, descriptor, flags);
}

fn send_over(stream: &UnixStream, bytes: &[u8], descriptor: impl AsFd, flags: SendFlags) {
    let descriptors = [descriptor.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    sendmsg(stream, &[IoSlice::new(bytes)], &mut control, flags).unwrap();
}

/// Runs a test, no part of which may have waited for a socket that lingers.
fn without_lingering(test: impl FnOnce(&Daemon)) {
    without_lingering_in(|_, daemon| test(daemon));
}

/// The same, for who needs the bus too.
pub fn without_lingering_in(test: impl FnOnce(&World, &Daemon)) {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let began = Instant::now();
    test(&world, &daemon);
    assert!(began.elapsed() < LINGER, "somebody waited for the close");
}

/// A question to the daemon waits for its answer much less long than [`LINGER`], and fails the test where none comes.
pub fn others_are_answered(daemon: &Daemon) {
    for _ in 0..10 {
        daemon.client().ask(&Call::Ping(Ping {})).unwrap();
    }
}

#[test]
fn a_socket_that_lingers_holds_up_nobody() {
    let ping = request_frame(1, &Call::Ping(Ping {}));
    let send = |daemon: &Daemon, raw: &Raw, bytes: &[u8], socket| {
        send(daemon, raw, bytes, socket, SendFlags::empty());
    };
    without_lingering(|daemon| {
        // With a call that takes none.
        let (socket, _unread) = lingering();
        let mut raw = daemon.client();
        send(daemon, &raw, &ping, socket);
        assert!(raw.response().is_some());
        others_are_answered(daemon);
        // With the beginning of a frame that never ends.
        let (socket, _unread) = lingering();
        let raw = daemon.client();
        send(daemon, &raw, &ping[..6], socket);
        drop(raw);
        others_are_answered(daemon);
        // Where nothing is read any more.
        let (socket, _unread) = lingering();
        let mut raw = daemon.client();
        raw.ask(&Call::Subscribe(Subscribe { all: None, job_id: None })).unwrap();
        send(daemon, &raw, &ping, socket);
        assert!(raw.response().is_none(), "closed");
        others_are_answered(daemon);
    });
}

/// What cannot be closed takes descriptors of the daemon: of one user so many, and then what comes with more is not read.
#[test]
fn who_sent_much_that_is_not_closed_is_read_again_when_it_is() {
    // One that is read when there is room for it yet, and one that came with the end of the frame before.
    const TAKEN_MAX: usize = CLOSING_PER_UID_MAX + 2;
    const SENT: usize = 2 * TAKEN_MAX;
    without_lingering(|daemon| {
        let mut raw = daemon.client();
        // All of it while the daemon stands still once: a signal ends a close that lingers.
        let unread: Vec<TcpListener> = daemon.hold(|| {
            let sends = |id: usize| {
                let (socket, other_end) = lingering_inside();
                let ping = request_frame(u64::try_from(id).unwrap(), &Call::Ping(Ping {}));
                send_with(&raw, &ping, socket, SendFlags::empty());
                other_end
            };
            (0..SENT).map(sends).collect()
        });
        let mut answered = 0;
        while answered <= CLOSING_PER_UID_MAX {
            assert!(raw.response().is_some());
            answered += 1;
        }
        // What comes without any is read as always, and the loop has turned many times then.
        others_are_answered(daemon);
        raw.stream.set_nonblocking(true).unwrap();
        let mut more = Vec::new();
        assert_eq!(
            raw.stream.read_to_end(&mut more).map_err(|error| error.kind()),
            Err(ErrorKind::WouldBlock)
        );
        raw.stream.set_nonblocking(false).unwrap();
        while let Some((length, rest)) = more.split_first_chunk() {
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap();
            more = rest[length..].to_vec();
            answered += 1;
        }
        assert!(answered <= TAKEN_MAX, "{answered} of {SENT} were taken");
        // Nobody waits to send anything to who has gone.
        drop(unread);
        for _ in answered..SENT {
            assert!(raw.response().is_some());
        }
    });
}

#[test]
fn a_socket_that_lingers_and_was_sent_out_of_band_holds_up_nobody() {
    let send = |daemon: &Daemon, raw: &Raw, bytes: &[u8], socket| {
        send(daemon, raw, bytes, socket, SendFlags::OOB);
    };
    without_lingering(|daemon| {
        // Before the hello, with a byte that is the first of no hello.
        let (socket, _unread) = lingering();
        let mut raw = Raw::connect(daemon.socket());
        send(daemon, &raw, b"x", socket);
        let _ = raw.stream.write_all(&hello_frame());
        others_are_answered(daemon);
        // After the hello, with a call after it.
        let (socket, _unread) = lingering();
        let mut raw = daemon.client();
        send(daemon, &raw, b"x", socket);
        let _ = raw.stream.write_all(&request_frame(1, &Call::Ping(Ping {})));
        others_are_answered(daemon);
        // Where nothing is read any more.
        let (socket, _unread) = lingering();
        let mut raw = daemon.client();
        raw.ask(&Call::Subscribe(Subscribe { all: None, job_id: None })).unwrap();
        send(daemon, &raw, b"x", socket);
        others_are_answered(daemon);
        // As the only byte of a connection that ends with it.
        let (socket, _unread) = lingering();
        let raw = Raw::connect(daemon.socket());
        send(daemon, &raw, b"x", socket);
        drop(raw);
        others_are_answered(daemon);
    });
}

/// Out of band is a byte like any other: the last of a frame, and the first of one whose rest is there already.
#[test]
fn a_call_of_which_bytes_came_out_of_band_is_answered() {
    without_lingering(|daemon| {
        let mut raw = daemon.client();
        let null = std::fs::File::open("/dev/null").unwrap();
        let (first, second) =
            (request_frame(1, &Call::Ping(Ping {})), request_frame(2, &Call::Ping(Ping {})));
        let (last, most) = first.split_last().unwrap();
        daemon.hold(|| {
            raw.stream.write_all(most).unwrap();
            send_with(&raw, &[*last], &null, SendFlags::OOB);
        });
        assert_eq!(raw.response().map(|response| response.request_id), Some(1));
        daemon.hold(|| {
            raw.stream.write_all(&first).unwrap();
            send_with(&raw, &second[..1], &null, SendFlags::OOB);
            raw.stream.write_all(&second[1..]).unwrap();
        });
        assert_eq!(raw.response().map(|response| response.request_id), Some(1));
        assert_eq!(raw.response().map(|response| response.request_id), Some(2));
    });
}
