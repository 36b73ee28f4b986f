//! How things are shown to a person, and as JSON to a program.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::exit::{Exit, Failure};
use crate::contract::{CapacityInfo, ShareInfo, ShareState, Usage};
use crate::quantity::{Bytes, MilliCpu};
use crate::time::milliseconds;

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

/// Whether somebody reads what is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// Yes.
    There,
    /// No: the pipe is closed.
    Gone,
}

/// Writes `text` and a newline to standard output. Where nobody reads it any more, that is no failure.
///
/// # Errors
/// It cannot be written, as on a full disk.
pub fn print(text: &str) -> Result<(), Failure> {
    print_to(text).map(|_| ())
}

/// The same for what goes on and on, and says whether there is use in going on.
///
/// # Errors
/// It cannot be written, as on a full disk.
pub fn print_to(text: &str) -> Result<Reader, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()) {
        Ok(()) => Ok(Reader::There),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Failure::new(Exit::REFUSED, format!("cannot write the output: {error}"))),
    }
}

/// `value` as one line of JSON. Control characters that JSON itself would let through are escaped too, so
/// that it can be shown on a terminal.
///
/// # Errors
/// It cannot be said in JSON.
pub fn json(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string(value)
        .map_err(|error| Failure::new(Exit::REFUSED, format!("cannot print the answer as JSON: {error}")))?;
    // serde_json escapes what RFC 8259 demands, which ends at U+001F. All that is left is inside strings.
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        if drives_terminal(char) {
            let _ = write!(safe, "\\u{:04x}", u32::from(char));
        } else {
            safe.push(char);
        }
    }
    Ok(safe)
}

/// `text` with everything escaped that would do something to a terminal instead of being shown on it.
/// Names and messages come from outside, and a newline in one must not look like a line of ours.
pub fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        if drives_terminal(char) {
            let _ = write!(safe, "{}", char.escape_unicode());
        } else {
            safe.push(char);
        }
    }
    safe
}

/// Control characters (C0, DEL, C1), line and paragraph separators, and what turns the direction of writing
/// (UAX #9), by which a name can be made to look like another.
fn drives_terminal(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The wall clock, in Unix milliseconds.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    milliseconds(since)
}

