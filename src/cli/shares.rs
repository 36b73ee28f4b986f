//! Shares and their allocations, and the machine, as they are shown to a person.

use std::fmt::Write as _;
use std::time::Duration;

use super::conditions;
use super::render::{counted, in_unit_of, safe, short, space_of, span, table};
use crate::contract::{
    AllocationInfo, AllocationKind, AllocationState, CapacityInfo, JobInfo, JobState, ShareInfo, Usage,
};
use crate::quantity::{Bytes, MilliCpu};

/// So many of what waits are shown in `status`.
const WAITING_SHOWN_MAX: usize = 3;

/// How much CPU a share uses, as well as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuUse {
    /// At this moment.
    Now(MilliCpu),
    /// Since the share was granted.
    Total(Duration),
    /// Not known.
    Unknown,
}

/// Until when an allocation is held.
pub fn lease(allocation: &AllocationInfo, now_ms: u64) -> String {
    let Some(ends_ms) = allocation.lease_ends_ms else { return "no lease".to_owned() };
    let left = span(Duration::from_millis(ends_ms.saturating_sub(now_ms)));
    let over = span(Duration::from_millis(now_ms.saturating_sub(ends_ms)));
    match allocation.state {
        AllocationState::Expired => format!("lease ended {over} ago"),
        AllocationState::Active if ends_ms > now_ms => format!("lease ends in {left}"),
        AllocationState::Active => "lease ends now".to_owned(),
    }
}

/// The lines of `status` about the caller's own share: one, and one for each allocation where it has others than the standing
/// one, with what it is called by the `jobs`.
pub fn share_line(share: Option<&ShareInfo>, cpu_use: CpuUse, jobs: &[JobInfo], now_ms: u64) -> String {
    let Some(share) = share else {
        return "Your share  none (`fairshare request` takes one, `fairshare run` takes one and works in it)"
            .to_owned();
    };
    let mut columns = vec![cpu(share, cpu_use), memory_with_files(share)];
    columns.push(match &share.usage {
        Some(usage) => counted(usage.tasks, "task", "tasks"),
        None => format!("up to {}", counted(share.tasks_max, "task", "tasks")),
    });
    let allocations = share.allocations.as_deref().unwrap_or_default();
    if let [one @ AllocationInfo { kind: AllocationKind::Standing, .. }] = allocations {
        columns.push(lease(one, now_ms));
    }
    if let Some(kills) = share.usage.as_ref().map(|usage| usage.oom_kills).filter(|kills| *kills > 0) {
        columns.push(format!("{} out of memory", counted(kills, "process killed", "processes killed")));
    }
    let mut lines = vec![format!("Your share  {}", columns.join("   "))];
    if !matches!(allocations, [AllocationInfo { kind: AllocationKind::Standing, .. }]) {
        let of = |allocation: &AllocationInfo| jobs.iter().find(|job| Some(job.job_id) == allocation.job_id);
        let rows = allocations.iter().map(|one| allocation_row(one, of(one), now_ms));
        let rows: Vec<_> = rows.collect();
        lines.extend((!rows.is_empty()).then(|| table(&rows)));
    }
    lines.join("\n")
}

/// One allocation of the caller's, below their share and with its figures below the share's.
fn allocation_row(allocation: &AllocationInfo, job: Option<&JobInfo>, now_ms: u64) -> Vec<String> {
    let what = match allocation.job_id {
        Some(id) => format!("  job {:<4}", job.map_or_else(|| id.to_string(), JobInfo::number)),
        None => "  standing".to_owned(),
    };
    let mem = Bytes(allocation.mem_bytes).to_string();
    let mem = match allocation.usage.as_ref().map(|usage| usage.needed_bytes.unwrap_or(usage.mem_bytes)) {
        Some(used) => format!("{mem} ({} in use)", in_unit_of(&Bytes(used).to_string(), &mem)),
        None => mem,
    };
    let until = match allocation.kind {
        AllocationKind::Job => runs_for(allocation, now_ms),
        AllocationKind::Run => format!("run, {}", lease(allocation, now_ms)),
        AllocationKind::Standing => lease(allocation, now_ms),
    };
    let paused = allocation.paused == Some(true) || job.is_some_and(|job| job.paused == Some(true));
    let until = if paused { format!("paused, {until}") } else { until };
    let name = job.and_then(|job| job.name.as_deref());
    let until = name.map_or(until.clone(), |name| format!("{}, {until}", safe(name)));
    // The space makes three of the table's two, as between the columns of the share.
    vec![what, format!("{} CPU ", MilliCpu(allocation.cpu_milli)), format!("{mem} "), until]
}

