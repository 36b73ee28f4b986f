//! The connection to the daemon, with every way it can fail told as a person needs it.

use std::error::Error;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::exit::{Exit, Failure};
use super::whom::Whom;
use super::{hint, unreachable};
use crate::client::{Client, ClientError, Deadlines, Events};
use crate::contract::{Addressed, Ask, Endpoint, JobStarted, Submit, Subscribe};
use crate::wire::error::{Code, WireError};

/// How long a call is made again that is refused for coming too early.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection, made with its first call.
pub struct Link {
    client: Client,
}

impl Link {
    /// A link to the daemon. The daemon moves the process that connects (`run`), so that the one which asks must be
    /// the one to become the member's command: no thread and no child may do it.
    pub fn new(socket: &Path) -> Self {
        Self { client: Client::new(socket, "fairshare", env!("CARGO_PKG_VERSION"), Deadlines::default()) }
    }

    /// The answer to `call`, where a refusal is an answer too. What came too early is asked again.
    ///
    /// # Errors
    /// There was no answer.
    pub fn try_ask<E: Ask>(&mut self, call: &E) -> Result<Result<E::Answer, WireError>, Failure> {
        match self.patiently(|client| client.call(call)) {
            Ok(answer) => Ok(Ok(answer)),
            Err(ClientError::Refused(error)) => Ok(Err(error)),
            Err(error) => Err(fault(error)),
        }
    }

    /// Submits a command with its standard input, output and error.
    ///
    /// # Errors
    /// It was refused, or there was no answer.
    pub fn submit(
        &mut self,
        submission: &Submit,
        streams: &[BorrowedFd<'_>],
    ) -> Result<JobStarted, ClientError> {
        self.patiently(|client| client.call_with(submission, streams))
    }

    /// Calls, and again as soon as the daemon says where it refused that for coming too early, for [`PATIENCE`] in all.
    fn patiently<A>(
        &mut self,
        call: impl Fn(&mut Client) -> Result<A, ClientError>,
    ) -> Result<A, ClientError> {
        let began = Instant::now();
        loop {
            let refusal = match call(&mut self.client) {
                Err(ClientError::Refused(refusal)) => refusal,
                other => return other,
            };
            let early = refusal.is(Code::Busy) || refusal.is(Code::RateLimited);
            let wait = refusal.retry_after_ms.filter(|_| early).map(Duration::from_millis);
            match wait.filter(|wait| began.elapsed().saturating_add(*wait) <= PATIENCE) {
                Some(wait) => thread::sleep(wait),
                None => return Err(ClientError::Refused(refusal)),
            }
        }
    }

    /// The answer to `call`, which is made for `whom`.
    ///
    /// # Errors
    /// It was refused, or there was no answer.
    pub fn ask<E: Addressed>(&mut self, call: &E, whom: &Whom) -> Result<E::Answer, Failure> {
        self.try_ask(call)?.map_err(|error| self.refused(&error, E::ENDPOINT, whom))
    }

    /// A refusal, as it is told: of what this command says and a daemon of another version does not take, why that may be.
    pub fn refused(&self, error: &WireError, call: Endpoint, whom: &Whom) -> Failure {
        let refused = refused(error, call, whom);
        match self.client.daemon_version() {
            Some(version) if error.is(Code::BadRequest) && version != env!("CARGO_PKG_VERSION") => {
                let own = env!("CARGO_PKG_VERSION");
                refused.hint(format!(
                    "the daemon is of version {version}, and this command of {own}: where that is why, \
                     `sudo systemctl restart fairshared.service` helps; no share is lost"
                ))
            }
            _ => refused,
        }
    }
}

/// Follows what happens: to one job, to the caller, or to `all`. On a connection of its own.
///
/// # Errors
/// It was refused, or no daemon answers.
pub fn subscribe(socket: &Path, all: bool, job_id: Option<u64>) -> Result<Events, Failure> {
    let Link { client } = Link::new(socket);
    client.subscribe(&Subscribe { all: all.then_some(true), job_id }).map_err(|error| match error {
        ClientError::Refused(error) => refused(&error, Endpoint::Subscribe, &Whom::Me),
        error => fault(error),
    })
}

/// A refusal, as it is told.
pub fn refused(error: &WireError, call: Endpoint, whom: &Whom) -> Failure {
    Failure {
        message: error.message.clone(),
        detail: error.more(),
        hint: hint::refusal(error, call, whom),
        exit: Exit::of_refusal(error),
    }
}

/// The daemon answered `call` with something that cannot answer it.
pub fn unexpected(call: Endpoint) -> Failure {
    Failure::new(Exit::UNAVAILABLE, format!("the answer to {} makes no sense", call.name())).hint(RESTART)
}

/// Why there is no answer, as it is told.
pub fn fault(error: ClientError) -> Failure {
    let hint = match &error {
        ClientError::NoSocket { path, .. } => return unreachable::no_daemon(path, false),
        ClientError::NobodyListens { path, .. } => return unreachable::no_daemon(path, true),
        ClientError::PermissionDenied { path, .. } => return unreachable::permission_denied(path),
        ClientError::Refused(error) => return refused(error, Endpoint::Ping, &Whom::Me),
        ClientError::Protocol(_) => RESTART,
        ClientError::Timeout { .. } => LOOK,
        ClientError::Closed | ClientError::Io(_) | ClientError::Connect { .. } => AGAIN,
        ClientError::Unsendable(_) | ClientError::TooManyDescriptors(_) => {
            return Failure { detail: cause(&error), ..Failure::new(Exit::REFUSED, error.to_string()) }
                .hint("the command line or the environment is too large, or the script: make it smaller");
        }
    };
    let message = match &error {
        ClientError::Closed => "the daemon closed the connection before it answered".to_owned(),
        _ => error.to_string(),
    };
    Failure { detail: cause(&error), ..Failure::new(Exit::UNAVAILABLE, message) }.hint(hint)
}

/// What is behind an error.
fn cause(error: &ClientError) -> Option<String> {
    error.source().map(ToString::to_string)
}

const AGAIN: &str = "try again; an administrator finds more with `journalctl -u fairshared.service`";
const LOOK: &str = "an administrator finds more with `systemctl status fairshared.service`; \
    `sudo systemctl restart fairshared.service` loses no share";
const RESTART: &str = "after an upgrade the daemon may be of another version than this command: \
    `sudo systemctl restart fairshared.service`; no share is lost";
