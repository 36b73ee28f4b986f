//! The wire: what is sent byte for byte, what is taken and what is not, and what it costs.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

mod codes;
mod goldens;
mod hostile;
mod manual;
mod memory;
pub mod messages;
mod mutations;
mod random;
mod refusals;
mod schema;
