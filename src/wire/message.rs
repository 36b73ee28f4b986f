//! Hello and envelope: what goes into a frame.

use serde::{Deserialize, Serialize};

use super::answer::{Answer, EventInfo, Role};
use super::call::Call;
use super::error::WireError;
use super::field::name;

/// The newest version of the protocol that this code speaks.
pub const PROTOCOL_VERSION: u64 = 1;

/// The oldest version that the daemon still answers.
pub const PROTOCOL_VERSION_OLDEST: u64 = 1;

/// What of `supports` and `features`: a job that ran has `mem_limit_bytes`, the most memory that it could have used.
pub const JOB_LIMITS: &str = "job_limits";

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
    /// Its role.
    pub role: Role,
}

/// A request: the envelope and the call in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The version that was agreed on.
    pub v: u64,
    /// The client's number for this request, echoed in the response.
    pub request_id: u64,
    /// What is asked.
    pub call: Call,
}

/// A response: the envelope and what is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    /// The version that was agreed on.
    pub v: u64,
    /// The number of the request, 0 where there was none.
    pub request_id: u64,
    /// What is answered.
    pub body: Body,
}

impl Body {
    /// As for a client that does not support [`JOB_LIMITS`], to whom its key would be an error.
    pub fn without_job_limits(mut self) -> Self {
        let jobs = match &mut self {
            Self::Ok(Answer::Job { job }) => std::slice::from_mut(job),
            Self::Ok(Answer::Jobs { jobs }) => jobs.as_mut_slice(),
            Self::Event(event) => event.job.as_mut_slice(),
            _ => &mut [],
        };
        jobs.iter_mut().for_each(|job| job.mem_limit_bytes = None);
        self
    }
}

/// The body of a response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// Done.
    Ok(Answer),
    /// Not done, and why.
    Err(WireError),
    /// Something happened.
    Event(Box<EventInfo>),
}
