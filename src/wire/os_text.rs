//! What the kernel takes for an argument, a path or a variable: bytes that are mostly text.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::cbor::{OS_TEXT, shown_bytes};

/// `tstr / bstr`: sent as text where it is UTF-8, and as a byte string where it is not. Either is taken, so that who asks need
/// not look which it is; the same bytes are the same value.
///
/// JSON has no byte strings: there it is text, or an array of its bytes as numbers. The name of a pair is text in JSON.
///
/// Shown, it is clipped and escaped: see [`shown`](super::cbor::shown).
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct OsText(OsString);

impl OsText {
    /// The bytes, as the kernel takes them but for the NUL at the end.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The same for the standard library.
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }
}

impl From<OsString> for OsText {
    fn from(text: OsString) -> Self {
        Self(text)
    }
}

impl From<Vec<u8>> for OsText {
    fn from(bytes: Vec<u8>) -> Self {
        Self(OsString::from_vec(bytes))
    }
}

impl From<String> for OsText {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for OsText {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for OsText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown_bytes(self.as_bytes()))
    }
}

impl Serialize for OsText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.to_str() {
            Some(text) => serializer.serialize_str(text),
            None => serializer.serialize_bytes(self.as_bytes()),
        }
    }
}

impl<'de> Deserialize<'de> for OsText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_newtype_struct(OS_TEXT, TextOrBytes)
    }
}

struct TextOrBytes;

impl<'de> Visitor<'de> for TextOrBytes {
    type Value = OsText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or a byte string")
    }

    /// From a format that tells by itself which of the two it has.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<OsText, D::Error> {
        from.deserialize_any(self)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<OsText, E> {
        Ok(text.into())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<OsText, E> {
        Ok(text.into())
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<OsText, E> {
        Ok(bytes.to_vec().into())
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<OsText, E> {
        Ok(bytes.into())
    }

    /// From JSON alone: of CBOR the decoder gives out text and byte strings, and nothing else.
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<OsText, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = items.next_element::<u8>()? {
            bytes.push(byte);
        }
        Ok(bytes.into())
    }
}
