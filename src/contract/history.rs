//! `history`: how jobs and allocations ended.

use serde::{Deserialize, Serialize};

use super::ask::{Ask, Repeat};
use super::job::{JobState, TaskInfo};
use crate::wire::field::optional;

/// The most ends of one answer.
pub const ENDS_PER_ANSWER_MAX: u64 = 1000;

/// Asks how the caller's jobs and allocations ended, the oldest end first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// Only what ended at this moment or later, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub since_ms: Option<u64>,
    /// Only what ended before this moment, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub until_ms: Option<u64>,
    /// Of this member, which takes an admin.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub for_uid: Option<u64>,
    /// Whether everybody's, which takes an admin.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub all: Option<bool>,
    /// At most so many, from 1; [`ENDS_PER_ANSWER_MAX`] where it is more or not said.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub limit: Option<u64>,
    /// Only what comes after this one: the `next` of the answer before.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub after: Option<EndPlace>,
}

/// Where an end is among all that are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndPlace {
    /// When it was, in Unix milliseconds.
    pub ended_ms: u64,
    /// Its number among all: no two have the same.
    pub number: u64,
}

/// The kind of what has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndKind {
    /// A request that waited.
    Request,
    /// A submitted command.
    Submit,
    /// A command in the foreground with an allocation of its own.
    Run,
    /// A standing allocation.
    Standing,
}

impl EndKind {
    /// As it is said and written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Submit => "submit",
            Self::Run => "run",
            Self::Standing => "standing",
        }
    }
}

/// How a job or a standing allocation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndInfo {
    /// The kind of what has ended.
    pub kind: EndKind,
    /// The job's id.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub job_id: Option<u64>,
    /// Of which array it was a task, where it was one.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub task: Option<TaskInfo>,
    /// Whose it was.
    pub uid: u64,
    /// Their name at that time, where it was known.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub user: Option<String>,
    /// What its member called it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub name: Option<String>,
    /// How it ended.
    pub state: JobState,
    /// What was asked for, or held at the end; 0 of what it had no figure of its own for.
    pub cpu_milli: u64,
    /// The same of memory, in bytes.
    pub mem_bytes: u64,
    /// The same of tasks.
    pub tasks_max: u64,
    /// For how long it was asked for, in milliseconds; absent: until it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub lease_ms: Option<u64>,
    /// When it was asked for, in Unix milliseconds.
    pub created_ms: u64,
    /// How long it waited for room, in milliseconds.
    pub waited_ms: u64,
    /// When it was granted or started, in Unix milliseconds; absent where it never was.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub started_ms: Option<u64>,
    /// When it was over, in Unix milliseconds.
    pub ended_ms: u64,
    /// How long it held room of its own, in milliseconds; absent where it held none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub held_ms: Option<u64>,
    /// What its command exited with.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub exit_code: Option<u64>,
    /// The signal that ended its command.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub signal: Option<u64>,
    /// Whether it was killed for want of memory.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub oom: Option<bool>,
    /// The most memory that was counted in it, with the page cache.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub peak_mem_bytes: Option<u64>,
    /// The most memory that it was seen to need: all but page cache.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub needed_bytes: Option<u64>,
    /// The CPU time that it used, in microseconds, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub cpu_usec: Option<u64>,
    /// How many of its processes the kernel has killed for want of memory, where it has any.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub oom_kills: Option<u64>,
}

/// Ends of jobs and allocations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryAnswer {
    /// The ends, the oldest first.
    pub history: Vec<EndInfo>,
    /// The last of these, where there are more: what `after` takes.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub next: Option<EndPlace>,
}

impl Ask for History {
    const NAME: &'static str = "history";
    const REPEAT: Repeat = Repeat::Yes;
    type Answer = HistoryAnswer;

    fn for_uid(&self) -> Option<u64> {
        self.for_uid
    }
}
