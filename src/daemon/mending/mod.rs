//! State and world laid side by side.

pub mod world;
