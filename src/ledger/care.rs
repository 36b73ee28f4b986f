//! What is done for a submitted command while it runs: it is warned before its time is over, and what the kernel ends of it for
//! want of memory; and whether something is run at its end. When it is warned is the business of `warned`.

use std::collections::{BTreeMap, BTreeSet};

use super::time::Time;
use crate::identity::JobId;

/// What is done for a submitted command while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Care {
    /// What warns it before its time is over.
    pub warning: Option<Warning>,
    /// What the kernel ends of it for want of memory.
    pub out_of_memory: OutOfMemory,
    /// Whether a command of its member's is run when it is over.
    pub notifies: bool,
}

/// A signal that a command's main process is sent once before its time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warning {
    /// The signal, from 1 to [`SIGNAL_MAX`](crate::quantity::SIGNAL_MAX).
    pub signal: u8,
    /// How long before its time limit, in milliseconds.
    pub before_ms: u64,
    /// Whether it was sent.
    pub sent: bool,
}

/// What the kernel ends of a command that wants more memory than it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutOfMemory {
    /// All of its processes.
    #[default]
    Kill,
    /// The one process that the kernel chooses: the others go on.
    Continue,
}

/// When the commands that run are to be warned.
#[derive(Debug, Clone, Default)]
pub(super) struct Warnings {
    of: BTreeMap<JobId, Time>,
    by_time: BTreeSet<(Time, JobId)>,
}

impl Warnings {
    /// The next moment at which one is due.
    pub fn next(&self) -> Option<Time> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Whose are to come.
    pub fn jobs(&self) -> impl Iterator<Item = JobId> {
        self.of.keys().copied()
    }

    /// A command is to be warned at this moment, and at no other.
    pub fn set(&mut self, job: JobId, at: Time) {
        self.remove(job);
        self.of.insert(job, at);
        self.by_time.insert((at, job));
    }

    /// A command is not to be warned any more.
    pub fn remove(&mut self, job: JobId) {
        if let Some(at) = self.of.remove(&job) {
            self.by_time.remove(&(at, job));
        }
    }

    /// Takes those out whose moment has come.
    pub fn take_due(&mut self, now: Time) -> Vec<JobId> {
        let due: Vec<JobId> =
            self.by_time.iter().take_while(|(at, _)| *at <= now).map(|(_, job)| *job).collect();
        due.iter().for_each(|job| self.remove(*job));
        due
    }
}
