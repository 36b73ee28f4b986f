//! What the outside world does, as it changes.

pub mod occupancy;
pub mod pressure;
