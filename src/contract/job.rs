//! A job as it is shown. Units are in the names.
#![expect(missing_docs, reason = "the fields are those of the schema, which says what they mean")]

use std::fmt;

use serde::{Deserialize, Serialize};

use super::amounts::Amounts;
use super::care::Warning;
use crate::wire::error::WireError;
use crate::wire::field::optional;

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    Request,
    Submit,
    Release,
    Run,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    Queued,
    Running,
    Done,
    Failed,
    Cancelled,
    Interrupted,
}

impl JobState {
    /// All, in the order in which a job can come to them.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Running, Self::Done, Self::Failed, Self::Cancelled, Self::Interrupted];

    /// As it is said and written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A job as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobInfo {
    pub job_id: u64,
    pub uid: u64,
    pub kind: JobKind,
    pub state: JobState,
    pub created_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub started_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub ended_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub unit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub place: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub starts_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub exit_code: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub signal: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub oom: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub peak_mem_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub mem_limit_bytes: Option<u64>,
    /// The most memory that it was seen to need: all but page cache.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub needed_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub cpu_usec: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub error: Option<Box<WireError>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub waits_for: Option<Box<WaitsFor>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub array: Option<Box<ArrayInfo>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub task: Option<Box<TaskInfo>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub paused: Option<bool>,
    /// Whether `starts_ms` rests on how long work without a time limit is likely to run.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub about: Option<bool>,
    /// What is asked for, of a job that waits.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub limits: Option<Box<Amounts>>,
    /// The job of the same member's whose end makes room for it at `starts_ms`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub starts_after: Option<u64>,
    /// What warns it before its time is over.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub warning: Option<Box<Warning>>,
    /// How many of its processes the kernel has killed for want of memory, where it has any.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub oom_kills: Option<u64>,
    /// How often it is run again, and was.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub again: Option<Box<AgainInfo>>,
}

/// How often a command is run again, and was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgainInfo {
    /// How often it is run again at most after it has failed.
    pub retry: u64,
    /// How often it has failed and was to be run again for that.
    pub failed: u64,
    /// Whether it is run again where it was interrupted.
    pub requeue: bool,
    /// How often it was tried before.
    pub tries: u64,
    /// How its last try ended, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub last: Option<String>,
}

/// How the tasks of an array stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArrayInfo {
    pub tasks: u64,
    pub to_come: u64,
    pub at_work: u64,
    pub done: u64,
    pub failed: u64,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub at_once: Option<u64>,
    /// The first index.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub first: Option<u64>,
    /// From one index to the next.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub step: Option<u64>,
}

/// Of which array a job is a task, and for which index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskInfo {
    pub job_id: u64,
    pub index: u64,
}

impl JobInfo {
    /// What its member knows it by: its number, or that of its array and its index.
    pub fn number(&self) -> String {
        self.task.as_ref().map_or_else(|| self.job_id.to_string(), ToString::to_string)
    }
}

/// As its member knows a task, and types it.
impl fmt::Display for TaskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.job_id, self.index)
    }
}

/// What a job waits for: for room or for its member's own work, or, a submitted command, for something else before that.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitsFor {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub after: Option<Vec<u64>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub begin_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub hold: Option<bool>,
    /// For what is left of its last try to go.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub last_try: Option<bool>,
    /// For room of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub room: Option<bool>,
    /// For its member to hold less: with it they would hold more than they may.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub max: Option<bool>,
    /// For a command of its member's to end: as many are at work as may be.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub running: Option<bool>,
}

/// The answer about one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneJob {
    pub job: JobInfo,
    /// The file that its standard output goes to, where it has a name that is remembered.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub output: Option<String>,
}

impl OneJob {
    /// A job, and nothing of its output.
    pub fn of(job: JobInfo) -> Self {
        Self { job, output: None }
    }
}

/// The answer of what takes long: the job that does it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobStarted {
    /// The job's id.
    pub job_started: u64,
}
