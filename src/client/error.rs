//! What can keep a call from being answered.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::wire::cbor::DecodeError;
use crate::wire::error::WireError;
use crate::wire::frame::{EncodeError, FrameError};

/// Why there is no answer, or what the answer no was.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is nothing at the socket's path.
    #[error("there is no socket {}", path.display())]
    NoSocket {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The caller may not open the socket.
    #[error("the socket {} may not be opened", path.display())]
    PermissionDenied {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The socket is there, and nobody listens on it.
    #[error("nobody listens on {}", path.display())]
    NobodyListens {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The socket cannot be connected to for another reason.
    #[error("cannot connect to {}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The daemon closed the connection before it answered. Whether it did what was asked is not known.
    #[error("the daemon closed the connection")]
    Closed,
    /// The daemon did not answer in time. Whether it did, or will do, what was asked is not known.
    #[error("no answer from the daemon within {}", humantime::format_duration(*after))]
    Timeout {
        /// How long it had.
        after: Duration,
    },
    /// The connection failed otherwise.
    #[error("cannot talk to the daemon")]
    Io(#[source] io::Error),
    /// What the daemon sent is not what the contract says.
    #[error("the daemon's answer cannot be understood")]
    Protocol(#[from] Violation),
    /// The call cannot be sent.
    #[error("the call cannot be sent")]
    Unsendable(#[from] EncodeError),
    /// More descriptors than [`crate::contract::DESCRIPTORS_MAX`].
    #[error("{0} descriptors, where {max} can go along", max = crate::contract::DESCRIPTORS_MAX)]
    TooManyDescriptors(usize),
    /// The daemon said no.
    #[error("{0}")]
    Refused(WireError),
}

impl ClientError {
    /// Whether what was asked for may have been done, or be done yet, all the same.
    pub fn leaves_open(&self) -> bool {
        matches!(self, Self::Closed | Self::Timeout { .. } | Self::Io(_) | Self::Protocol(_))
    }
}

/// How the daemon broke the contract.
#[derive(Debug, thiserror::Error)]
pub enum Violation {
    /// A frame of a length that none may have.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A payload that is no message.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A version that was not offered.
    #[error("it chose version {0} of the protocol, which was not offered")]
    Version(u64),
    /// The answer to another request.
    #[error("it answered request {got} instead of {sent}")]
    RequestId {
        /// The request that was sent.
        sent: u64,
        /// The one that was answered.
        got: u64,
    },
    /// An event on a connection that did not subscribe, or an answer on one that did.
    #[error("it sent what was not asked for")]
    Unasked,
    /// Another number of descriptors than it said.
    #[error("it sent {came} descriptors instead of {said}")]
    Descriptors {
        /// How many it said.
        said: u64,
        /// How many came.
        came: usize,
    },
    /// An answer, but not to this call.
    #[error("the answer to {endpoint} is of another kind: {reason}")]
    Answer {
        /// What was called.
        endpoint: &'static str,
        /// What of the answer does not belong to it.
        reason: DecodeError,
    },
}

impl From<FrameError> for ClientError {
    fn from(error: FrameError) -> Self {
        Self::Protocol(error.into())
    }
}

impl From<DecodeError> for ClientError {
    fn from(error: DecodeError) -> Self {
        Self::Protocol(error.into())
    }
}
