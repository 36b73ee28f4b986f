//! `job_cancel`: cancel a job.

use serde::{Deserialize, Serialize};

use super::ask::{Ask, Repeat};
use super::job::OneJob;

/// Cancels a job.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobCancel {
    /// The job's id.
    pub job_id: u64,
}

impl Ask for JobCancel {
    const NAME: &'static str = "job_cancel";
    const REPEAT: Repeat = Repeat::Yes;
    type Answer = OneJob;

    fn for_uid(&self) -> Option<u64> {
        None
    }
}
