//! Requests and responses: an envelope around a call and around what is answered. Which calls and answers there are is a
//! contract's to say: it hands them in by [`Calls`] and by the types of a [`Response`].

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::cbor::{Cursor, DecodeError, Head, shown, whole};
use super::error::{Code, WireError};

/// The calls of a contract: each is the name of an endpoint and a body.
pub trait Calls: Sized {
    /// What is known of a call once its endpoint's name was read.
    type Endpoint: Copy;

    /// The endpoint of that name.
    fn endpoint_named(name: &str) -> Option<Self::Endpoint>;

    /// The call to `endpoint` with that body.
    ///
    /// # Errors
    /// The body is not what the schema has for that endpoint.
    fn decode<'de, D: Deserializer<'de>>(endpoint: Self::Endpoint, body: D) -> Result<Self, D::Error>;

    /// The name of the call's endpoint.
    fn endpoint_name(&self) -> &'static str;

    /// Writes the call's body.
    ///
    /// # Errors
    /// Those of the serializer.
    fn encode<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
}

/// A request: the envelope and the call in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<C> {
    /// The version that was agreed on.
    pub v: u64,
    /// The client's number for this request, echoed in the response.
    pub request_id: u64,
    /// What is asked.
    pub call: C,
}

/// A request as it is sent, with the keys in the order of the contract's examples.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Sent<'a, B> {
    /// The version that was agreed on.
    pub v: u64,
    /// The client's number for this request.
    pub request_id: u64,
    /// The endpoint's name.
    pub endpoint: &'a str,
    /// The body.
    pub body: &'a B,
}

impl<C: Calls> Serialize for Request<C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (endpoint, body) = (self.call.endpoint_name(), &BodyOf(&self.call));
        Sent { v: self.v, request_id: self.request_id, endpoint, body }.serialize(serializer)
    }
}

/// The body of a call.
struct BodyOf<'a, C>(&'a C);

impl<C: Calls> Serialize for BodyOf<'_, C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.encode(serializer)
    }
}

/// A response: the envelope and what is answered, where an answer is an `A` and an event an `E`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Response<A, E> {
    /// The version that was agreed on.
    pub v: u64,
    /// The number of the request, 0 where there was none.
    pub request_id: u64,
    /// What is answered.
    pub body: Body<A, E>,
}

/// The body of a response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body<A, E> {
    /// Done.
    Ok(A),
    /// Not done, and why.
    Err(WireError),
    /// Something happened.
    Event(Box<E>),
}

/// A request that cannot be answered but with [`Code::BadRequest`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct BadRequest {
    /// The client's number for it, 0 where it could not be read.
    pub request_id: u64,
    /// What is wrong with it.
    pub reason: DecodeError,
}

/// Decodes what a client says after its hello. Whether `v` is the version that was agreed on is for the caller to judge.
///
/// # Errors
/// When the payload is no [`Request`]; with its `request_id` wherever in the payload that stands, as long as the
/// payload is well-formed up to there.
pub fn decode_request<C: Calls>(payload: &[u8]) -> Result<Request<C>, BadRequest> {
    let mut envelope = Envelope::<C>::new();
    let read = envelope.read(payload).and_then(|()| envelope.request(payload));
    read.map_err(|reason| BadRequest { request_id: envelope.request_id.unwrap_or(0), reason })
}

/// Decodes what a daemon says after its hello.
///
/// # Errors
/// When the payload is no [`Response`] with such an answer or event.
pub fn decode_response<'de, A, E>(payload: &'de [u8]) -> Result<Response<A, E>, DecodeError>
where
    A: Deserialize<'de>,
    E: Deserialize<'de>,
{
    whole(payload)
}

impl BadRequest {
    /// What to answer.
    pub fn answer(&self) -> WireError {
        WireError::new(Code::BadRequest, self.reason.to_string())
    }
}

/// The keys of a request as they are found, in any order. The body is only passed over: what it means depends on
/// an endpoint that may come after it, and an id that comes after it must be found when it means nothing.
struct Envelope<C: Calls> {
    v: Option<u64>,
    request_id: Option<u64>,
    endpoint: Option<C::Endpoint>,
    body: Option<usize>,
    /// The first fault that does not keep the rest from being read.
    fault: Option<DecodeError>,
}

impl<C: Calls> Envelope<C> {
    fn new() -> Self {
        Self { v: None, request_id: None, endpoint: None, body: None, fault: None }
    }

    /// Reads the envelope. What it gives back is what ended the reading early; other faults are kept.
    fn read(&mut self, payload: &[u8]) -> Result<(), DecodeError> {
        let mut cursor = Cursor::new(payload);
        let mut left = cursor.expect("a map", |head| match head {
            Head::Map(length) => Some(length),
            _ => None,
        })?;
        cursor.enter()?;
        while cursor.more(&mut left)? {
            let key = cursor.offset();
            let mut ahead = cursor.clone();
            cursor.skip()?;
            cursor.skip()?;
            if let Err(error) = self.pair(key, &mut ahead) {
                self.fault.get_or_insert(error);
            }
        }
        cursor.leave();
        cursor.finish()
    }

    /// Takes one pair, whose key starts at byte `key`, where `cursor` stands.
    fn pair(&mut self, key: usize, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        let name = cursor.text()?;
        if self.fault.is_some() && name != "request_id" {
            return Ok(());
        }
        let start = cursor.offset();
        let first = match &*name {
            "v" => once(&mut self.v, cursor.uint()),
            "request_id" => once(&mut self.request_id, cursor.uint()),
            "endpoint" => once(&mut self.endpoint, endpoint::<C>(cursor)),
            "body" => once(&mut self.body, Ok(start)),
            _ => return Err(DecodeError::at(key, format!("unknown key `{}`", shown(&name)))),
        };
        match first.map_err(|error| error.in_key(&name))? {
            true => Ok(()),
            false => Err(DecodeError::at(key, format!("repeated key `{name}`"))),
        }
    }

    /// The request, after all of the payload was seen to be well-formed.
    fn request(&mut self, payload: &[u8]) -> Result<Request<C>, DecodeError> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let missing = |key: &str| DecodeError::at(0, format!("the key `{key}` is missing"));
        let v = self.v.ok_or_else(|| missing("v"))?;
        let request_id = self.request_id.ok_or_else(|| missing("request_id"))?;
        let endpoint = self.endpoint.ok_or_else(|| missing("endpoint"))?;
        let start = self.body.ok_or_else(|| missing("body"))?;
        let mut cursor = Cursor::within_map(payload, start);
        let call = C::decode(endpoint, &mut cursor).map_err(|error| error.or_at(start).in_key("body"))?;
        Ok(Request { v, request_id, call })
    }
}

/// Keeps the value of a key that is seen for the first time, and says whether it was.
fn once<T>(place: &mut Option<T>, value: Result<T, DecodeError>) -> Result<bool, DecodeError> {
    let value = value?;
    let first = place.is_none();
    place.get_or_insert(value);
    Ok(first)
}

fn endpoint<C: Calls>(cursor: &mut Cursor<'_>) -> Result<C::Endpoint, DecodeError> {
    let start = cursor.offset();
    let name = cursor.text()?;
    C::endpoint_named(&name)
        .ok_or_else(|| DecodeError::at(start, format!("no such endpoint: `{}`", shown(&name))))
}
