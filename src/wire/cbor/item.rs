//! One item that is kept as it came, to be read by whoever knows what it is.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::fault::DecodeError;
use super::strict::{ITEM, whole};

/// The bytes of one item, which are well-formed and no deeper than [`super::DEPTH_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item<'a>(&'a [u8]);

impl<'a> Item<'a> {
    /// What the item is, read as strictly as a whole message.
    ///
    /// # Errors
    /// It is something else. Places in the error are counted from the start of the item.
    pub fn read<T: Deserialize<'a>>(self) -> Result<T, DecodeError> {
        whole(self.0)
    }
}

impl<'de> Deserialize<'de> for Item<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_newtype_struct(ITEM, Bytes)
    }
}

struct Bytes;

impl<'de> Visitor<'de> for Bytes {
    type Value = Item<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an item of CBOR")
    }

    fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Item<'de>, E> {
        Ok(Item(bytes))
    }
}
