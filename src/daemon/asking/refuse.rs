//! The refusals of calls that were not even put to the owner of the ledger.

use crate::policy::Role;
use crate::wire::detail::Detail;
use crate::wire::error::{Code, WireError};

/// The refusal of a call that says what cannot be.
pub fn bad(message: impl Into<String>) -> WireError {
    WireError::new(Code::BadRequest, message)
}

/// The refusal of a call that this role may not make.
pub fn forbidden(message: impl Into<String>, role: Role) -> WireError {
    WireError::new(Code::Forbidden, message).detail(Detail { role: Some(role), ..Detail::default() })
}
