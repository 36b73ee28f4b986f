//! What is counted in step with the shares: room, ends of leases, alarms, lags; and which of the jobs that are over are kept.

pub(super) mod books;
pub(super) mod ends;
pub(super) mod growth;
pub(super) mod guesses;
pub(super) mod kept;
pub mod room;
