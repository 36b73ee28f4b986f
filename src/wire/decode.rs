//! From the payload of a frame to a message, or to what is wrong with it and where.

use std::fmt;

use serde::de::DeserializeOwned;

use super::body;
use super::call::Endpoint;
use super::error::{Code, WireError};
use super::message::{Hello, HelloAck, Request, Response};
use super::reader::{Head, Reader};

/// The most characters of a sender's own text that a message about it shows.
const SHOWN_CHARS_MAX: usize = 64;

/// Why a payload is not a message, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// The keys that lead there, as in `body.pids[3]`; empty for the message itself.
    path: String,
    offset: Option<usize>,
    what: String,
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

/// Decodes what a client says after its hello. Whether `v` is the version that was agreed on is for the caller to judge.
///
/// # Errors
/// When the payload is no [`Request`]; with its `request_id` wherever in the payload that stands, as long as the
/// payload is well-formed up to there.
pub fn decode_request(payload: &[u8]) -> Result<Request, BadRequest> {
    let mut envelope = Envelope::default();
    let read = envelope.read(payload).and_then(|()| envelope.request(payload));
    read.map_err(|reason| BadRequest { request_id: envelope.request_id.unwrap_or(0), reason })
}

/// Decodes a daemon's first frame: the answer to a hello, or the error in its place.
///
/// # Errors
/// When the payload is neither.
pub fn decode_hello_reply(payload: &[u8]) -> Result<HelloReply, DecodeError> {
    whole(payload).map(HelloReply::Ack).or_else(|error| match whole::<Response>(payload) {
        Ok(Response { body: super::message::Body::Err(refusal), .. }) => Ok(HelloReply::Refused(refusal)),
        _ => Err(error),
    })
}

/// Decodes what a daemon says after its hello.
///
/// Which [`super::answer::Answer`] an `ok` is follows from its keys; that it suits the call is for the caller to judge.
///
/// # Errors
/// When the payload is no [`Response`].
pub fn decode_response(payload: &[u8]) -> Result<Response, DecodeError> {
    whole(payload)
}

impl BadRequest {
    /// What to answer.
    pub fn answer(&self) -> WireError {
        WireError::new(Code::BadRequest, self.reason.to_string())
    }
}

impl DecodeError {
    /// A fault at this byte of the payload.
    pub(super) fn at(offset: usize, what: impl Into<String>) -> Self {
        Self { path: String::new(), offset: Some(offset), what: what.into() }
    }

    /// A fault that whoever knows the place will give one, by [`Self::or_at`].
    pub(super) fn somewhere(what: String) -> Self {
        Self { path: String::new(), offset: None, what }
    }

    /// Something well-formed of the wrong kind.
    pub(super) fn unexpected(offset: usize, expected: &str, found: Head) -> Self {
        Self::at(offset, format!("expected {expected}, found {}", found.describe()))
    }

    /// The same, at this byte when no place was known.
    pub(super) fn or_at(mut self, offset: usize) -> Self {
        self.offset.get_or_insert(offset);
        self
    }

    /// The same, within the value of a key.
    pub(super) fn in_key(mut self, key: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{key}{dot}{}", self.path);
        self
    }

    /// The same, within an item of an array.
    pub(super) fn in_item(self, index: usize) -> Self {
        self.in_key(&format!("[{index}]"))
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.what)?;
        self.offset.map_or(Ok(()), |offset| write!(f, " (byte {offset})"))
    }
}

impl std::error::Error for DecodeError {}

/// A sender's text as it may stand in a message or a journal: one line, short, nothing that a terminal would obey.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().flat_map(char::escape_debug).take(SHOWN_CHARS_MAX).collect();
    if text.chars().flat_map(char::escape_debug).nth(SHOWN_CHARS_MAX).is_some() {
        shown.pop();
        shown.push('…');
    }
    shown
}

fn whole<T: DeserializeOwned>(payload: &[u8]) -> Result<T, DecodeError> {
    let mut reader = Reader::new(payload);
    let value = T::deserialize(&mut reader).map_err(|error| error.or_at(0))?;
    reader.finish()?;
    Ok(value)
}

/// The keys of a request as they are found, in any order. The body is only passed over: what it means depends on
/// an endpoint that may come after it, and an id that comes after it must be found when it means nothing.
#[derive(Default)]
struct Envelope {
    v: Option<u64>,
    request_id: Option<u64>,
    endpoint: Option<Endpoint>,
    body: Option<usize>,
    /// The first fault that does not keep the rest from being read.
    fault: Option<DecodeError>,
}

