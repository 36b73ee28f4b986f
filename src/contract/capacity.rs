//! The machine as it is shown. Units are in the names.
#![expect(missing_docs, reason = "the fields are those of the schema, which says what they mean")]

use serde::{Deserialize, Serialize};

use crate::wire::field::optional;

/// What can be handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CapacityInfo {
    pub cpu_milli: u64,
    pub mem_bytes: u64,
    pub free_cpu_milli: u64,
    pub free_mem_bytes: u64,
    pub shares: u64,
    pub waiting: u64,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub left_behind_bytes: Option<u64>,
}
