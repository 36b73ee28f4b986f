//! `status`: one member's share, and the machine.

use serde::{Deserialize, Serialize};

use super::ask::{Ask, Repeat};
use super::capacity::CapacityInfo;
use super::share::ShareInfo;
use crate::wire::field::{nullable, optional};

/// Asks for a member's share.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// The member it is for; the caller where it is left out. Another one takes an admin.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub for_uid: Option<u64>,
}

/// A member's share and the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusAnswer {
    /// The share, where one is held.
    #[serde(deserialize_with = "nullable")]
    pub share: Option<ShareInfo>,
    /// The machine.
    pub capacity: CapacityInfo,
}

impl Ask for Status {
    const NAME: &'static str = "status";
    const REPEAT: Repeat = Repeat::Yes;
    type Answer = StatusAnswer;

    fn for_uid(&self) -> Option<u64> {
        self.for_uid
    }
}
