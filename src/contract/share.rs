//! A share and its allocations as they are shown. Units are in the names.
#![expect(missing_docs, reason = "the fields are those of the schema, which says what they mean")]

use serde::{Deserialize, Serialize};

use crate::wire::field::{nullable, optional};

/// A share as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareInfo {
    pub uid: u64,
    #[serde(deserialize_with = "nullable")]
    pub user: Option<String>,
    pub cpu_milli: u64,
    pub mem_bytes: u64,
    pub tasks_max: u64,
    pub slice: String,
    #[serde(deserialize_with = "nullable")]
    pub usage: Option<Usage>,
    /// The most CPU that it may use while nobody else wants it; `None`: no more than `cpu_milli`.
    #[serde(deserialize_with = "nullable")]
    pub burst_cpu_milli: Option<u64>,
    /// What it is the sum of, the standing one first. Not in events.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub allocations: Option<Vec<AllocationInfo>>,
}

/// One allocation of a share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllocationInfo {
    pub kind: AllocationKind,
    /// The command that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub job_id: Option<u64>,
    pub cpu_milli: u64,
    pub mem_bytes: u64,
    pub tasks_max: u64,
    pub state: AllocationState,
    pub granted_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub lease_ends_ms: Option<u64>,
    pub unit: String,
    #[serde(deserialize_with = "nullable")]
    pub usage: Option<Usage>,
    /// Whether the command that it is for stands still; left out where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub paused: Option<bool>,
}

/// What an allocation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllocationKind {
    Standing,
    Job,
    Run,
}

/// Whether the lease of an allocation still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllocationState {
    Active,
    Expired,
}

impl ShareInfo {
    /// The standing allocation in it.
    pub fn standing(&self) -> Option<&AllocationInfo> {
        let of = |allocation: &&AllocationInfo| allocation.kind == AllocationKind::Standing;
        self.allocations.as_ref()?.iter().find(of)
    }
}

/// What a share uses, as the kernel counts it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    pub cpu_usec: u64,
    pub mem_bytes: u64,
    /// What of `mem_bytes` is needed: all but page cache.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub needed_bytes: Option<u64>,
    pub tasks: u64,
    pub oom_kills: u64,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub cpu_pressure_centi: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub mem_pressure_centi: Option<u64>,
}

/// The answer of what takes or changes a share: the share as it is then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldShare {
    pub share: ShareInfo,
}
