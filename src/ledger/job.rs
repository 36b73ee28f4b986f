//! Long operations with an id: what they are, where they stand, how they ended.

use super::again::{Again, Lost};
use super::allocation::Terms;
use super::apart::Apart;
use super::array::{Array, Task};
use super::care::Care;
use super::time::Time;
use crate::identity::{AllocationId, JobId, Uid};
use crate::policy::Weight;
use crate::quantity::{Amount, Bytes, PartialAmount, Priority};
use crate::time::Now;

/// How many jobs of one member that are over are remembered: as many as wait at a time where the policy says nothing of it, so
/// that who submits them all and then waits for each finds each. What waits or is at work is never forgotten.
pub const JOBS_KEPT_PER_UID_MAX: usize = 1000;

/// How many jobs that are over are remembered of all members together: four who have all of theirs. When there are more,
/// the oldest of who has the most is forgotten. Each is some 300 bytes in memory, and in the state.
pub const JOBS_KEPT_MAX: usize = 4 * JOBS_KEPT_PER_UID_MAX;

/// The longest name of a file that is remembered as that of a command's output, in bytes: it is in the state, as long as
/// the job is remembered.
pub const OUTPUT_BYTES_MAX: usize = 255;

/// How many submitted commands of one member run at a time.
pub const WORKS_PER_UID_MAX: usize = 256;

/// How much is kept on disk at a time of what the commands of one member are to run, in bytes: a thousand with the environment
/// of a shell that has much of it.
pub const KEPT_PER_UID_MAX: Bytes = Bytes(64 << 20);

/// How much is kept on disk at a time of what the commands of all members are to run, in bytes.
pub const KEPT_MAX: Bytes = Bytes(512 << 20);

/// Why a job failed whose slice is no more, where nobody has said it.
pub(super) const SLICE_WENT: &str = "its slice went away";

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

/// What a job does, with the data of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobKind {
    /// Waits for an allocation, and takes it.
    Request(Box<Ask>),
    /// Stops the processes in an allocation and gives it back.
    Release,
    /// Runs a command in the member's allocation.
    Submit(Box<Work>),
    /// Keeps an allocation for a command in the foreground, until that is over.
    Run(Box<Ask>),
}

/// A submitted command, as far as the ledger is concerned: what it runs is not its business.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Work {
    /// What its member calls it.
    pub name: Option<String>,
    /// The file that its output goes to, with the job's number where that is a part of the name; `None`: none that is
    /// remembered. No more than [`OUTPUT_BYTES_MAX`].
    pub output: Option<String>,
    /// What it may use within the allocation; the whole allocation for what is not named.
    pub limits: PartialAmount,
    /// After how long it is ended, in milliseconds; `None`: never.
    pub time_limit_ms: Option<u64>,
    /// The allocation that is taken for it; `None`: it runs in the standing one.
    pub ask: Option<Ask>,
    /// How much of it is kept on disk until it is over, so that another daemon can start it, in bytes.
    pub kept: Bytes,
    /// Whether it has been called back while it ran.
    pub cancelled: bool,
    /// What it waits for before it waits for room; `None`: nothing.
    pub apart: Option<Box<Apart>>,
    /// The tasks that are made of it, where it is an array.
    pub array: Option<Box<Array>>,
    /// How the worst of its tasks has ended, or it itself, where it is an array.
    pub worst: Option<JobEnd>,
    /// Of which array it is a task, where it is one.
    pub task: Option<Task>,
    /// When it is run again, where it is.
    pub again: Option<Again>,
    /// How its last try ended, where it was to be run again.
    pub last: Option<Box<JobEnd>>,
    /// What is done for it while it runs.
    pub care: Care,
    /// How it ended, while what its member has run at its end is.
    pub ending: Option<Box<JobEnd>>,
}

