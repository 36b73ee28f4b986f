//! The blocking client: what the command uses, and other programs may.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use fairshare::client::{Client, Deadlines, Granted, SOCKET_PATH};
//! use fairshare::wire::call::Amounts;
//!
//! # fn main() -> Result<(), fairshare::client::ClientError> {
//! let mut client = Client::connect(Path::new(SOCKET_PATH), "example", "1.0", Deadlines::default())?;
//! let amounts = Amounts { cpu_milli: Some(2000), ..Amounts::default() };
//! match client.request(amounts, None, true, None)? {
//!     Granted::Share(share) => println!("{} has {} bytes of memory", share.slice, share.mem_bytes),
//!     Granted::Queued(job_id) => println!("waiting as job {job_id}"),
//! }
//! # Ok(())
//! # }
//! ```

mod calls;
mod connection;
mod error;
mod events;

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use calls::{Granted, Released};
pub use error::{ClientError, Violation};
pub use events::Events;

use crate::wire::answer::Answer;
use crate::wire::call::Call;
pub use crate::wire::call::DESCRIPTORS_MAX;
use crate::wire::decode::{HelloReply, decode_hello_reply, decode_response};
use crate::wire::error::{Code, WireError};
use crate::wire::frame::encode_frame;
use crate::wire::message::{
    Authz, Body, Hello, HelloAck, JOB_LIMITS, PROTOCOL_VERSION, PROTOCOL_VERSION_OLDEST, Request, Response,
};
use connection::{Connection, Deadline};

/// Where the daemon listens.
pub const SOCKET_PATH: &str = "/run/fairshare.sock";

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

/// A connection to the daemon, on which one call follows another.
///
/// A call that may be repeated ([`crate::wire::call::Endpoint::idempotent`]) is sent once more on a new connection
/// when the daemon closed the old one before it answered, as it does when it is restarted. After a deadline or an
/// answer that is none the connection is given up, and the next call opens another.
#[derive(Debug)]
pub struct Client {
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

impl Client {
    /// A client of the daemon at `path`, which introduces the caller by `name` and `version` (1 to 64 bytes each).
    ///
    /// It connects with its first call, and sends hello and call together: one round trip less than [`Self::connect`].
    pub fn new(path: &Path, name: &str, version: &str, deadlines: Deadlines) -> Self {
        let hello = Hello {
            protocol_version: PROTOCOL_VERSION,
            client_name: name.to_owned(),
            client_version: version.to_owned(),
            supports: vec![JOB_LIMITS.to_owned()],
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

    /// The same, connected: the daemon has said who the caller is.
    ///
    /// # Errors
    /// All of [`ClientError`].
    pub fn connect(
        path: &Path,
        name: &str,
        version: &str,
        deadlines: Deadlines,
    ) -> Result<Self, ClientError> {
        let mut client = Self::new(path, name, version, deadlines);
        let mut deadline = Deadline::after(deadlines.hello);
        let patience = Deadline::after(TURNED_AWAY_TIMEOUT);
        loop {
            match client.open(deadline) {
                // The daemon was stopped in between, and nothing was asked yet.
                Err(ClientError::Closed) => client.open(deadline)?,
                Err(ClientError::Refused(refusal)) => {
                    patience.wait_as_told(refusal)?;
                    deadline = Deadline::after(deadlines.hello);
                    continue;
                }
                result => result?,
            }
            return Ok(client);
        }
    }

    /// Who the kernel told the daemon that the caller is, and its role. None before the daemon has said so.
    pub fn authz(&self) -> Option<Authz> {
        self.ack.as_ref().map(|ack| ack.authz)
    }

    /// The daemon's version. None before the daemon has said so.
    pub fn daemon_version(&self) -> Option<&str> {
        self.ack.as_ref().map(|ack| ack.daemon_version.as_str())
    }

    /// Makes a call, whichever it is.
    ///
    /// # Errors
    /// All of [`ClientError`]; [`ClientError::Refused`] is the daemon's own no.
    pub fn call(&mut self, call: &Call) -> Result<Answer, ClientError> {
        self.call_with(call, &[])
    }

    /// Makes a call that descriptors go with.
    pub(crate) fn call_with(
        &mut self,
        call: &Call,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Answer, ClientError> {
        if descriptors.len() > DESCRIPTORS_MAX {
            return Err(ClientError::TooManyDescriptors(descriptors.len()));
        }
        let deadline = Deadline::after(self.deadlines.call);
        match self.admitted(call, descriptors, deadline) {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => {}
            Err(ClientError::Closed) if call.endpoint().idempotent() => {}
            Err(error) => return Err(error),
        }
        self.admitted(call, descriptors, deadline)?.ok_or(ClientError::Closed)
    }

    /// [`Self::exchange`], tried again while the daemon has no place for another connection. That is said in place of its
    /// hello: the call was not read.
    fn admitted(
        &mut self,
        call: &Call,
        descriptors: &[BorrowedFd<'_>],
        mut deadline: Deadline,
    ) -> Result<Option<Answer>, ClientError> {
        let patience = Deadline::after(TURNED_AWAY_TIMEOUT);
        loop {
            let connected = self.connection.is_some();
            match self.exchange(call, descriptors, deadline) {
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
    fn exchange(
        &mut self,
        call: &Call,
        descriptors: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<Option<Answer>, ClientError> {
        let hello_deadline = deadline.within(self.deadlines.hello);
        if self.connection.is_none() && !descriptors.is_empty() {
            // Descriptors belong to the first byte of their own frame, and so of what is sent.
            self.open(hello_deadline)?;
        }
        self.request_id = self.request_id.wrapping_add(1);
        let request = Request { v: PROTOCOL_VERSION, request_id: self.request_id, call: call.clone() };
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
        let Response { request_id, body, .. } = decode_response(&connection.receive(deadline)?)?;
        match body {
            Body::Err(refusal) if request_id == 0 => of_the_connection(refusal),
            _ if request_id != request.request_id => {
                Err(Violation::RequestId { sent: request.request_id, got: request_id }.into())
            }
            Body::Event(_) => Err(Violation::Unasked.into()),
            Body::Err(refusal) => {
                self.connection = Some(connection);
                Err(ClientError::Refused(refusal))
            }
            Body::Ok(answer) => {
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
fn of_the_connection(refusal: WireError) -> Result<Option<Answer>, ClientError> {
    if refusal.is(Code::Timeout) { Ok(None) } else { Err(ClientError::Refused(refusal)) }
}
