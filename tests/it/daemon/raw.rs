//! A client that does one thing at a time and forgives nothing: no reconnection, no retry, every byte by hand.

use std::collections::BTreeMap;
use std::io::{IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use fairshare::contract::{
    Amounts, Answer, Body, Call, CapacityInfo, Check, EventInfo, Health, HealthAnswer, HeldShare, JobStarted,
    List, ListAnswer, Release, Released, Request, RequestResources, Resize, Response, ShareInfo, Status,
    StatusAnswer, Submit, Subscribe, Subscribed, decode_response,
};
use fairshare::wire::error::{Code, WireError};
use fairshare::wire::frame::{FrameBuffer, encode_frame};
use fairshare::wire::hello::{Hello, HelloAck, HelloReply, PROTOCOL_VERSION, decode_hello_reply};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::harness::PATIENCE;

/// What a hello says.
pub fn hello_frame() -> Vec<u8> {
    let hello = Hello {
        protocol_version: PROTOCOL_VERSION,
        client_name: "test".to_owned(),
        client_version: "0".to_owned(),
        supports: Vec::new(),
    };
    let mut frame = Vec::new();
    encode_frame(&hello, &mut frame).unwrap();
    frame
}

/// A request as it is sent.
pub fn request_frame(request_id: u64, call: &Call) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_frame(&Request { v: PROTOCOL_VERSION, request_id, call: call.clone() }, &mut frame).unwrap();
    frame
}

/// A frame with these bytes in it.
pub fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(payload);
    frame
}

pub fn request() -> Call {
    request_of(Amounts::default())
}

pub fn request_of(amounts: Amounts) -> Call {
    Call::RequestResources(RequestResources {
        lease_ms: None,
        wait: None,
        for_uid: None,
        ..RequestResources::of(amounts)
    })
}

pub fn request_for(uid: u64) -> Call {
    Call::RequestResources(RequestResources {
        lease_ms: None,
        wait: None,
        for_uid: Some(uid),
        ..RequestResources::of(Amounts::default())
    })
}

/// For how long it is to be held.
pub fn leased(ms: u64) -> Call {
    Call::RequestResources(RequestResources {
        lease_ms: Some(ms),
        wait: None,
        for_uid: None,
        ..RequestResources::of(Amounts::default())
    })
}

pub fn resize_mem(mem: u64) -> Call {
    let amounts = Amounts { mem_bytes: Some(mem), ..Amounts::default() };
    Call::Resize(Resize { for_uid: None, ..Resize::of(amounts) })
}

pub fn release() -> Call {
    Call::Release(Release { job_id: None, stop: None, for_uid: None })
}

/// A command that needs nothing.
pub fn submission() -> Submit {
    Submit {
        argv: vec!["true".into()],
        cwd: "/".into(),
        env: BTreeMap::new(),
        name: None,
        lease_ms: None,
        wait: None,
        ..Submit::default()
    }
}

/// A connection, byte by byte.
pub struct Raw {
    pub stream: UnixStream,
    incoming: FrameBuffer,
    next: u64,
}

impl Raw {
    /// Connects, and says nothing.
    pub fn connect(socket: &Path) -> Self {
        Self::over(UnixStream::connect(socket).unwrap())
    }

