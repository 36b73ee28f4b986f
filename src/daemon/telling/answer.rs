//! The ledger's values and refusals, and the world's faults, as the wire has them.

use std::borrow::Cow;

use tracing::error;

use crate::cgroup::{CgroupFault, Usage};
use crate::contract as wire;
use crate::daemon::clock;
use crate::host::process::ProcessError;
use crate::identity::{JobId, Purpose, Uid, UnitName};
use crate::ledger::Now;
use crate::ledger::allocation::Allocation;
use crate::ledger::counted::room::Room;
use crate::ledger::refusal::{Bound, NotPaused, Over, Refusal, Shortage};
use crate::ledger::share::Share;
use crate::policy::{MemberPolicy, Policy, Role};
use crate::quantity::{Amount, MilliCpu};
use crate::serving::logging::chain;
use crate::state::StateFault;
use crate::systemd::Fault;
use crate::time::milliseconds;
use crate::wire::detail::{self, Detail, Held, Holder, Resource};
use crate::wire::error::{Code, WireError};

/// How soon asking again makes sense while a change is being settled, in milliseconds.
pub const UNSETTLED_RETRY_AFTER_MS: u64 = 5000;

/// An allocation as it is shown at `now`, without its use. The end of its lease is in wall time.
pub fn allocation(allocation: &Allocation, now: Now, lease_ends_ms: Option<u64>) -> wire::AllocationInfo {
    let most = allocation.enforced().most;
    let (kind, job_id) = match allocation.id.purpose {
        Purpose::Standing => (wire::AllocationKind::Standing, None),
        Purpose::Job(job) => (wire::AllocationKind::Job, Some(job.0)),
        Purpose::Run(job) => (wire::AllocationKind::Run, Some(job.0)),
    };
    let expired = allocation.expired();
    wire::AllocationInfo {
        kind,
        job_id,
        cpu_milli: most.cpu.0,
        mem_bytes: most.mem.0,
        tasks_max: most.tasks.0,
        state: if expired { wire::AllocationState::Expired } else { wire::AllocationState::Active },
        granted_ms: allocation.granted.wall_ms_at(now),
        lease_ends_ms,
        unit: allocation.unit().to_string(),
        usage: None,
        paused: None,
    }
}

/// A member's share as it is shown, without its use: the sum of these allocations of theirs. `capacity` is the CPU of all shares
/// together.
pub fn share(uid: Uid, allocations: &[&Allocation], capacity: MilliCpu) -> wire::ShareInfo {
    let mut sum = Amount::default();
    for most in allocations.iter().map(|allocation| allocation.enforced().most) {
        sum.cpu.0 = sum.cpu.0.saturating_add(most.cpu.0);
        sum.mem.0 = sum.mem.0.saturating_add(most.mem.0);
        sum.tasks.0 = sum.tasks.0.saturating_add(most.tasks.0);
    }
    let burst = allocations.iter().filter_map(|allocation| allocation.terms.burst).max();
    wire::ShareInfo {
        uid: uid.get().into(),
        user: allocations.first().and_then(|first| first.user.clone()),
        cpu_milli: sum.cpu.0,
        mem_bytes: sum.mem.0,
        tasks_max: sum.tasks.0,
        slice: UnitName::Share(uid).to_string(),
        usage: None,
        burst_cpu_milli: burst.and_then(|burst| burst.most(sum.cpu, capacity)).map(|cpu| cpu.0),
        allocations: None,
    }
}

/// What a share uses, as it is shown.
pub fn usage(usage: Usage) -> wire::Usage {
    wire::Usage {
        cpu_usec: usage.cpu_usec,
        mem_bytes: usage.mem.0,
        needed_bytes: usage.needed.map(|needed| needed.0),
        tasks: usage.tasks.0,
        oom_kills: usage.oom_kills,
        cpu_pressure_centi: usage.pressures.cpu.map(u64::from),
        mem_pressure_centi: usage.pressures.mem.map(u64::from),
    }
}

