//! `renew`: move the end of a lease. It is counted from when the call is carried out, so that a second one moves it again.

use serde::{Deserialize, Serialize};

use super::ask::{Ask, Repeat};
use super::share::HeldShare;
use crate::wire::field::optional;

/// Moves the end of a lease.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renew {
    /// How long it is to last from now, in milliseconds.
    pub lease_ms: u64,
    /// The `run` whose allocation is meant; the standing one where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub job_id: Option<u64>,
    /// The member it is for; the caller where it is left out. Another one takes an admin.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub for_uid: Option<u64>,
}

impl Ask for Renew {
    const NAME: &'static str = "renew";
    const REPEAT: Repeat = Repeat::No;
    type Answer = HeldShare;

    fn for_uid(&self) -> Option<u64> {
        self.for_uid
    }
}
