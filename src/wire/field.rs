//! How single fields are decoded where the schema says more than a Rust type does.

use serde::de::{Deserialize, Deserializer, Error};

/// The most bytes of a name, as of a client or a job.
pub const NAME_BYTES_MAX: usize = 64;

/// Whether a text is as long as a name may be: 1 to [`NAME_BYTES_MAX`] bytes.
pub fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len())
}

/// `? key: T`: may be left out, but is no null when it is there. To be used with `default`.
///
/// # Errors
/// It is no `T`.
pub fn optional<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// `key: T / null`: must be there, which serde alone does not ask of an `Option`.
///
/// # Errors
/// It is neither.
pub fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(from)
}

/// `tstr .size (1..64)`.
///
/// # Errors
/// It is no text, or one of another length.
pub fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    if !is_name(&name) {
        return Err(D::Error::custom(format!(
            "expected 1 to {NAME_BYTES_MAX} bytes of text, found {}",
            name.len()
        )));
    }
    Ok(name)
}

/// `? key: tstr .size (1..64)`. To be used with `default`.
///
/// # Errors
/// It is no text, or one of another length.
pub fn optional_name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    name(from).map(Some)
}