/// The policy for one member as it is shown, with what of the whole is the same for every member. `capacity` is the CPU of all
/// shares together.
pub fn policy(policy: &MemberPolicy, whole: &Policy, capacity: MilliCpu) -> wire::PolicyInfo {
    let amount = |amount: Amount| wire::AmountInfo {
        cpu_milli: amount.cpu.0,
        mem_bytes: amount.mem.0,
        tasks_max: amount.tasks.0,
    };
    wire::PolicyInfo {
        defaults: amount(policy.defaults),
        max: amount(policy.max),
        lease_default_ms: policy.lease_default.map(milliseconds),
        lease_max_ms: policy.lease_max.map(milliseconds),
        idle_ms: policy.idle.map(milliseconds),
        burst_cpu_milli: policy.burst.and_then(|burst| burst.most(MilliCpu(0), capacity)).map(|cpu| cpu.0),
        role: policy.role,
        from_sandboxes: whole.from_sandboxes,
        io: (!policy.io.is_empty()).then(|| wire::IoInfo {
            read_bytes: policy.io.read.map(|rate| rate.0),
            write_bytes: policy.io.write.map(|rate| rate.0),
            read_ops: policy.io.read_ops,
            write_ops: policy.io.write_ops,
            on: whole.io.on.clone(),
        }),
        key: None,
    }
}

/// A refusal as it is answered, with its figures as data.
pub fn refusal(refusal: &Refusal) -> WireError {
    let no = |code| WireError::new(code, refusal.to_string());
    match refusal {
        Refusal::OverLimit(over) => no(Code::OverLimit).detail(over_limit(over)),
        Refusal::MaxHeld { over, held } => {
            let detail = over_limit(over);
            no(Code::NoCapacity).detail(Detail { held: Some(self::held(*held)), ..detail })
        }
        Refusal::TooMuchKept { .. } => no(Code::Busy),
        Refusal::QueueFull { most, .. } => no(Code::Busy).detail(Detail::full(Resource::Jobs, *most)),
        Refusal::LeaseTooLong { asked, max } => {
            let detail = Detail::over(Resource::LeaseMs, milliseconds(*asked), milliseconds(*max));
            no(Code::OverLimit).detail(Detail { bound: Some(detail::Bound::Policy), ..detail })
        }
        Refusal::LeaseTooShort { asked, least } => no(Code::BadRequest).detail(Detail {
            resource: Some(Resource::LeaseMs),
            asked: Some(milliseconds(*asked)),
            least: Some(milliseconds(*least)),
            ..Detail::default()
        }),
        Refusal::NoTime | Refusal::WaitsNot | Refusal::WaitsInShare | Refusal::WarnsOfNothing => {
            no(Code::BadRequest)
        }
        Refusal::ReadOnly => {
            no(Code::Forbidden).detail(Detail { role: Some(Role::ReadOnly), ..Detail::default() })
        }
        Refusal::NoCapacity(shortage) => no_capacity(shortage),
        Refusal::AlreadyWaiting { job } => {
            WireError::new(Code::AlreadyAllocated, format!("A request of yours waits already, as job {job}"))
                .detail(of_job(*job))
        }
        Refusal::Expired => no(Code::NoCapacity),
        Refusal::Draining => no(Code::Draining),
        // Who may not know of a job is not told that there is one.
        Refusal::NotYours { .. } | Refusal::NoJob => WireError::new(Code::NotFound, "No such job"),
        Refusal::JobAtWork { job } => no(Code::Busy).detail(of_job(*job)),
        Refusal::AlreadyAllocated { held } => {
            WireError::new(Code::AlreadyAllocated, "You hold a share already: resize or release it")
                .detail(Detail { held: Some(self::held(*held)), ..Detail::default() })
        }
        Refusal::NoShare => no(Code::NotFound),
        Refusal::NoRoomOfIts { job } | Refusal::NotWaiting { job, .. } => {
            no(Code::NotFound).detail(of_job(*job))
        }
        Refusal::NotPaused { job, why: NotPaused::NoCommand | NotPaused::Array } => {
            no(Code::BadRequest).detail(of_job(*job))
        }
        Refusal::NotPaused { job, why: NotPaused::FrozenAround } => no(Code::Forbidden).detail(of_job(*job)),
        Refusal::NotPaused { job, .. } => no(Code::NotFound).detail(of_job(*job)),
        Refusal::NotHeld { job } => no(Code::BadRequest).detail(of_job(*job)),
        Refusal::TimeIsSet => no(Code::BadRequest),
        Refusal::Occupied | Refusal::Stopping => no(Code::Busy),
        Refusal::MemoryInUse { in_use, asked } => no(Code::Busy).detail(Detail {
            resource: Some(Resource::MemBytes),
            asked: Some(asked.0),
            in_use: Some(in_use.0),
            ..Detail::default()
        }),
        Refusal::Unsettled => no(Code::Busy).retry_after_ms(UNSETTLED_RETRY_AFTER_MS),
        Refusal::TooManyWorks { most } => {
            WireError::new(Code::Busy, format!("{most} submitted commands of yours are not over yet"))
                .detail(Detail::full(Resource::Jobs, *most))
        }
    }
}

