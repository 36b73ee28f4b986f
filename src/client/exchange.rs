//! Hello, requests and responses on a connection, whatever is asked: the half of the client that knows no endpoint.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::connection::{Connection, DESCRIPTORS_MAX, Deadline};
use super::error::{ClientError, Violation};
use crate::wire::cbor::{DecodeError, Item};
use crate::wire::envelope::{Body, Response, Sent, decode_response};
use crate::wire::error::{Code, WireError};
use crate::wire::frame::encode_frame;
use crate::wire::hello::{
    Hello, HelloAck, HelloReply, PROTOCOL_VERSION, PROTOCOL_VERSION_OLDEST, decode_hello_reply,
};

/// How long a connection may take until the daemon has answered the hello. The first one starts the daemon, which
/// compares what it remembers with what systemd has before it answers.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a call may take, a reconnection within it included.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a client whom the daemon turns away for want of a place goes on trying, as long as each wait that the daemon names
/// ends within it.
pub const TURNED_AWAY_TIMEOUT: Duration = Duration::from_secs(60);

/// How long to wait for the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// From connecting to the daemon's hello.
    pub hello: Duration,
    /// From a call to its answer.
    pub call: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { hello: HELLO_TIMEOUT, call: CALL_TIMEOUT }
    }
}

/// What is asked.
pub(super) struct Question<'a, B> {
    /// The endpoint's name.
    pub(super) endpoint: &'static str,
    /// The body of the request.
    pub(super) body: &'a B,
    /// Whether it may be asked again when its answer was lost.
    pub(super) repeat: bool,
    /// What goes along with it.
    pub(super) descriptors: &'a [BorrowedFd<'a>],
}

/// A connection that is opened when it is needed, and what is known of who is at its other end.
#[derive(Debug)]
pub(super) struct Exchange {
    path: PathBuf,
    hello: Hello,
    deadlines: Deadlines,
    /// None from where an answer can no longer be told from a late one.
    connection: Option<Connection>,
    /// What the daemon said when it was last connected to; none before that.
    ack: Option<HelloAck>,
    request_id: u64,
    /// Whether the last refusal came in place of a hello.
    turned_away: bool,
}

/// A call may go out together with the hello, before the version is agreed on, because there is only one to agree on.
/// With a second version the hello has to be awaited first.
const _: () = assert!(PROTOCOL_VERSION == PROTOCOL_VERSION_OLDEST);

impl Exchange {
    /// One that has not connected yet.
    pub(super) fn new(path: &Path, name: &str, version: &str, deadlines: Deadlines) -> Self {
        let hello = Hello {
            protocol_version: PROTOCOL_VERSION,
            client_name: name.to_owned(),
            client_version: version.to_owned(),
            supports: Vec::new(),
        };
        Self {
            path: path.to_owned(),
            hello,
            deadlines,
            connection: None,
            ack: None,
            request_id: 0,
            turned_away: false,
        }
    }

    /// What the daemon said when it was last connected to.
    pub(super) fn ack(&self) -> Option<&HelloAck> {
        self.ack.as_ref()
    }

    /// The descriptors that came with the last answer.
    pub(super) fn take_descriptors(&mut self) -> Vec<OwnedFd> {
        self.connection.as_mut().map(Connection::take_descriptors).unwrap_or_default()
    }

    /// The connection, where there is one that can be used on.
    pub(super) fn into_connection(self) -> Option<Connection> {
        self.connection
    }

    /// Connects and exchanges hellos.
    pub(super) fn connect(&mut self) -> Result<(), ClientError> {
        let mut deadline = Deadline::after(self.deadlines.hello);
        let patience = Deadline::after(TURNED_AWAY_TIMEOUT);
        loop {
            match self.open(deadline) {
                // The daemon was stopped in between, and nothing was asked yet.
                Err(ClientError::Closed) => return self.open(deadline),
                Err(ClientError::Refused(refusal)) => {
                    patience.wait_as_told(refusal)?;
                    deadline = Deadline::after(self.deadlines.hello);
                }
                result => return result,
            }
        }
    }

