//! `job_status`: one job.

use serde::{Deserialize, Serialize};

use super::ask::{Ask, Repeat};
use super::job::OneJob;

/// Asks for a job.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobStatus {
    /// The job's id.
    pub job_id: u64,
}

impl Ask for JobStatus {
    const NAME: &'static str = "job_status";
    const REPEAT: Repeat = Repeat::Yes;
    type Answer = OneJob;

    fn for_uid(&self) -> Option<u64> {
        None
    }
}
