//! `fairshare json`: lines of JSON in, lines of JSON out, for programs without CBOR.

use std::error::Error as _;
use std::io::{self, BufRead};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::cli::exit::{Exit, Failure};
use crate::cli::link;
use crate::cli::render::{self, Reader};
use crate::cli::typed::Span;
use crate::client::{Client, ClientError, Deadlines};
use crate::contract::{
    Amounts, Answer, Body, Call, Endpoint, HeldShare, Release, Released, RequestResources, Status,
    StatusAnswer, Subscribe, Subscribed,
};
use crate::quantity::{Bytes, MilliCpu, Tasks};
use crate::wire::error::{Code, WireError};

/// The longest line that is read, in bytes: what a frame holds.
const LINE_BYTES_MAX: usize = 1 << 20;

/// A line as it may come: one of the short forms by its `type`, or any call by its `endpoint`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    r#type: Option<String>,
    #[serde(borrow)]
    cpu: Option<&'a RawValue>,
    #[serde(borrow)]
    mem: Option<&'a RawValue>,
    #[serde(borrow)]
    tasks: Option<&'a RawValue>,
    r#for: Option<String>,
    endpoint: Option<String>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

/// What a line asks for, and in which shape it is answered.
enum Asked {
    Short(Call),
    Whole(Call),
}

/// The answers to the short forms.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Short {
    Success { message: String },
    Error { error: String, code: u64 },
    StatusInfo { allocated_cpu: Box<RawValue>, allocated_mem: String },
}

/// A line of input.
enum Input {
    Text,
    TooLong,
    End,
}

/// Answers lines until there are no more, or nobody reads the answers.
///
/// A line that cannot be answered, for whatever reason, is answered with the error.
///
/// # Errors
/// Standard input or output fails otherwise than by ending.
pub fn run(socket: &Path) -> Result<Exit, Failure> {
    let mut calls = Calls { socket, client: None };
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    loop {
        let read = read_line(&mut input, &mut line)
            .map_err(|error| Failure::new(Exit::REFUSED, format!("cannot read the input: {error}")))?;
        let reader = match read {
            Input::End => return Ok(Exit::DONE),
            Input::Text if line.trim_ascii().is_empty() => continue,
            Input::Text => answer(&mut calls, &line)?,
            Input::TooLong => print_short(&Err(bad(format!("the line is over {LINE_BYTES_MAX} bytes"))))?,
        };
        if reader == Reader::Gone {
            return Ok(Exit::DONE);
        }
    }
}

/// Reads up to the next newline or the end. No more than [`LINE_BYTES_MAX`] is kept; the rest of a longer line is
/// passed over.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Input> {
    line.clear();
    let (mut any, mut too_long) = (false, false);
    loop {
        let chunk = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            chunk => chunk?,
        };
        let newline = chunk.iter().position(|byte| *byte == b'\n');
        let part = chunk.get(..newline.unwrap_or(chunk.len())).unwrap_or_default();
        let used = part.len().saturating_add(usize::from(newline.is_some()));
        any |= used > 0;
        too_long |= line.len().saturating_add(part.len()) > LINE_BYTES_MAX;
        if !too_long {
            line.extend_from_slice(part);
        }
        input.consume(used);
        if newline.is_some() || used == 0 {
            return Ok(match (any, too_long) {
                (false, _) => Input::End,
                (true, true) => Input::TooLong,
                (true, false) => Input::Text,
            });
        }
    }
}

fn answer(calls: &mut Calls<'_>, line: &[u8]) -> Result<Reader, Failure> {
    let parsed = serde_json::from_slice::<Line<'_>>(line);
    let whole = parsed.as_ref().is_ok_and(|line| line.endpoint.is_some());
    match parsed.map_err(|error| bad(error.to_string())).and_then(asked) {
        Ok(Asked::Whole(Call::Subscribe(ask))) => calls.follow(&ask),
        Ok(Asked::Whole(call)) => print_whole(calls.call(&call)),
        Ok(Asked::Short(call)) => {
            let answer = calls.call(&call).and_then(|answer| short(&call, answer));
            print_short(&answer)
        }
        Err(error) if whole => print_whole(Err(error)),
        Err(error) => print_short(&Err(error)),
    }
}

