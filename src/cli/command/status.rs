//! `fairshare status`: what is mine, and the machine.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::args::Status;
use crate::cli::exit::{Exit, Failure};
use crate::cli::left;
use crate::cli::link::Link;
use crate::cli::quota;
use crate::cli::render;
use crate::cli::shares::{self, CpuUse};
use crate::cli::tell::note;
use crate::cli::whom::Whom;
use crate::contract::{self, CapacityInfo, JobInfo, JobList, List, ShareInfo, StatusAnswer};
use crate::quantity::MilliCpu;

/// How long the use of CPU is watched where a person looks on: too short to be noticed, and a hundred
/// times what the kernel's clock ticks at.
const CPU_WATCHED_FOR: Duration = Duration::from_millis(100);

/// Shows the caller's share and the machine, or everyone's shares.
///
/// # Errors
/// Refused, or no daemon answers.
pub fn run(args: &Status, socket: &Path) -> Result<Exit, Failure> {
    let mut link = Link::new(socket);
    if args.all {
        return all(args, &mut link);
    }
    let disks = (!args.json).then(quota::ask);
    let asked = Instant::now();
    let answer = ask(&mut link)?;
    if args.json {
        render::print(&render::json(&answer)?)?;
        return Ok(Exit::DONE);
    }
    let StatusAnswer { share, capacity } = answer;
    let cpu_use = match &share {
        Some(share) if share.usage.is_some() && io::stdout().is_terminal() => {
            watch_cpu(&mut link, share, asked)?
        }
        share => total(share.as_ref()),
    };
    let jobs = jobs(&mut link, share.as_ref(), &capacity)?;
    let now_ms = render::now_ms();
    let mine = shares::share_line(share.as_ref(), cpu_use, &jobs, now_ms);
    let mut lines = vec![mine];
    lines.extend(shares::waiting_lines(&jobs, now_ms));
    lines.push(shares::machine_line(&capacity));
    lines.extend(disks.map(quota::Asked::lines).unwrap_or_default());
    render::print(&lines.join("\n"))?;
    if capacity.left_behind_bytes.is_some()
        && let Some(words) = left::words()
    {
        note(&words);
    }
    Ok(Exit::DONE)
}

fn ask(link: &mut Link) -> Result<StatusAnswer, Failure> {
    link.ask(&contract::Status { for_uid: None }, &Whom::Me)
}

/// The caller's jobs, where the status has something of them: what an allocation is for, or what waits.
fn jobs(
    link: &mut Link,
    share: Option<&ShareInfo>,
    capacity: &CapacityInfo,
) -> Result<Vec<JobInfo>, Failure> {
    let mut allocations = share.into_iter().filter_map(|share| share.allocations.as_ref()).flatten();
    if capacity.waiting == 0 && !allocations.any(|allocation| allocation.job_id.is_some()) {
        return Ok(Vec::new());
    }
    link.ask(&JobList { all: None }, &Whom::Me).map(|answer| answer.jobs)
}

fn all(args: &Status, link: &mut Link) -> Result<Exit, Failure> {
    let answer = link.ask(&List {}, &Whom::Me)?;
    let text = if args.json {
        render::json(&answer)?
    } else {
        let machine = shares::machine_line(&answer.capacity);
        // None are held, or none that the policy shows: a heading over nothing says neither.
        if answer.shares.is_empty() {
            machine
        } else {
            let table = shares::share_table(&answer.shares, render::now_ms());
            format!("{}\n{machine}", render::left_out(table, answer.shares_left_out, "shares"))
        }
    };
    render::print(&text)?;
    Ok(Exit::DONE)
}

/// The answer has only how much CPU time was used in all, so that use at this moment takes two looks.
fn watch_cpu(link: &mut Link, before: &ShareInfo, asked: Instant) -> Result<CpuUse, Failure> {
    thread::sleep(CPU_WATCHED_FOR);
    let span = asked.elapsed();
    let after = ask(link)?.share;
    // Another share meanwhile: its time starts from nothing.
    let after = after.filter(|after| since(after) == since(before));
    Ok(rate(usec(Some(before)), usec(after.as_ref()), span).map_or_else(|| total(Some(before)), CpuUse::Now))
}

/// When the first of its allocations was granted that is still there.
fn since(share: &ShareInfo) -> Option<u64> {
    share.allocations.iter().flatten().map(|allocation| allocation.granted_ms).min()
}

fn rate(before: Option<u64>, after: Option<u64>, span: Duration) -> Option<MilliCpu> {
    let used_usec = after?.checked_sub(before?)?;
    let span_usec = u64::try_from(span.as_micros()).ok()?;
    used_usec.checked_mul(1000)?.checked_div(span_usec).map(MilliCpu)
}

fn total(share: Option<&ShareInfo>) -> CpuUse {
    usec(share).map_or(CpuUse::Unknown, |usec| CpuUse::Total(Duration::from_micros(usec)))
}

fn usec(share: Option<&ShareInfo>) -> Option<u64> {
    share?.usage.as_ref().map(|usage| usage.cpu_usec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_time_used_by_time_gone() {
        let tenth = Duration::from_millis(100);
        assert_eq!(rate(Some(1_000_000), Some(1_140_000), tenth), Some(MilliCpu(1400)));
        assert_eq!(rate(Some(2), Some(1), tenth), None, "a counter that went back is another share's");
        assert_eq!(rate(None, Some(1), tenth), None);
        assert_eq!(rate(Some(1), Some(2), Duration::ZERO), None);
    }
}
