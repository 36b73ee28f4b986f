//! `run`: put the calling process in a scope of its share.

use serde::{Deserialize, Serialize};

use super::ask::{Ask, Repeat};

/// Puts the calling process in a scope of its share.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {}

/// Processes are in a unit of the caller's share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InUnit {
    /// The unit's name.
    pub unit: String,
    /// The CPU that the share has, in thousandths.
    pub cpu_milli: u64,
    /// The memory that the share has, in bytes.
    pub mem_bytes: u64,
}

impl Ask for Run {
    const NAME: &'static str = "run";
    const REPEAT: Repeat = Repeat::No;
    type Answer = InUnit;

    fn for_uid(&self) -> Option<u64> {
        None
    }
}
