//! A client that keeps to no contract.

use std::io::{IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use fairshare::contract::{Call, Request, Response, decode_response};
use fairshare::wire::frame::{FrameBuffer, encode_frame};
use fairshare::wire::hello::{Hello, HelloReply, PROTOCOL_VERSION, decode_hello_reply};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::daemon::PATIENCE;

/// A frame with these bytes in it.
pub fn frame(payload: &[u8]) -> Vec<u8> {
    [&u32::try_from(payload.len()).unwrap().to_be_bytes(), payload].concat()
}

/// The hello of a client of this name.
pub fn hello(name: &str, version: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let (client_name, client_version) = (name.to_owned(), version.to_owned());
    let hello =
        Hello { protocol_version: PROTOCOL_VERSION, client_name, client_version, supports: Vec::new() };
    encode_frame(&hello, &mut out).unwrap();
    out
}

/// A request as it is sent.
pub fn request(request_id: u64, call: Call) -> Vec<u8> {
    let mut out = Vec::new();
    encode_frame(&Request { v: PROTOCOL_VERSION, request_id, call }, &mut out).unwrap();
    out
}

/// A connection.
pub struct Peer {
    pub stream: UnixStream,
    incoming: FrameBuffer,
}

impl Peer {
    /// Connects, and says nothing.
    pub fn silent(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, incoming: FrameBuffer::new() }
    }

    /// Connects, and exchanges hellos.
    pub fn new(socket: &Path) -> Self {
        let mut peer = Self::silent(socket);
        peer.send(&hello("attack", "1"));
        // A refusal is a payload too, and an attack by who was refused attacks nothing.
        let reply = peer.payload().expect("no hello");
        match decode_hello_reply(&reply) {
            Ok(HelloReply::Ack(_)) => peer,
            other => panic!("not let in: {other:?}"),
        }
    }

    /// Sends; whether all of it was taken.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends with three descriptors.
    pub fn send_with_descriptors(&mut self, bytes: &[u8]) {
        let stream = self.stream.try_clone().unwrap();
        let descriptors = [stream.as_fd(), stream.as_fd(), stream.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
        let sent = sendmsg(&self.stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL).unwrap();
        assert_eq!(sent, bytes.len());
    }

    /// The payload of the next frame; `None` where the daemon has closed.
    pub fn payload(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.stream.read(self.incoming.space().unwrap()) {
                Ok(0) => return None,
                Ok(count) => {
                    if let Some(payload) = self.incoming.filled(count) {
                        return Some(payload);
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing to read: {error}"),
            }
        }
    }

    /// The next response.
    pub fn response(&mut self) -> Option<Response> {
        self.payload().map(|payload| decode_response(&payload).unwrap())
    }

    /// Reads until the daemon closes.
    pub fn closed(&mut self) {
        while self.payload().is_some() {}
    }
}
