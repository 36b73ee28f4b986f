//! Hello: the first frame of each side, and who the client is.

use serde::{Deserialize, Serialize};

use super::cbor::{DecodeError, Item, whole};
use super::envelope::{Body, Response};
use super::error::WireError;
use super::field::name;
pub use super::role::Role;

/// The newest version of the protocol that this code speaks.
pub const PROTOCOL_VERSION: u64 = 2;

/// The oldest version that the daemon still answers: version 1 was never released.
pub const PROTOCOL_VERSION_OLDEST: u64 = 2;

/// The first thing a client says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// The newest version that the client speaks.
    pub protocol_version: u64,
    /// What the client is, 1 to 64 bytes. For the journal.
    #[serde(deserialize_with = "name")]
    pub client_name: String,
    /// Its version, 1 to 64 bytes. For the journal.
    #[serde(deserialize_with = "name")]
    pub client_version: String,
    /// What the client can do beyond the version. Unknown entries are ignored.
    pub supports: Vec<String>,
}

/// What the daemon answers to a hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HelloAck {
    /// The version that both speak.
    pub protocol_version: u64,
    /// The daemon's version.
    pub daemon_version: String,
    /// What the daemon can do beyond the version. Unknown entries are ignored.
    pub features: Vec<String>,
    /// The largest payload of a frame, in bytes.
    pub max_frame: u64,
    /// Who the kernel says the client is.
    pub authz: Authz,
}

/// Who the client is, and what it may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authz {
    /// The peer's user id.
    pub uid: u64,
    /// The peer's group id.
    pub gid: u64,
    /// The peer's role.
    pub role: Role,
}

/// What a daemon says to a hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HelloReply {
    /// Welcome.
    Ack(HelloAck),
    /// No, and why.
    Refused(WireError),
}

/// Decodes a client's first frame.
///
/// # Errors
/// When the payload is no [`Hello`].
pub fn decode_hello(payload: &[u8]) -> Result<Hello, DecodeError> {
    whole(payload)
}

/// Decodes a daemon's first frame: the answer to a hello, or the error in its place.
///
/// # Errors
/// When the payload is neither.
pub fn decode_hello_reply(payload: &[u8]) -> Result<HelloReply, DecodeError> {
    whole(payload).map(HelloReply::Ack).or_else(|error| match whole::<Response<Item, Item>>(payload) {
        Ok(Response { body: Body::Err(refusal), .. }) => Ok(HelloReply::Refused(refusal)),
        _ => Err(error),
    })
}
