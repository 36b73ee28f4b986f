//! One member's share: what is held, and what is being done about it.

use super::job::JobRef;
use super::{BootId, Now};
use crate::identity::Uid;
use crate::quantity::{Amount, Bytes};

/// What one member holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The member.
    pub uid: Uid,
    /// The member's name when the share was granted, to be shown.
    pub user: Option<String>,
    /// The figures that the kernel is to hold.
    pub amount: Amount,
    /// Swap on top of the memory, in bytes.
    pub swap: Bytes,
    /// When it was granted.
    pub granted: Now,
    /// In which boot its slice was last made.
    pub boot: BootId,
    /// What is being done about it.
    pub phase: Phase,
}

/// What is being done about a share. In the state file, everything but `Active` is an intent without outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The slice is being made; nothing has been answered yet.
    Granting,
    /// Held, and enforced.
    Active,
    /// The limits are on their way from `Share::amount` to these.
    Resizing {
        /// The new figures.
        to: Amount,
    },
    /// The empty slice is being removed.
    Releasing,
    /// The processes inside are being stopped, as a job.
    Stopping {
        /// The job that watches it.
        job: JobRef,
    },
}

impl Share {
    /// The most that this share may be using until its phase is settled: what must be counted as held.
    pub fn counted(&self) -> Amount {
        match self.phase {
            Phase::Resizing { to } => Amount {
                cpu: self.amount.cpu.max(to.cpu),
                mem: self.amount.mem.max(to.mem),
                tasks: self.amount.tasks.max(to.tasks),
            },
            _ => self.amount,
        }
    }
}
