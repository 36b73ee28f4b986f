//! How single fields are decoded where the schema says more than a Rust type does.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

/// The most bytes of a name: of a client, its version, a job.
pub const NAME_BYTES_MAX: usize = 64;

/// The most pids of one `attach`.
pub const PIDS_MAX: usize = 64;

/// Whether a text is as long as a name may be: 1 to [`NAME_BYTES_MAX`] bytes.
pub fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len())
}

/// `? key: T`: may be left out, but is no null when it is there. To be used with `default`.
pub(super) fn optional<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// `key: T / null`: must be there, which serde alone does not ask of an `Option`.
pub(super) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    Option::deserialize(from)
}

/// `tstr .size (1..64)`.
pub(super) fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    if !is_name(&name) {
        return Err(D::Error::custom(format!(
            "expected 1 to {NAME_BYTES_MAX} bytes of text, found {}",
            name.len()
        )));
    }
    Ok(name)
}

/// `[1*64 uint]`.
pub(super) fn pids<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u64>, D::Error> {
    let pids = Vec::<u64>::deserialize(from)?;
    if pids.is_empty() || pids.len() > PIDS_MAX {
        return Err(D::Error::custom(format!("expected 1 to {PIDS_MAX} pids, found {}", pids.len())));
    }
    Ok(pids)
}

/// `[1* tstr]`.
pub(super) fn argv<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let argv = Vec::<String>::deserialize(from)?;
    if argv.is_empty() {
        return Err(D::Error::custom("expected a command, found no text at all"));
    }
    Ok(argv)
}

/// `{ * tstr => tstr }`, where serde alone would let the last of two equal keys win.
pub(super) fn env<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    from.deserialize_map(Env)
}

struct Env;

impl<'de> Visitor<'de> for Env {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of text to text")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut env = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value()?;
            if env.contains_key(&key) {
                return Err(A::Error::custom(format!("repeated key `{}`", super::decode::shown(&key))));
            }
            env.insert(key, value);
        }
        Ok(env)
    }
}
