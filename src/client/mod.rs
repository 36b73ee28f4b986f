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
use crate::wire::decode::{HelloReply, decode_hello_reply, decode_response};
use crate::wire::error::{Code, WireError};
use crate::wire::frame::encode_frame;
use crate::wire::message::{
    Authz, Body, Hello, HelloAck, PROTOCOL_VERSION, PROTOCOL_VERSION_OLDEST, Request, Response,
};
use connection::{Connection, Deadline};

/// Where the daemon listens.
pub const SOCKET_PATH: &str = "/run/fairshare.sock";

/// How long a connection may take until the daemon has answered the hello. The first one starts the daemon, which
/// compares what it remembers with what systemd has before it answers.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a call may take, a reconnection within it included.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The most descriptors that go with a `submit`: standard input, output, error.
pub const DESCRIPTORS_MAX: usize = 3;

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
    /// What the daemon said when it was last connected to.
    ack: HelloAck,
    request_id: u64,
}

impl Client {
    /// Connects to the daemon at `path`, and introduces the caller by `name` and `version` (1 to 64 bytes each).
    ///
    /// # Errors
    /// All of [`ClientError`].
    pub fn connect(
        path: &Path,
        name: &str,
        version: &str,
        deadlines: Deadlines,
    ) -> Result<Self, ClientError> {
        let hello = Hello {
            protocol_version: PROTOCOL_VERSION,
            client_name: name.to_owned(),
            client_version: version.to_owned(),
            supports: Vec::new(),
        };
        let (connection, ack) = open(path, &hello, Deadline::after(deadlines.hello))?;
        Ok(Self { path: path.to_owned(), hello, deadlines, connection: Some(connection), ack, request_id: 0 })
    }

    /// Who the kernel told the daemon that the caller is, and its role.
    pub fn authz(&self) -> Authz {
        self.ack.authz
    }

    /// The daemon's version.
    pub fn daemon_version(&self) -> &str {
        &self.ack.daemon_version
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
        match self.exchange(call, descriptors, deadline) {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => {}
            Err(ClientError::Closed) if call.endpoint().idempotent() => {}
            Err(error) => return Err(error),
        }
        self.exchange(call, descriptors, deadline)?.ok_or(ClientError::Closed)
    }

    /// Sends a call and reads its answer: none when the daemon had closed an idle connection, and so never read the
    /// call. The connection is kept only when both are whole.
    fn exchange(
        &mut self,
        call: &Call,
        descriptors: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<Option<Answer>, ClientError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let (connection, ack) = open(&self.path, &self.hello, deadline.within(self.deadlines.hello))?;
                self.ack = ack;
                connection
            }
        };
        self.request_id = self.request_id.wrapping_add(1);
        let request =
            Request { v: self.ack.protocol_version, request_id: self.request_id, call: call.clone() };
        let mut frame = Vec::new();
        if let Err(error) = encode_frame(&request, &mut frame) {
            self.connection = Some(connection);
            return Err(ClientError::Unsendable(error));
        }
        say(&mut connection, &frame, descriptors, deadline)?;
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

/// Connects and exchanges hellos; once more when the daemon was stopped in between, for nothing was asked yet.
fn open(path: &Path, hello: &Hello, deadline: Deadline) -> Result<(Connection, HelloAck), ClientError> {
    match open_once(path, hello, deadline) {
        Err(ClientError::Closed) => open_once(path, hello, deadline),
        result => result,
    }
}

fn open_once(path: &Path, hello: &Hello, deadline: Deadline) -> Result<(Connection, HelloAck), ClientError> {
    let mut connection = Connection::open(path, deadline)?;
    let mut frame = Vec::new();
    encode_frame(hello, &mut frame)?;
    say(&mut connection, &frame, &[], deadline)?;
    let ack = match decode_hello_reply(&connection.receive(deadline)?)? {
        HelloReply::Ack(ack) => ack,
        HelloReply::Refused(refusal) => return Err(ClientError::Refused(refusal)),
    };
    if !(PROTOCOL_VERSION_OLDEST..=PROTOCOL_VERSION).contains(&ack.protocol_version) {
        return Err(Violation::Version(ack.protocol_version).into());
    }
    Ok((connection, ack))
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
