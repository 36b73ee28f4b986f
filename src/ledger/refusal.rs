//! Why the ledger said no. A value, to be answered; never a fault.

use std::fmt;
use std::time::Duration;

use super::counted::room::Room;
use crate::identity::JobId;
use crate::quantity::{Amount, Bytes, MilliCpu, Tasks};

/// A "no" and what explains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// More than the policy lets this member hold, or than the machine can hand out.
    OverLimit(Over),
    /// With what is held already, more than the policy lets this member hold: not before some of it is given back.
    MaxHeld {
        /// The figure, and what it is over.
        over: Over,
        /// What is held.
        held: Amount,
    },
    /// A lease longer than the policy allows.
    LeaseTooLong {
        /// What was asked.
        asked: Duration,
        /// The longest.
        max: Duration,
    },
    /// A lease shorter than any share can be held for.
    LeaseTooShort {
        /// What was asked.
        asked: Duration,
        /// The shortest.
        least: Duration,
    },
    /// A time limit of nothing.
    NoTime,
    /// A role that lets nobody hold a share.
    ReadOnly,
    /// Not now.
    NoCapacity(Box<Shortage>),
    /// A share is held already.
    AlreadyAllocated {
        /// What is held.
        held: Amount,
    },
    /// A request waits already.
    AlreadyWaiting {
        /// As this job.
        job: JobId,
    },
    /// No share is held.
    NoShare,
    /// The job has no allocation of its own now.
    NoRoomOfIts {
        /// The job that is meant.
        job: JobId,
    },
    /// The end of the job's allocation is its command's time limit, which systemd keeps and does not move.
    TimeIsSet,
    /// The lease is over: it can be renewed, but the share cannot grow.
    Expired,
    /// Processes are inside.
    Occupied,
    /// More memory is in use than the new limit allows.
    MemoryInUse {
        /// What is in use.
        in_use: Bytes,
        /// What was asked.
        asked: Bytes,
    },
    /// The share is being stopped.
    Stopping,
    /// How the last change of the share went is not known yet.
    Unsettled,
    /// An admin stopped new requests.
    Draining,
    /// As many submitted commands of the member run as may.
    TooManyWorks {
        /// The most submitted commands of a member at a time.
        most: usize,
    },
    /// As much is kept on disk of what commands are to run as may be.
    TooMuchKept {
        /// The most that is kept at a time.
        most: Bytes,
        /// Whether that is of this member, and not of all.
        own: bool,
    },
    /// As many requests wait as may.
    QueueFull {
        /// The most that wait at a time.
        most: usize,
        /// Whether that is of this member, and not of all.
        own: bool,
    },
    /// No such job, or not one that the caller may see.
    NoJob,
    /// The job is someone else's.
    NotYours {
        /// The job that is meant.
        job: JobId,
    },
    /// The job does not wait, so that nothing of its waiting can be changed.
    NotWaiting {
        /// The job that is meant.
        job: JobId,
        /// Whether it is over, and not at work.
        over: bool,
    },
    /// The job is no submitted command, and cannot be held.
    NotHeld {
        /// The job that is meant.
        job: JobId,
    },
    /// The job cannot be paused, or go on: it does not run, or is about to be over.
    NotPaused {
        /// The job that is meant.
        job: JobId,
        /// What keeps it from that.
        why: NotPaused,
    },
    /// A submitted command is to wait for something, and not to wait where there is no room then.
    WaitsNot,
    /// A submitted command is to wait for something, and to run in the standing allocation, which nobody keeps for it.
    WaitsInShare,
    /// A submitted command is to be warned of the end of its time, and its time is not bounded.
    WarnsOfNothing,
    /// The job is at work, and cannot be called back.
    JobAtWork {
        /// The job that is meant.
        job: JobId,
    },
}

/// Why a job is not paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotPaused {
    /// It waits for room, or for something before that.
    Waits,
    /// It is over.
    Over,
    /// It is being ended.
    Ending,
    /// Nothing of it is left that could stand still.
    Gone,
    /// It is a request or a release: nothing of it runs.
    NoCommand,
    /// It is an array, of which its tasks run.
    Array,
    /// An administrator has frozen what is around it.
    FrozenAround,
}

