//! What can be said to the ledger, and what it wants done.

use std::time::Duration;

use super::again::Again;
use super::allocation::{Allocation, Keeps};
use super::apart::{Change, When};
use super::array::Array;
use super::care::Care;
use super::job::JobEnd;
use crate::identity::{AllocationId, JobId, Purpose, Uid};
use crate::policy::{MemberPolicy, QueueRule};
use crate::quantity::{Amount, Bytes, MilliCpu, PartialAmount};

/// A member and what the policy says for them.
#[derive(Debug, Clone)]
pub struct Member {
    /// The member.
    pub uid: Uid,
    /// Their name, where they have one.
    pub user: Option<String>,
    /// What the policy says for them now.
    pub policy: MemberPolicy,
    /// Swap that an allocation of theirs gets.
    pub swap: Bytes,
}

/// What becomes of a request that there is no room for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wait {
    /// It is refused.
    #[default]
    No,
    /// It waits until it is granted or cancelled.
    Granted,
}

/// In which allocation a submitted command runs (1-product.md "Work brings its own room").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Where {
    /// With figures in one of its own; without in the standing one, where one is held, else in one of its own.
    #[default]
    ByFigures,
    /// In one of its own.
    Own,
    /// In the standing one, within which its figures are limits.
    InShare,
}

/// In which order who waits is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Least first of what is held and how far its member is ahead, for their weight; who waits for long before all
    /// (6-fairness.md).
    #[default]
    Fair,
    /// First come, first served: what the other is compared with.
    Arrival,
}

/// What the policy says of all members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// After how long a lag counts half.
    pub half_life: Duration,
    /// For how long a member must be ahead by a share to weigh as much as one who holds it now.
    pub tau: Duration,
    /// After how long a member's first request goes before all that have not been the first of theirs as long.
    pub patience: Duration,
    /// The longest lease; `None`: no bound.
    pub lease_max: Option<Duration>,
    /// How much may wait and run.
    pub queue: QueueRule,
    /// In which order who waits is served.
    pub order: Order,
    /// Whether busy allocations whose lease is over are stopped for someone who waits.
    pub evict: bool,
}

/// Who calls a job back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canceller {
    /// A member: only their own.
    Member(Uid),
    /// An admin: anyone's.
    Admin,
}