/// For how long a submitted command has had its allocation, and of how long.
fn runs_for(allocation: &AllocationInfo, now_ms: u64) -> String {
    let since = |ms: u64| span(Duration::from_millis(ms.saturating_sub(allocation.granted_ms)));
    let limit = allocation.lease_ends_ms.map_or(String::new(), |ends_ms| format!(" of {}", since(ends_ms)));
    format!("runs for {}{limit}", since(now_ms))
}

/// The lines of `status` about what of the caller's waits, the first in the queue first; none where nothing does.
pub fn waiting_lines(jobs: &[JobInfo], now_ms: u64) -> Option<String> {
    let mut waiting: Vec<&JobInfo> = jobs.iter().filter(|job| job.state == JobState::Queued).collect();
    waiting.sort_by_key(|job| (job.place.unwrap_or(u64::MAX), job.job_id));
    let line = |job: &&JobInfo| {
        let name = job.name.as_deref().map_or(String::new(), |name| format!(" {}", safe(name)));
        let place = conditions::place(job, now_ms);
        let place = if place.is_empty() { "in the queue" } else { &place };
        let tasks =
            job.array.as_ref().map_or(String::new(), |array| format!(" ({} tasks to come)", array.to_come));
        format!("job {}{name}{tasks}{}: {place}", job.number(), asked(job))
    };
    let mut lines: Vec<String> = waiting.iter().take(WAITING_SHOWN_MAX).map(line).collect();
    let rest = waiting.len().saturating_sub(lines.len());
    lines.extend((rest > 0).then(|| format!("and {rest} more: `fairshare jobs --state queued`")));
    (!lines.is_empty()).then(|| format!("Waiting     {}", lines.join("\n            ")))
}

/// What a job asks for that waits: ` (4 CPU, 8 GiB)`.
fn asked(job: &JobInfo) -> String {
    let limits = job.limits.as_deref().copied().unwrap_or_default();
    let cpu = limits.cpu_milli.map(|milli| format!("{} CPU", MilliCpu(milli)));
    let figures: Vec<String> = cpu.into_iter().chain(limits.mem_bytes.map(|mem| short(Bytes(mem)))).collect();
    if figures.is_empty() { String::new() } else { format!(" ({})", figures.join(", ")) }
}

/// The line of `status` about the machine.
pub fn machine_line(capacity: &CapacityInfo) -> String {
    let held_cpu = MilliCpu(capacity.cpu_milli.saturating_sub(capacity.free_cpu_milli));
    let left = capacity.left_behind_bytes.unwrap_or_default();
    let held_mem = Bytes(capacity.mem_bytes.saturating_sub(capacity.free_mem_bytes).saturating_sub(left));
    let members = counted(capacity.shares, "member", "members");
    if capacity.cpu_milli == 0 && capacity.mem_bytes == 0 {
        // Degraded: what can be handed out follows from the policy, and there is none.
        return format!("Machine     shares held by {members}; what can be handed out is not known");
    }
    let mut line = format!(
        "Machine     {held_cpu} of {} CPU and {} held by {members}",
        MilliCpu(capacity.cpu_milli),
        space_of(held_mem, Bytes(capacity.mem_bytes)),
    );
    if capacity.waiting > 0 {
        let _ = write!(line, ", {} waiting", capacity.waiting);
    }
    if left > 0 {
        let _ = write!(
            line,
            "\nLeft over   {} of files in memory, of work that is over: free when they are removed",
            short(Bytes(left))
        );
    }
    line
}

