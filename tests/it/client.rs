//! The client against a daemon of a few lines, made of the wire's own types.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

use std::io::{IoSliceMut, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use fairshare::client::{Client, ClientError, Deadlines, Violation};
use fairshare::contract::{
    Amounts, Answer, Attach, Body, Call, CapacityInfo, Changed, Entered, EventInfo, Granted, HeldShare,
    InUnit, JobStarted, Ping, Pong, Release, ReleaseAnswer, Released, Request, RequestResources, Response,
    Run, ShareInfo, Status, StatusAnswer, Subscribe, Subscribed, decode_request,
};
use fairshare::wire::error::{Code, WireError};
use fairshare::wire::frame::{FRAME_BYTES_MAX, FrameBuffer, encode_frame};
use fairshare::wire::hello::{Authz, HelloAck, Role, decode_hello};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

mod descriptors;
mod turned_away;

/// The daemon's end of a connection.
struct Peer {
    stream: UnixStream,
    incoming: FrameBuffer,
    descriptors: Vec<OwnedFd>,
}

impl Peer {
    fn payload(&mut self) -> Option<Vec<u8>> {
        loop {
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut slices = [IoSliceMut::new(self.incoming.space().unwrap())];
            let flags = RecvFlags::CMSG_CLOEXEC;
            let count = recvmsg(&self.stream, &mut slices, &mut control, flags).unwrap().bytes;
            if count == 0 {
                return None;
            }
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    self.descriptors.extend(descriptors);
                }
            }
            if let Some(payload) = self.incoming.filled(count) {
                return Some(payload);
            }
        }
    }

    fn greet(&mut self) {
        self.greet_as(2);
    }

    /// A hello that says this version.
    fn greet_as(&mut self, protocol_version: u64) {
        let hello = decode_hello(&self.payload().unwrap()).unwrap();
        assert_eq!((hello.client_name.as_str(), hello.client_version.as_str()), ("test", "0"));
        let authz = Authz { uid: 1000, gid: 100, role: Role::Operator };
        let daemon_version = "9.9".to_owned();
        let max_frame = FRAME_BYTES_MAX as u64;
        self.send(&HelloAck { protocol_version, daemon_version, features: vec![], max_frame, authz });
    }

    fn request(&mut self) -> Request {
        decode_request(&self.payload().unwrap()).unwrap()
    }

    fn send(&mut self, value: &impl serde::Serialize) {
        let mut frame = Vec::new();
        encode_frame(value, &mut frame).unwrap();
        self.stream.write_all(&frame).unwrap();
    }

    fn say(&mut self, request_id: u64, body: Body) {
        self.send(&Response { v: 2, request_id, body });
    }

    /// Answers the next request, and gives what was asked.
    fn answer(&mut self, answer: Answer) -> Call {
        let request = self.request();
        self.say(request.request_id, Body::Ok(answer));
        request.call
    }

    /// Waits until the client is gone.
    fn end(&mut self) {
        assert_eq!(self.payload(), None);
    }
}

type Scene = Box<dyn FnOnce(&mut Peer) + Send>;

/// A daemon that plays one scene a connection, and then is gone.
struct Daemon {
    directory: tempfile::TempDir,
    thread: JoinHandle<()>,
}