/// What can be said to the ledger.
#[derive(Debug, Clone)]
pub enum Command {
    /// What can be handed out, of CPU and memory (`Policy::capacity`); nothing where the reserve leaves nothing.
    SetCapacity {
        /// CPU.
        cpu: MilliCpu,
        /// Memory.
        mem: Bytes,
    },
    /// So much memory is charged to work that is over and to nobody's allocation: it is not free until it is given back.
    LeftBehind(Bytes),
    /// What the policy says of all members.
    SetRules(Rules),
    /// What the policy in force says of members who wait: their requests are judged by it from here on.
    Reconsider {
        /// Those members; one who does not wait is passed over.
        members: Vec<Member>,
    },
    /// A member asks for an allocation.
    Request {
        /// The member, with what the policy says for them.
        member: Member,
        /// How much; the policy's defaults for what is not named, as far as the machine has them.
        amount: PartialAmount,
        /// For how long; the policy's default where `None`.
        lease: Option<Duration>,
        /// What if there is no room.
        wait: Wait,
    },
    /// A member asks for other figures.
    Resize {
        /// The member, with what the policy says for them.
        member: Member,
        /// The purpose of the one that is meant.
        of: Purpose,
        /// How much; what is held for what is not named.
        amount: PartialAmount,
        /// The memory that the allocation uses at this moment.
        in_use: Bytes,
    },
    /// A member moves the end of the lease to so long from now.
    Renew {
        /// The member, with what the policy says for them.
        member: Member,
        /// The purpose of the one that is meant.
        of: Purpose,
        /// How long from now.
        lease: Duration,
    },
    /// A member gives the allocation back.
    Release {
        /// The allocation that is meant.
        id: AllocationId,
        /// Whether processes are in it at this moment.
        populated: bool,
        /// Whether they are to be stopped.
        stop: bool,
    },
    /// A member has a command run in an allocation that is taken for it, or in the standing one.
    Submit {
        /// The member, with what the policy says for them.
        member: Member,
        /// What is asked for.
        asked: Box<Asked>,
    },
    /// Nothing is left of the units of a command's try.
    Cleared {
        /// The command's job.
        job: JobId,
        /// How often it was tried before that.
        tries: u64,
    },
    /// A submitted command is over.
    WorkEnded {
        /// The job of the command.
        job: JobId,
        /// How it ended.
        end: JobEnd,
    },
    /// A submitted command has ended, and something of its member's is to be run before its job is over.
    Ending {
        /// The command's job.
        job: JobId,
        /// How it ended.
        end: JobEnd,
    },
    /// A submitted command was warned, or is to be warned again a moment later.
    Warned {
        /// The job of the command.
        job: JobId,
        /// Whether its main process has the signal, or there is none any more.
        sent: bool,
    },
    /// A submitted command that was started never began: the daemon that knew what it was to run has gone.
    NeverBegan {
        /// The command's job.
        job: JobId,
    },
    /// A member runs a command in the foreground: in an allocation that is taken for it, or in the standing one.
    Run {
        /// The member, with what the policy says for them.
        member: Member,
        /// What they want.
        wanted: Wanted,
    },
    /// A member's process is to go into an allocation of theirs.
    Enter {
        /// The allocation that is meant.
        id: AllocationId,
    },
    /// Whether processes are in an allocation, as its cgroup says (`populated` in `cgroup.events`).
    Occupancy {
        /// The allocation that is meant.
        id: AllocationId,
        /// What it says.
        populated: bool,
    },
    /// A member changes a job of theirs that waits.
    Alter {
        /// The job.
        job: JobId,
        /// The member who says it: only their own.
        by: Uid,
        /// What is to be another.
        change: Change,
    },
    /// A member has a command of theirs that is at work stand still, or go on.
    Pause {
        /// The job.
        job: JobId,
        /// The member who says it: only their own.
        by: Uid,
        /// Whether it is to stand still, and not to go on.
        pause: bool,
    },
    /// A job is not wanted any more.
    Cancel {
        /// The job.
        job: JobId,
        /// Who no longer wants the job.
        by: Canceller,
    },
    /// Nothing new is granted from now on; who waits keeps waiting.
    Drain,
    /// Requests are taken again.
    Undrain,
    /// Time has passed: [`super::Ledger::next_wakeup`] has come.
    Tick,
    /// How the effect on an allocation went.
    Settle {
        /// The allocation that is meant.
        id: AllocationId,
        /// How it went.
        outcome: Outcome,
    },
    /// The slice of an allocation has gone without our doing.
    SliceGone {
        /// The allocation that is meant.
        id: AllocationId,
    },
}

/// What a member wants for a command in the foreground.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// How large an allocation is taken for it; the policy's defaults for what is not named.
    pub amount: PartialAmount,
    /// In which allocation it runs.
    pub place: Where,
    /// For how long the allocation is taken; the policy's default where `None`.
    pub lease: Option<Duration>,
    /// What if an allocation is to be taken, and there is no room.
    pub wait: Wait,
}

/// What is asked for with a submitted command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asked {
    /// How large an allocation is taken for it; or what it may use within the standing one.
    pub amount: PartialAmount,
    /// In which allocation it runs.
    pub place: Where,
    /// After how long it is ended.
    pub time_limit: Option<Duration>,
    /// What its member calls it.
    pub name: Option<String>,
    /// The file that its output goes to, where that is remembered.
    pub output: Option<String>,
    /// How much of it is kept on disk.
    pub kept: Bytes,
    /// What if an allocation is to be taken, and there is no room.
    pub wait: Wait,
    /// What it waits for before that, and before which others it goes.
    pub when: When,
    /// For which indices it is run, where it is an array.
    pub array: Option<Box<Array>>,
    /// When it is run again, where it is.
    pub again: Option<Again>,
    /// What is done for it while it runs.
    pub care: Care,
}

/// How an [`Effect`] went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The kernel holds it.
    Done,
    /// It was undone: all is as before the command. Why, for a person.
    Undone(String),
    /// The limits have come down to this, and the allocation weighs nothing: [`Effect::Lower`] is carried out.
    Lowered(Keeps),
    /// There is no slice, and so no allocation. Why, for a person.
    Withdrawn(String),
    /// Neither is known to hold: the intent stands until the world has been looked at.
    Unknown,
}