/// Everyone's shares as a table.
pub fn share_table(shares: &[ShareInfo], now_ms: u64) -> String {
    let mut rows = vec![["USER", "CPU", "MEMORY", "TASKS", "STATE", "LEASE"].map(str::to_owned).to_vec()];
    let is_active = |allocation: &AllocationInfo| allocation.state == AllocationState::Active;
    for share in shares {
        let allocations = share.allocations.as_deref().unwrap_or_default();
        rows.push(vec![
            share.user.as_deref().map_or_else(|| format!("uid {}", share.uid), safe),
            MilliCpu(share.cpu_milli).to_string(),
            memory(share),
            share.usage.as_ref().map_or_else(
                || share.tasks_max.to_string(),
                |usage| format!("{} of {}", usage.tasks, share.tasks_max),
            ),
            if allocations.iter().any(is_active) { "active" } else { "expired" }.to_owned(),
            match allocations {
                [one] => lease(one, now_ms).trim_start_matches("lease ").to_owned(),
                all => format!("of {} allocations", all.len()),
            },
        ]);
    }
    table(&rows)
}

fn cpu(share: &ShareInfo, cpu_use: CpuUse) -> String {
    let burst = share.burst_cpu_milli.map(MilliCpu);
    let most = burst.map_or(String::new(), |most| format!(", up to {most} while nobody wants them"));
    let held = format!("{} CPU{most}", MilliCpu(share.cpu_milli));
    match cpu_use {
        CpuUse::Now(used) => format!("{held} ({}.{} in use)", used.0 / 1000, used.0 % 1000 / 100),
        CpuUse::Total(used) => format!("{held} ({} used)", span(used)),
        CpuUse::Unknown => held,
    }
}

/// The memory of a share, and what of it is in use. Page cache is not, where the daemon tells it apart.
fn memory(share: &ShareInfo) -> String {
    memory_of(share, |_, used| format!("{used} in use"))
}

/// The same, and with the page cache, where that makes a difference.
fn memory_with_files(share: &ShareInfo) -> String {
    memory_of(share, |usage, used| {
        let whole = Bytes(usage.mem_bytes).to_string();
        let held = Bytes(share.mem_bytes).to_string();
        // Beside a figure with a unit it has its own: that of the share would be taken for the other one's.
        let whole = if used.contains(' ') { whole } else { in_unit_of(&whole, &held) };
        if usage.needed_bytes.is_some_and(|needed| needed < usage.mem_bytes) && whole != used {
            format!("{used} in use, {whole} with files")
        } else {
            format!("{used} in use")
        }
    })
}

