//! `log`: how much of what the daemon does is in the journal.

use serde::{Deserialize, Serialize};

use super::ask::{Ask, Repeat};
use super::changed::Changed;

/// Sets what the journal is told, until the daemon is started again. Takes an admin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Messages of this level and above.
    pub level: LogLevel,
}

/// How much a message matters, the most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Faults.
    Error,
    /// What an administrator should see.
    Warn,
    /// What changed: this is what the daemon starts with, unless `RUST_LOG` says otherwise.
    Info,
    /// Each question too.
    Debug,
    /// What libraries say of themselves.
    Trace,
}

impl LogLevel {
    /// All, the most important first.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// As it is said and written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl Ask for Log {
    const NAME: &'static str = "log";
    const REPEAT: Repeat = Repeat::Yes;
    type Answer = Changed;

    fn for_uid(&self) -> Option<u64> {
        None
    }
}
