//! The contract of `fairshared`, over [`wire`](crate::wire): which endpoints there are, what they take and what they
//! answer. Data only, one file an endpoint; `protocol.cddl` beside this file is the schema.
//!
//! An endpoint is a file with its body, which is an [`Ask`], and a word in `for_each_endpoint!` below; where its answer has
//! a shape that no other has, also a word in `answers!`. What it is to the daemon is a file in `daemon/asking/endpoint`.

mod amounts;
mod answer;
mod ask;
mod attach;
mod audit;
mod capacity;
mod care;
mod changed;
mod drain;
mod dump;
mod event;
pub mod handover;
mod health;
mod history;
mod job;
mod job_alter;
mod job_cancel;
mod job_fetch;
mod job_list;
mod job_status;
mod list;
mod log;
mod ping;
mod policy;
mod release;
mod reload;
mod renew;
mod request_resources;
mod resize;
mod run;
mod share;
mod status;
mod submit;
mod subscribe;
mod undrain;

use serde::{Deserialize as _, Deserializer, Serialize, Serializer};

pub use amounts::Amounts;
pub use answer::Answer;
pub use ask::{Ask, Repeat};
pub use attach::{Attach, PIDS_MAX};
pub use audit::{Audit, AuditAnswer, Finding, FindingKind, PIDS_NAMED_MAX};
pub use capacity::CapacityInfo;
pub use care::{OutOfMemory, Warning};
pub use changed::Changed;
pub use drain::Drain;
pub use dump::{AllocationDump, AllocationPhase, Dump, DumpAnswer, DumpInfo, JOBS_DUMPED_MAX, PastUse};
pub use event::EventInfo;
pub use health::{Check, Health, HealthAnswer};
pub use history::{ENDS_PER_ANSWER_MAX, EndInfo, EndKind, EndPlace, History, HistoryAnswer};
pub use job::{AgainInfo, ArrayInfo, JobInfo, JobKind, JobStarted, JobState, OneJob, TaskInfo, WaitsFor};
pub use job_alter::JobAlter;
pub use job_cancel::JobCancel;
pub use job_fetch::{Handed, JobFetch};
pub use job_list::{JobList, Jobs};
pub use job_status::JobStatus;
pub use list::{List, ListAnswer};
pub use log::{Log, LogLevel};
pub use ping::{Ping, Pong};
pub use policy::{AmountInfo, IoInfo, KeyInfo, Policy, PolicyAnswer, PolicyInfo};
pub use release::{Release, ReleaseAnswer, Released};
pub use reload::Reload;
pub use renew::Renew;
pub use request_resources::{Granted, RequestResources};
pub use resize::Resize;
pub use run::{Entered, InUnit, Run};
pub use share::{AllocationInfo, AllocationKind, AllocationState, HeldShare, ShareInfo, Usage};
pub use status::{Status, StatusAnswer};
pub use submit::{AFTER_MAX, ArrayRange, DESCRIPTORS_MAX, Submit};
pub use subscribe::{Subscribe, Subscribed};
pub use undrain::Undrain;

use crate::wire::cbor::{DecodeError, Item};
use crate::wire::envelope::{self, BadRequest, Calls};

/// A request with one of the calls.
pub type Request = envelope::Request<Call>;
/// A response with one of the answers.
pub type Response = envelope::Response<Answer, EventInfo>;
/// The body of a [`Response`].
pub type Body = envelope::Body<Answer, EventInfo>;

/// An endpoint that is in [`Endpoint`]: all of them are.
pub trait Addressed: Ask {
    /// Which of them it is.
    const ENDPOINT: Endpoint;
}

macro_rules! endpoints {
    ($($name:ident),+ $(,)?) => {
        /// The endpoints of the contract.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Endpoint { $(#[doc = concat!("That of [`", stringify!($name), "`].")] $name),+ }

        /// A call: the endpoint and its body as one value.
        #[expect(clippy::large_enum_variant, reason = "a connection has a few calls under way: a box for each would save nothing")]
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Call { $(#[doc = concat!("See [`", stringify!($name), "`].")] $name($name)),+ }

        $(impl Addressed for $name {
            const ENDPOINT: Endpoint = Endpoint::$name;
        })+

        $(impl From<$name> for Call {
            fn from(body: $name) -> Self {
                Self::$name(body)
            }
        })+

        impl Endpoint {
            /// Every endpoint, in the order of the contract.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The name, as it stands in a request.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $name::NAME),+ }
            }

            /// Whether a call may be sent again when its answer was lost.
            pub fn repeat(self) -> Repeat {
                match self { $(Self::$name => $name::REPEAT),+ }
            }

            /// The endpoint of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name::NAME => Some(Self::$name),)+ _ => None }
            }

            /// The answer of this endpoint.
            ///
            /// # Errors
            /// It is another one's, or none.
            pub fn answer(self, ok: Item<'_>) -> Result<Answer, DecodeError> {
                match self { $(Self::$name => ok.read::<<$name as Ask>::Answer>().map(Into::into)),+ }
            }
        }

        impl Call {
            /// The endpoint that this call goes to.
            pub fn endpoint(&self) -> Endpoint {
                match self { $(Self::$name(_) => Endpoint::$name),+ }
            }

            /// The member that the call names, where it names one.
            pub fn for_uid(&self) -> Option<u64> {
                match self { $(Self::$name(body) => body.for_uid()),+ }
            }

            /// The call to an endpoint with this body, in CBOR, JSON or whatever `body` reads.
            ///
            /// # Errors
            /// When the body is not what the schema has for that endpoint.
            pub fn from_body<'de, D: Deserializer<'de>>(endpoint: Endpoint, body: D) -> Result<Self, D::Error> {
                match endpoint { $(Endpoint::$name => $name::deserialize(body).map(Self::$name)),+ }
            }
        }

        /// The body of the call.
        impl Serialize for Call {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self { $(Self::$name(body) => body.serialize(serializer)),+ }
            }
        }
    };
}

