//! With which number the command ends, and why it did not do what it was asked.

use crate::wire::error::{Code, WireError};

/// An exit status. The numbers over 64 are those of `sysexits.h`; those over 125 a shell's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(pub u8);

impl Exit {
    /// Done.
    pub const DONE: Self = Self(0);
    /// Refused, and asking again will not help.
    pub const REFUSED: Self = Self(1);
    /// The command line is wrong.
    pub const USAGE: Self = Self(2);
    /// No daemon answers: `EX_UNAVAILABLE`.
    pub const UNAVAILABLE: Self = Self(69);
    /// Refused, and asking again may help: `EX_TEMPFAIL`.
    pub const TRY_AGAIN: Self = Self(75);
    /// Not allowed: `EX_NOPERM`.
    pub const NOT_ALLOWED: Self = Self(77);
    /// The command to run was found and could not be executed.
    pub const NOT_EXECUTABLE: Self = Self(126);
    /// The command to run was not found.
    pub const NOT_FOUND: Self = Self(127);

    /// With which status a refusal ends.
    pub fn of_refusal(error: &WireError) -> Self {
        if error.is(Code::Unauthorized) || error.is(Code::Forbidden) {
            Self::NOT_ALLOWED
        } else if error.retryable {
            Self::TRY_AGAIN
        } else {
            Self::REFUSED
        }
    }
}

/// What went wrong, as it is told on standard error. The texts may hold anything: they are made safe for
/// a terminal where they are printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// One sentence, without a name before it.
    pub message: String,
    /// What more there is to know; may have several lines.
    pub detail: Option<String>,
    /// What to type next.
    pub hint: Option<String>,
    /// With which status the command ends.
    pub exit: Exit,
}

impl Failure {
    /// A failure with neither detail nor hint.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { message: message.into(), detail: None, hint: None, exit }
    }

    /// The same with detail.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
