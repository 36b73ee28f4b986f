//! How things go over a socket: frames, CBOR, hello, envelopes, errors. It knows no endpoint and no share: what can be
//! asked and what is answered is a contract's, as `contract` is that of `fairshared`.
//!
//! A stream becomes payloads in [`frame`], a payload a [`hello`] or an [`envelope`] by [`cbor`], and a message a frame by
//! [`frame::encode_frame`].

pub mod cbor;
pub mod detail;
pub mod envelope;
pub mod error;
pub mod field;
pub mod frame;
pub mod hello;
pub mod os_text;
mod role;
