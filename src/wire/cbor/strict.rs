//! serde over a [`Cursor`]: types take from the bytes what the schema has, and nothing else passes.
//!
//! There is no way from here to a value of unknown kind: floats, tags and the like are not turned away one by one, they have
//! no method to come in by. A byte string has only that of [`OS_TEXT`].

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::fault::{DecodeError, shown, shown_bytes};
use super::head::{Cursor, FALSE, Head, NULL, TRUE};

/// The most items that an array may have, and pairs a map, for one that is decoded.
///
/// An empty text is one byte in a frame and 24 in memory, so that the frame's own bound is not enough: with this
/// one a frame of 1 MiB cannot take more than 4 MiB. It leaves room for any command that a person types, and for an
/// environment of 512 KiB in entries of 32 bytes.
pub const ITEMS_MAX: usize = 16_384;

/// The name of the newtype whose bytes are handed out instead of its value.
pub(super) const ITEM: &str = "fairshare::wire::cbor::Item";

/// The name of the newtype that is taken from a text and from a byte string, as a key too.
pub(in crate::wire) const OS_TEXT: &str = "fairshare::wire::OsText";

/// The value that the whole of `payload` is.
///
/// # Errors
/// It is no such value, or something comes after it.
pub(in crate::wire) fn whole<'de, T: Deserialize<'de>>(payload: &'de [u8]) -> Result<T, DecodeError> {
    let mut cursor = Cursor::new(payload);
    let value = T::deserialize(&mut cursor).map_err(|error| error.or_at(0))?;
    cursor.finish()?;
    Ok(value)
}

impl<'de> Deserializer<'de> for &mut Cursor<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, DecodeError> {
        let head = self.peek()?;
        Err(DecodeError::unexpected(self.offset(), "what the schema has here", head.describe()))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let value = self.expect("a boolean", |head| match head {
            FALSE => Some(false),
            TRUE => Some(true),
            _ => None,
        })?;
        visitor.visit_bool(value)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_u64(self.uint()?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.text()?.into_deserializer().deserialize_any(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.peek()? != NULL {
            return visitor.visit_some(self);
        }
        self.head()?;
        visitor.visit_none()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match name {
            ITEM => {
                let start = self.offset();
                self.skip()?;
                visitor.visit_borrowed_bytes(self.since(start))
            }
            OS_TEXT => hand_out(self.text_or_bytes()?, visitor),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let left = self.expect("an array", |head| match head {
            Head::Array(length) => Some(length),
            _ => None,
        })?;
        self.enter()?;
        let value = visitor.visit_seq(Items::new(self, left))?;
        self.leave();
        Ok(value)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let left = self.expect("a map", map_length)?;
        self.enter()?;
        let value = visitor.visit_map(Items::new(self, left))?;
        self.leave();
        Ok(value)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let start = self.offset();
        match self.peek()? {
            Head::Text(_) => {
                let name = self.text()?;
                visitor.visit_enum(name.into_deserializer()).map_err(|error: DecodeError| error.or_at(start))
            }
            Head::Map(_) => {
                let mut left = self.expect("a map", map_length)?;
                self.enter()?;
                if !self.more(&mut left)? {
                    return Err(DecodeError::at(start, "a map of one key that is empty"));
                }
                let value = visitor.visit_enum(Variant(self))?;
                if self.more(&mut left)? {
                    return Err(DecodeError::at(self.offset(), "a second key where one belongs"));
                }
                self.leave();
                Ok(value)
            }
            head => Err(DecodeError::unexpected(start, "text or a map of one key", head.describe())),
        }
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct ignored_any
    }
}

/// The items of an array, or the pairs of a map, that are still to come.
struct Items<'r, 'de> {
    cursor: &'r mut Cursor<'de>,
    left: Option<u64>,
    seen: usize,
    /// Of the pair whose value is next.
    key: String,
}

impl<'r, 'de> Items<'r, 'de> {
    fn new(cursor: &'r mut Cursor<'de>, left: Option<u64>) -> Self {
        Self { cursor, left, seen: 0, key: String::new() }
    }

    fn more(&mut self) -> Result<bool, DecodeError> {
        if !self.cursor.more(&mut self.left)? {
            return Ok(false);
        }
        if self.seen >= ITEMS_MAX {
            return Err(DecodeError::at(self.cursor.offset(), format!("more than {ITEMS_MAX} entries")));
        }
        self.seen = self.seen.saturating_add(1);
        Ok(true)
    }
}

// Neither access gives a size hint: it would be what the sender claims, and memory is for what came.
impl<'de> de::SeqAccess<'de> for Items<'_, 'de> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        if !self.more()? {
            return Ok(None);
        }
        let start = self.cursor.offset();
        let index = self.seen.saturating_sub(1);
        seed.deserialize(&mut *self.cursor).map(Some).map_err(|error| error.or_at(start).in_item(index))
    }
}

