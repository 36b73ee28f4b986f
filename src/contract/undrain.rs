//! `undrain`: grant again.

use serde::{Deserialize, Serialize};

use super::ask::{Ask, Repeat};
use super::changed::Changed;

/// Has new requests granted again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Undrain {}

impl Ask for Undrain {
    const NAME: &'static str = "undrain";
    const REPEAT: Repeat = Repeat::Yes;
    type Answer = Changed;

    fn for_uid(&self) -> Option<u64> {
        None
    }
}