impl Envelope {
    /// Reads the envelope. What it gives back is what ended the reading early; other faults are kept.
    fn read(&mut self, payload: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new(payload);
        let mut left = reader.expect("a map", |head| match head {
            Head::Map(length) => Some(length),
            _ => None,
        })?;
        reader.enter()?;
        while reader.more(&mut left)? {
            let key = reader.offset();
            let mut ahead = reader.clone();
            reader.skip()?;
            reader.skip()?;
            if let Err(error) = self.pair(key, &mut ahead) {
                self.fault.get_or_insert(error);
            }
        }
        reader.leave();
        reader.finish()
    }

    /// Takes one pair, whose key starts at byte `key`, where `reader` stands.
    fn pair(&mut self, key: usize, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let name = reader.text()?;
        if self.fault.is_some() && name != "request_id" {
            return Ok(());
        }
        let start = reader.offset();
        let first = match &*name {
            "v" => once(&mut self.v, reader.uint()),
            "request_id" => once(&mut self.request_id, reader.uint()),
            "endpoint" => once(&mut self.endpoint, endpoint(reader)),
            "body" => once(&mut self.body, Ok(start)),
            _ => return Err(DecodeError::at(key, format!("unknown key `{}`", shown(&name)))),
        };
        match first.map_err(|error| error.in_key(&name))? {
            true => Ok(()),
            false => Err(DecodeError::at(key, format!("repeated key `{name}`"))),
        }
    }

    /// The request, after all of the payload was seen to be well-formed.
    fn request(&mut self, payload: &[u8]) -> Result<Request, DecodeError> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let missing = |key: &str| DecodeError::at(0, format!("the key `{key}` is missing"));
        let v = self.v.ok_or_else(|| missing("v"))?;
        let request_id = self.request_id.ok_or_else(|| missing("request_id"))?;
        let endpoint = self.endpoint.ok_or_else(|| missing("endpoint"))?;
        let start = self.body.ok_or_else(|| missing("body"))?;
        let mut reader = Reader::within_map(payload, start);
        let call = body::call(endpoint, &mut reader).map_err(|error| error.or_at(start).in_key("body"))?;
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

fn endpoint(reader: &mut Reader<'_>) -> Result<Endpoint, DecodeError> {
    let start = reader.offset();
    let name = reader.text()?;
    Endpoint::from_name(&name)
        .ok_or_else(|| DecodeError::at(start, format!("no such endpoint: `{}`", shown(&name))))
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
                cbor!({"v" => 1, "endpoint" => "resize", "body" => {"cpu_milli" => "two"}, "request_id" => 7}),
                "body.cpu_milli: expected an unsigned integer, found text (byte 36)",
            ),
            (
                cbor!({"v" => 1, "body" => {"pids" => [1, 2, -3]}, "endpoint" => "attach", "request_id" => 7}),
                "body.pids[2]: expected an unsigned integer, found a negative integer (byte 18)",
            ),
            (
                cbor!({"v" => 1, "request_id" => 7, "endpoint" => "fly", "body" => {}}),
                "endpoint: no such endpoint: `fly` (byte 25)",
            ),
            (
                cbor!({"v" => 1, "request_id" => 7, "endpoint" => "ping", "body" => {"x\n" => 1}}),
                r"body: unknown key `x\n` (byte 36)",
            ),
            (
                cbor!({"v" => 1.5, "request_id" => 7, "endpoint" => "ping", "body" => {}}),
                "v: expected an unsigned integer, found a float (byte 3)",
            ),
            (
                cbor!({"v" => 1, "request_id" => 7, "endpoint" => "ping", "body" => {}, "more" => 1}),
                "unknown key `more` (byte 36)",
            ),
            (
                cbor!({"v" => 1, "request_id" => 7, "endpoint" => "ping"}),
                "the key `body` is missing (byte 0)",
            ),
            (
                cbor!({"v" => 1, "request_id" => 7, "endpoint" => "renew", "body" => {}}),
                "body: the key `lease_ms` is missing (byte 36)",
            ),
        ] {
            assert_eq!(refused(&request.unwrap()), (7, message.to_owned()));
        }
    }

    #[test]
    fn a_senders_text_is_shown_clipped_and_harmless() {
        assert_eq!(shown("plain-name_1"), "plain-name_1");
        assert_eq!(shown("\u{1b}[31m\u{202e}"), r"\u{1b}[31m\u{202e}");
        let long = shown(&"é".repeat(1_000_000));
        assert_eq!((long.chars().count(), long.ends_with('…')), (SHOWN_CHARS_MAX, true));
        assert_eq!(shown(&"x".repeat(SHOWN_CHARS_MAX)), "x".repeat(SHOWN_CHARS_MAX));
    }
}
