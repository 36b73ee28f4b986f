//! Why the ledger said no. A value, to be answered; never a fault.

use std::fmt;

use crate::quantity::{Amount, Bytes, MilliCpu, Tasks};

/// A "no" and what explains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// More than the policy lets this member hold.
    OverLimit(Over),
    /// A share is held already.
    AlreadyAllocated {
        /// What is held.
        held: Amount,
    },
    /// No share is held.
    NoShare,
    /// Processes are inside.
    Occupied {
        /// Their ids, the first of them.
        pids: Vec<u32>,
        /// How many there are.
        count: usize,
    },
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
    /// No such job, or not one that the caller may see.
    NoJob,
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
    },
    /// Memory.
    Mem {
        /// What was asked.
        asked: Bytes,
        /// The most that is allowed.
        max: Bytes,
    },
    /// Tasks.
    Tasks {
        /// What was asked.
        asked: Tasks,
        /// The most that is allowed.
        max: Tasks,
    },
}

impl Over {
    /// The first figure of `asked` that is over `max`.
    pub fn first(asked: Amount, max: Amount) -> Option<Self> {
        if asked.cpu > max.cpu {
            return Some(Self::Cpu { asked: asked.cpu, max: max.cpu });
        }
        if asked.mem > max.mem {
            return Some(Self::Mem { asked: asked.mem, max: max.mem });
        }
        (asked.tasks > max.tasks).then_some(Self::Tasks { asked: asked.tasks, max: max.tasks })
    }
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu { asked, max } => write!(f, "Requested CPU ({asked}) exceeds maximum allowed ({max})"),
            Self::Mem { asked, max } => {
                write!(f, "Requested memory ({}) exceeds maximum allowed ({})", asked.exact(), max.exact())
            }
            Self::Tasks { asked, max } => {
                write!(f, "Requested tasks ({asked}) exceeds maximum allowed ({max})")
            }
        }
    }
}