/// What a member asked for, complete: what the policy says for the member is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The member's name, to be shown.
    pub user: Option<String>,
    /// When it was asked for.
    pub asked: Time,
    /// The figures that the member named. While the request waits the others follow the policy.
    pub named: PartialAmount,
    /// The lease that the member named, in milliseconds.
    pub named_lease_ms: Option<u64>,
    /// All figures.
    pub amount: Amount,
    /// Swap on top of the memory, in bytes.
    pub swap: Bytes,
    /// How long it is to be held, in milliseconds; `None`: until released.
    pub lease_ms: Option<u64>,
    /// How much of what is scarce the member gets, relative to others.
    pub weight: Weight,
    /// What holds for the allocation later.
    pub terms: Terms,
    /// Where it stands among what its member waits for.
    pub precedence: Precedence,
}

/// Where a job stands among those that its own member waits for: before whatever has less, and of equals first come, first
/// served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Precedence {
    /// The last that its member put first has the most; 0: it never was.
    pub first: u64,
    /// What its member says of it.
    pub priority: Priority,
}

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// Waits for room; a submitted command maybe for something else before that.
    Queued {
        /// The moment from which it has waited.
        since: Time,
    },
    /// At work.
    Running {
        /// The moment when it began.
        started: Now,
    },
    /// Over.
    Ended {
        /// Since when it was at work, if it ever was.
        started: Option<Now>,
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
    /// The policy changed while it waited, and no longer allows it: what of it, for a person.
    Refused(String),
    /// Its member, or an admin, no longer wanted it.
    Cancelled,
    /// The daemon ended while the job was at work, and what it did is not known to be done.
    Interrupted,
    /// A submitted command ran, and ended like this.
    Ran(Ran),
    /// A submitted command was to run after a job that did not end well: which, and how that ended, for a person.
    Unreached(String),
}

/// How a submitted command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ran {
    /// What its main process ended with.
    pub exit: Exit,
    /// What ended it, where that was not itself.
    pub cause: Option<Cause>,
    /// The most memory that was counted in it at a time, with the page cache.
    pub peak: Option<Bytes>,
    /// The most memory that it was seen to need: all but page cache. It is looked at once a minute by the daemon that is there
    /// at its end; `None` where it was over before such a look.
    pub needed: Option<Bytes>,
    /// The most memory that it could have used: the lower one of its own limit and its allocation's, as the kernel held them.
    pub mem_limit: Option<Bytes>,
    /// The CPU time that it used, in microseconds.
    pub cpu_usec: Option<u64>,
    /// How many of its processes the kernel has killed for want of memory; `None`: none that anybody knows of.
    pub oom_kills: Option<u64>,
}

/// What a process ended with (`wait(2)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(u8),
    /// This signal killed it.
    Signal(u8),
    /// Nobody knows.
    Unknown,
}

/// What ended a submitted command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The kernel, for it wanted more memory than it may have.
    Memory,
    /// Its time limit.
    Time,
    /// Its member or an admin, with `cancel`.
    Cancelled,
    /// Somebody else, as with `systemctl stop`, or `release --stop`.
    Outside,
}

impl Ran {
    /// A command whose main process ended with this, and of which nothing else is known.
    pub fn of(exit: Exit) -> Self {
        Self { exit, cause: None, peak: None, needed: None, mem_limit: None, cpu_usec: None, oom_kills: None }
    }
}

impl JobEnd {
    /// That of a command that was to run after this job, which ended in these [words](Self::words).
    pub(super) fn unreached(job: JobId, how: String) -> Self {
        Self::Unreached(format!("Job {job}, after which it was to run, {how}"))
    }

