//! The bodies of requests, both ways: from any serde format to a [`Call`], and back.
//!
//! The decoded side is one struct an endpoint; the encoded side a list of keys, because `amounts` stands among the
//! keys of its body, and serde's `flatten` would encode that as a map of indefinite length.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap, SerializeStruct, Serializer};
use serde::{Deserialize, Deserializer};

use super::call::{Amounts, Call, Endpoint, Submission};
use super::field;
use super::message::Request;

impl Call {
    /// The call to an endpoint with this body, in CBOR, JSON or whatever `body` reads.
    ///
    /// # Errors
    /// When the body is not what the schema has for that endpoint.
    pub fn from_body<'de, D: Deserializer<'de>>(endpoint: Endpoint, body: D) -> Result<Self, D::Error> {
        call(endpoint, body)
    }

    /// The body of this call, as it stands in a request.
    pub fn body(&self) -> impl Serialize + '_ {
        CallBody(self)
    }
}

/// The keys in the order of the contract's examples; nothing that is not there is written.
impl Serialize for Request {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut request = serializer.serialize_struct("Request", 4)?;
        request.serialize_field("v", &self.v)?;
        request.serialize_field("request_id", &self.request_id)?;
        request.serialize_field("endpoint", self.call.endpoint().name())?;
        request.serialize_field("body", &CallBody(&self.call))?;
        request.end()
    }
}

macro_rules! bodies {
    ($($name:ident { $($required:ident: $type:ty $(= $with:literal)?),*; $($optional:ident: $inner:ty),* })*) => {
        $(
            #[derive(Deserialize)]
            #[serde(deny_unknown_fields)]
            struct $name {
                $($(#[serde(deserialize_with = $with)])? $required: $type,)*
                $(#[serde(default, deserialize_with = "field::optional")] $optional: Option<$inner>,)*
            }
        )*
    };
}

/// A job's name, 1 to 64 bytes.
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        field::name(from).map(Self)
    }
}

bodies! {
    Nothing { ; }
    ForUid { ; for_uid: u64 }
    RequestResources { ; cpu_milli: u64, mem_bytes: u64, tasks_max: u64, lease_ms: u64, wait: bool, for_uid: u64 }
    Resize { ; cpu_milli: u64, mem_bytes: u64, tasks_max: u64, for_uid: u64 }
    Renew { lease_ms: u64; for_uid: u64 }
    Release { ; stop: bool, for_uid: u64 }
    Attach { pids: Vec<u64> = "field::pids"; }
    Submit {
        argv: Vec<String> = "field::argv", cwd: String, env: BTreeMap<String, String> = "field::env";
        cpu_milli: u64, mem_bytes: u64, tasks_max: u64, name: Name, lease_ms: u64, wait: bool
    }
    JobId { job_id: u64; }
    All { ; all: bool }
    Subscribe { ; all: bool, job_id: u64 }
}

pub(super) fn call<'de, D: Deserializer<'de>>(endpoint: Endpoint, body: D) -> Result<Call, D::Error> {
    match endpoint {
        Endpoint::Ping => nothing(body, Call::Ping),
        Endpoint::Health => nothing(body, Call::Health),
        Endpoint::List => nothing(body, Call::List),
        Endpoint::Run => nothing(body, Call::Run),
        Endpoint::Reload => nothing(body, Call::Reload),
        Endpoint::Drain => nothing(body, Call::Drain),
        Endpoint::Undrain => nothing(body, Call::Undrain),
        Endpoint::Status => ForUid::deserialize(body).map(|ForUid { for_uid }| Call::Status { for_uid }),
        Endpoint::Policy => ForUid::deserialize(body).map(|ForUid { for_uid }| Call::Policy { for_uid }),
        Endpoint::RequestResources => {
            let RequestResources { cpu_milli, mem_bytes, tasks_max, lease_ms, wait, for_uid } =
                RequestResources::deserialize(body)?;
            let amounts = Amounts { cpu_milli, mem_bytes, tasks_max };
            Ok(Call::RequestResources { amounts, lease_ms, wait, for_uid })
        }
        Endpoint::Resize => {
            let Resize { cpu_milli, mem_bytes, tasks_max, for_uid } = Resize::deserialize(body)?;
            Ok(Call::Resize { amounts: Amounts { cpu_milli, mem_bytes, tasks_max }, for_uid })
        }
        Endpoint::Renew => {
            Renew::deserialize(body).map(|Renew { lease_ms, for_uid }| Call::Renew { lease_ms, for_uid })
        }
        Endpoint::Release => {
            Release::deserialize(body).map(|Release { stop, for_uid }| Call::Release { stop, for_uid })
        }
        Endpoint::Attach => Attach::deserialize(body).map(|Attach { pids }| Call::Attach { pids }),
        Endpoint::Submit => Submit::deserialize(body).map(|body| Call::Submit(body.into())),
        Endpoint::JobStatus => JobId::deserialize(body).map(|JobId { job_id }| Call::JobStatus { job_id }),
        Endpoint::JobCancel => JobId::deserialize(body).map(|JobId { job_id }| Call::JobCancel { job_id }),
        Endpoint::JobFetch => JobId::deserialize(body).map(|JobId { job_id }| Call::JobFetch { job_id }),
        Endpoint::JobList => All::deserialize(body).map(|All { all }| Call::JobList { all }),
        Endpoint::Subscribe => {
            Subscribe::deserialize(body).map(|Subscribe { all, job_id }| Call::Subscribe { all, job_id })
        }
    }
}

fn nothing<'de, D: Deserializer<'de>>(body: D, call: Call) -> Result<Call, D::Error> {
    Nothing::deserialize(body).map(|Nothing {}| call)
}

impl From<Submit> for Submission {
    fn from(body: Submit) -> Self {
        let Submit { argv, cwd, env, cpu_milli, mem_bytes, tasks_max, name, lease_ms, wait } = body;
        let amounts = Amounts { cpu_milli, mem_bytes, tasks_max };
        Self { argv, cwd, env, amounts, name: name.map(|Name(name)| name), lease_ms, wait }
    }
}

struct CallBody<'a>(&'a Call);

