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
    /// How many had ended when this step began.
    before: u64,
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

    /// A step begins: whatever has ended by now has been told.
    pub fn begin(&mut self) {
        self.before = self.ended;
    }

    /// A job is over. Which are forgotten for it: the member's oldest, where they have too many; where there are too many of all
    /// members, the oldest of who has the most, so that nobody's are forgotten for what another does, but for a fair part. None
    /// that ended in this step is: of those nobody has been told yet. They are forgotten for what ends later.
    pub fn add(&mut self, uid: Uid, job: JobId) -> Vec<JobId> {
        self.of.entry(uid).or_default().push_back((self.ended, job));
        (self.len, self.ended) = (self.len + 1, self.ended + 1);
        std::iter::from_fn(|| self.forget(uid)).collect()
    }

    fn forget(&mut self, uid: Uid) -> Option<JobId> {
        let first = |jobs: &VecDeque<(u64, JobId)>| jobs.front().map(|(ended, _)| *ended);
        let whose = if self.of.get(&uid).is_some_and(|own| own.len() > JOBS_KEPT_PER_UID_MAX) {
            uid
        } else if self.len > JOBS_KEPT_MAX {
            *self.of.iter().max_by_key(|(_, jobs)| (jobs.len(), Reverse(first(jobs))))?.0
        } else {
            return None;
        };
        let jobs = self.of.get_mut(&whose)?;
        let (_, forgotten) = *jobs.front().filter(|(ended, _)| *ended < self.before)?;
        jobs.pop_front();
        if jobs.is_empty() {
            self.of.remove(&whose);
        }
        self.len -= 1;
        Some(forgotten)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_in_a_step_is_not_forgotten_in_it() {
        let (mut kept, uid) = (Kept::default(), Uid::new(1000).unwrap());
        kept.begin();
        let more = JOBS_KEPT_PER_UID_MAX as u64 + 3;
        assert_eq!((0..more).flat_map(|id| kept.add(uid, JobId(id))).count(), 0);
        kept.begin();
        let forgotten: Vec<JobId> = kept.add(uid, JobId(more));
        assert_eq!(forgotten, [0, 1, 2, 3].map(JobId));
        assert_eq!(kept.len(), JOBS_KEPT_PER_UID_MAX);
        kept.begin();
        assert_eq!(kept.add(uid, JobId(more + 1)), [JobId(4)]);
    }
}
