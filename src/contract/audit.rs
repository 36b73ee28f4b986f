//! `audit`: is every promise kept, and where does the members' work run?

use serde::{Deserialize, Serialize};

use super::ask::{Ask, Repeat};
use crate::wire::field::optional;

/// The most processes that a finding names.
pub const PIDS_NAMED_MAX: usize = 4096;

/// Asks whether what was promised is kept, and where one's own work runs; admins are told of everybody's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditAnswer {
    /// The findings: what concerns everybody first, then member by member.
    pub findings: Vec<Finding>,
    /// How many there are for which the answer had no room.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub findings_left_out: Option<u64>,
}

/// What is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// A promise is kept.
    Kept,
    /// A promise is not kept.
    Broken,
    /// Work is outside of its member's share and of its member's logins.
    Outside,
    /// Work is held by what the policy says of its unit, or of its member's logins.
    Held,
    /// Work of a member who has a share is in a login.
    Left,
    /// Something could not be looked at.
    Unknown,
    /// Something to know.
    Note,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// What was found, for a person.
    pub text: String,
    /// What can be done about it, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub hint: Option<String>,
    /// The member that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub uid: Option<u64>,
    /// The unit that the work is in, with what is above it: `system.slice/cron.service`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub unit: Option<String>,
    /// How many processes that are.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub processes: Option<u64>,
    /// How much memory they have that is in no file.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub mem_bytes: Option<u64>,
    /// Those of them that the member may move with `attach`: the first [`PIDS_NAMED_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub pids: Option<Vec<u64>>,
}

impl Finding {
    /// A finding that is about nobody's work.
    pub fn new(kind: FindingKind, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { kind, text, hint: None, uid: None, unit: None, processes: None, mem_bytes: None, pids: None }
    }
}

impl Ask for Audit {
    const NAME: &'static str = "audit";
    const REPEAT: Repeat = Repeat::Yes;
    type Answer = AuditAnswer;

    fn for_uid(&self) -> Option<u64> {
        None
    }
}
