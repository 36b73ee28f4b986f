//! When a command is run again, as it is stored.

use serde::{Deserialize, Serialize};

use crate::ledger::again::Again;
use crate::quantity::RETRIES_MAX;

/// How often it is, and was.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AgainRecord {
    retries: u64,
    requeue: bool,
    failed: u64,
    tries: u64,
}

impl From<Again> for AgainRecord {
    fn from(again: Again) -> Self {
        let Again { retries, requeue, failed, tries } = again;
        Self { retries, requeue, failed, tries }
    }
}

impl TryFrom<AgainRecord> for Again {
    type Error = String;

    fn try_from(record: AgainRecord) -> Result<Self, String> {
        let AgainRecord { retries, requeue, failed, tries } = record;
        if retries > RETRIES_MAX {
            return Err(format!("a command is run again {RETRIES_MAX} times at most, and not {retries}"));
        }
        Ok(Self { retries, requeue, failed, tries })
    }
}