impl<'de> de::MapAccess<'de> for Items<'_, 'de> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        if !self.more()? {
            return Ok(None);
        }
        let start = self.cursor.offset();
        let key = Key { cursor: &mut *self.cursor, shown: &mut self.key };
        seed.deserialize(key).map(Some).map_err(|error| error.or_at(start))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DecodeError> {
        let start = self.cursor.offset();
        seed.deserialize(&mut *self.cursor).map_err(|error| error.or_at(start).in_key(&self.key))
    }
}

/// The key of a pair, which is text, or an [`OS_TEXT`].
struct Key<'r, 'de> {
    cursor: &'r mut Cursor<'de>,
    /// Where the key goes for an error in its value.
    shown: &'r mut String,
}

impl<'de> Deserializer<'de> for Key<'_, 'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let key = self.cursor.text()?;
        *self.shown = shown(&key);
        key.into_deserializer().deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        if name != OS_TEXT {
            return visitor.visit_newtype_struct(self);
        }
        let key = self.cursor.text_or_bytes()?;
        *self.shown = shown_bytes(&key);
        hand_out(key, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

/// The one pair of a map that stands for a variant with a value.
struct Variant<'r, 'de>(&'r mut Cursor<'de>);

impl<'r, 'de> de::EnumAccess<'de> for Variant<'r, 'de> {
    type Error = DecodeError;
    type Variant = VariantValue<'r, 'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self::Variant), DecodeError> {
        let start = self.0.offset();
        let name = self.0.text()?;
        let key = shown(&name);
        let value =
            seed.deserialize(name.into_deserializer()).map_err(|error: DecodeError| error.or_at(start))?;
        Ok((value, VariantValue { cursor: self.0, key }))
    }
}

struct VariantValue<'r, 'de> {
    cursor: &'r mut Cursor<'de>,
    key: String,
}

impl<'de> de::VariantAccess<'de> for VariantValue<'_, 'de> {
    type Error = DecodeError;

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, DecodeError> {
        let start = self.cursor.offset();
        seed.deserialize(self.cursor).map_err(|error| error.or_at(start).in_key(&self.key))
    }

    fn unit_variant(self) -> Result<(), DecodeError> {
        Err(DecodeError::at(self.cursor.offset(), "a map where text belongs"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, DecodeError> {
        self.unit_variant().and_then(|()| Err(de::Error::custom("no such form")))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, DecodeError> {
        self.unit_variant().and_then(|()| Err(de::Error::custom("no such form")))
    }
}

// What serde's generated code says; everything that the sender chose is shown clipped and escaped.
impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self::somewhere(what.to_string())
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::somewhere(format!("expected {expected}"))
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::somewhere(format!("expected {expected}"))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::somewhere(format!("`{}` is none of {}", shown(variant), expected.join(", ")))
    }

    fn unknown_field(field: &str, _: &'static [&'static str]) -> Self {
        Self::somewhere(format!("unknown key `{}`", shown(field)))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::somewhere(format!("the key `{field}` is missing"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::somewhere(format!("repeated key `{field}`"))
    }
}

fn hand_out<'de, V: Visitor<'de>>(bytes: Cow<'de, [u8]>, visitor: V) -> Result<V::Value, DecodeError> {
    match bytes {
        Cow::Borrowed(bytes) => visitor.visit_borrowed_bytes(bytes),
        Cow::Owned(bytes) => visitor.visit_byte_buf(bytes),
    }
}

fn map_length(head: Head) -> Option<Option<u64>> {
    match head {
        Head::Map(length) => Some(length),
        _ => None,
    }
}