    /// Asks, and reads the `ok` of the answer by `read`.
    pub(super) fn ask<B: Serialize, A>(
        &mut self,
        question: Question<'_, B>,
        read: impl Fn(Item<'_>) -> Result<A, DecodeError>,
    ) -> Result<A, ClientError> {
        if question.descriptors.len() > DESCRIPTORS_MAX {
            return Err(ClientError::TooManyDescriptors(question.descriptors.len()));
        }
        let deadline = Deadline::after(self.deadlines.call);
        match self.admitted(&question, deadline, &read) {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => {}
            Err(ClientError::Closed) if question.repeat => {}
            Err(error) => return Err(error),
        }
        self.admitted(&question, deadline, &read)?.ok_or(ClientError::Closed)
    }

    /// [`Self::exchange`], tried again while the daemon has no place for another connection. That is said in place of its
    /// hello: the call was not read.
    fn admitted<B: Serialize, A>(
        &mut self,
        question: &Question<'_, B>,
        mut deadline: Deadline,
        read: impl Fn(Item<'_>) -> Result<A, DecodeError>,
    ) -> Result<Option<A>, ClientError> {
        let patience = Deadline::after(TURNED_AWAY_TIMEOUT);
        loop {
            let connected = self.connection.is_some();
            match self.exchange(question, deadline, &read) {
                Err(ClientError::Refused(refusal)) if !connected && self.turned_away => {
                    patience.wait_as_told(refusal)?;
                    deadline = Deadline::after(self.deadlines.call);
                }
                result => return result,
            }
        }
    }

    /// Connects and exchanges hellos.
    fn open(&mut self, deadline: Deadline) -> Result<(), ClientError> {
        let mut connection = Connection::open(&self.path, deadline)?;
        let mut frame = Vec::new();
        encode_frame(&self.hello, &mut frame)?;
        say(&mut connection, &frame, &[], deadline)?;
        self.ack = Some(self.hear_hello(&mut connection, deadline)?);
        self.connection = Some(connection);
        Ok(())
    }

    /// The daemon's hello, or why there is none.
    fn hear_hello(
        &mut self,
        connection: &mut Connection,
        deadline: Deadline,
    ) -> Result<HelloAck, ClientError> {
        let reply = decode_hello_reply(&connection.receive(deadline)?)?;
        self.turned_away = matches!(reply, HelloReply::Refused(_));
        let ack = match reply {
            HelloReply::Ack(ack) => ack,
            HelloReply::Refused(refusal) => return Err(ClientError::Refused(refusal)),
        };
        if !(PROTOCOL_VERSION_OLDEST..=PROTOCOL_VERSION).contains(&ack.protocol_version) {
            return Err(Violation::Version(ack.protocol_version).into());
        }
        Ok(ack)
    }

    /// Sends a call and reads its answer: none when the daemon had closed the connection without reading the call. The
    /// connection is kept only when both are whole.
    fn exchange<B: Serialize, A>(
        &mut self,
        question: &Question<'_, B>,
        deadline: Deadline,
        read: impl Fn(Item<'_>) -> Result<A, DecodeError>,
    ) -> Result<Option<A>, ClientError> {
        let Question { endpoint, body, descriptors, .. } = *question;
        let hello_deadline = deadline.within(self.deadlines.hello);
        if self.connection.is_none() && !descriptors.is_empty() {
            // Descriptors belong to the first byte of their own frame, and so of what is sent.
            self.open(hello_deadline)?;
        }
        self.request_id = self.request_id.wrapping_add(1);
        let sent = self.request_id;
        let request = Sent { v: PROTOCOL_VERSION, request_id: sent, endpoint, body };
        let mut frame = Vec::new();
        let said_hello = self.connection.is_some();
        if !said_hello {
            encode_frame(&self.hello, &mut frame)?;
        }
        encode_frame(&request, &mut frame).map_err(ClientError::Unsendable)?;
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.path, hello_deadline)?,
        };
        say(&mut connection, &frame, descriptors, deadline)?;
        if !said_hello {
            match self.hear_hello(&mut connection, hello_deadline) {
                Ok(ack) => self.ack = Some(ack),
                // A call that changes something is carried out only after the hello was answered.
                Err(ClientError::Closed) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let payload = connection.receive(deadline)?;
        let Response { request_id, body, .. } = decode_response::<Item<'_>, Item<'_>>(&payload)?;
        match body {
            Body::Err(refusal) if request_id == 0 => of_the_connection(refusal),
            _ if request_id != sent => Err(Violation::RequestId { sent, got: request_id }.into()),
            Body::Event(_) => Err(Violation::Unasked.into()),
            Body::Err(refusal) => {
                self.connection = Some(connection);
                Err(ClientError::Refused(refusal))
            }
            Body::Ok(ok) => {
                let answer = read(ok).map_err(|reason| Violation::Answer { endpoint, reason })?;
                self.connection = Some(connection);
                Ok(Some(answer))
            }
        }
    }
}

/// Sends a frame. That nobody reads it is no error yet: why the daemon closed may still be there to be read.
fn say(
    connection: &mut Connection,
    frame: &[u8],
    descriptors: &[BorrowedFd<'_>],
    deadline: Deadline,
) -> Result<(), ClientError> {
    match connection.send(frame, descriptors, deadline) {
        Err(ClientError::Closed) => Ok(()),
        result => result,
    }
}

/// An error that answers no request is the daemon's last word on the connection. Where it is that the connection
/// was idle, the call was never read.
fn of_the_connection<A>(refusal: WireError) -> Result<Option<A>, ClientError> {
    if refusal.is(Code::Timeout) { Ok(None) } else { Err(ClientError::Refused(refusal)) }
}
