//! `list`: all shares that the policy lets the caller see.

use serde::{Deserialize, Serialize};

use super::ask::{Ask, Repeat};
use super::capacity::CapacityInfo;
use super::share::ShareInfo;
use crate::wire::field::optional;

/// Asks for all shares.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {}

/// The shares that the caller may see, and the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListAnswer {
    /// The shares, by user id.
    pub shares: Vec<ShareInfo>,
    /// The machine.
    pub capacity: CapacityInfo,
    /// How many shares of higher user ids there are for which the answer had no room.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub shares_left_out: Option<u64>,
}

impl Ask for List {
    const NAME: &'static str = "list";
    const REPEAT: Repeat = Repeat::Yes;
    type Answer = ListAnswer;

    fn for_uid(&self) -> Option<u64> {
        None
    }
}
