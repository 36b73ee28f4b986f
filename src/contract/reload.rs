//! `reload`: read the policy again.

use serde::{Deserialize, Serialize};

use super::ask::{Ask, Repeat};
use super::changed::Changed;

/// Has the policy read again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reload {}

impl Ask for Reload {
    const NAME: &'static str = "reload";
    const REPEAT: Repeat = Repeat::Yes;
    type Answer = Changed;

    fn for_uid(&self) -> Option<u64> {
        None
    }
}