    /// The worse one of two, as the end of who has both: of exit codes the larger one, and what was never run or not wanted any
    /// more before all that ran. Of what ran no figures are told, which are not those of all.
    pub(super) fn worse(one: Option<Self>, other: &Self) -> Self {
        let rank = |end: &Self| match end {
            Self::Done => 0,
            Self::Ran(Ran { exit: Exit::Code(0), cause: None, .. }) => 0,
            Self::Ran(Ran { exit: Exit::Code(code), .. }) => u16::from(*code).max(1),
            Self::Ran(Ran { exit: Exit::Signal(signal), .. }) => 128 + u16::from(*signal),
            Self::Ran(Ran { exit: Exit::Unknown, .. }) => 1,
            Self::Failed(_) | Self::Unreached(_) => 512,
            Self::Interrupted => 513,
            Self::Refused(_) => 514,
            Self::Cancelled => 515,
        };
        match (one, other) {
            (Some(one), other) if rank(&one) >= rank(other) => one,
            (_, Self::Ran(Ran { exit, cause, .. })) => Self::Ran(Ran { cause: *cause, ..Ran::of(*exit) }),
            (_, other) => other.clone(),
        }
    }

    /// Whether all that the job was for was done.
    pub fn went_well(&self) -> bool {
        match self {
            Self::Done => true,
            Self::Ran(ran) => ran.exit == Exit::Code(0) && ran.cause.is_none(),
            Self::Failed(_) | Self::Refused(_) | Self::Cancelled | Self::Interrupted | Self::Unreached(_) => {
                false
            }
        }
    }

    /// Why a command that ended like this is to be run again, where its member wants that; `None`: it has done all, or somebody
    /// wanted it to end.
    pub(super) fn lost(&self) -> Option<Lost> {
        match self {
            Self::Interrupted => Some(Lost::Interrupted),
            Self::Failed(_) => Some(Lost::Unstarted),
            Self::Ran(Ran { cause: Some(Cause::Cancelled | Cause::Outside), .. }) => None,
            Self::Ran(_) => (!self.went_well()).then_some(Lost::Failed),
            Self::Done | Self::Refused(_) | Self::Cancelled | Self::Unreached(_) => None,
        }
    }

    /// How a job ended, for a person who knows which.
    pub fn words(&self) -> String {
        let ran = match self {
            Self::Done => return "was done".to_owned(),
            Self::Failed(_) | Self::Refused(_) => return "failed".to_owned(),
            Self::Cancelled => return "was cancelled".to_owned(),
            Self::Interrupted => return "was interrupted".to_owned(),
            Self::Unreached(_) => return "was never run".to_owned(),
            Self::Ran(ran) => ran,
        };
        match (ran.cause, ran.exit) {
            (Some(Cause::Memory), _) => "was out of memory".to_owned(),
            (Some(Cause::Time), _) => "was out of time".to_owned(),
            (Some(Cause::Cancelled), _) => "was cancelled".to_owned(),
            (Some(Cause::Outside), _) => "was stopped from outside".to_owned(),
            (None, Exit::Code(code)) => format!("ended with exit {code}"),
            (None, Exit::Signal(signal)) => format!("was ended by signal {signal}"),
            (None, Exit::Unknown) => "ended as nobody knows".to_owned(),
        }
    }
}

impl JobKind {
    /// The allocation that the job waits for, or took.
    pub fn ask(&self) -> Option<&Ask> {
        match self {
            Self::Request(ask) | Self::Run(ask) => Some(ask),
            Self::Submit(work) => work.ask.as_ref(),
            Self::Release => None,
        }
    }

    /// The same, to be changed.
    pub(super) fn ask_mut(&mut self) -> Option<&mut Ask> {
        match self {
            Self::Request(ask) | Self::Run(ask) => Some(ask),
            Self::Submit(work) => work.ask.as_mut(),
            Self::Release => None,
        }
    }
}

impl Job {
    /// Whether nothing more will happen.
    pub fn ended(&self) -> bool {
        matches!(self.state, JobState::Ended { .. })
    }

    /// Whether it is a submitted command.
    pub fn is_work(&self) -> bool {
        matches!(self.kind, JobKind::Submit(_))
    }

