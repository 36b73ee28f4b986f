//! Long operations with an id: what they are, where they stand, how they ended.

use super::Now;
use super::share::Terms;
use super::time::Time;
use crate::identity::{JobId, Uid};
use crate::policy::Weight;
use crate::quantity::{Amount, Bytes};

/// How many jobs that are over are remembered; what waits or is at work is never forgotten.
pub const JOBS_KEPT_MAX: usize = 200;

/// The id of a job that a share refers to.
pub type JobRef = JobId;

/// A long operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Never repeats.
    pub id: JobId,
    /// Whose it is.
    pub uid: Uid,
    /// What it does.
    pub kind: JobKind,
    /// When it was asked for.
    pub created: Now,
    /// Where it stands.
    pub state: JobState,
}

/// What a job does, with the data of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobKind {
    /// Waits for a share, and takes it.
    Request(Box<Ask>),
    /// Stops the processes in a share and gives it back.
    Release,
}

/// What a member asked for, complete: what the policy said when it was asked is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The member's name, to be shown.
    pub user: Option<String>,
    /// When it was asked for.
    pub asked: Time,
    /// Until when it waits at most; `None`: as long as it takes.
    pub until: Option<Time>,
    /// The figures.
    pub amount: Amount,
    /// Swap on top of the memory, in bytes.
    pub swap: Bytes,
    /// How long it is to be held, in milliseconds; `None`: until released.
    pub lease_ms: Option<u64>,
    /// How much of what is scarce the member gets, relative to others.
    pub weight: Weight,
    /// What holds for the share later.
    pub terms: Terms,
}

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// Waits for room.
    Queued {
        /// Since when.
        since: Time,
        /// Until when at most; `None`: as long as it takes.
        deadline: Option<Time>,
    },
    /// At work.
    Running {
        /// Since when.
        started: Now,
    },
    /// Over.
    Ended {
        /// Since when it was at work, if it ever was.
        started: Option<Now>,
        /// When it was over.
        ended: Now,
        /// How it ended.
        end: JobEnd,
    },
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEnd {
    /// Everything was done.
    Done,
    /// It could not be done: what happened, for a person.
    Failed(String),
    /// Its member, or an admin, no longer wanted it.
    Cancelled,
    /// The daemon ended while the job was at work, and what it did is not known to be done.
    Interrupted,
    /// It waited as long as it was to.
    TimedOut,
}

impl Job {
    /// Whether nothing more will happen.
    pub fn ended(&self) -> bool {
        matches!(self.state, JobState::Ended { .. })
    }

    /// Whether it waits for room.
    pub fn queued(&self) -> bool {
        matches!(self.state, JobState::Queued { .. })
    }

    /// The job, over; whether it was not before.
    pub(super) fn end(&mut self, now: Now, end: JobEnd) -> bool {
        let started = match self.state {
            JobState::Queued { .. } => None,
            JobState::Running { started } => Some(started),
            JobState::Ended { .. } => return false,
        };
        self.state = JobState::Ended { started, ended: now, end };
        true
    }
}