/// A value of a body.
enum Value<'a> {
    Uint(u64),
    Bool(bool),
    Text(&'a str),
    Uints(&'a [u64]),
    Texts(&'a [String]),
    Env(&'a BTreeMap<String, String>),
}

type Pair<'a> = (&'static str, Option<Value<'a>>);

impl Serialize for CallBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pairs = pairs(self.0);
        let present = pairs.iter().filter_map(|(key, value)| value.as_ref().map(|value| (key, value)));
        let mut map = serializer.serialize_map(Some(present.clone().count()))?;
        for (key, value) in present {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Uint(value) => value.serialize(serializer),
            Self::Bool(value) => value.serialize(serializer),
            Self::Text(value) => value.serialize(serializer),
            Self::Uints(values) => values.serialize(serializer),
            Self::Texts(values) => values.serialize(serializer),
            Self::Env(values) => values.serialize(serializer),
        }
    }
}

/// The keys of a body in the order of the schema.
fn pairs(call: &Call) -> Vec<Pair<'_>> {
    match call {
        Call::Ping | Call::Health | Call::List | Call::Run | Call::Reload | Call::Drain | Call::Undrain => {
            Vec::new()
        }
        Call::Status { for_uid } | Call::Policy { for_uid } => vec![uint("for_uid", *for_uid)],
        Call::RequestResources { amounts, lease_ms, wait, for_uid } => {
            let [cpu, mem, tasks] = figures(amounts);
            vec![cpu, mem, tasks, uint("lease_ms", *lease_ms), bool("wait", *wait), uint("for_uid", *for_uid)]
        }
        Call::Resize { amounts, for_uid } => {
            let [cpu, mem, tasks] = figures(amounts);
            vec![cpu, mem, tasks, uint("for_uid", *for_uid)]
        }
        Call::Renew { lease_ms, for_uid } => {
            vec![uint("lease_ms", Some(*lease_ms)), uint("for_uid", *for_uid)]
        }
        Call::Release { stop, for_uid } => vec![bool("stop", *stop), uint("for_uid", *for_uid)],
        Call::Attach { pids } => vec![("pids", Some(Value::Uints(pids)))],
        Call::Submit(Submission { argv, cwd, env, amounts, name, lease_ms, wait }) => {
            let [cpu, mem, tasks] = figures(amounts);
            vec![
                ("argv", Some(Value::Texts(argv))),
                ("cwd", Some(Value::Text(cwd))),
                ("env", Some(Value::Env(env))),
                cpu,
                mem,
                tasks,
                ("name", name.as_deref().map(Value::Text)),
                uint("lease_ms", *lease_ms),
                bool("wait", *wait),
            ]
        }
        Call::JobStatus { job_id } | Call::JobCancel { job_id } | Call::JobFetch { job_id } => {
            vec![uint("job_id", Some(*job_id))]
        }
        Call::JobList { all } => vec![bool("all", *all)],
        Call::Subscribe { all, job_id } => vec![bool("all", *all), uint("job_id", *job_id)],
    }
}

fn figures(amounts: &Amounts) -> [Pair<'static>; 3] {
    let Amounts { cpu_milli, mem_bytes, tasks_max } = *amounts;
    [uint("cpu_milli", cpu_milli), uint("mem_bytes", mem_bytes), uint("tasks_max", tasks_max)]
}

fn uint(key: &'static str, value: Option<u64>) -> Pair<'static> {
    (key, value.map(Value::Uint))
}

fn bool(key: &'static str, value: Option<bool>) -> Pair<'static> {
    (key, value.map(Value::Bool))
}
