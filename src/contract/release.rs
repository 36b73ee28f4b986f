//! `release`: give a share back.

use serde::{Deserialize, Serialize};

use super::ask::{Ask, Repeat};
use crate::wire::field::optional;

/// Gives a share back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Whether what runs in it is ended: SIGTERM, ten seconds, SIGKILL.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub stop: Option<bool>,
    /// The job whose allocation is meant; the standing one where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub job_id: Option<u64>,
    /// The member it is for; the caller where it is left out. Another one takes an admin.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub for_uid: Option<u64>,
}

/// What came of giving a share back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReleaseAnswer {
    /// It is gone; whether there was one.
    #[serde(rename = "released")]
    Done(bool),
    /// What runs in it is being stopped, by the job of this id.
    #[serde(rename = "job_started")]
    Stopping(u64),
}

/// The answer where nothing has to be stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Released {
    /// Whether there was a share.
    pub released: bool,
}

impl Ask for Release {
    const NAME: &'static str = "release";
    const REPEAT: Repeat = Repeat::Yes;
    type Answer = ReleaseAnswer;

    fn for_uid(&self) -> Option<u64> {
        self.for_uid
    }
}
