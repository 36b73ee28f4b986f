//! Hands: intent stored, systemd told, the kernel read back, outcome stored.

pub mod allocation;
pub mod at_end;
pub mod bound;
pub mod caller;
pub mod enter;
pub mod fetch;
pub mod freezer;
pub mod history;
pub mod insist;
pub mod io;
pub mod job;
pub mod kernel;
pub mod lower;
pub mod occupants;
pub mod offer;
pub mod pause;
pub mod persist;
pub mod read_back;
pub mod resize;
pub mod said;
pub mod unkillable;
pub mod warn;
