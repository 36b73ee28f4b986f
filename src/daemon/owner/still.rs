//! Which commands stand still.

use std::collections::{BTreeMap, BTreeSet};

use tokio::task::JoinHandle;

use crate::identity::JobId;

/// Which commands stand still, as the kernel was last seen to say.
#[derive(Debug, Default)]
pub struct Paused {
    /// Their jobs.
    jobs: BTreeSet<JobId>,
    /// Who thaws those that have a time limit when that is over.
    thaws: BTreeMap<JobId, JoinHandle<()>>,
}

impl Paused {
    /// The jobs of those commands.
    pub fn jobs(&self) -> &BTreeSet<JobId> {
        &self.jobs
    }

    /// A command stands still. Whether it was not among them.
    pub fn insert(&mut self, job: JobId) -> bool {
        self.jobs.insert(job)
    }

    /// Somebody thaws a command that stands still when its time is over.
    pub fn thawed_by(&mut self, job: JobId, thaw: JoinHandle<()>) {
        self.thaws.insert(job, thaw);
    }

    /// A command goes on. Whether it was among them.
    pub fn remove(&mut self, job: JobId) -> bool {
        if let Some(thaw) = self.thaws.remove(&job) {
            thaw.abort();
        }
        self.jobs.remove(&job)
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        self.thaws.values().for_each(JoinHandle::abort);
    }
}
