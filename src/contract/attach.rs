//! `attach`: move running processes of the caller's into its share.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::ask::{Ask, Repeat};
use super::run::InUnit;

/// The most processes of one `attach`.
pub const PIDS_MAX: usize = 64;

/// Moves running processes in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attach {
    /// The processes, 1 to [`PIDS_MAX`].
    #[serde(deserialize_with = "pids")]
    pub pids: Vec<u64>,
}

impl Ask for Attach {
    const NAME: &'static str = "attach";
    const REPEAT: Repeat = Repeat::No;
    type Answer = InUnit;

    fn for_uid(&self) -> Option<u64> {
        None
    }
}

/// `[1*64 uint]`.
fn pids<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u64>, D::Error> {
    let pids = Vec::<u64>::deserialize(from)?;
    if pids.is_empty() || pids.len() > PIDS_MAX {
        return Err(D::Error::custom(format!("expected 1 to {PIDS_MAX} pids, found {}", pids.len())));
    }
    Ok(pids)
}