/// A span of time in its two largest units, rounded down: `5h 12m`, `3d`, `40s`.
pub fn span(span: Duration) -> String {
    const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
    let mut rest = span.as_secs();
    let mut parts = Vec::new();
    for (unit, seconds) in UNITS {
        let count = rest / seconds;
        rest %= seconds;
        if count > 0 {
            parts.push(format!("{count}{unit}"));
        } else if !parts.is_empty() {
            // The next largest unit is nothing: `5h 0m 7s` is said as `5h`.
            break;
        }
        if parts.len() == 2 {
            break;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

/// The figures of a share: `2 CPU, 8.0 GiB and 4096 tasks`.
pub fn figures(cpu_milli: u64, mem_bytes: u64, tasks_max: u64) -> String {
    let tasks = counted(tasks_max, "task", "tasks");
    format!("{} CPU, {} and {tasks}", MilliCpu(cpu_milli), Bytes(mem_bytes))
}

/// A count with its noun: `1 task`, `2 tasks`.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Until when a share is held.
pub fn lease(share: &ShareInfo, now_ms: u64) -> String {
    let Some(ends_ms) = share.lease_ends_ms else { return "no lease".to_owned() };
    let left = span(Duration::from_millis(ends_ms.saturating_sub(now_ms)));
    let over = span(Duration::from_millis(now_ms.saturating_sub(ends_ms)));
    match share.state {
        ShareState::Expired => format!("lease ended {over} ago"),
        ShareState::Active if ends_ms > now_ms => format!("lease ends in {left}"),
        ShareState::Active => "lease ends now".to_owned(),
    }
}

/// The line of `status` about the caller's own share.
pub fn share_line(share: Option<&ShareInfo>, cpu_use: CpuUse, now_ms: u64) -> String {
    let Some(share) = share else {
        return "Your share  none (`fairshare request` takes one, `fairshare run` takes one and works in it)"
            .to_owned();
    };
    let mut columns = vec![cpu(share, cpu_use), memory_with_files(share)];
    columns.push(match &share.usage {
        Some(usage) => counted(usage.tasks, "task", "tasks"),
        None => format!("up to {}", counted(share.tasks_max, "task", "tasks")),
    });
    columns.push(lease(share, now_ms));
    if let Some(kills) = share.usage.as_ref().map(|usage| usage.oom_kills).filter(|kills| *kills > 0) {
        columns.push(format!("{} out of memory", counted(kills, "process killed", "processes killed")));
    }
    format!("Your share  {}", columns.join("   "))
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

/// What is used of a space: `41 of 50 GiB`.
pub fn space_of(used: Bytes, most: Bytes) -> String {
    let most = short(most);
    format!("{} of {most}", in_unit_of(&short(used), &most))
}

/// Everyone's shares as a table.
pub fn share_table(shares: &[ShareInfo], now_ms: u64) -> String {
    let mut rows = vec![["USER", "CPU", "MEMORY", "TASKS", "STATE", "LEASE"].map(str::to_owned).to_vec()];
    for share in shares {
        rows.push(vec![
            share.user.as_deref().map_or_else(|| format!("uid {}", share.uid), safe),
            MilliCpu(share.cpu_milli).to_string(),
            memory(share),
            share.usage.as_ref().map_or_else(
                || share.tasks_max.to_string(),
                |usage| format!("{} of {}", usage.tasks, share.tasks_max),
            ),
            match share.state {
                ShareState::Active => "active".to_owned(),
                ShareState::Expired => "expired".to_owned(),
            },
            lease(share, now_ms).trim_start_matches("lease ").to_owned(),
        ]);
    }
    table(&rows)
}

/// A table, with how much more there is for which the daemon's answer had no room.
pub fn left_out(table: String, count: Option<u64>, what: &str) -> String {
    match count {
        Some(count) => format!("{table}\nNot shown: {count} {what}"),
        None => table,
    }
}

/// Rows with their columns aligned.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
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

/// A size without the unit where the other has the same: `3.1` beside `8.0 GiB`. Nothing needs no unit.
fn in_unit_of(size: &str, other: &str) -> String {
    match (size.split_once(' '), other.split_once(' ')) {
        (Some((figure, unit)), Some((_, other))) if unit == other || figure == "0" => figure.to_owned(),
        _ => size.to_owned(),
    }
}

/// A size without a decimal that says nothing: `62 GiB`.
fn short(size: Bytes) -> String {
    size.to_string().replace(".0 ", " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const HOUR_MS: u64 = 3_600_000;

    fn share() -> ShareInfo {
        ShareInfo {
            uid: 1000,
            user: Some("alice".into()),
            cpu_milli: 2000,
            mem_bytes: 8 * GIB,
            tasks_max: 4096,
            slice: "fairshare-1000.slice".into(),
            state: ShareState::Active,
            granted_ms: 0,
            lease_ends_ms: Some(10 * HOUR_MS),
            burst_cpu_milli: None,
            usage: Some(Usage { mem_bytes: 31 * GIB / 10 + 1, tasks: 37, ..Usage::default() }),
        }
    }

    #[test]
    fn the_two_lines_of_status_read_as_designed() {
        let now = 10 * HOUR_MS - 5 * HOUR_MS - 12 * 60_000 - 1000;
        assert_eq!(
            share_line(Some(&share()), CpuUse::Now(MilliCpu(1400)), now),
            "Your share  2 CPU (1.4 in use)   8.0 GiB (3.1 in use)   37 tasks   lease ends in 5h 12m"
        );
        let bursts = ShareInfo { burst_cpu_milli: Some(15_500), ..share() };
        assert_eq!(
            share_line(Some(&bursts), CpuUse::Now(MilliCpu(6300)), now),
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
        let unknown = ShareInfo { usage: None, lease_ends_ms: None, ..share() };
        assert_eq!(
            share_line(Some(&unknown), CpuUse::Unknown, 0),
            "Your share  2 CPU   8.0 GiB   up to 4096 tasks   no lease"
        );
        let killed = Usage { oom_kills: 1, tasks: 1, mem_bytes: 512 << 20, ..Usage::default() };
        let expired = ShareInfo { state: ShareState::Expired, usage: Some(killed), ..share() };
        assert_eq!(
            share_line(Some(&expired), CpuUse::Total(Duration::from_secs(37 * 60)), 10 * HOUR_MS + 90_000),
            "Your share  2 CPU (37m used)   8.0 GiB (512.0 MiB in use)   1 task   lease ended 1m 30s ago   \
             1 process killed out of memory"
        );
    }

    #[test]
    fn page_cache_is_not_in_use_and_is_told_beside_it() {
        let of = |needed_bytes, mem_bytes| {
            let usage = Usage { needed_bytes, mem_bytes, tasks: 1, ..Usage::default() };
            ShareInfo { usage: Some(usage), lease_ends_ms: None, ..share() }
        };
        let line = |needed, mem| share_line(Some(&of(needed, mem)), CpuUse::Unknown, 0);
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
    fn a_span_is_said_in_its_two_largest_units() {
        for (seconds, text) in [
            (0, "0s"),
            (40, "40s"),
            (3600, "1h"),
            (3607, "1h"),
            (18_720, "5h 12m"),
            (86_400 * 7, "7d"),
            (86_399, "23h 59m"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn hostile_text_is_shown_and_not_obeyed() {
        assert_eq!(
            safe("a\x1b[2Jb\nc\u{9b}d\u{7f}\u{202e}e ä"),
            r"a\u{1b}[2Jb\u{a}c\u{9b}d\u{7f}\u{202e}e ä"
        );
        assert_eq!(json(&"\x1b\u{9b}\u{202e}ä").unwrap(), r#""\u001b\u009b\u202eä""#);
    }

    #[test]
    fn a_table_is_aligned_and_does_not_trail() {
        let other = ShareInfo { user: None, usage: None, lease_ends_ms: None, ..share() };
        assert_eq!(
            share_table(&[share(), other], 9 * HOUR_MS),
            "\
USER      CPU  MEMORY                TASKS       STATE   LEASE
alice     2    8.0 GiB (3.1 in use)  37 of 4096  active  ends in 1h
uid 1000  2    8.0 GiB               4096        active  no lease"
        );
    }
}
