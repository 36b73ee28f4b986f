//! What those who carry something out tell the owner of the ledger.

use tokio::sync::{mpsc, oneshot};

use super::fetch::Fetch;
use super::io::IoHeld;
use crate::cgroup::Spent;
use crate::daemon::asking::deed::Whom;
use crate::daemon::telling::reply::Reply;
use crate::history::Standing;
use crate::identity::{AllocationId, JobId, Uid};
use crate::ledger::job::JobEnd;
use crate::ledger::{Image, Outcome};
use crate::quantity::Bytes;
use crate::wire::error::WireError;

/// What has been said and the owner has not taken yet. A task that says one more waits.
pub const SAID_WAITING_MAX: usize = 256;

/// What came of something that was to be done.
#[derive(Debug)]
pub enum Said {
    /// An effect has been carried out, or not.
    Settle {
        /// Which allocation it was for.
        id: AllocationId,
        /// How it went.
        outcome: Outcome,
        /// Where what is to be stored goes.
        reply: oneshot::Sender<Image>,
    },
    /// A request that was to wait could not be stored. What is to be stored without it goes there; nothing where it was
    /// served meanwhile.
    Uncalled(JobId, oneshot::Sender<Option<Image>>),
    /// What a command's process asked for cannot be handed over: it never began. Its process is answered when that is stored.
    NeverBegan(JobId, Reply),
    /// What a submitted command is to run is on disk.
    Kept(JobId),
    /// Work that is over has left so much memory behind, all of it together.
    LeftBehind(Bytes),
    /// A submitted command is over.
    WorkEnded {
        /// The command's job.
        job: JobId,
        /// How the command ended.
        end: JobEnd,
        /// Where what is to be stored goes.
        reply: oneshot::Sender<Image>,
    },
    /// A submitted command has ended, and something of its member's is to be run before its job is over, unless it is run again.
    Ending {
        /// The command's job.
        job: JobId,
        /// How the command ended.
        end: JobEnd,
        /// Where what is to be stored goes.
        reply: oneshot::Sender<Image>,
    },
    /// That is stored: what is run at the job's end is fetched there. Where nobody listens nothing is run.
    AtEnd(JobId, mpsc::Sender<Fetch>),
    /// Nothing is left of a try of a command that is run again.
    Cleared {
        /// The command's job.
        job: JobId,
        /// How often it was tried before that.
        tries: u64,
    },
    /// Nobody has begun with a submitted command, and nothing is left of what was there of its start.
    NotBegun(JobId),
    /// A submitted command may still run, and cannot be followed for now.
    WorkLost(JobId),
    /// A command has the signal that warns it, or has not and is to have it.
    Warned(JobId, bool),
    /// A command was to stand still or to go on: how that went.
    Paused {
        /// The member whose command it is.
        uid: Uid,
        /// The command's job.
        job: JobId,
        /// Whether the kernel holds it; why not, for who asked.
        done: Result<(), WireError>,
        /// Where the answer goes.
        reply: Reply,
    },
    /// What is to be stored, as it is by now, is needed there.
    Image(oneshot::Sender<Image>),
    /// A submitted command was stopped for who called it back: answered with how it ended.
    CalledBack(JobId, Reply),
    /// The allocation that these processes were to have is there: they are to go in.
    LetIn(AllocationId, Whom, Reply),
    /// What was to enter this allocation has not, or not all of it: the kernel may have nothing to tell of it.
    NotEntered(AllocationId),
    /// The work in an allocation that is about to go has used so much.
    Spent(AllocationId, Spent),
    /// How it stands with the history, where that is another way than before.
    History(Standing),
    /// How it stands with the I/O of a share that was just made.
    Io(Uid, IoHeld),
    /// Nothing is under way for this member any more.
    Free(Uid),
}
