//! The answer of what changes the daemon.

use serde::{Deserialize, Serialize};

/// What was asked for is so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changed {
    /// Whether it was not before.
    pub changed: bool,
}
