//! Which of the jobs that are over are remembered: so many of each member, so many in all, and no fewer of one member than
//! of any other.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use crate::identity::{JobId, Uid};
use crate::ledger::job::{JOBS_KEPT_MAX, JOBS_KEPT_PER_UID_MAX};

/// Jobs that are over, in the order in which they ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    /// Of each member, with how many had ended before.
    of: BTreeMap<Uid, VecDeque<(u64, JobId)>>,
    len: usize,
    ended: u64,
}

impl Kept {
    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.len
    }

    /// One member's that are remembered, the last to end first.
    pub fn newest(&self, uid: Uid) -> impl Iterator<Item = JobId> {
        self.of.get(&uid).into_iter().flat_map(|jobs| jobs.iter().rev().map(|(_, job)| *job))
    }

    /// A job is over. Which one is forgotten for it: the member's oldest, where they have too many; where there are too many
    /// of all members, the oldest of who has the most, so that nobody's are forgotten for what another does, but for a
    /// fair part.
    pub fn add(&mut self, uid: Uid, job: JobId) -> Option<JobId> {
        let own = self.of.entry(uid).or_default();
        own.push_back((self.ended, job));
        let own = own.len();
        (self.len, self.ended) = (self.len + 1, self.ended + 1);
        let first = |jobs: &VecDeque<(u64, JobId)>| jobs.front().map(|(ended, _)| *ended);
        let whose = if own > JOBS_KEPT_PER_UID_MAX {
            uid
        } else if self.len > JOBS_KEPT_MAX {
            *self.of.iter().max_by_key(|(_, jobs)| (jobs.len(), Reverse(first(jobs))))?.0
        } else {
            return None;
        };
        let jobs = self.of.get_mut(&whose)?;
        let (_, forgotten) = jobs.pop_front()?;
        if jobs.is_empty() {
            self.of.remove(&whose);
        }
        self.len -= 1;
        Some(forgotten)
    }
}
