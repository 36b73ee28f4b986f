//! The wire contract, version 1: frames, messages, error codes. `protocol.cddl` beside this file is its schema.
//!
//! A stream becomes payloads in [`frame`], a payload a message in [`decode`] (by `strict` over `reader`), and
//! a message a frame by [`frame::encode_frame`]. What the messages are is in [`message`], [`call`], [`answer`], [`error`].

pub mod answer;
mod body;
pub mod call;
pub mod decode;
pub mod error;
mod field;
pub mod frame;
pub mod handover;
pub mod message;
mod reader;
mod strict;

pub use field::{NAME_BYTES_MAX, PIDS_MAX, is_name};
pub use reader::DEPTH_MAX;
pub use strict::ITEMS_MAX;