/// Which figure is over which bound.
fn over_limit(over: &Over) -> Detail {
    let (resource, asked, max, by) = match over {
        Over::Cpu { asked, max, by } => (Resource::CpuMilli, asked.0, max.0, by),
        Over::Mem { asked, max, by } => (Resource::MemBytes, asked.0, max.0, by),
        Over::Tasks { asked, max, by } => (Resource::TasksMax, asked.0, max.0, by),
    };
    let bound = match by {
        Bound::Policy => detail::Bound::Policy,
        Bound::Share => detail::Bound::Share,
        Bound::Machine => detail::Bound::Machine,
    };
    Detail { bound: Some(bound), ..Detail::over(resource, asked, max) }
}

/// The job that is in the way.
fn of_job(job: JobId) -> Detail {
    Detail { job_id: Some(job.0), ..Detail::default() }
}

fn held(amount: Amount) -> Held {
    Held { cpu_milli: amount.cpu.0, mem_bytes: amount.mem.0, tasks_max: amount.tasks.0 }
}

/// Who holds a share, and how much, as a refusal names them.
pub fn holder(allocation: &Allocation, share: &Share) -> Holder {
    let Amount { cpu, mem, .. } = share.held();
    let user = allocation.user.clone();
    Holder { uid: allocation.id.uid.get().into(), user, cpu_milli: cpu.0, mem_bytes: mem.0 }
}

/// No room now: what is free, what would fit, and when what was asked will.
fn no_capacity(shortage: &Shortage) -> WireError {
    let room = |room: Room| detail::Room { cpu_milli: room.cpu().0, mem_bytes: room.mem().0 };
    let error = WireError::new(Code::NoCapacity, "There is no room for this now").detail(Detail {
        free: Some(room(shortage.free)),
        fits: Some(room(shortage.largest)),
        waiting: Some(u64::try_from(shortage.waiting).unwrap_or(u64::MAX)),
        starts_ms: shortage.by_wall_ms,
        ..Detail::default()
    });
    match shortage.by_wall_ms {
        Some(by) => error.retry_after_ms(by.saturating_sub(clock::now().wall_ms)),
        None => error,
    }
}

/// A fault of systemd or the bus as it is answered.
pub fn systemd(fault: &Fault) -> WireError {
    let message = match fault {
        Fault::Bus { .. } => "systemd cannot be reached",
        Fault::Timeout { .. } => "systemd did not finish in time",
        Fault::Call { .. } | Fault::JobFailed { .. } => "systemd refused",
    };
    WireError::new(Code::Systemd, message).detail(fault.to_string())
}

