//! `ping`: is anyone there.

use serde::{Deserialize, Serialize};

use super::ask::{Ask, Repeat};

/// Asks whether anyone is there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ping {}

/// Someone is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pong {
    /// The daemon's clock, in Unix milliseconds.
    pub at_ms: u64,
}

impl Ask for Ping {
    const NAME: &'static str = "ping";
    const REPEAT: Repeat = Repeat::Yes;
    type Answer = Pong;

    fn for_uid(&self) -> Option<u64> {
        None
    }
}
