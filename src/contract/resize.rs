//! `resize`: change a share in place. Figures are absolute, so that a repeated one is harmless.

use serde::{Deserialize, Serialize};

use super::amounts::names_amounts;
use super::ask::{Ask, Repeat};
use super::share::HeldShare;
use crate::wire::field::optional;

/// Changes a share in place. What is left out stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resize {
    /// CPU in thousandths of one CPU.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub cpu_milli: Option<u64>,
    /// Memory in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub mem_bytes: Option<u64>,
    /// Tasks.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub tasks_max: Option<u64>,
    /// The job whose allocation is meant; the standing one where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub job_id: Option<u64>,
    /// The member it is for; the caller where it is left out. Another one takes an admin.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub for_uid: Option<u64>,
}

names_amounts!(Resize);

impl Ask for Resize {
    const NAME: &'static str = "resize";
    const REPEAT: Repeat = Repeat::Yes;
    type Answer = HeldShare;

    fn for_uid(&self) -> Option<u64> {
        self.for_uid
    }
}
