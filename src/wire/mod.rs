//! The wire contract, version 1: frames, messages, error codes. `protocol.cddl` beside this file is its schema.

pub mod answer;
pub mod call;
pub mod error;
pub mod message;