/// Hands the list of all endpoints to a macro: whoever keeps something for each of them writes no list of its own.
macro_rules! for_each_endpoint {
    ($of:ident) => {
        $of! {
            Ping, Health, Status, List, Policy, RequestResources, Resize, Renew, Release, Run, Attach, Submit, JobStatus, JobList,
            JobCancel, JobAlter, JobFetch, Subscribe, Reload, Drain, Undrain, Dump, Log, Audit, History,
        }
    };
}
pub(crate) use for_each_endpoint;

for_each_endpoint!(endpoints);

impl Calls for Call {
    type Endpoint = Endpoint;

    fn endpoint_named(name: &str) -> Option<Endpoint> {
        Endpoint::from_name(name)
    }

    fn decode<'de, D: Deserializer<'de>>(endpoint: Endpoint, body: D) -> Result<Self, D::Error> {
        Self::from_body(endpoint, body)
    }

    fn endpoint_name(&self) -> &'static str {
        self.endpoint().name()
    }

    fn encode<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize(serializer)
    }
}

/// Decodes what a client says after its hello.
///
/// # Errors
/// Those of [`envelope::decode_request`].
pub fn decode_request(payload: &[u8]) -> Result<Request, BadRequest> {
    envelope::decode_request(payload)
}

/// Decodes what a daemon says after its hello, without knowing what was asked: which answer it is follows from its keys.
///
/// # Errors
/// When the payload is no [`Response`].
pub fn decode_response(payload: &[u8]) -> Result<Response, DecodeError> {
    let envelope::Response { v, request_id, body } =
        envelope::decode_response::<Item<'_>, EventInfo>(payload)?;
    let body = match body {
        envelope::Body::Ok(ok) => Body::Ok(Answer::any(ok)?),
        envelope::Body::Err(error) => Body::Err(error),
        envelope::Body::Event(event) => Body::Event(event),
    };
    Ok(Response { v, request_id, body })
}

#[cfg(test)]
mod tests {
    use ciborium::{Value, cbor};

    use super::*;

    fn refused(request: &Value) -> (u64, String) {
        let mut payload = Vec::new();
        ciborium::into_writer(request, &mut payload).unwrap();
        let bad = decode_request(&payload).unwrap_err();
        (bad.request_id, bad.to_string())
    }

    #[test]
    fn a_fault_says_what_and_where_and_the_id_is_found_after_it() {
        for (request, message) in [
            (
                cbor!({"v" => 2, "endpoint" => "resize", "body" => {"cpu_milli" => "two"}, "request_id" => 7}),
                "body.cpu_milli: expected an unsigned integer, found text (byte 36)",
            ),
            (
                cbor!({"v" => 2, "body" => {"pids" => [1, 2, -3]}, "endpoint" => "attach", "request_id" => 7}),
                "body.pids[2]: expected an unsigned integer, found a negative integer (byte 18)",
            ),
            (
                cbor!({"v" => 2, "request_id" => 7, "endpoint" => "fly", "body" => {}}),
                "endpoint: no such endpoint: `fly` (byte 25)",
            ),
            (
                cbor!({"v" => 2, "request_id" => 7, "endpoint" => "ping", "body" => {"x\n" => 1}}),
                r"body: unknown key `x\n` (byte 36)",
            ),
            (
                cbor!({"v" => 1.5, "request_id" => 7, "endpoint" => "ping", "body" => {}}),
                "v: expected an unsigned integer, found a float (byte 3)",
            ),
            (
                cbor!({"v" => 2, "request_id" => 7, "endpoint" => "ping", "body" => {}, "more" => 1}),
                "unknown key `more` (byte 36)",
            ),
            (
                cbor!({"v" => 2, "request_id" => 7, "endpoint" => "ping"}),
                "the key `body` is missing (byte 0)",
            ),
            (
                cbor!({"v" => 2, "request_id" => 7, "endpoint" => "renew", "body" => {}}),
                "body: the key `lease_ms` is missing (byte 36)",
            ),
        ] {
            assert_eq!(refused(&request.unwrap()), (7, message.to_owned()));
        }
    }
}
