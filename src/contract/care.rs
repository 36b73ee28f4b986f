//! What is done for a submitted command while it runs.

use serde::{Deserialize, Serialize};

/// A signal that its main process is sent once, so long before its time limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warning {
    /// The signal's number, 1 to 64 (`signal(7)`).
    pub number: u64,
    /// How long before the time limit in milliseconds, from 1 on. Where it is not less than that it is sent at the start.
    pub before_ms: u64,
}

/// What the kernel ends of a command that wants more memory than it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutOfMemory {
    /// All of its processes.
    Kill,
    /// The one process that the kernel chooses: the others go on.
    Continue,
}
