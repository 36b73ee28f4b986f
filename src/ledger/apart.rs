//! Submitted commands that wait for something else before they wait for room: for other jobs, for a time, for their member.
//!
//! Such a command is apart. It counts among what its member has waiting, has no place in the queue and holds nothing back. When
//! the last of its conditions is met it joins the queue as if it had been submitted at that moment: to have waited apart is no
//! advantage. What makes it join, or end without ever having run, is the business of `reached`.

use std::collections::{BTreeMap, BTreeSet};

use super::time::Time;
use crate::identity::{JobId, Uid};
use crate::quantity::Priority;

/// When a submitted command is to start, and before which others, as its member says it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct When {
    /// The jobs that are to have ended well before.
    pub after: BTreeSet<JobId>,
    /// The jobs that are to have ended before, in whatever way.
    pub after_any: BTreeSet<JobId>,
    /// The moment before which it does not start, in Unix milliseconds.
    pub begin_wall_ms: Option<u64>,
    /// Whether it waits until its member releases it.
    pub hold: bool,
    /// Before which others of its member's it goes.
    pub priority: Priority,
}

/// What a submitted command waits for before it waits for room.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Apart {
    /// The jobs that are still to end well.
    pub after: BTreeSet<JobId>,
    /// The jobs that are still to end, in whatever way.
    pub after_any: BTreeSet<JobId>,
    /// The moment before which it does not start.
    pub begin: Option<Time>,
    /// Whether its member holds it.
    pub held: bool,
    /// Whether as many of its tasks are at work as may be at a time, where it is an array.
    pub full: bool,
    /// What is left of its last try, where it is run again.
    pub left: Left,
}

/// What is left of a command's last try, and goes before it is run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Left {
    /// Its units, and what says on disk that it was started.
    pub units: bool,
    /// The allocation that was taken for it.
    pub room: bool,
}

/// A change of a job that waits, as its member says it. What is not named stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    /// Whether it is held apart from the queue.
    pub hold: Option<bool>,
    /// Whether it goes before all others of its member's that wait now.
    pub first: Option<bool>,
    /// Before which others of its member's it goes.
    pub priority: Option<Priority>,
}

/// All that are apart, by what they wait for.
#[derive(Debug, Clone, Default)]
pub(super) struct Aside {
    of: BTreeMap<Uid, BTreeSet<JobId>>,
    len: usize,
    /// Who waits for the end of each job.
    followers: BTreeMap<JobId, BTreeSet<JobId>>,
    /// Who waits for a time.
    begins: BTreeSet<(Time, JobId)>,
}

impl When {
    /// Whether it names anything that must be waited for, met already or not.
    pub fn has_conditions(&self) -> bool {
        !self.after.is_empty() || !self.after_any.is_empty() || self.begin_wall_ms.is_some() || self.hold
    }
}

impl Apart {
    /// Whether nothing is left to be waited for.
    pub fn is_over(&self) -> bool {
        *self == Self::default()
    }

    /// The jobs whose ends are waited for.
    pub fn awaited(&self) -> BTreeSet<JobId> {
        self.after.union(&self.after_any).copied().collect()
    }
}

impl Aside {
    /// How many are apart.
    pub fn len(&self) -> usize {
        self.len
    }

    /// How many of one member are.
    pub fn len_of(&self, uid: Uid) -> usize {
        self.of.get(&uid).map_or(0, BTreeSet::len)
    }

    /// One member's, by number.
    pub fn of(&self, uid: Uid) -> impl Iterator<Item = JobId> {
        self.of.get(&uid).into_iter().flatten().copied()
    }

    /// Whoever has one.
    pub fn members(&self) -> impl Iterator<Item = Uid> {
        self.of.keys().copied()
    }

    /// Who waits for the end of a job.
    pub fn followers(&self, job: JobId) -> Vec<JobId> {
        self.followers.get(&job).into_iter().flatten().copied().collect()
    }

    /// The jobs whose ends somebody waits for.
    pub fn awaited(&self) -> impl Iterator<Item = JobId> {
        self.followers.keys().copied()
    }

    /// Who has waited for a time that has come.
    pub fn due(&self, now: Time) -> Vec<JobId> {
        self.begins.iter().take_while(|(at, _)| *at <= now).map(|(_, job)| *job).collect()
    }

    /// The next such time.
    pub fn next(&self) -> Option<Time> {
        self.begins.first().map(|(at, _)| *at)
    }

    pub fn add(&mut self, uid: Uid, job: JobId, apart: &Apart) {
        self.len += usize::from(self.of.entry(uid).or_default().insert(job));
        for awaited in apart.awaited() {
            self.followers.entry(awaited).or_default().insert(job);
        }
        self.begins.extend(apart.begin.map(|at| (at, job)));
    }

    /// Takes one out that is there as this.
    pub fn remove(&mut self, uid: Uid, job: JobId, apart: &Apart) {
        self.len -= usize::from(strike(&mut self.of, uid, job));
        for awaited in apart.awaited() {
            strike(&mut self.followers, awaited, job);
        }
        if let Some(at) = apart.begin {
            self.begins.remove(&(at, job));
        }
    }
}

/// Takes a job out of a list; whether it was in it. No list stays that is empty.
fn strike<Key: Ord>(lists: &mut BTreeMap<Key, BTreeSet<JobId>>, of: Key, job: JobId) -> bool {
    let Some(list) = lists.get_mut(&of) else { return false };
    let was = list.remove(&job);
    if list.is_empty() {
        lists.remove(&of);
    }
    was
}