    /// The allocation that a command runs in, submitted or in the foreground.
    pub fn home(&self) -> Option<AllocationId> {
        match &self.kind {
            // Each of its tasks has one.
            JobKind::Submit(work) if work.array.is_some() => None,
            JobKind::Submit(work) if work.ask.is_some() => Some(AllocationId::of_job(self.uid, self.id)),
            JobKind::Submit(_) => Some(AllocationId::standing(self.uid)),
            JobKind::Run(_) => Some(AllocationId::of_run(self.uid, self.id)),
            JobKind::Request(_) | JobKind::Release => None,
        }
    }

    /// What it is to run, where it is a submitted command.
    pub fn work(&self) -> Option<&Work> {
        match &self.kind {
            JobKind::Submit(work) => Some(work),
            JobKind::Request(_) | JobKind::Release | JobKind::Run(_) => None,
        }
    }

    /// The same, to be changed.
    pub(super) fn work_mut(&mut self) -> Option<&mut Work> {
        match &mut self.kind {
            JobKind::Submit(work) => Some(work),
            JobKind::Request(_) | JobKind::Release | JobKind::Run(_) => None,
        }
    }

    /// What is known of its tasks, where it is an array.
    pub fn array(&self) -> Option<&Array> {
        self.work()?.array.as_deref()
    }

    /// Of which array it is a task, where it is one.
    pub fn task(&self) -> Option<Task> {
        self.work()?.task
    }

    /// How often it was tried before, where it is a submitted command that is run again.
    pub fn tries(&self) -> u64 {
        self.work().and_then(|work| work.again).map_or(0, |again| again.tries)
    }

    /// The allocation that a submitted command runs in.
    pub(super) fn works_in(&self) -> Option<AllocationId> {
        self.home().filter(|_| self.is_work())
    }

    /// What of it is on disk while it is not over.
    pub(super) fn kept(&self) -> Bytes {
        match &self.kind {
            JobKind::Submit(work) if !self.ended() => work.kept,
            _ => Bytes(0),
        }
    }

    /// Whether it is a submitted command that has been called back.
    pub fn called_back(&self) -> bool {
        matches!(&self.kind, JobKind::Submit(work) if work.cancelled)
    }

    /// Whether it is a submitted command that has been at work for as long as it may.
    pub fn out_of_time(&self, now: Now) -> bool {
        let JobKind::Submit(work) = &self.kind else { return false };
        match (work.time_limit_ms, &self.state) {
            // What ran in another boot is over.
            (Some(limit), JobState::Running { started }) => {
                started.is_of_this_boot() && now.boot_ms.saturating_sub(started.boot_ms) >= limit
            }
            _ => false,
        }
    }

    /// What it waits for before it waits for room, where it does.
    pub fn apart(&self) -> Option<&Apart> {
        match &self.kind {
            JobKind::Submit(work) if self.queued() => work.apart.as_deref(),
            _ => None,
        }
    }

    /// Whether it waits: for room, or for something else before that.
    pub fn queued(&self) -> bool {
        matches!(self.state, JobState::Queued { .. })
    }

    /// The job, seen from a boot after the one that all its moments are of.
    pub(super) fn of_earlier_boot(&mut self) {
        self.created = self.created.of_earlier_boot();
        match &mut self.state {
            JobState::Queued { .. } => {}
            JobState::Running { started } => *started = started.of_earlier_boot(),
            JobState::Ended { started, ended, .. } => {
                *started = started.map(Now::of_earlier_boot);
                *ended = ended.of_earlier_boot();
            }
        }
    }

    /// The job, over: how, where it was not before.
    pub(super) fn end(&mut self, now: Now, end: JobEnd) -> Option<JobEnd> {
        let started = match self.state {
            JobState::Queued { .. } => None,
            JobState::Running { started } => Some(started),
            JobState::Ended { .. } => return None,
        };
        let end = match end {
            // Nothing is left of what nobody wanted.
            JobEnd::Interrupted if self.called_back() => JobEnd::Cancelled,
            end => end,
        };
        if let JobKind::Submit(work) = &mut self.kind {
            (work.apart, work.ending) = (None, None);
        }
        self.state = JobState::Ended { started, ended: now, end: end.clone() };
        Some(end)
    }
}