/// Why there is no room now, and when there will be. Who holds it: [`super::Ledger::holders`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    /// What was asked on top of what is held.
    pub asked: Room,
    /// What nobody holds.
    pub free: Room,
    /// What would be granted now: less than free where someone waits for it.
    pub largest: Room,
    /// How many wait.
    pub waiting: usize,
    /// When there is room for what was asked and for all who wait, in Unix milliseconds, if leases tell.
    pub by_wall_ms: Option<u64>,
}

/// Whose bound a figure is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The policy's, for this member.
    Policy,
    /// The member's own share's, for a command in it.
    Share,
    /// The machine's, less the reserve.
    Machine,
}

/// Which figure is over which maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// CPU.
    Cpu {
        /// What was asked.
        asked: MilliCpu,
        /// The most that is allowed.
        max: MilliCpu,
        /// What sets the bound.
        by: Bound,
    },
    /// Memory.
    Mem {
        /// What was asked.
        asked: Bytes,
        /// The most that is allowed.
        max: Bytes,
        /// What sets the bound.
        by: Bound,
    },
    /// Tasks.
    Tasks {
        /// What was asked.
        asked: Tasks,
        /// The most that is allowed.
        max: Tasks,
        /// What sets the bound.
        by: Bound,
    },
}

impl Over {
    /// The first figure of `asked` that is over `max`, which is a bound of the policy's or a share's.
    pub fn first(asked: Amount, max: Amount, by: Bound) -> Option<Self> {
        if asked.cpu > max.cpu {
            return Some(Self::Cpu { asked: asked.cpu, max: max.cpu, by });
        }
        if asked.mem > max.mem {
            return Some(Self::Mem { asked: asked.mem, max: max.mem, by });
        }
        (asked.tasks > max.tasks).then_some(Self::Tasks { asked: asked.tasks, max: max.tasks, by })
    }

    /// One short sentence of it, where what is `held` already is what makes it too much.
    fn with_held(&self, held: Amount, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu { asked, max, by } => {
                write!(f, "Requested CPU ({asked}) and what you hold ({}) exceed {by} ({max})", held.cpu)
            }
            Self::Mem { asked, max, by } => {
                let [asked, held, max] = [asked, &held.mem, max].map(|mem| mem.exact());
                write!(f, "Requested memory ({asked}) and what you hold ({held}) exceed {by} ({max})")
            }
            Self::Tasks { asked, max, by } => {
                write!(f, "Requested tasks ({asked}) and what you hold ({}) exceed {by} ({max})", held.tasks)
            }
        }
    }

    /// The first figure of `asked` that is over what the machine can hand out.
    pub fn machine(asked: Amount, whole: Room) -> Option<Self> {
        let by = Bound::Machine;
        if asked.cpu > whole.cpu() {
            return Some(Self::Cpu { asked: asked.cpu, max: whole.cpu(), by });
        }
        (asked.mem > whole.mem()).then_some(Self::Mem { asked: asked.mem, max: whole.mem(), by })
    }
}

impl NotPaused {
    /// One short sentence of it.
    fn of(self, job: JobId, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waits => {
                write!(f, "Job {job} waits: only what is at work can be paused, and what waits be held")
            }
            Self::Over => write!(f, "Job {job} is over: only what is at work can be paused"),
            Self::Ending => write!(f, "Job {job} is being ended: it cannot be paused any more"),
            Self::Gone => write!(f, "Nothing of job {job} runs any more, or yet"),
            Self::NoCommand => write!(f, "Job {job} is no command: nothing of it can be paused"),
            Self::FrozenAround => {
                write!(f, "An administrator has frozen what job {job} is in: it goes on when that is thawed")
            }
            Self::Array => write!(
                f,
                "Job {job} is an array, and nothing was done: `fairshare pause {job}_INDEX` and `resume {job}_INDEX` are for a task \
                 at work, `fairshare jobs --hold {job}` for those to come"
            ),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Policy => "maximum allowed",
            Self::Share => "what your share has",
            Self::Machine => "what this machine can hand out",
        })
    }
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu { asked, max, by } => write!(f, "Requested CPU ({asked}) exceeds {by} ({max})"),
            Self::Mem { asked, max, by } => {
                write!(f, "Requested memory ({}) exceeds {by} ({})", asked.exact(), max.exact())
            }
            Self::Tasks { asked, max, by } => write!(f, "Requested tasks ({asked}) exceeds {by} ({max})"),
        }
    }
}

