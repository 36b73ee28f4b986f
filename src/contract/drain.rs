//! `drain`: grant nothing from here on.

use serde::{Deserialize, Serialize};

use super::ask::{Ask, Repeat};
use super::changed::Changed;

/// Has new requests stopped.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {}

impl Ask for Drain {
    const NAME: &'static str = "drain";
    const REPEAT: Repeat = Repeat::Yes;
    type Answer = Changed;

    fn for_uid(&self) -> Option<u64> {
        None
    }
}
