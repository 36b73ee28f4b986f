//! What the tests reach of the house beside what it shows: each item by its name, so that the compiler finds what nobody
//! else uses.

pub mod cgroup {
    pub use crate::cgroup::{CgroupFault, Cgroups, Group, Pressures, Spent, Usage};
    pub mod parse {
        pub use crate::cgroup::parse::{parse_cpu_max, parse_key, parse_limit, parse_number, parse_pressure};
    }
}
pub mod enforced {
    pub use crate::enforced::{Burst, Enforced, EnforcedOfAll, KernelLimits, Limit};
    pub mod io {
        pub use crate::enforced::io::IoMost;
    }
}
pub mod host {
    pub mod account {
        pub use crate::host::account::Directory;
    }
    pub mod process {
        pub use crate::host::process::{parse_cgroup, parse_ids, parse_start_time, parse_umask};
        pub mod rlimits {
            pub use crate::host::process::rlimits::Rlimits;
        }
    }
}
pub mod identity {
    pub use crate::identity::{AllocationId, FAIRSHARE_SLICE, Gid, JobId, Purpose, Uid, UnitName, Within};
}
pub mod ledger {
    pub use crate::ledger::{
        Asked, BootId, Canceller, Command, Effect, Event, Image, Ledger, Member, Now, Order, Outcome, Rules,
        Wait, Wanted, Where,
    };
    pub mod again {
        pub use crate::ledger::again::Again;
    }
    pub mod apart {
        pub use crate::ledger::apart::{Apart, Change, Left, When};
    }
    pub mod array {
        pub use crate::ledger::array::{Array, Indices, Task};
    }
    pub mod care {
        pub use crate::ledger::care::{Care, OutOfMemory, Warning};
    }
    pub mod counted {
        pub mod room {
            pub use crate::ledger::counted::room::Room;
        }
    }
    pub mod expire {
        pub use crate::ledger::expire::{EVICTION_GRACE_MS, RETRY_MS};
    }
    pub mod fairness {
        pub use crate::ledger::fairness::{Account, Fairness, Lags};
    }
    pub mod job {
        pub use crate::ledger::job::{
            Ask, Cause, Exit, JOBS_KEPT_MAX, JOBS_KEPT_PER_UID_MAX, Job, JobEnd, JobKind, JobState, KEPT_MAX,
            KEPT_PER_UID_MAX, Precedence, Ran, WORKS_PER_UID_MAX, Work,
        };
    }
    pub mod queue {
        pub use crate::ledger::queue::OwnBounds;
    }
    pub mod reconcile {
        pub use crate::ledger::reconcile::{Found, Known, Verdict, verdicts};
    }
    pub mod refusal {
        pub use crate::ledger::refusal::{NotPaused, Refusal};
    }
    pub mod allocation {
        pub use crate::ledger::allocation::{Allocation, ENTRY_MS, Goes, Keeps, Lease, Phase, Stage, Terms};
    }
    pub mod share {
        pub use crate::ledger::share::{Share, enforced};
    }
    pub mod warned {
        pub use crate::ledger::warned::WARN_AGAIN_MS;
    }
    pub mod time {
        pub use crate::ledger::time::{Clock, Time};
    }
}
pub mod policy {
    pub use crate::policy::{Kept, Machine, Policy, QueueRule, Reserve, Role, Rules, Visibility, Weight};
    pub mod file {
        pub use crate::policy::file::{FILE_BYTES_MAX, FILES_MAX, Names, PolicyError, left_out, load, parse};
    }
}
pub mod quantity {
    pub use crate::quantity::{ARRAY_TASKS_MAX, Amount, Bytes, MilliCpu, PartialAmount, Priority, Tasks};
}
pub mod serving {
    pub mod account {
        pub use crate::serving::account::{FRAME_SMALL_BYTES_MAX, User};
    }
    pub mod closing {
        pub use crate::serving::closing::CLOSING_PER_UID_MAX;
    }
    pub mod incoming {
        pub use crate::serving::incoming::{Descriptors, Incoming, Read};
    }
    pub mod listener {
        pub use crate::serving::listener::Listener;
    }
    pub mod peer {
        pub use crate::serving::peer::Peer;
    }
    pub mod service {
        pub use crate::serving::service::{Answered, Due, Handed, Service, Standing, Stream, Went};
    }
}
pub mod simulate {
    pub use crate::simulate::{Report, replay};
    pub mod trace {
        pub use crate::simulate::trace::{Arrival, BadLines, Format, Trace};
    }
}
pub mod state {
    pub use crate::state::{
        Loaded, STATE_VERSION, StateFile, Unusable, changes, checksum_of, encode, parse, parse_with,
    };
}
pub mod systemd {
    pub use crate::systemd::{
        ActiveState, BusAddress, CALL_TIMEOUT, Fault, Process, START_TIMEOUT, ServiceState, Signal, Signals,
        Started, StopResult, Systemd,
    };
    pub mod property {
        pub use crate::systemd::property::{Property, Value, capacity, limits, scope, share};
    }
    pub mod unit {
        pub use crate::systemd::unit::CLEARED_AT_ONCE_MAX;
    }
}
