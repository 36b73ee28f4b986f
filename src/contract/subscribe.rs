//! `subscribe`: follow what happens. The connection is used up by it.

use serde::{Deserialize, Serialize};

use super::ask::{Ask, Repeat};
use crate::wire::field::optional;

/// Follows what happens.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscribe {
    /// Whether to everybody, which takes an admin.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub all: Option<bool>,
    /// Only what happens to this job.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub job_id: Option<u64>,
}

/// Events follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscribed {
    /// True.
    pub subscribed: bool,
}

impl Ask for Subscribe {
    const NAME: &'static str = "subscribe";
    const REPEAT: Repeat = Repeat::No;
    type Answer = Subscribed;

    fn for_uid(&self) -> Option<u64> {
        None
    }
}
