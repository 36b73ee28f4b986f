//! A state file's bytes, from and to the image in them.

use super::framed::{Magic, framed, unframed};
use super::record;
use crate::ledger::Image;

/// The version that this code writes. A field that is added, taken away or means something else raises it, and the
/// versions before stay readable: `tests/data/state/` has a file of each.
pub const STATE_VERSION: u32 = 9;

const MAGIC: &Magic = b"fairshr\n";

/// Why the bytes of a state file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// Whole, and of this newer version.
    Newer(u32),
    /// Torn, or not a state file.
    Damaged(String),
}

/// The bytes of a state file that holds `image`.
///
/// # Errors
/// The image is larger than a state file can be.
pub fn encode(image: &Image) -> Result<Vec<u8>, String> {
    let mut payload = Vec::new();
    ciborium::into_writer(&record::State::from(image), &mut payload).map_err(|error| error.to_string())?;
    framed(MAGIC, STATE_VERSION, &payload)
}

/// The image in the bytes of a state file.
///
/// # Errors
/// The bytes are damaged, or whole and of a newer version.
pub fn parse(bytes: &[u8]) -> Result<Image, Unusable> {
    let damaged = |why: &str| Unusable::Damaged(why.to_owned());
    let (version, payload) = unframed(MAGIC, bytes).map_err(damaged)?;
    let state: record::State = match version {
        1 => record::v5::State::from(record::v4::State::from(item::<record::v1::State>(payload)?)).into(),
        2..=4 => record::v5::State::from(item::<record::v4::State>(payload)?).into(),
        5 => item::<record::v5::State>(payload)?.into(),
        6..=STATE_VERSION => item(payload)?,
        newer if newer > STATE_VERSION => return Err(Unusable::Newer(newer)),
        _ => return Err(damaged("of a version that never was")),
    };
    Image::try_from(state).map_err(Unusable::Damaged)
}

/// The one CBOR item that `payload` is.
pub fn item<State: serde::de::DeserializeOwned>(payload: &[u8]) -> Result<State, Unusable> {
    let mut rest = payload;
    let state = ciborium::from_reader(&mut rest).map_err(|error| Unusable::Damaged(error.to_string()))?;
    if rest.is_empty() { Ok(state) } else { Err(Unusable::Damaged("bytes after its end".to_owned())) }
}
