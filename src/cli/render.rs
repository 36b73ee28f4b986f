//! How things are shown to a person, and as JSON to a program.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::exit::{Exit, Failure};
use crate::host::account;
use crate::identity::Uid;
use crate::quantity::{Bytes, MilliCpu};
use crate::time::milliseconds;

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

/// A span of CPU time. What most commands use is less than a second.
pub fn cpu_time(used: Duration) -> String {
    if used < Duration::from_secs(1) { format!("{}ms", used.as_millis()) } else { span(used) }
}

/// A moment in UTC, to the second.
pub fn moment(ms: u64) -> String {
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(ms)).unwrap_or(UNIX_EPOCH);
    humantime::format_rfc3339_seconds(at).to_string()
}

/// A user's name, made safe to be shown, or the number where nobody tells it.
pub fn user(uid: u64) -> String {
    let name = Uid::new(uid).and_then(account::name);
    name.map_or_else(|| format!("uid {uid}"), |name| safe(&name))
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

/// What the kernel has killed of a job that went on, as it follows after how that ended.
pub fn killed(oom_kills: Option<u64>) -> String {
    oom_kills.map_or_else(String::new, |kills| {
        format!(", {} killed for want of memory", counted(kills, "process", "processes"))
    })
}

/// What is used of a space: `41 of 50 GiB`.
pub fn space_of(used: Bytes, most: Bytes) -> String {
    let most = short(most);
    format!("{} of {most}", in_unit_of(&short(used), &most))
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

/// A size without the unit where the other has the same: `3.1` beside `8.0 GiB`. Nothing needs no unit.
pub fn in_unit_of(size: &str, other: &str) -> String {
    match (size.split_once(' '), other.split_once(' ')) {
        (Some((figure, unit)), Some((_, other))) if unit == other || figure == "0" => figure.to_owned(),
        _ => size.to_owned(),
    }
}

/// A size without a decimal that says nothing: `62 GiB`.
pub fn short(size: Bytes) -> String {
    size.to_string().replace(".0 ", " ")
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
