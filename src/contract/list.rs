//! `list`: all shares that the policy lets the caller see.

use serde::{Deserialize, Serialize};

use super::ask::{Ask, Repeat};
use super::capacity::CapacityInfo;
use super::share::ShareInfo;

/// Asks for all shares.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {}

/// The shares that the caller may see, and the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListAnswer {
    /// The shares.
    pub shares: Vec<ShareInfo>,
    /// The machine.
    pub capacity: CapacityInfo,
}

impl Ask for List {
    const NAME: &'static str = "list";
    const REPEAT: Repeat = Repeat::Yes;
    type Answer = ListAnswer;

    fn for_uid(&self) -> Option<u64> {
        None
    }
}