/// What is to be done in the world. Of the effects of one command those on the caller's own allocation come first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Make the slice of [`super::allocation::Allocation::amount`].
    Grant(AllocationId),
    /// A request waits now, as this job; nothing is to be done.
    Queued {
        /// The member whose it is.
        uid: Uid,
        /// The job.
        job: JobId,
    },
    /// Change the slice's limits.
    Resize {
        /// The allocation that is meant.
        id: AllocationId,
        /// What is held.
        from: Amount,
        /// What is to be held.
        to: Amount,
    },
    /// The allocation's lease is over: set its memory limit to what it uses and its tasks to what it has, so that nothing is
    /// killed, and its weights to the lowest. Settle with [`Outcome::Lowered`].
    Lower(AllocationId),
    /// The allocation's lease was over and runs again: set all limits to [`super::allocation::Allocation::amount`].
    Renew(AllocationId),
    /// Remove the slice if it is empty. What is inside is somebody's work: look again just before, and settle with
    /// [`Outcome::Undone`] where it is not.
    Withdraw(AllocationId),
    /// Stop what is inside, and remove the slice.
    Stop {
        /// The allocation that is meant.
        id: AllocationId,
        /// The job that watches it.
        job: JobId,
    },
    /// The same, on nobody's call: the lease is over, the warning was given, and someone waits. Only where the policy
    /// says `dangerous.evict: true`.
    Evict {
        /// The allocation that is meant.
        id: AllocationId,
        /// The job that watches it.
        job: JobId,
    },
    /// Start a submitted command in its member's allocation, and say how it ended with [`Command::WorkEnded`].
    Start {
        /// The member whose it is.
        uid: Uid,
        /// The job of the command.
        job: JobId,
    },
    /// End a submitted command that was started or will be, nicely at first.
    CallBack {
        /// The member whose it is.
        uid: Uid,
        /// The job of the command.
        job: JobId,
    },
    /// Send a submitted command the signal before the end of its time, and say how that went with [`Command::Warned`].
    Warn {
        /// The member whose it is.
        uid: Uid,
        /// The job of the command.
        job: JobId,
    },
    /// Freeze what a command that is at work runs in, or thaw it.
    Pause {
        /// The member whose it is.
        uid: Uid,
        /// The job of the command.
        job: JobId,
        /// Whether it is to stand still, and not to go on.
        pause: bool,
    },
    /// Put processes in a scope of this number, in an allocation of their member's.
    Enter {
        /// The allocation that is meant.
        id: AllocationId,
        /// The scope's number.
        run: u64,
    },
    /// Tell who subscribed, and the journal.
    Notify(Event),
}

/// What happened, for who follows events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An allocation is held and enforced.
    Granted {
        /// The allocation that is meant.
        id: AllocationId,
        /// The job that waited for it.
        job: Option<JobId>,
    },
    /// An allocation has other figures.
    Resized {
        /// The allocation that is meant.
        id: AllocationId,
    },
    /// A lease has another end.
    Renewed {
        /// The allocation that is meant.
        id: AllocationId,
    },
    /// An allocation is no more.
    Released {
        /// The allocation that is meant.
        id: AllocationId,
        /// As it was at its end.
        was: Box<Allocation>,
    },
    /// A lease comes to its end.
    Expiring {
        /// The allocation that is meant.
        id: AllocationId,
        /// What is left, in milliseconds.
        left_ms: u64,
    },
    /// A lease is over.
    Expired {
        /// The allocation that is meant.
        id: AllocationId,
        /// Whether the allocation stays because work is inside, or may be.
        stays: bool,
    },
    /// What is in an expired allocation will be stopped, for someone waits.
    Evicting {
        /// The allocation that is meant.
        id: AllocationId,
        /// In how many milliseconds.
        in_ms: u64,
    },
    /// A job began to work, is over, or waits for something else.
    Job(JobId),
    /// New requests are stopped.
    Drained,
    /// New requests are taken again.
    Undrained,
}

impl Effect {
    /// Whose allocation or job it is about, where it is to be carried out.
    pub fn uid(&self) -> Option<Uid> {
        match self {
            Self::Grant(id)
            | Self::Resize { id, .. }
            | Self::Lower(id)
            | Self::Renew(id)
            | Self::Withdraw(id)
            | Self::Stop { id, .. }
            | Self::Evict { id, .. }
            | Self::Enter { id, .. } => Some(id.uid),
            Self::Queued { uid, .. }
            | Self::Start { uid, .. }
            | Self::CallBack { uid, .. }
            | Self::Warn { uid, .. }
            | Self::Pause { uid, .. } => Some(*uid),
            Self::Notify(_) => None,
        }
    }

    /// The event, where it is one.
    pub fn event(&self) -> Option<&Event> {
        match self {
            Self::Notify(event) => Some(event),
            _ => None,
        }
    }
}

impl Outcome {
    /// Undone because of this.
    pub fn undone(why: impl ToString) -> Self {
        Self::Undone(why.to_string())
    }
}