fn memory_of(share: &ShareInfo, tell: impl FnOnce(&Usage, String) -> String) -> String {
    let held = Bytes(share.mem_bytes).to_string();
    match &share.usage {
        Some(usage) => {
            let used = Bytes(usage.needed_bytes.unwrap_or(usage.mem_bytes)).to_string();
            let told = tell(usage, in_unit_of(&used, &held));
            format!("{held} ({told})")
        }
        None => held,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const HOUR_MS: u64 = 3_600_000;

    fn standing() -> AllocationInfo {
        AllocationInfo {
            kind: AllocationKind::Standing,
            job_id: None,
            cpu_milli: 2000,
            mem_bytes: 8 * GIB,
            tasks_max: 4096,
            state: AllocationState::Active,
            granted_ms: 0,
            lease_ends_ms: Some(10 * HOUR_MS),
            unit: "fairshare-1000-own.slice".into(),
            usage: None,
            paused: None,
        }
    }

    /// The standing one alone, without a lease.
    fn unbounded() -> Option<Vec<AllocationInfo>> {
        Some(vec![AllocationInfo { lease_ends_ms: None, ..standing() }])
    }

    fn share() -> ShareInfo {
        ShareInfo {
            uid: 1000,
            user: Some("alice".into()),
            cpu_milli: 2000,
            mem_bytes: 8 * GIB,
            tasks_max: 4096,
            slice: "fairshare-1000.slice".into(),
            allocations: Some(vec![standing()]),
            burst_cpu_milli: None,
            usage: Some(Usage { mem_bytes: 31 * GIB / 10 + 1, tasks: 37, ..Usage::default() }),
        }
    }

    #[test]
    fn the_two_lines_of_status_read_as_designed() {
        let now = 10 * HOUR_MS - 5 * HOUR_MS - 12 * 60_000 - 1000;
        assert_eq!(
            share_line(Some(&share()), CpuUse::Now(MilliCpu(1400)), &[], now),
            "Your share  2 CPU (1.4 in use)   8.0 GiB (3.1 in use)   37 tasks   lease ends in 5h 12m"
        );
        let bursts = ShareInfo { burst_cpu_milli: Some(15_500), ..share() };
        assert_eq!(
            share_line(Some(&bursts), CpuUse::Now(MilliCpu(6300)), &[], now),
            "Your share  2 CPU, up to 15.5 while nobody wants them (6.3 in use)   8.0 GiB (3.1 in use)   37 tasks   \
             lease ends in 5h 12m"
        );
        let capacity = CapacityInfo {
            cpu_milli: 15_000,
            mem_bytes: 62 * GIB,
            free_cpu_milli: 9000,
            free_mem_bytes: 42 * GIB,
            shares: 3,
            waiting: 0,
            left_behind_bytes: None,
        };
        assert_eq!(machine_line(&capacity), "Machine     6 of 15 CPU and 20 of 62 GiB held by 3 members");
        let one = CapacityInfo { shares: 1, waiting: 2, free_mem_bytes: 62 * GIB - (1 << 29), ..capacity };
        assert_eq!(
            machine_line(&one),
            "Machine     6 of 15 CPU and 512 MiB of 62 GiB held by 1 member, 2 waiting"
        );
        let left = CapacityInfo { left_behind_bytes: Some(20 * GIB - (1 << 29)), ..capacity };
        assert_eq!(
            machine_line(&left),
            "Machine     6 of 15 CPU and 512 MiB of 62 GiB held by 3 members\n\
             Left over   19.5 GiB of files in memory, of work that is over: free when they are removed"
        );
    }

    #[test]
    fn a_share_without_lease_use_or_luck_is_shown_too() {
        let unknown = ShareInfo { usage: None, allocations: unbounded(), ..share() };
        assert_eq!(
            share_line(Some(&unknown), CpuUse::Unknown, &[], 0),
            "Your share  2 CPU   8.0 GiB   up to 4096 tasks   no lease"
        );
        let killed = Usage { oom_kills: 1, tasks: 1, mem_bytes: 512 << 20, ..Usage::default() };
        let over = AllocationInfo { state: AllocationState::Expired, ..standing() };
        let expired = ShareInfo { allocations: Some(vec![over]), usage: Some(killed), ..share() };
        assert_eq!(
            share_line(
                Some(&expired),
                CpuUse::Total(Duration::from_secs(37 * 60)),
                &[],
                10 * HOUR_MS + 90_000
            ),
            "Your share  2 CPU (37m used)   8.0 GiB (512.0 MiB in use)   1 task   lease ended 1m 30s ago   \
             1 process killed out of memory"
        );
    }

    #[test]
    fn each_allocation_has_a_line_where_there_is_another_than_the_standing_one() {
        let (now, minute_ms) = (3 * HOUR_MS, 60_000);
        let job = |id, granted_ms, limit_ms: Option<u64>| AllocationInfo {
            kind: AllocationKind::Job,
            job_id: Some(id),
            granted_ms,
            lease_ends_ms: limit_ms.map(|limit_ms| granted_ms + limit_ms),
            unit: format!("fairshare-1000-job{id}.slice"),
            ..standing()
        };
        let small = AllocationInfo {
            cpu_milli: 500,
            mem_bytes: 4 * GIB,
            lease_ends_ms: Some(now + 312 * minute_ms),
            ..standing()
        };
        let train = AllocationInfo { cpu_milli: 4000, ..job(17, now - 12 * minute_ms, Some(2 * HOUR_MS)) };
        let used = Usage { mem_bytes: 2 * GIB, needed_bytes: Some(GIB), ..Usage::default() };
        let paused = Some(true);
        let endless = AllocationInfo { usage: Some(used), paused, ..job(1042, now - 40_000, None) };
        let of = |allocations: Vec<AllocationInfo>| {
            let sum = |of: fn(&AllocationInfo) -> u64| allocations.iter().map(of).sum();
            let (cpu_milli, mem_bytes) = (sum(|one| one.cpu_milli), sum(|one| one.mem_bytes));
            ShareInfo { cpu_milli, mem_bytes, allocations: Some(allocations), ..share() }
        };
        let bursts = ShareInfo {
            burst_cpu_milli: Some(15_500),
            ..of(vec![small.clone(), train.clone(), endless.clone()])
        };
        assert_eq!(
            share_line(Some(&bursts), CpuUse::Now(MilliCpu(1400)), &[], now),
            "\
Your share  6.5 CPU, up to 15.5 while nobody wants them (1.4 in use)   20.0 GiB (3.1 in use)   37 tasks
  standing  0.5 CPU   4.0 GiB                lease ends in 5h 12m
  job 17    4 CPU     8.0 GiB                runs for 12m of 2h
  job 1042  2 CPU     8.0 GiB (1.0 in use)   paused, runs for 40s"
        );
        assert_eq!(
            share_line(Some(&of(vec![small, train.clone()])), CpuUse::Unknown, &[], now),
            "\
Your share  4.5 CPU   12.0 GiB (3.1 in use)   37 tasks
  standing  0.5 CPU   4.0 GiB   lease ends in 5h 12m
  job 17    4 CPU     8.0 GiB   runs for 12m of 2h"
        );
        assert_eq!(
            share_line(Some(&of(vec![train.clone()])), CpuUse::Unknown, &[], now),
            "\
Your share  4 CPU   8.0 GiB (3.1 in use)   37 tasks
  job 17    4 CPU   8.0 GiB   runs for 12m of 2h"
        );
        let table = share_table(&[of(vec![train, endless])], now);
        assert!(table.ends_with("  active  of 2 allocations"), "{table}");
    }

    #[test]
    fn page_cache_is_not_in_use_and_is_told_beside_it() {
        let of = |needed_bytes, mem_bytes| {
            let usage = Usage { needed_bytes, mem_bytes, tasks: 1, ..Usage::default() };
            ShareInfo { usage: Some(usage), allocations: unbounded(), ..share() }
        };
        let line = |needed, mem| share_line(Some(&of(needed, mem)), CpuUse::Unknown, &[], 0);
        let rest = "   1 task   no lease";
        let own = "Your share  2 CPU   8.0 GiB";
        assert_eq!(line(Some(GIB), 3 * GIB), format!("{own} (1.0 in use, 3.0 with files){rest}"));
        assert_eq!(
            line(Some(20 << 20), 3 * GIB),
            format!("{own} (20.0 MiB in use, 3.0 GiB with files){rest}")
        );
        assert_eq!(line(Some(0), 2 << 20), format!("{own} (0 in use, 2.0 MiB with files){rest}"));
        // Too little to show, and more than all: the two are read one after the other.
        assert_eq!(line(Some(GIB), GIB + 4096), format!("{own} (1.0 in use){rest}"));
        assert_eq!(line(Some(2 * GIB), GIB), format!("{own} (2.0 in use){rest}"));
        assert_eq!(line(None, 3 * GIB), format!("{own} (3.0 in use){rest}"), "an older daemon");
        let table = share_table(&[of(Some(GIB), 3 * GIB)], 0);
        assert!(table.contains("  8.0 GiB (1.0 in use)  "), "{table}");
    }

    #[test]
    fn what_waits_is_shown_with_what_it_asks_for_and_when_it_starts() {
        let job = r#"{"job_id":18,"uid":1,"kind":"submit","state":"queued","created_ms":0,"place":2,"starts_ms":6481000,
            "about":true,"starts_after":17,"limits":{"cpu_milli":4000,"mem_bytes":8589934592,"tasks_max":100}}"#;
        let line = waiting_lines(&[serde_json::from_str(job).unwrap()], 1000).unwrap();
        assert_eq!(
            line,
            "Waiting     job 18 (4 CPU, 8 GiB): place 2, starts in about 1h 48m, when job 17 ends"
        );
    }

    #[test]
    fn a_table_is_aligned_and_does_not_trail() {
        let other = ShareInfo { user: None, usage: None, allocations: unbounded(), ..share() };
        assert_eq!(
            share_table(&[share(), other], 9 * HOUR_MS),
            "\
USER      CPU  MEMORY                TASKS       STATE   LEASE
alice     2    8.0 GiB (3.1 in use)  37 of 4096  active  ends in 1h
uid 1000  2    8.0 GiB               4096        active  no lease"
        );
    }
}
