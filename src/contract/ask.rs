//! What every endpoint says of itself.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Whether a call may be sent again when its answer was lost: then whatever came of it is the same. The client does so by
/// itself, and fairshare-protocol(7) says it to whoever writes another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Once or twice makes no difference.
    Yes,
    /// A second one is a second one.
    No,
}

/// The body of a call. Everything about an endpoint that both sides must agree on, without defaults, so that none is forgotten.
pub trait Ask: Serialize + DeserializeOwned {
    /// The endpoint's name, as it stands in a request.
    const NAME: &'static str;
    /// Whether the call may be repeated.
    const REPEAT: Repeat;
    /// What the `ok` of an answer holds.
    type Answer: Serialize + DeserializeOwned;

    /// The member that the call names, where it can name one and does.
    fn for_uid(&self) -> Option<u64>;
}
