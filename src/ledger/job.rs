//! Long operations with an id: what they are, where they stand, how they ended.

use super::Now;
use crate::identity::{JobId, Uid};

/// How many jobs are remembered, ended ones first to be forgotten.
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

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    /// Stops the processes in a share and gives it back.
    Release,
}

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// At work.
    Running {
        /// Since when.
        started: Now,
    },
    /// Over.
    Ended {
        /// Since when it was at work.
        started: Now,
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
    /// The daemon ended while the job was at work, and what it did is not known to be done.
    Interrupted,
}

impl Job {
    /// Whether nothing more will happen.
    pub fn ended(&self) -> bool {
        matches!(self.state, JobState::Ended { .. })
    }

    /// The job, over.
    pub(super) fn end(&mut self, now: Now, end: JobEnd) {
        if let JobState::Running { started } = self.state {
            self.state = JobState::Ended { started, ended: now, end };
        }
    }
}
