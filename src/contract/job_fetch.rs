//! `job_fetch`: what a submitted command is, for the process that becomes it.

use serde::{Deserialize, Serialize};

use super::ask::{Ask, Repeat};
use super::job::TaskInfo;
use crate::wire::field::optional;

/// Fetches what a submitted command is. Only the process that systemd started for that job may.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobFetch {
    /// The job's id.
    pub job_id: u64,
    /// Whether it is fetched what is run at the job's end, by the process that systemd started for that.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub at_end: Option<bool>,
}

/// What was fetched comes as descriptors with the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handed {
    /// How many descriptors come with the answer.
    pub handed: u64,
    /// The CPU that the command has, in thousandths.
    pub cpu_milli: u64,
    /// The memory that the command has, in bytes.
    pub mem_bytes: u64,
    /// The array that the command is a task of, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub task: Option<TaskInfo>,
    /// How often it was tried before, where it is one that is run again.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub tries: Option<u64>,
}

impl Ask for JobFetch {
    const NAME: &'static str = "job_fetch";
    const REPEAT: Repeat = Repeat::No;
    type Answer = Handed;

    fn for_uid(&self) -> Option<u64> {
        None
    }
}
