//! Arrays and their tasks as they are stored.

use serde::{Deserialize, Serialize};

use super::figures::number;
use crate::identity::JobId;
use crate::ledger::array::{Array, Indices, Task};

/// For which indices an array has tasks, and how they went. How many are at work the jobs themselves say.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ArrayRecord {
    first: u64,
    last: u64,
    step: u64,
    at_once: Option<u64>,
    next: Option<u64>,
    done: u64,
    failed: u64,
}

/// Of which array a job is a task, and for which index.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TaskRecord {
    of: u64,
    index: u64,
}

impl From<&Array> for ArrayRecord {
    fn from(array: &Array) -> Self {
        let (first, last, step) = array.indices.parts();
        let Array { at_once, next, done, failed, .. } = *array;
        Self { first, last, step, at_once, next, done, failed }
    }
}

impl TryFrom<ArrayRecord> for Array {
    type Error = String;

    fn try_from(record: ArrayRecord) -> Result<Self, String> {
        let ArrayRecord { first, last, step, at_once, next, done, failed } = record;
        let indices = Indices::checked(first, last, step)
            .ok_or_else(|| format!("no array has the indices {first}-{last}:{step}"))?;
        if let Some(next) = next.filter(|next| !indices.has(*next)) {
            return Err(format!("{next} is no index of the array {first}-{last}:{step}"));
        }
        if at_once == Some(0) {
            return Err("an array of which nothing may be at work".to_owned());
        }
        Ok(Self { next, done, failed, ..Self::new(indices, at_once) })
    }
}

impl TryFrom<TaskRecord> for Task {
    type Error = String;

    fn try_from(record: TaskRecord) -> Result<Self, String> {
        Ok(Self { of: JobId(number(record.of)?), index: record.index })
    }
}

impl From<Task> for TaskRecord {
    fn from(task: Task) -> Self {
        Self { of: task.of.0, index: task.index }
    }
}