impl Daemon {
    fn play(scenes: Vec<Scene>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        let thread = std::thread::spawn(move || {
            for scene in scenes {
                let stream = listener.accept().unwrap().0;
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                scene(&mut Peer { stream, incoming: FrameBuffer::new(), descriptors: Vec::new() });
            }
        });
        Self { directory, thread }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    fn connect(&self) -> Result<Client, ClientError> {
        Client::connect(&self.path(), "test", "0", Deadlines::default())
    }

    /// What the scenes asserted.
    fn end(self) {
        self.thread.join().unwrap();
    }
}

fn scene(play: impl FnOnce(&mut Peer) + Send + 'static) -> Scene {
    Box::new(play)
}

fn share() -> ShareInfo {
    ShareInfo {
        uid: 1000,
        user: None,
        cpu_milli: 2000,
        mem_bytes: 1 << 30,
        tasks_max: 4096,
        slice: "fairshare-1000.slice".to_owned(),
        burst_cpu_milli: None,
        usage: None,
        allocations: Some(vec![]),
    }
}

fn pong(at_ms: u64) -> Answer {
    Answer::Pong(Pong { at_ms })
}

fn unit(name: &str) -> Answer {
    Answer::Unit(InUnit { unit: name.to_owned(), cpu_milli: 1, mem_bytes: 2, job_id: None })
}

#[test]
fn calls_follow_each_other_on_one_connection() {
    let daemon = Daemon::play(vec![scene(|peer| {
        peer.greet();
        assert_eq!(peer.answer(pong(5)), Call::Ping(Ping {}));
        let amounts = Amounts { cpu_milli: Some(2000), ..Amounts::default() };
        let asked = RequestResources { lease_ms: Some(7), ..RequestResources::of(amounts) }.into();
        assert_eq!(peer.answer(Answer::Share(HeldShare { share: share() })), asked);
        let (wait, for_uid) = (Some(true), Some(2));
        let asked = RequestResources { wait, for_uid, ..RequestResources::of(amounts) }.into();
        assert_eq!(peer.answer(Answer::JobStarted(JobStarted { job_started: 3 })), asked);
        let asked = Call::Release(Release { job_id: None, stop: None, for_uid: None });
        assert_eq!(peer.answer(Released { released: false }.into()), asked);
        let asked = Call::Release(Release { job_id: None, stop: Some(true), for_uid: None });
        assert_eq!(peer.answer(Answer::JobStarted(JobStarted { job_started: 4 })), asked);
        let capacity = CapacityInfo {
            cpu_milli: 1,
            mem_bytes: 2,
            free_cpu_milli: 3,
            free_mem_bytes: 4,
            shares: 5,
            waiting: 6,
            left_behind_bytes: None,
        };
        peer.answer(Answer::Status(StatusAnswer { share: None, capacity }));
        peer.end();
    })]);
    let mut client = daemon.connect().unwrap();
    let authz = client.authz().unwrap();
    assert_eq!((authz.uid, authz.role), (1000, Role::Operator));
    assert_eq!(client.daemon_version(), Some("9.9"));
    assert_eq!(client.call(&Ping {}).unwrap().at_ms, 5);
    let amounts = Amounts { cpu_milli: Some(2000), ..Amounts::default() };
    assert_eq!(
        client.call(&RequestResources { lease_ms: Some(7), ..RequestResources::of(amounts) }).unwrap(),
        Granted::Share(Box::new(share()))
    );
    let waiting = RequestResources { wait: Some(true), for_uid: Some(2), ..RequestResources::of(amounts) };
    assert_eq!(client.call(&waiting).unwrap(), Granted::Queued(3));
    assert_eq!(
        client.call(&Release { job_id: None, stop: None, for_uid: None }).unwrap(),
        ReleaseAnswer::Done(false)
    );
    assert_eq!(
        client.call(&Release { job_id: None, stop: Some(true), for_uid: None }).unwrap(),
        ReleaseAnswer::Stopping(4)
    );
    assert_eq!(client.call(&Status { for_uid: None }).unwrap().share, None);
    drop(client);
    daemon.end();
}

#[test]
fn a_refusal_is_told_and_the_connection_goes_on() {
    let daemon = Daemon::play(vec![scene(|peer| {
        peer.greet();
        let refusal = WireError::new(Code::OverLimit, "Requested CPU (16) exceeds maximum allowed (8)");
        let request = peer.request();
        peer.say(request.request_id, Body::Err(refusal));
        peer.answer(pong(1));
    })]);
    let mut client = daemon.connect().unwrap();
    match client.call(&RequestResources::default()) {
        Err(ClientError::Refused(error)) => assert!(error.is(Code::OverLimit)),
        other => panic!("{other:?}"),
    }
    assert_eq!(client.call(&Ping {}).unwrap().at_ms, 1);
    daemon.end();
}

#[test]
fn a_hello_can_be_refused_even_before_it_is_read() {
    for read in [true, false] {
        let daemon = Daemon::play(vec![scene(move |peer| {
            if read {
                peer.payload();
            }
            let refusal = WireError::new(Code::Degraded, "nobody knows who that is").retry_after_ms(9);
            peer.say(0, Body::Err(refusal));
        })]);
        match daemon.connect() {
            Err(ClientError::Refused(error)) => assert_eq!(error.retry_after_ms, Some(9)),
            other => panic!("{other:?}"),
        }
        daemon.end();
    }
}

/// Reads a request, and closes before the answer or in the middle of it.
fn closing(bytes: usize) -> Scene {
    scene(move |peer| {
        peer.greet();
        let request_id = peer.request().request_id;
        let mut frame = Vec::new();
        encode_frame(&Response { v: 2, request_id, body: Body::Ok(pong(1)) }, &mut frame).unwrap();
        peer.stream.write_all(&frame[..bytes]).unwrap();
    })
}

#[test]
fn a_restart_is_survived_by_calls_that_may_be_repeated() {
    for bytes in [0, 3, 10] {
        let daemon = Daemon::play(vec![
            closing(bytes),
            scene(|peer| {
                peer.greet();
                assert_eq!(peer.answer(pong(2)), Call::Ping(Ping {}));
            }),
        ]);
        assert_eq!(daemon.connect().unwrap().call(&Ping {}).unwrap().at_ms, 2);
        daemon.end();
    }
}

#[test]
fn a_restart_is_told_to_the_others_and_the_next_call_finds_the_new_daemon() {
    let daemon = Daemon::play(vec![
        closing(0),
        scene(|peer| {
            peer.greet();
            assert_eq!(peer.answer(unit("u")), Call::Run(Run::default()));
        }),
    ]);
    let mut client = daemon.connect().unwrap();
    assert!(matches!(client.call(&Run::default()), Err(ClientError::Closed)));
    assert!(matches!(client.call(&Run::default()), Ok(Entered::In(InUnit { unit, .. })) if unit == "u"));
    daemon.end();
}

#[test]
fn it_tries_again_only_once() {
    let daemon = Daemon::play(vec![closing(0), closing(0)]);
    assert!(matches!(daemon.connect().unwrap().call(&Ping {}), Err(ClientError::Closed)));
    daemon.end();
}

#[test]
fn a_connection_that_was_closed_for_idleness_is_opened_again_for_any_call() {
    let daemon = Daemon::play(vec![
        scene(|peer| {
            peer.greet();
            peer.say(0, Body::Err(WireError::new(Code::Timeout, "idle for 300 s")));
        }),
        scene(|peer| {
            peer.greet();
            assert_eq!(peer.answer(unit("u")), Call::Run(Run::default()));
        }),
    ]);
    let mut client = daemon.connect().unwrap();
    assert!(matches!(client.call(&Run::default()), Ok(Entered::In(InUnit { unit, .. })) if unit == "u"));
    daemon.end();
}

#[test]
fn a_daemon_that_drips_meets_the_deadline_and_its_late_answer_is_not_taken_for_another() {
    let deadline = Duration::from_millis(500);
    let daemon = Daemon::play(vec![
        scene(|peer| {
            peer.greet();
            let request_id = peer.request().request_id;
            let mut frame = Vec::new();
            encode_frame(&Response { v: 2, request_id, body: Body::Ok(pong(1)) }, &mut frame).unwrap();
            // A byte each time that the client was waited for and did not go: 1.8 s in all.
            peer.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            for byte in frame {
                let gone = peer.stream.read(&mut [0]).is_ok_and(|count| count == 0);
                if gone || peer.stream.write_all(&[byte]).is_err() {
                    return;
                }
            }
            panic!("the client waited for all of it");
        }),
        scene(|peer| {
            peer.greet();
            peer.answer(pong(2));
        }),
    ]);
    let deadlines = Deadlines { hello: deadline, call: deadline };
    let mut client = Client::connect(&daemon.path(), "test", "0", deadlines).unwrap();
    match client.call(&Ping {}) {
        Err(ClientError::Timeout { after }) => assert_eq!(after, deadline),
        other => panic!("{other:?}"),
    }
    assert_eq!(client.call(&Ping {}).unwrap().at_ms, 2);
    daemon.end();
}

#[test]
fn a_daemon_that_does_not_greet_meets_the_deadline() {
    let daemon = Daemon::play(vec![scene(|peer| {
        peer.payload();
        peer.end();
    })]);
    let deadlines = Deadlines { hello: Duration::from_millis(100), ..Deadlines::default() };
    match Client::connect(&daemon.path(), "test", "0", deadlines) {
        Err(ClientError::Timeout { .. }) => {}
        other => panic!("{other:?}"),
    }
    daemon.end();
}

#[test]
fn what_is_no_answer_is_a_violation() {
    let say = |play: fn(&mut Peer, u64)| {
        scene(move |peer| {
            peer.greet();
            let request_id = peer.request().request_id;
            play(peer, request_id);
            peer.end();
        })
    };
    type Expected = fn(&Violation) -> bool;
    let violations: Vec<(Scene, Expected)> = vec![
        (say(|peer, _| peer.stream.write_all(&[0; 4]).unwrap()), |v| matches!(v, Violation::Frame(_))),
        (say(|peer, _| peer.stream.write_all(&[0, 0, 0, 1, 0xff]).unwrap()), |v| {
            matches!(v, Violation::Decode(_))
        }),
        (say(|peer, id| peer.say(id + 1, Body::Ok(pong(1)))), |v| matches!(v, Violation::RequestId { .. })),
        (say(|peer, id| peer.say(id, Body::Event(Box::new(event("granted"))))), |v| {
            matches!(v, Violation::Unasked)
        }),
        (say(|peer, id| peer.say(id, Body::Ok(Answer::Changed(Changed { changed: true })))), |v| {
            matches!(v, Violation::Answer { .. })
        }),
    ];
    for (scene, is_it) in violations {
        let daemon = Daemon::play(vec![scene]);
        match daemon.connect().unwrap().call(&Ping {}) {
            Err(ClientError::Protocol(violation)) => assert!(is_it(&violation), "{violation:?}"),
            other => panic!("{other:?}"),
        }
        daemon.end();
    }
}

fn event(kind: &str) -> EventInfo {
    EventInfo {
        at_ms: 1,
        kind: kind.to_owned(),
        uid: None,
        job_id: None,
        job: None,
        share: None,
        allocation: None,
        message: None,
        lagged: None,
    }
}

#[test]
fn events_come_one_after_another_until_the_daemon_goes() {
    let (go, may_go) = std::sync::mpsc::channel::<()>();
    let daemon = Daemon::play(vec![scene(move |peer| {
        peer.greet();
        let asked = Call::Subscribe(Subscribe { all: Some(true), job_id: None });
        assert_eq!(peer.answer(Answer::Subscribed(Subscribed { subscribed: true })), asked);
        may_go.recv().unwrap();
        peer.say(1, Body::Event(Box::new(event("granted"))));
        peer.say(1, Body::Event(Box::new(event("released"))));
    })]);
    let mut events =
        daemon.connect().unwrap().subscribe(&Subscribe { all: Some(true), job_id: None }).unwrap();
    assert!(events.next_within(Duration::from_millis(20)).unwrap().is_none());
    go.send(()).unwrap();
    let kinds: Vec<_> = events.map(|event| event.map(|event| event.kind)).collect();
    assert!(
        matches!(&kinds[..], [Ok(first), Ok(second), Err(ClientError::Closed)]
            if first == "granted" && second == "released"),
        "{kinds:?}"
    );
    daemon.end();
}

#[test]
fn a_call_over_the_frame_is_not_sent_and_harms_nothing() {
    let daemon = Daemon::play(vec![scene(|peer| {
        peer.greet();
        peer.answer(pong(1));
    })]);
    let mut client = daemon.connect().unwrap();
    let pids = vec![u64::MAX; 200_000];
    assert!(matches!(client.call(&Attach { pids }), Err(ClientError::Unsendable(_))));
    assert_eq!(client.call(&Ping {}).unwrap().at_ms, 1);
    daemon.end();
}

#[test]
fn where_nobody_answers_it_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let connect = |name: &str| {
        Client::connect(&directory.path().join(name), "test", "0", Deadlines::default()).unwrap_err()
    };
    assert!(matches!(connect("none"), ClientError::NoSocket { .. }));
    drop(UnixListener::bind(directory.path().join("left")).unwrap());
    assert!(matches!(connect("left"), ClientError::NobodyListens { .. }));
    assert!(matches!(connect(&"x".repeat(200)), ClientError::Connect { .. }));
}

#[test]
fn connecting_has_a_deadline_where_nobody_accepts() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("full");
    let address = rustix::net::SocketAddrUnix::new(&path).unwrap();
    let (family, kind) = (rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM);
    let listener = rustix::net::socket(family, kind, None).unwrap();
    rustix::net::bind(&listener, &address).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let _first = UnixStream::connect(&path).unwrap();
    let wait = Duration::from_millis(100);
    let deadlines = Deadlines { hello: wait, call: wait };
    let error = Client::connect(&path, "test", "0", deadlines).unwrap_err();
    assert!(matches!(error, ClientError::Timeout { .. }), "{error:?}");
}
