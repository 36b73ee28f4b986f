//! Calls of the processes that become submitted commands, or what is run at their end.

use std::sync::Arc;

use crate::daemon::asking::handover::Taker;
use crate::daemon::telling::reply::Reply;
use crate::serving::peer::Peer;

/// Calls for one command that wait at a time. There is one process that may make one.
pub const FETCHES_WAITING_MAX: usize = 4;

/// A call of the process that becomes a command.
#[derive(Debug)]
pub struct Fetch {
    /// The process.
    pub peer: Arc<Peer>,
    /// Where what it fetches goes.
    pub taker: Taker,
    /// Where the answer goes.
    pub reply: Reply,
}
