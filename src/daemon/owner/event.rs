//! What the owner hears of its own: answers to what it has asked for, and signals.

use std::collections::{BTreeMap, BTreeSet};

use crate::contract::Usage;
use crate::daemon::doing::io::IoHeld;
use crate::daemon::mending::recover::Recovery;
use crate::daemon::mending::world::Survey;
use crate::daemon::telling::findings::Sighting;
use crate::daemon::telling::reply::Reply;
use crate::host::account::Account;
use crate::identity::{JobId, Uid};
use crate::policy::Policy;
use crate::quantity::Bytes;
use crate::systemd::Fault;

/// Events that the loop has not taken yet. Who sends one more waits.
pub const EVENTS_WAITING_MAX: usize = 256;

/// What wakes the loop beside calls, what is said by those who do something, and what the outside world does.
#[derive(Debug)]
pub enum Event {
    /// The state could not be written, by a task that nobody waits for.
    NotStored,
    /// The accounts of members who wait have been looked up: the policy says anew what they may have.
    WaitingKnown(Vec<Account>),
    /// What the shares use has been read.
    Usages(BTreeMap<Uid, Usage>),
    /// How much memory work has left behind has been read.
    LeftBehind(Bytes),
    /// What submitted commands that run need has been read.
    Needed(Vec<(JobId, Bytes)>),
    /// Processes and members have been looked at, everybody's or for one who asks for the own.
    Sighted(bool, Box<Sighting>),
    /// It is time for such a look.
    LookDue(bool),
    /// The I/O of shares has been looked at.
    IoLooked(BTreeMap<Uid, IoHeld>),
    /// The policy has been read again, or not.
    Reloaded(Result<Box<Policy>, String>, Option<Reply>),
    /// What was missing has been looked for.
    Recovered(Box<Recovery>),
    /// Members whose slices were in doubt have been looked at.
    Mended(Result<Survey, Fault>, BTreeSet<Uid>),
    /// SIGHUP.
    Hangup,
    /// SIGTERM or SIGINT.
    Terminate,
}
