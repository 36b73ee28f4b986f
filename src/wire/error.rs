//! Error codes: every "no" has a number, a name, and whether asking again can help.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::detail::{DETAIL_TEXT_BYTES_MAX, Detail, Holder};
use super::field::optional;
use crate::time::milliseconds;

/// The most bytes of an error's message: one short sentence, with a few figures and a few texts of a sender's in it, each of
/// which [`shown`](super::cbor::shown) has clipped.
pub const MESSAGE_BYTES_MAX: usize = 512;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $retryable:literal;)*) => {
        /// The kinds of refusal and fault that the contract knows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[$doc])* $name = $number),* }

        impl Code {
            /// Every code, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The name, as it stands in an answer.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }

            /// Whether the same call may succeed later without anything being changed by the caller.
            pub fn retryable(self) -> bool {
                match self { $(Self::$name => $retryable),* }
            }

            /// The code with this number.
            pub fn from_number(number: u64) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }
        }
    };
}

codes! {
    /// Does not parse, wrong type, figure out of range.
    BadRequest = 1, false;
    /// No protocol version in common.
    IncompatibleProtocol = 2, false;
    /// The peer's identity cannot be had from the kernel.
    Unauthorized = 3, false;
    /// Role too low, or someone else's thing.
    Forbidden = 4, false;
    /// No such share, job, unit, user.
    NotFound = 5, false;
    /// Processes inside, too many connections.
    Busy = 6, true;
    /// A deadline passed.
    Timeout = 7, true;
    /// The job was cancelled.
    Cancelled = 8, false;
    /// State could not be written: detail says whether it is in force all the same.
    Io = 9, true;
    /// Bus or manager failed: what systemd said is in detail.
    Systemd = 10, true;
    /// More than the policy's max.
    OverLimit = 11, false;
    /// Not now: detail says what is free.
    NoCapacity = 12, true;
    /// A share is held: release or resize.
    AlreadyAllocated = 13, false;
    /// Too many violations.
    RateLimited = 14, true;
    /// The daemon restarted while the job ran.
    Interrupted = 15, true;
    /// Cancelled, but something could not be undone.
    CleanupFailed = 16, false;
    /// An admin stopped new requests, or the daemon is stopping.
    Draining = 17, true;
    /// Policy, state file or bus cannot be used.
    Degraded = 18, true;
    /// A bug: the journal has it under this request id.
    Internal = 255, false;
}

impl Code {
    /// The number, as it stands in an answer.
    pub fn number(self) -> u64 {
        self as u64
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An error as it is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
#[serde(deny_unknown_fields)]
pub struct WireError {
    /// The number of the [`Code`].
    pub code: u64,
    /// The name of the code, as in the table.
    pub name: String,
    /// One short sentence for a person, of at most [`MESSAGE_BYTES_MAX`] bytes.
    pub message: String,
    /// What more there is to know.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub detail: Option<Box<Detail>>,
    /// Whether asking again may help.
    pub retryable: bool,
    /// When to ask again, in milliseconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub retry_after_ms: Option<u64>,
}

impl WireError {
    /// An error of this code with a message for a person. What is over [`MESSAGE_BYTES_MAX`] is clipped, and what a terminal would
    /// obey is escaped: every error that a daemon answers is made here.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code: code.number(),
            name: code.name().to_owned(),
            message: clipped(harmless(message.into()), MESSAGE_BYTES_MAX),
            detail: None,
            retryable: code.retryable(),
            retry_after_ms: None,
        }
    }

    /// The same with detail. Its text is clipped to [`DETAIL_TEXT_BYTES_MAX`] bytes.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Detail>) -> Self {
        let mut detail: Detail = detail.into();
        detail.text = detail.text.map(|text| clipped(text, DETAIL_TEXT_BYTES_MAX));
        self.detail = Some(Box::new(detail));
        self
    }

    /// The same with the time after which asking again makes sense, in milliseconds.
    #[must_use]
    pub fn retry_after_ms(mut self, ms: u64) -> Self {
        self.retry_after_ms = Some(ms);
        self
    }

    /// The same with that time as a [`Duration`], of which whole milliseconds are told.
    #[must_use]
    pub fn retry_after(self, time: Duration) -> Self {
        self.retry_after_ms(milliseconds(time))
    }

    /// Whether this error is of that code.
    pub fn is(&self, code: Code) -> bool {
        self.code == code.number()
    }

    /// Whether this error is of one of these codes.
    pub fn is_any(&self, codes: &[Code]) -> bool {
        codes.iter().any(|code| self.is(*code))
    }

    /// What the detail says beyond the message, for a person: one line, unless the text in it has several.
    pub fn more(&self) -> Option<String> {
        let detail = self.detail.as_ref()?;
        let mut said = Vec::new();
        if let Some(held) = detail.held {
            said.push(format!("held: {held}"));
        }
        if let Some(free) = detail.free {
            said.push(format!("free: {free}"));
        }
        match detail.fits {
            Some(fits) if fits.cpu_milli == 0 || fits.mem_bytes == 0 => {
                said.push("nothing would be granted now".to_owned());
            }
            Some(fits) => said.push(format!("would be granted now: {fits}")),
            None => {}
        }
        if let Some(waiting) = detail.waiting.filter(|waiting| *waiting > 0) {
            said.push(format!("waiting before you: {waiting}"));
        }
        match self.retry_after_ms.map(|ms| Duration::from_secs(ms.div_ceil(1000))) {
            Some(time) if detail.starts_ms.is_some() => {
                said.push(format!("there will be room in {}", humantime::format_duration(time)));
            }
            _ if detail.free.is_some() => {
                said.push("when there will be room is not known: not all leases tell".to_owned());
            }
            _ => {}
        }
        if let Some(holders) = detail.held_by.as_ref().filter(|holders| !holders.is_empty()) {
            let held_by: Vec<String> = holders.iter().map(Holder::to_string).collect();
            said.push(format!("held by: {}", held_by.join(", ")));
        }
        if let Some(role) = detail.role {
            said.push(format!("your role is {role}"));
        }
        if let Some(versions) = detail.versions {
            said.push(format!("this daemon speaks {} to {}", versions.oldest, versions.newest));
        }
        said.extend(detail.text.clone());
        (!said.is_empty()).then(|| said.join("; "))
    }
}

/// A text of at most so many bytes, with its end clipped where it has more.
fn clipped(mut text: String, bytes_max: usize) -> String {
    const CLIPPED: &str = "…";
    if text.len() > bytes_max {
        let mut end = bytes_max.saturating_sub(CLIPPED.len());
        while !text.is_char_boundary(end) {
            end = end.saturating_sub(1);
        }
        text.truncate(end);
        text.push_str(CLIPPED);
    }
    text
}

/// A text with nothing in it that a terminal or a journal would obey.
fn harmless(text: String) -> String {
    let obeyed = |c: char| !matches!(c, '\'' | '"' | '\\') && c.escape_debug().nth(1).is_some();
    if !text.contains(obeyed) {
        return text;
    }
    let mut harmless = String::with_capacity(text.len());
    for c in text.chars() {
        if obeyed(c) { harmless.extend(c.escape_debug()) } else { harmless.push(c) }
    }
    harmless
}