impl fmt::Display for Refusal {
    /// One short sentence, as far as no name or process id is needed for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OverLimit(over) => over.fmt(f),
            Self::MaxHeld { over, held } => over.with_held(*held, f),
            Self::LeaseTooLong { asked, max } => {
                let [asked, max] = [asked, max].map(|time| humantime::format_duration(*time));
                write!(f, "Requested lease ({asked}) exceeds maximum allowed ({max})")
            }
            Self::LeaseTooShort { asked, least } => {
                let [asked, least] = [asked, least].map(|time| humantime::format_duration(*time));
                write!(f, "Requested lease ({asked}) is shorter than the least ({least})")
            }
            Self::NoTime => f.write_str("A time limit must be longer than 0"),
            Self::ReadOnly => f.write_str("Your role lets you hold no share"),
            Self::NoCapacity(_) => f.write_str("There is no room for this now"),
            Self::AlreadyAllocated { .. } => f.write_str("A share is held already"),
            Self::AlreadyWaiting { job } => write!(f, "A request waits already, as job {job}"),
            Self::NoShare => f.write_str("No share is held"),
            Self::NoRoomOfIts { job } => write!(f, "Job {job} has no allocation of its own now"),
            Self::TimeIsSet => f.write_str("The time limit of a command that was submitted cannot be moved"),
            Self::Expired => f.write_str("The lease is over: renew it first"),
            Self::Occupied => f.write_str("Processes are inside the share"),
            Self::MemoryInUse { in_use, asked } => {
                write!(f, "Memory in use ({in_use}) exceeds the new limit ({asked})")
            }
            Self::Stopping => f.write_str("The share is being released"),
            Self::Unsettled => f.write_str("The last change of the share is still being settled"),
            Self::Draining => f.write_str("An admin stopped new requests"),
            Self::TooManyWorks { most } => write!(f, "{most} submitted commands are not over yet"),
            Self::TooMuchKept { most, own: true } => {
                write!(f, "Your commands that are not over take more than {most} with this one")
            }
            Self::TooMuchKept { most, own: false } => {
                write!(f, "The commands that are not over take more than {most} with this one")
            }
            Self::QueueFull { most, own: true } => write!(f, "{most} requests of yours wait already"),
            Self::QueueFull { most, own: false } => write!(f, "{most} requests wait already"),
            Self::NoJob => f.write_str("No such job"),
            Self::NotYours { job } => write!(f, "Job {job} is someone else's"),
            Self::NotWaiting { job, over: false } => {
                write!(f, "Job {job} is at work: only what waits can be held, released or put first")
            }
            Self::NotWaiting { job, over: true } => {
                write!(f, "Job {job} is over: only what waits can be held, released or put first")
            }
            Self::NotHeld { job } => write!(f, "Job {job} is no submitted command: it cannot be held"),
            Self::NotPaused { job, why } => why.of(*job, f),
            Self::WaitsNot => {
                f.write_str("An array, and what waits for a job, a time or a release, must be let wait for room")
            }
            Self::WaitsInShare => f.write_str(
                "An array, what is run again or has something run at its end, and what waits for a job, a time or a release, has room of its own: nobody keeps the standing allocation for it",
            ),
            Self::WarnsOfNothing => f.write_str(
                "A signal is sent before the end of a time limit, and this has none: name one, as with --for 8h",
            ),
            Self::JobAtWork { job } => write!(f, "Job {job} is at work"),
        }
    }
}