/// A fault of the state file, of a change that was to be stored first: where the state is kept is the administrator's
/// business.
pub fn store(fault: &StateFault) -> WireError {
    unwritten(fault, false, "The state could not be written: nothing was changed")
}

/// The same, of a change that was made and then stored.
pub fn not_stored(fault: &StateFault) -> WireError {
    unwritten(
        fault,
        true,
        "This is in force and could not be written: it holds until the daemon restarts, or for good once anything is written",
    )
}

fn unwritten(fault: &StateFault, in_force: bool, message: &str) -> WireError {
    let cause = match fault {
        StateFault::Io { action, source, .. } => format!("cannot {action}: {source}"),
        StateFault::Locked { .. }
        | StateFault::Newer { .. }
        | StateFault::Damaged { .. }
        | StateFault::Encode { .. } => fault.to_string(),
    };
    WireError::new(Code::Io, message).detail(Detail { in_force: Some(in_force), ..Detail::text(cause) })
}

/// A refusal, as the journal has it: of a bug also what is behind it.
pub fn said(error: &WireError) -> Cow<'_, str> {
    match error.more() {
        Some(more) if error.is(Code::Internal) => format!("{}: {more}", error.message).into(),
        _ => error.message.as_str().into(),
    }
}

/// A fault of cgroupfs as it is answered.
pub fn cgroup(fault: &CgroupFault) -> WireError {
    WireError::new(Code::Internal, "The kernel's figures could not be read").detail(fault.to_string())
}

/// Why a process is not touched, as it is answered. A fault of the kernel's is logged here.
pub fn process(error: &ProcessError) -> WireError {
    match error {
        ProcessError::Gone { pid } => WireError::new(Code::NotFound, format!("There is no process {pid}")),
        ProcessError::NotYours { pid, .. } => {
            WireError::new(Code::Forbidden, format!("Process {pid} is not your own"))
        }
        ProcessError::Unreadable { .. } => {
            error!("{}", chain(error));
            WireError::new(Code::Internal, "The kernel does not say whose the process is")
                .detail(chain(error))
        }
    }
}

/// How soon a daemon that stops may be there again, in milliseconds: systemd restarts it after half of this.
const STOPPING_RETRY_AFTER_MS: u64 = 1000;

/// The answer to what comes while the daemon stops.
pub fn stopping() -> WireError {
    WireError::new(Code::Draining, "The daemon is stopping").retry_after_ms(STOPPING_RETRY_AFTER_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::{Bytes, Tasks};

    #[test]
    fn what_is_too_much_beside_what_is_held_says_how_much_that_is() {
        let over = Over::Cpu { asked: MilliCpu(4000), max: MilliCpu(8000), by: Bound::Policy };
        let held = Amount { cpu: MilliCpu(6000), mem: Bytes(1 << 30), tasks: Tasks(64) };
        let error = refusal(&Refusal::MaxHeld { over, held });
        assert!(error.is(Code::NoCapacity) && error.retryable);
        assert_eq!(error.message, "Requested CPU (4) and what you hold (6) exceed maximum allowed (8)");
        let detail = error.detail.unwrap();
        assert_eq!(
            (detail.resource, detail.asked, detail.allowed),
            (Some(Resource::CpuMilli), Some(4000), Some(8000))
        );
        assert_eq!(detail.held, Some(Held { cpu_milli: 6000, mem_bytes: 1 << 30, tasks_max: 64 }));
        assert_eq!((detail.bound, detail.free), (Some(detail::Bound::Policy), None));
    }

    #[test]
    fn a_full_queue_says_whose_it_is_and_how_long() {
        for (own, said) in [(true, "7 requests of yours wait already"), (false, "7 requests wait already")] {
            let error = refusal(&Refusal::QueueFull { most: 7, own });
            assert!(error.is(Code::Busy) && error.retryable);
            assert_eq!(error.message, said);
            assert_eq!(error.detail.as_deref(), Some(&Detail::full(Resource::Jobs, 7)));
        }
    }
}
