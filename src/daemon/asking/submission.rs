//! A call on its way to the owner of the ledger.

use super::authorize::Authorised;
use super::handover::Taker;
use crate::daemon::telling::feed::Outlet;
use crate::daemon::telling::reply::Reply;

/// Calls of all sessions that the owner has not taken yet. A session that has one more waits.
pub const SUBMISSIONS_WAITING_MAX: usize = 256;

/// A call that its caller may make.
#[derive(Debug)]
pub struct Submission {
    /// What is to be done.
    pub authorised: Authorised,
    /// Where the answer goes.
    pub reply: Reply,
    /// Where events go, of who is to follow them.
    pub outlet: Option<Outlet>,
    /// Where what a command is goes, of the process that becomes it.
    pub taker: Option<Taker>,
}
