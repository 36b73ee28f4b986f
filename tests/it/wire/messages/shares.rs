//! Shares, allocations and the machine, with all that they may have and with no more than they must.

use fairshare::contract::*;

use super::text;

pub fn share_min() -> ShareInfo {
    ShareInfo {
        uid: 1001,
        user: None,
        cpu_milli: 500,
        mem_bytes: 1 << 20,
        tasks_max: 16,
        slice: text("fairshare-1001.slice"),
        usage: None,
        burst_cpu_milli: None,
        allocations: None,
    }
}

/// With each kind of allocation, and with all, some and nothing known of what they use.
pub fn share_full() -> ShareInfo {
    let barely = AllocationInfo { job_id: Some(18), usage: Some(Usage::default()), ..allocation_full() };
    let unit = text("fairshare-1001-run19.slice");
    let run = AllocationInfo { kind: AllocationKind::Run, job_id: Some(19), unit, ..allocation_full() };
    ShareInfo {
        user: Some(text("alice")),
        usage: Some(usage_full()),
        burst_cpu_milli: Some(15_500),
        allocations: Some(vec![allocation_min(), allocation_full(), barely, run]),
        ..share_min()
    }
}

pub fn usage_full() -> Usage {
    Usage {
        cpu_usec: 12_345_678,
        mem_bytes: 3 << 30,
        needed_bytes: Some(1 << 30),
        tasks: 37,
        oom_kills: 1,
        cpu_pressure_centi: Some(250),
        mem_pressure_centi: Some(0),
    }
}

pub fn allocation_min() -> AllocationInfo {
    AllocationInfo {
        kind: AllocationKind::Standing,
        job_id: None,
        cpu_milli: 500,
        mem_bytes: 1 << 20,
        tasks_max: 16,
        state: AllocationState::Expired,
        granted_ms: 0,
        lease_ends_ms: None,
        unit: text("fairshare-1001-own.slice"),
        usage: None,
        paused: None,
    }
}

pub fn allocation_full() -> AllocationInfo {
    AllocationInfo {
        kind: AllocationKind::Job,
        job_id: Some(17),
        state: AllocationState::Active,
        granted_ms: 1_700_000_000_000,
        lease_ends_ms: Some(1_700_028_800_000),
        unit: text("fairshare-1001-job17.slice"),
        usage: Some(usage_full()),
        ..allocation_min()
    }
}

pub fn capacity_full() -> CapacityInfo {
    CapacityInfo { left_behind_bytes: Some(400 << 20), ..capacity() }
}

pub fn capacity() -> CapacityInfo {
    CapacityInfo {
        cpu_milli: 15_000,
        mem_bytes: 62 << 30,
        free_cpu_milli: 9000,
        free_mem_bytes: 42 << 30,
        shares: 3,
        waiting: 1,
        left_behind_bytes: None,
    }
}
