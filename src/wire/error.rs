//! Error codes: every "no" has a number, a name, and whether asking again can help.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::field::optional;

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
    /// State could not be written: nothing was granted.
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
    /// One short sentence for a person.
    pub message: String,
    /// What more there is to know.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub detail: Option<String>,
    /// Whether asking again may help.
    pub retryable: bool,
    /// When to ask again, in milliseconds from now.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub retry_after_ms: Option<u64>,
}

impl WireError {
    /// An error of this code with a message for a person.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code: code.number(),
            name: code.name().to_owned(),
            message: message.into(),
            detail: None,
            retryable: code.retryable(),
            retry_after_ms: None,
        }
    }

    /// The same with detail.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
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
        self.retry_after_ms(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    /// Whether this error is of that code.
    pub fn is(&self, code: Code) -> bool {
        self.code == code.number()
    }
}
