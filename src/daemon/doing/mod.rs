//! Hands: intent stored, systemd told, the kernel read back, outcome stored.

pub mod enter;
pub mod handover;
pub mod job;
pub mod kernel;
pub mod lower;
pub mod occupants;
pub mod persist;
pub mod share;
pub mod unkillable;
