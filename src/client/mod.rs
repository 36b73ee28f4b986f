//! The blocking client: what the command uses, and other programs may.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use fairshare::client::{Client, Deadlines, SOCKET_PATH};
//! use fairshare::contract::{Granted, RequestResources};
//!
//! # fn main() -> Result<(), fairshare::client::ClientError> {
//! let mut client = Client::new(Path::new(SOCKET_PATH), "example", "1.0", Deadlines::default());
//! match client.call(&RequestResources { cpu_milli: Some(2000), wait: Some(true), ..Default::default() })? {
//!     Granted::Share(share) => println!("{} has {} bytes of memory", share.slice, share.mem_bytes),
//!     Granted::Queued(job_id) => println!("waiting as job {job_id}"),
//! }
//! # Ok(())
//! # }
//! ```

mod connection;
mod error;
mod events;
mod exchange;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

pub use error::{ClientError, Violation};
pub use events::Events;
pub use exchange::{CALL_TIMEOUT, Deadlines, HELLO_TIMEOUT, TURNED_AWAY_TIMEOUT};

use crate::contract::{Answer, Ask, Call, Handed, JobFetch, Repeat, Subscribe};
use crate::wire::hello::Authz;
use exchange::{Exchange, Question};

/// Where the daemon listens.
pub const SOCKET_PATH: &str = "/run/fairshare.sock";

/// A connection to the daemon, on which one call follows another.
///
/// A call that may be repeated ([`Ask::REPEAT`]) is sent once more on a new connection when the daemon closed the old one
/// before it answered, as it does when it is restarted. After a deadline or an answer that is none the connection is given
/// up, and the next call opens another.
#[derive(Debug)]
pub struct Client(Exchange);

impl Client {
    /// A client of the daemon at `path`, which introduces the caller by `name` and `version` (1 to 64 bytes each).
    ///
    /// It connects with its first call, and sends hello and call together: one round trip less than [`Self::connect`].
    pub fn new(path: &Path, name: &str, version: &str, deadlines: Deadlines) -> Self {
        Self(Exchange::new(path, name, version, deadlines))
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
        let mut exchange = Exchange::new(path, name, version, deadlines);
        exchange.connect()?;
        Ok(Self(exchange))
    }

    /// Who the kernel told the daemon that the caller is, and its role. None before the daemon has said so.
    pub fn authz(&self) -> Option<Authz> {
        self.0.ack().map(|ack| ack.authz)
    }

    /// The daemon's version. None before the daemon has said so.
    pub fn daemon_version(&self) -> Option<&str> {
        self.0.ack().map(|ack| ack.daemon_version.as_str())
    }

    /// Makes a call.
    ///
    /// # Errors
    /// All of [`ClientError`]; [`ClientError::Refused`] is the daemon's own no.
    pub fn call<E: Ask>(&mut self, ask: &E) -> Result<E::Answer, ClientError> {
        self.call_with(ask, &[])
    }

    /// Makes a call that descriptors go with: at most [`crate::contract::DESCRIPTORS_MAX`], and only with `submit`.
    ///
    /// # Errors
    /// All of [`ClientError`].
    pub fn call_with<E: Ask>(
        &mut self,
        ask: &E,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<E::Answer, ClientError> {
        let question =
            Question { endpoint: E::NAME, body: ask, repeat: E::REPEAT == Repeat::Yes, descriptors };
        self.0.ask(question, |ok| ok.read())
    }

    /// Makes a call that is known only when it is made.
    ///
    /// # Errors
    /// All of [`ClientError`].
    pub fn call_any(&mut self, call: &Call) -> Result<Answer, ClientError> {
        let endpoint = call.endpoint();
        let repeat = endpoint.repeat() == Repeat::Yes;
        let question = Question { endpoint: endpoint.name(), body: call, repeat, descriptors: &[] };
        self.0.ask(question, |ok| endpoint.answer(ok))
    }

    /// Fetches what a submitted command is, for the process that systemd started for it. Gives what the command has, and
    /// the descriptors that come with the answer; the connection is to be closed when the first of them was read.
    ///
    /// # Errors
    /// All of [`ClientError`].
    pub fn job_fetch(&mut self, job_id: u64) -> Result<(Handed, Vec<OwnedFd>), ClientError> {
        self.handed(&JobFetch { job_id, at_end: None })
    }

    /// The same of what its member has run when the job is over, for the process that systemd started for that.
    ///
    /// # Errors
    /// All of [`ClientError`].
    pub fn job_fetch_at_end(&mut self, job_id: u64) -> Result<(Handed, Vec<OwnedFd>), ClientError> {
        self.handed(&JobFetch { job_id, at_end: Some(true) })
    }

    fn handed(&mut self, fetch: &JobFetch) -> Result<(Handed, Vec<OwnedFd>), ClientError> {
        let answer: Handed = self.call(fetch)?;
        let descriptors = self.0.take_descriptors();
        match descriptors.len() {
            came if u64::try_from(came) == Ok(answer.handed) => Ok((answer, descriptors)),
            came => Err(Violation::Descriptors { said: answer.handed, came }.into()),
        }
    }

    /// Follows what happens. The connection is used up by it.
    ///
    /// # Errors
    /// All of [`ClientError`].
    pub fn subscribe(mut self, ask: &Subscribe) -> Result<Events, ClientError> {
        self.call(ask)?;
        // There is one after every answer.
        self.0.into_connection().map(Events::new).ok_or(ClientError::Closed)
    }
}