fn asked(line: Line<'_>) -> Result<Asked, WireError> {
    let figures = [line.cpu, line.mem, line.tasks].iter().any(Option::is_some) || line.r#for.is_some();
    match (line.r#type.as_deref(), line.endpoint.as_deref()) {
        (None, Some(_)) if figures => Err(bad("figures belong into `body` here")),
        (None, Some(name)) => {
            let endpoint =
                Endpoint::from_name(name).ok_or_else(|| bad(format!("no such endpoint: `{name}`")))?;
            let body = line.body.map_or("{}", RawValue::get);
            let mut body = serde_json::Deserializer::from_str(body);
            let call = Call::from_body(endpoint, &mut body).map_err(|error| bad(format!("body: {error}")))?;
            Ok(Asked::Whole(call))
        }
        (Some(_), None) if line.body.is_some() => Err(bad("`body` belongs to `endpoint`")),
        (Some("request_resources"), None) => request(&line).map(Asked::Short),
        (Some("status" | "release"), None) if figures => Err(bad("this type takes no figures")),
        (Some("status"), None) => Ok(Asked::Short(Call::Status(Status { for_uid: None }))),
        (Some("release"), None) => Ok(Asked::Short(Call::Release(Release::default()))),
        (Some(other), None) => {
            Err(bad(format!("no such type: `{other}`; there are request_resources, status, release")))
        }
        (None, None) => Err(bad("one of `type` and `endpoint` must be there")),
        (Some(_), Some(_)) => Err(bad("only one of `type` and `endpoint` can be there")),
    }
}

fn request(line: &Line<'_>) -> Result<Call, WireError> {
    let wrong = |key: &'static str| move |error: String| bad(format!("{key}: {error}"));
    let amounts = Amounts {
        cpu_milli: line.cpu.map(figure::<MilliCpu>).transpose().map_err(wrong("cpu"))?.map(|cpu| cpu.0),
        mem_bytes: line.mem.map(figure::<Bytes>).transpose().map_err(wrong("mem"))?.map(|mem| mem.0),
        tasks_max: line.tasks.map(figure::<Tasks>).transpose().map_err(wrong("tasks"))?.map(|tasks| tasks.0),
    };
    let lease = line.r#for.as_deref().map(str::parse::<Span>).transpose();
    let lease_ms = lease.map_err(|error| wrong("for")(error.to_string()))?.map(Span::ms);
    Ok(Call::RequestResources(RequestResources {
        lease_ms,
        wait: None,
        for_uid: None,
        ..RequestResources::of(amounts)
    }))
}

/// A figure, as a number or as text. Read from its digits: a float would not be what was written.
fn figure<T: std::str::FromStr<Err: ToString>>(raw: &RawValue) -> Result<T, String> {
    let text = match serde_json::from_str::<String>(raw.get()) {
        Ok(text) => text,
        Err(_) => raw.get().to_owned(),
    };
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn short(call: &Call, answer: Answer) -> Result<Short, WireError> {
    let done = |message: String| Ok(Short::Success { message });
    match answer {
        Answer::Share(HeldShare { share }) => {
            let (cpu, mem) = (MilliCpu(share.cpu_milli), Bytes(share.mem_bytes).exact());
            let unit = if cpu == MilliCpu(1000) { "CPU" } else { "CPUs" };
            done(format!("Resources allocated: {cpu} {unit}, {mem} memory"))
        }
        Answer::Released(Released { released: true }) => done("Resources released".to_owned()),
        Answer::Released(Released { released: false }) => done("No resources were allocated".to_owned()),
        Answer::Status(StatusAnswer { share, .. }) => {
            let (cpu, mem) = share.map_or((0, 0), |share| (share.cpu_milli, share.mem_bytes));
            // Digits as they are shown elsewhere, which are a number of JSON too.
            let allocated_cpu = RawValue::from_string(MilliCpu(cpu).to_string())
                .map_err(|error| WireError::new(Code::Internal, error.to_string()))?;
            Ok(Short::StatusInfo { allocated_cpu, allocated_mem: Bytes(mem).exact() })
        }
        _ => {
            let message = format!("the answer to {} is of another kind", call.endpoint().name());
            Err(WireError::new(Code::Internal, message))
        }
    }
}

/// The connection, made when it is needed, and again when it was lost.
struct Calls<'a> {
    socket: &'a Path,
    client: Option<Client>,
}

