//! CBOR as the contract takes it (RFC 8949): [`head`] reads heads and texts, [`strict`] is serde over them, [`fault`]
//! says what is wrong with a payload and where, and [`Item`] is a part of one that is read later.

mod fault;
mod head;
mod item;
mod strict;

pub(super) use fault::shown_bytes;
pub use fault::{DecodeError, shown};
pub use head::DEPTH_MAX;
pub(super) use head::{Cursor, Head};
pub use item::Item;
pub use strict::ITEMS_MAX;
pub(super) use strict::{OS_TEXT, whole};