    fn over(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, incoming: FrameBuffer::new(), next: 1 }
    }

    /// A connection that another process has made, which has ended since.
    pub fn left_by_another(socket: &Path) -> Self {
        let (own, given) = UnixStream::pair().unwrap();
        let script = "import socket, sys\n\
            to = socket.socket(fileno=0)\n\
            made = socket.socket(socket.AF_UNIX)\n\
            made.connect(sys.argv[1])\n\
            socket.send_fds(to, [b\"x\"], [made.fileno()])\n";
        let mut command = Command::new("python3");
        command.args(["-c", script]).arg(socket).stdin(OwnedFd::from(given));
        assert!(command.status().unwrap().success());
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        recvmsg(&own, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
        let made = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        Self::over(made.expect("no connection was left").into())
    }

    /// Connects, and says hello.
    pub fn hello(socket: &Path) -> Self {
        let mut raw = Self::connect(socket);
        raw.greet().unwrap_or_else(|error| panic!("{error:?}"));
        raw
    }

    /// Says hello.
    pub fn greet(&mut self) -> Result<HelloAck, WireError> {
        let _ = self.stream.write_all(&hello_frame());
        match decode_hello_reply(&self.payload().expect("no answer to a hello")).unwrap() {
            HelloReply::Ack(ack) => Ok(ack),
            HelloReply::Refused(error) => Err(error),
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends a call without waiting; its request id.
    pub fn post(&mut self, call: &Call) -> u64 {
        let id = self.next;
        self.next += 1;
        // Who has gone is noticed by the reading.
        let _ = self.stream.write_all(&request_frame(id, call));
        id
    }

    /// The next response, `None` where the daemon closed the connection.
    pub fn response(&mut self) -> Option<Response> {
        self.payload().map(|payload| decode_response(&payload).unwrap())
    }

    /// The payload of the next frame, `None` where the daemon closed the connection.
    pub fn payload(&mut self) -> Option<Vec<u8>> {
        loop {
            let count = match self.stream.read(self.incoming.space().unwrap()) {
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
                Err(error) => panic!("nothing to read: {error}"),
            };
            if count == 0 {
                return None;
            }
            if let Some(payload) = self.incoming.filled(count) {
                return Some(payload);
            }
        }
    }

    /// Calls; `None` where the daemon closed the connection instead of answering.
    pub fn try_ask(&mut self, call: &Call) -> Option<Result<Answer, WireError>> {
        let id = self.post(call);
        let Response { request_id, body, .. } = self.response()?;
        assert_eq!(request_id, id);
        match body {
            Body::Ok(answer) => Some(Ok(answer)),
            Body::Err(error) => Some(Err(error)),
            Body::Event(event) => panic!("an event: {event:?}"),
        }
    }

    pub fn ask(&mut self, call: &Call) -> Result<Answer, WireError> {
        self.try_ask(call).expect("the daemon closed the connection")
    }

    /// Calls, and is refused with that code.
    pub fn refused(&mut self, call: &Call, code: Code) -> WireError {
        let error = self.ask(call).expect_err("it was not refused");
        assert!(error.is(code), "{error:?}");
        assert_eq!(error.retryable, code.retryable());
        error
    }

    /// Follows what happens from now on.
    pub fn follow(&mut self, all: Option<bool>, job_id: Option<u64>) {
        match self.ask(&Call::Subscribe(Subscribe { all, job_id })) {
            Ok(Answer::Subscribed(Subscribed { subscribed: true })) => {}
            other => panic!("not subscribed: {other:?}"),
        }
    }

    /// The next event, for who follows.
    pub fn event(&mut self) -> EventInfo {
        match self.response().expect("the daemon closed the connection").body {
            Body::Event(event) => *event,
            other => panic!("no event: {other:?}"),
        }
    }

    /// Calls, and gets a share.
    pub fn granted(&mut self, call: &Call) -> ShareInfo {
        match self.ask(call) {
            Ok(Answer::Share(HeldShare { share })) => share,
            other => panic!("no share: {other:?}"),
        }
    }

    /// Calls, and is told the job that does it.
    #[track_caller]
    pub fn started(&mut self, call: &Call) -> u64 {
        match self.ask(call) {
            Ok(Answer::JobStarted(JobStarted { job_started })) => job_started,
            other => panic!("no job: {other:?}"),
        }
    }

    /// Submits a command, or an array.
    #[track_caller]
    pub fn put(&mut self, command: Submit) -> u64 {
        self.started(&Call::Submit(command))
    }

    pub fn status(&mut self) -> (Option<ShareInfo>, CapacityInfo) {
        match self.ask(&Call::Status(Status { for_uid: None })) {
            Ok(Answer::Status(StatusAnswer { share, capacity })) => (share, capacity),
            other => panic!("no status: {other:?}"),
        }
    }

    pub fn shares(&mut self) -> Vec<ShareInfo> {
        match self.ask(&Call::List(List {})) {
            Ok(Answer::List(ListAnswer { shares, .. })) => shares,
            other => panic!("no list: {other:?}"),
        }
    }

    /// Gives its share back.
    pub fn released(&mut self) -> bool {
        match self.ask(&release()) {
            Ok(Answer::Released(Released { released })) => released,
            other => panic!("not released: {other:?}"),
        }
    }

    pub fn healthy(&mut self) -> bool {
        match self.ask(&Call::Health(Health {})) {
            Ok(Answer::Health(HealthAnswer { healthy, checks })) => {
                assert_eq!(healthy, checks.iter().all(|check| check.ok));
                healthy
            }
            other => panic!("no health: {other:?}"),
        }
    }

    /// One check of health.
    pub fn check(&mut self, name: &str) -> Check {
        match self.ask(&Call::Health(Health {})) {
            Ok(Answer::Health(HealthAnswer { checks, .. })) => {
                checks.into_iter().find(|check| check.name == name).expect("no such check")
            }
            other => panic!("no health: {other:?}"),
        }
    }
}
