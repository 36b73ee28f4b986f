//! `job_alter`: change a job that waits, or pause one that is at work.

use serde::{Deserialize, Serialize};

use super::ask::{Ask, Repeat};
use super::job::OneJob;
use crate::wire::field::optional;

/// Changes a job of the caller's: one that waits, or with `pause` alone one that is at work. What is left out stays; something must
/// be named.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobAlter {
    /// The job's id.
    pub job_id: u64,
    /// Whether it is held: it keeps no place in the queue until it is released, which is `false`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub hold: Option<bool>,
    /// Whether it goes before all others of the caller's that wait now.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub first: Option<bool>,
    /// Before which others of the caller's it goes, from 0 to 100: the more the sooner.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub priority: Option<u64>,
    /// Whether it stands still, with the memory that it has: `false` has it go on.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub pause: Option<bool>,
}

impl Ask for JobAlter {
    const NAME: &'static str = "job_alter";
    const REPEAT: Repeat = Repeat::Yes;
    type Answer = OneJob;

    fn for_uid(&self) -> Option<u64> {
        None
    }
}
