//! What is counted in step with the shares: room, ends of leases, alarms, use; and which of the jobs that are over are kept.

pub(super) mod books;
pub(super) mod ends;
pub(super) mod kept;
pub mod room;
