//! `request_resources`: take a share.

use serde::{Deserialize, Serialize};

use super::amounts::names_amounts;
use super::ask::{Ask, Repeat};
use super::share::ShareInfo;
use crate::wire::field::optional;

/// Asks for a share. What is left out is the policy's default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestResources {
    /// CPU in thousandths of one CPU.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub cpu_milli: Option<u64>,
    /// Memory in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub mem_bytes: Option<u64>,
    /// Tasks.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub tasks_max: Option<u64>,
    /// For how long, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub lease_ms: Option<u64>,
    /// Whether to wait in the queue where there is no room now.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub wait: Option<bool>,
    /// The member it is for; the caller where it is left out. Another one takes an admin.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub for_uid: Option<u64>,
}

names_amounts!(RequestResources);

/// What came of asking for a share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Granted {
    /// It is held.
    #[serde(rename = "share")]
    Share(Box<ShareInfo>),
    /// It is waited for, by the job of this id.
    #[serde(rename = "job_started")]
    Queued(u64),
}

impl Ask for RequestResources {
    const NAME: &'static str = "request_resources";
    const REPEAT: Repeat = Repeat::No;
    type Answer = Granted;

    fn for_uid(&self) -> Option<u64> {
        self.for_uid
    }
}
