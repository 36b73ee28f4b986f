//! Everything that can wake the event loop: a closed list.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::oneshot;

use super::asking::authorize::Authorised;
use super::asking::names::Learned;
use super::doing::handover::Taker;
use super::mending::world::Survey;
use super::start;
use super::telling::feed::Outlet;
use crate::cgroup::trigger::Resource;
use crate::contract::{Answer, Usage};
use crate::host::account::Account;
use crate::identity::{JobId, Uid};
use crate::ledger::job::JobEnd;
use crate::ledger::{Image, Outcome};
use crate::policy::Policy;
use crate::systemd::Fault;
use crate::wire::error::WireError;

/// Events that the loop has not taken yet. Who sends one more waits.
pub const EVENTS_WAITING_MAX: usize = 256;

/// Where the answer to a call goes.
#[derive(Debug)]
pub struct Reply(oneshot::Sender<Result<Answer, WireError>>);

impl Reply {
    /// A place for one answer, and where to wait for it.
    pub fn pair() -> (Self, oneshot::Receiver<Result<Answer, WireError>>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }

    /// Nobody waits for an answer.
    pub fn nobody() -> Self {
        Self::pair().0
    }

    /// Answers. Who asked may have gone; what was done stands all the same.
    pub fn send(self, result: Result<Answer, WireError>) {
        let _ = self.0.send(result);
    }
}

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

/// Everything that can wake the loop.
#[derive(Debug)]
pub enum Event {
    /// A member calls.
    Call(Submission),
    /// An effect has been carried out, or not.
    Settle {
        /// Whose share.
        uid: Uid,
        /// How it went.
        outcome: Outcome,
        /// Where what is to be stored goes.
        reply: oneshot::Sender<Image>,
    },
    /// A request that was to wait could not be stored. What is to be stored without it goes there; nothing where it was
    /// served meanwhile.
    Uncalled(JobId, oneshot::Sender<Option<Image>>),
    /// The state could not be written, by a task that nobody waits for.
    NotStored,
    /// What the database said of a name of the policy; nothing where it was asked for all.
    Name(Option<Learned>),
    /// The accounts of members who wait have been looked up: the policy says anew what they may have.
    WaitingKnown(Vec<Account>),
    /// A submitted command is over.
    WorkEnded {
        /// Which.
        job: JobId,
        /// How.
        end: JobEnd,
        /// Where what is to be stored goes.
        reply: oneshot::Sender<Image>,
    },
    /// A submitted command may still run, and cannot be followed for now.
    WorkLost(JobId),
    /// The kernel tells that tasks of this member's share wait too long for something.
    Pressure(Uid, Resource),
    /// What is to be stored, as it is by now, is needed there.
    Image(oneshot::Sender<Image>),
    /// A submitted command was stopped for who called it back: answered with how it ended.
    CalledBack(JobId, Reply),
    /// What was to enter this member's share has not, or not all of it: the kernel may have nothing to tell of it.
    NotEntered(Uid),
    /// Nothing is under way for this member any more.
    Free(Uid),
    /// What the shares use has been read.
    Usages(BTreeMap<Uid, Usage>),
    /// The policy has been read again, or not.
    Reloaded(Result<Policy, String>, Option<Reply>),
    /// What was missing has been looked for.
    Recovered(Box<start::Recovery>),
    /// Members whose slices were in doubt have been looked at.
    Mended(Result<Survey, Fault>, BTreeSet<Uid>),
    /// SIGHUP.
    Hangup,
    /// SIGTERM or SIGINT.
    Terminate,
}
