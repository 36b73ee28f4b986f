//! Arrays: a submitted command that is run once for each of many indices (sbatch(1), `--array`).
//!
//! An array is one job that waits as one. Each time that its turn comes and there is room, a task is made of it: a job of its own,
//! for the next index. The array is over when all of its tasks are. What makes tasks is the business of `tasks`.

use crate::identity::JobId;
use crate::quantity::{ARRAY_INDEX_MAX, ARRAY_TASKS_MAX};

/// How many tasks of an array are at work at most, or wait to be run again: no member has more at work at a time.
const TASKS_BEGUN_MAX: u64 = 256;

/// For which indices an array has tasks: from the first to the last, in steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Indices {
    first: u64,
    last: u64,
    step: u64,
}

/// What is known of an array's tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Array {
    /// For which indices there are tasks.
    pub indices: Indices,
    /// How many are at work at a time; `None`: as many as there is room for.
    pub at_once: Option<u64>,
    /// For which index the next is made; `None`: no more is.
    pub next: Option<u64>,
    /// How many are at work, or about to be, or wait to be run again.
    pub at_work: u64,
    /// How many have ended well.
    pub done: u64,
    /// How many have ended in another way.
    pub failed: u64,
}

/// A task: of which array, and for which index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task {
    /// The array.
    pub of: JobId,
    /// The index.
    pub index: u64,
}

impl Indices {
    /// From the first to the last, in steps; `None` where that is none, or more than [`ARRAY_TASKS_MAX`], or past [`ARRAY_INDEX_MAX`].
    pub fn checked(first: u64, last: u64, step: u64) -> Option<Self> {
        let few = || (last - first) / step < ARRAY_TASKS_MAX;
        (first <= last && last <= ARRAY_INDEX_MAX && step > 0 && few()).then_some(Self { first, last, step })
    }

    /// The first, the last that there may be, and the step.
    pub fn parts(&self) -> (u64, u64, u64) {
        (self.first, self.last, self.step)
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        (self.last - self.first) / self.step + 1
    }

    /// Whether this is one of them.
    pub fn has(&self, index: u64) -> bool {
        (self.first..=self.last).contains(&index) && (index - self.first).is_multiple_of(self.step)
    }

    /// How many come from this one on.
    fn from(&self, index: u64) -> u64 {
        (self.last.saturating_sub(index)) / self.step + 1
    }
}

impl Array {
    /// None of its tasks has been made yet.
    pub fn new(indices: Indices, at_once: Option<u64>) -> Self {
        Self { indices, at_once, next: Some(indices.first), at_work: 0, done: 0, failed: 0 }
    }

    /// How many tasks are still to be made.
    pub fn to_come(&self) -> u64 {
        self.next.map_or(0, |next| self.indices.from(next))
    }

    /// Takes the next index: a task for it is at work.
    pub(super) fn take(&mut self) -> Option<u64> {
        let index = self.next?;
        self.next = index.checked_add(self.indices.step).filter(|next| *next <= self.indices.last);
        self.at_work = self.at_work.saturating_add(1);
        Some(index)
    }

    /// Whether as many are at work as may be.
    pub(super) fn is_full(&self) -> bool {
        self.at_work >= self.at_once.unwrap_or(TASKS_BEGUN_MAX).min(TASKS_BEGUN_MAX)
    }

    /// A task is over.
    pub(super) fn ended(&mut self, well: bool) {
        self.at_work = self.at_work.saturating_sub(1);
        let count = if well { &mut self.done } else { &mut self.failed };
        *count = count.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_index_is_taken_once() {
        let indices = Indices::checked(1, 8, 3).unwrap();
        let mut array = Array::new(indices, None);
        assert_eq!((indices.count(), array.to_come()), (3, 3));
        let taken: Vec<u64> = std::iter::from_fn(|| array.take()).collect();
        assert_eq!((taken.as_slice(), array.to_come(), array.at_work), ([1, 4, 7].as_slice(), 0, 3));
        assert_eq!(
            [0, 1, 2, 4, 7, 8, 10].map(|index| indices.has(index)),
            [false, true, false, true, true, false, false]
        );
    }

    #[test]
    fn indices_have_bounds() {
        let count = |first, last, step| Indices::checked(first, last, step).map(|indices| indices.count());
        assert_eq!(count(0, ARRAY_TASKS_MAX - 1, 1), Some(ARRAY_TASKS_MAX));
        assert_eq!(count(0, ARRAY_TASKS_MAX, 1), None);
        assert_eq!(count(0, ARRAY_TASKS_MAX, 2), Some(ARRAY_TASKS_MAX / 2 + 1));
        assert_eq!((count(5, 5, 9), count(5, 4, 1), count(1, 9, 0)), (Some(1), None, None));
        assert_eq!(
            (count(ARRAY_INDEX_MAX, ARRAY_INDEX_MAX, 1), count(0, ARRAY_INDEX_MAX + 1, ARRAY_INDEX_MAX)),
            (Some(1), None)
        );
    }
}
