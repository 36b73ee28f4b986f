//! State and world laid side by side.

pub mod recover;
pub mod world;
