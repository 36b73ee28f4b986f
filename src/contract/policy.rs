//! `policy`: what holds for a member.
#![expect(missing_docs, reason = "the fields are those of the schema, which says what they mean")]

use serde::{Deserialize, Serialize};

use super::ask::{Ask, Repeat};
use crate::wire::field::{nullable, optional};
use crate::wire::hello::Role;

/// Asks what the policy says for a member.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The member it is for; the caller where it is left out. Another one takes an admin.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub for_uid: Option<u64>,
}

/// What the policy says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyAnswer {
    /// What holds for the member.
    pub policy: PolicyInfo,
}

/// One figure for each resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AmountInfo {
    pub cpu_milli: u64,
    pub mem_bytes: u64,
    pub tasks_max: u64,
}

/// What the policy says for one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyInfo {
    pub defaults: AmountInfo,
    pub max: AmountInfo,
    #[serde(deserialize_with = "nullable")]
    pub lease_default_ms: Option<u64>,
    #[serde(deserialize_with = "nullable")]
    pub lease_max_ms: Option<u64>,
    #[serde(deserialize_with = "nullable")]
    pub idle_ms: Option<u64>,
    /// The most CPU that a share may use while nobody else wants it; `None`: its own.
    #[serde(deserialize_with = "nullable")]
    pub burst_cpu_milli: Option<u64>,
    pub role: Role,
    pub from_sandboxes: bool,
    /// The most I/O of a share; left out where there is no bound.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub io: Option<IoInfo>,
    /// What orders the member among those who wait; left out where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub key: Option<KeyInfo>,
}

/// One member's own key, by which it is somebody's turn: parts of the machine in thousandths, and counts of members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyInfo {
    /// What the member holds: the largest part of any resource.
    pub held_milli: u64,
    /// What they are counted as having held on average while somebody waited; left out where nobody has.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub had_milli: Option<u64>,
    /// Whether they wait for room.
    pub waits: bool,
    /// How many other members do.
    pub others: u64,
    /// How many of those come before them, or would if they asked now.
    pub before: u64,
}

/// The most I/O of a share on each of some disks, a second; what is left out has no bound.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IoInfo {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub read_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub write_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub read_ops: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub write_ops: Option<u64>,
    /// Paths on these disks.
    pub on: Vec<String>,
}

impl Ask for Policy {
    const NAME: &'static str = "policy";
    const REPEAT: Repeat = Repeat::Yes;
    type Answer = PolicyAnswer;

    fn for_uid(&self) -> Option<u64> {
        self.for_uid
    }
}
