//! What happens, as it is shown to those who follow. Units are in the names.
#![expect(missing_docs, reason = "the fields are those of the schema, which says what they mean")]

use serde::{Deserialize, Serialize};

use super::job::JobInfo;
use super::share::{AllocationInfo, ShareInfo};
use crate::wire::field::optional;

/// What happened, for those who follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventInfo {
    pub at_ms: u64,
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub uid: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub job_id: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub job: Option<JobInfo>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub share: Option<ShareInfo>,
    /// Which of the share's allocations it is about, as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub allocation: Option<AllocationInfo>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub lagged: Option<u64>,
}
