//! What can be said to the ledger, and what it wants done.

use std::time::Duration;

use super::job::JobEnd;
use super::share::Keeps;
use crate::identity::{JobId, Uid};
use crate::policy::MemberPolicy;
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
    /// Swap that a share of theirs gets.
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

/// What the policy says of all members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// After how long past use counts half.
    pub half_life: Duration,
    /// After how long in the queue a request goes before all that have not waited as long.
    pub patience: Duration,
    /// The longest lease; `None`: no bound.
    pub lease_max: Option<Duration>,
    /// Whether busy shares whose lease is over are stopped for someone who waits.
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
    /// So much memory is charged to work that is over and to nobody's share: it is not free until it is given back.
    LeftBehind(Bytes),
    /// What the policy says of all members.
    SetRules(Rules),
    /// What the policy in force says of members who wait: their requests are judged by it from here on.
    Reconsider {
        /// Those members; one who does not wait is passed over.
        members: Vec<Member>,
    },
    /// A member asks for a share.
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
        /// How much; what is held for what is not named.
        amount: PartialAmount,
        /// The memory that the share uses at this moment.
        in_use: Bytes,
    },
    /// A member moves the end of the lease to so long from now.
    Renew {
        /// The member, with what the policy says for them.
        member: Member,
        /// How long from now.
        lease: Duration,
    },
    /// A member gives the share back.
    Release {
        /// The member.
        uid: Uid,
        /// Whether processes are in it at this moment.
        populated: bool,
        /// Whether they are to be stopped.
        stop: bool,
    },
    /// A member has a command run in the share, or in one that is taken for it.
    Submit {
        /// The member, with what the policy says for them.
        member: Member,
        /// What it may use within the share; or how large a share is taken for it.
        amount: PartialAmount,
        /// After how long it is ended.
        time_limit: Option<Duration>,
        /// What its member calls it.
        name: Option<String>,
        /// What if a share is to be taken, and there is no room.
        wait: Wait,
    },
    /// A submitted command is over.
    WorkEnded {
        /// The job of the command.
        job: JobId,
        /// How it ended.
        end: JobEnd,
    },
    /// A submitted command that was started never began: the daemon that knew what it was to run has gone.
    NeverBegan {
        /// The command's job.
        job: JobId,
    },
    /// A member's process is to go into the share.
    Enter {
        /// The member.
        uid: Uid,
    },
    /// Whether processes are in a share, as its cgroup says (`populated` in `cgroup.events`).
    Occupancy {
        /// The share's member.
        uid: Uid,
        /// What it says.
        populated: bool,
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
    /// How the effect on a member's share went.
    Settle {
        /// The share's member.
        uid: Uid,
        /// How it went.
        outcome: Outcome,
    },
    /// A member's slice has gone without our doing.
    SliceGone {
        /// The share's member.
        uid: Uid,
    },
}

/// What is asked for with a submitted command.
pub(super) struct Asked {
    pub amount: PartialAmount,
    pub time_limit: Option<Duration>,
    pub name: Option<String>,
    pub wait: Wait,
}

/// How an [`Effect`] went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The kernel holds it.
    Done,
    /// It was undone: all is as before the command. Why, for a person.
    Undone(String),
    /// The limits have come down to this, and the share weighs nothing: [`Effect::Lower`] is carried out.
    Lowered(Keeps),
    /// There is no slice, and so no share. Why, for a person.
    Withdrawn(String),
    /// Neither is known to hold: the intent stands until the world has been looked at.
    Unknown,
}

/// What is to be done in the world. Of the effects of one command those on the caller's own share come first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Make the slice of [`super::share::Share::amount`].
    Grant(Uid),
    /// A request waits now, as this job; nothing is to be done.
    Queued {
        /// The share's member.
        uid: Uid,
        /// The job.
        job: JobId,
    },
    /// Change the slice's limits.
    Resize {
        /// The share's member.
        uid: Uid,
        /// What is held.
        from: Amount,
        /// What is to be held.
        to: Amount,
    },
    /// The share's lease is over: set its memory limit to what it uses and its tasks to what it has, so that nothing is
    /// killed, and its weights to the lowest. Settle with [`Outcome::Lowered`].
    Lower(Uid),
    /// The share's lease was over and runs again: set all limits to [`super::share::Share::amount`].
    Renew(Uid),
    /// Remove the slice if it is empty. What is inside is somebody's work: look again just before, and settle with
    /// [`Outcome::Undone`] where it is not.
    Withdraw(Uid),
    /// Stop what is inside, and remove the slice.
    Stop {
        /// The share's member.
        uid: Uid,
        /// The job that watches it.
        job: JobId,
    },
    /// The same, on nobody's call: the lease is over, the warning was given, and someone waits. Only where the policy
    /// says `dangerous.evict: true`.
    Evict {
        /// The share's member.
        uid: Uid,
        /// The job that watches it.
        job: JobId,
    },
    /// Start a submitted command in its member's share, and say how it ended with [`Command::WorkEnded`].
    Start {
        /// The share's member.
        uid: Uid,
        /// The job of the command.
        job: JobId,
    },
    /// End a submitted command that was started or will be, nicely at first.
    CallBack {
        /// The share's member.
        uid: Uid,
        /// The job of the command.
        job: JobId,
    },
    /// Put processes in a scope of this number.
    Enter {
        /// The share's member.
        uid: Uid,
        /// The scope's number.
        run: u64,
    },
    /// Tell who subscribed, and the journal.
    Notify(Event),
}

/// What happened, for who follows events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A share is held and enforced.
    Granted {
        /// The share's member.
        uid: Uid,
        /// The job that waited for it.
        job: Option<JobId>,
    },
    /// A share has other figures.
    Resized {
        /// The share's member.
        uid: Uid,
    },
    /// A lease has another end.
    Renewed {
        /// The share's member.
        uid: Uid,
    },
    /// A share is no more.
    Released {
        /// The share's member.
        uid: Uid,
    },
    /// A lease comes to its end.
    Expiring {
        /// The share's member.
        uid: Uid,
        /// What is left, in milliseconds.
        left_ms: u64,
    },
    /// A lease is over.
    Expired {
        /// The share's member.
        uid: Uid,
        /// Whether the share stays because work is inside, or may be.
        stays: bool,
    },
    /// What is in an expired share will be stopped, for someone waits.
    Evicting {
        /// The share's member.
        uid: Uid,
        /// In how many milliseconds.
        in_ms: u64,
    },
    /// A job began to work, or is over.
    Job(JobId),
    /// New requests are stopped.
    Drained,
    /// New requests are taken again.
    Undrained,
}

impl Effect {
    /// Whose share or job it is about, where it is to be carried out.
    pub fn uid(&self) -> Option<Uid> {
        match self {
            Self::Grant(uid)
            | Self::Queued { uid, .. }
            | Self::Resize { uid, .. }
            | Self::Lower(uid)
            | Self::Renew(uid)
            | Self::Withdraw(uid)
            | Self::Stop { uid, .. }
            | Self::Evict { uid, .. }
            | Self::Start { uid, .. }
            | Self::CallBack { uid, .. }
            | Self::Enter { uid, .. } => Some(*uid),
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