impl Calls<'_> {
    fn call(&mut self, call: &Call) -> Result<Answer, WireError> {
        let client = match &mut self.client {
            Some(client) => client,
            none => none.insert(connect(self.socket)?),
        };
        client.call_any(call).map_err(no_answer)
    }

    /// Follows events, on a connection of its own, until the daemon or the reader ends it: no line is read meanwhile.
    fn follow(&self, ask: &Subscribe) -> Result<Reader, Failure> {
        let client = connect(self.socket);
        let events = client.and_then(|client| client.subscribe(ask).map_err(no_answer));
        let events = match events {
            Ok(events) => events,
            Err(error) => return print_whole(Err(error)),
        };
        if print_whole(Ok(Answer::Subscribed(Subscribed { subscribed: true })))? == Reader::Gone {
            return Ok(Reader::Gone);
        }
        for event in events {
            let body = match event {
                Ok(event) => Body::Event(Box::new(event)),
                Err(error) => Body::Err(no_answer(error)),
            };
            if print(&body)? == Reader::Gone {
                return Ok(Reader::Gone);
            }
        }
        Ok(Reader::There)
    }
}

fn connect(socket: &Path) -> Result<Client, WireError> {
    Client::connect(socket, "fairshare-json", env!("CARGO_PKG_VERSION"), Deadlines::default())
        .map_err(no_answer)
}

/// A refusal as it came; what kept the daemon from answering as the code of the contract that comes nearest.
fn no_answer(error: ClientError) -> WireError {
    let code = match &error {
        ClientError::Refused(error) => return error.clone(),
        ClientError::PermissionDenied { .. } => Code::Unauthorized,
        ClientError::Closed => Code::Interrupted,
        ClientError::Timeout { .. } => Code::Timeout,
        ClientError::NoSocket { .. }
        | ClientError::NobodyListens { .. }
        | ClientError::Connect { .. }
        | ClientError::Io(_) => Code::Io,
        ClientError::Protocol(_) => Code::Internal,
        ClientError::Unsendable(_) | ClientError::TooManyDescriptors(_) => Code::BadRequest,
    };
    let source = error.source().map(ToString::to_string);
    let failure = link::fault(error);
    let details: Vec<String> = source.into_iter().chain(failure.hint).collect();
    let told = WireError::new(code, failure.message);
    if details.is_empty() { told } else { told.detail(details.join("; ")) }
}

fn bad(message: impl Into<String>) -> WireError {
    WireError::new(Code::BadRequest, message)
}

fn print_whole(result: Result<Answer, WireError>) -> Result<Reader, Failure> {
    print(&result.map_or_else(Body::Err, Body::Ok))
}

fn print_short(result: &Result<Short, WireError>) -> Result<Reader, Failure> {
    match result {
        Ok(short) => print(short),
        Err(error) => print(&Short::Error { error: error.message.clone(), code: error.code }),
    }
}

fn print(value: &impl Serialize) -> Result<Reader, Failure> {
    render::print_to(&render::json(value)?)
}
