//! `job_list`: the caller's jobs, or everybody's.

use serde::{Deserialize, Serialize};

use super::ask::{Ask, Repeat};
use super::job::JobInfo;
use crate::wire::field::optional;

/// Asks for jobs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobList {
    /// Whether everybody's, which takes an admin.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub all: Option<bool>,
}

/// Jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jobs {
    /// The jobs, the oldest first.
    pub jobs: Vec<JobInfo>,
    /// How many older jobs there are for which the answer had no room.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub jobs_left_out: Option<u64>,
}

impl Ask for JobList {
    const NAME: &'static str = "job_list";
    const REPEAT: Repeat = Repeat::Yes;
    type Answer = Jobs;

    fn for_uid(&self) -> Option<u64> {
        None
    }
}
