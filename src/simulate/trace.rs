//! Traces of requests: our own CSV, the Standard Workload Format of public cluster logs, and what the daemon remembers.
//!
//! CSV: `arrival_s,user,cpu,mem,wanted_s`, as the first line may say; `#` begins a comment.
//! SWF: 18 fields in a line, `;` begins a comment, -1 is unknown (Feitelson,
//! <https://www.cs.huji.ac.il/labs/parallel/workload/swf.html>).

use std::collections::BTreeMap;
use std::fmt;

use crate::contract::{EndInfo, EndKind, JobState};
use crate::quantity::{Bytes, MilliCpu, PartialAmount, Tasks};

/// The longest time in a trace, in seconds: 100 years.
const SECONDS_MAX: u64 = 100 * 365 * 24 * 3600;

/// How a trace is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `arrival_s,user,cpu,mem,wanted_s`.
    Csv,
    /// The Standard Workload Format.
    Swf,
}

/// What becomes of lines that are not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadLines {
    /// The first ends the reading.
    Refuse,
    /// They are left out, and named.
    Skip,
}

/// A line that was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize)]
#[error("line {line}: {why}")]
pub struct BadLine {
    /// Which, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub why: String,
}

/// One request of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The line that it stands in, from 1.
    pub line: u64,
    /// When it comes, in milliseconds.
    pub at_ms: u64,
    /// Whose: an index into [`Trace::users`].
    pub user: usize,
    /// What is asked for; the policy's defaults for what is not named.
    pub amount: PartialAmount,
    /// How long the work takes, in milliseconds; at least 1.
    pub runs_ms: u64,
    /// For how long the share is asked for, in milliseconds; `None`: without a limit.
    pub lease_ms: Option<u64>,
}

/// A trace, in the order of arrival.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trace {
    /// The members.
    pub users: Vec<String>,
    /// The requests.
    pub arrivals: Vec<Arrival>,
    /// What was left out.
    pub skipped: Vec<BadLine>,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Csv => "CSV",
            Self::Swf => "SWF",
        })
    }
}

impl Trace {
    /// The trace that is written in `text`.
    ///
    /// # Errors
    /// The first bad line, where bad lines are refused.
    pub fn parse(text: &str, format: Format, bad: BadLines) -> Result<Self, BadLine> {
        let mut trace = Self::default();
        let mut known: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let read = match format {
                Format::Csv => csv(line, index == 0),
                Format::Swf => swf(line),
            };
            let number = index as u64 + 1;
            match read {
                Ok(None) => {}
                Ok(Some((user, mut arrival))) => {
                    arrival.line = number;
                    arrival.user = *known.entry(user).or_insert_with(|| {
                        trace.users.push(user.to_owned());
                        trace.users.len() - 1
                    });
                    trace.arrivals.push(arrival);
                }
                Err(why) => {
                    let line = BadLine { line: number, why };
                    match bad {
                        BadLines::Refuse => return Err(line),
                        BadLines::Skip => trace.skipped.push(line),
                    }
                }
            }
        }
        trace.arrivals.sort_by_key(|arrival| arrival.at_ms);
        Ok(trace)
    }
}

impl Trace {
    /// The trace of what held room of its own and is over, as the history tells it; its lines are numbered as it has them. What
    /// never got room, or worked in that of another, is left out.
    pub fn of_ends(ends: &[EndInfo]) -> Self {
        let mut trace = Self::default();
        let mut known: BTreeMap<u64, usize> = BTreeMap::new();
        let begins = ends.iter().map(|end| end.created_ms).min().unwrap_or(0);
        // When each member asked for the standing allocation that came to them at a moment.
        let mut asked: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        for (line, end) in (1..).zip(ends) {
            if end.kind == EndKind::Request && end.state == JobState::Done {
                asked.insert((end.uid, end.ended_ms), end.created_ms);
                continue;
            }
            let Some(held_ms) = end.held_ms else {
                trace.skipped.push(BadLine { line, why: "it held no room of its own".to_owned() });
                continue;
            };
            let user = *known.entry(end.uid).or_insert_with(|| {
                trace.users.push(end.user.clone().unwrap_or_else(|| format!("uid {}", end.uid)));
                trace.users.len() - 1
            });
            trace.arrivals.push(Arrival {
                line,
                at_ms: asked_ms(&mut asked, end).saturating_sub(begins),
                user,
                amount: PartialAmount {
                    cpu: Some(MilliCpu(end.cpu_milli)),
                    mem: Some(Bytes(end.mem_bytes)),
                    tasks: Some(Tasks(end.tasks_max)),
                },
                runs_ms: held_ms.max(1),
                lease_ms: end.lease_ms,
            });
        }
        trace.arrivals.sort_by_key(|arrival| arrival.at_ms);
        trace
    }
}

/// How long a standing allocation may be granted before or after its request is said to be over, in milliseconds: the two are told
/// by two looks at the clock.
const GRANTED_WITHIN_MS: u64 = 60_000;

/// When what held room was asked for: of a standing allocation that was waited for the request tells.
fn asked_ms(asked: &mut BTreeMap<(u64, u64), u64>, end: &EndInfo) -> u64 {
    if end.kind != EndKind::Standing {
        return end.created_ms;
    }
    let around =
        end.created_ms.saturating_sub(GRANTED_WITHIN_MS)..=end.created_ms.saturating_add(GRANTED_WITHIN_MS);
    let near = asked.range((end.uid, *around.start())..=(end.uid, *around.end()));
    let Some((&at, &asked_ms)) = near.min_by_key(|((_, at), _)| at.abs_diff(end.created_ms)) else {
        return end.created_ms;
    };
    asked.remove(&at);
    asked_ms
}

type Read<'a> = Result<Option<(&'a str, Arrival)>, String>;

fn csv(line: &str, first: bool) -> Read<'_> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') || (first && line.starts_with("arrival_s")) {
        return Ok(None);
    }
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    let &[at, user, cpu, mem, wanted] = fields.as_slice() else {
        return Err(format!("{} fields, and there must be 5: arrival_s,user,cpu,mem,wanted_s", fields.len()));
    };
    if user.is_empty() {
        return Err("no user".to_owned());
    }
    let cpu: MilliCpu = cpu.parse().map_err(|error| format!("cpu: {error}"))?;
    let mem: Bytes = mem.parse().map_err(|error| format!("mem: {error}"))?;
    let at_ms = seconds(at).ok_or_else(|| format!("arrival_s: {at:?} is no number of seconds"))?;
    let runs_ms = seconds(wanted)
        .filter(|ms| *ms > 0)
        .ok_or_else(|| format!("wanted_s: {wanted:?} is no number of seconds over 0"))?;
    let amount = PartialAmount { cpu: Some(cpu), mem: Some(mem), tasks: None };
    Ok(Some((user, Arrival { line: 0, at_ms, user: 0, amount, runs_ms, lease_ms: Some(runs_ms) })))
}

/// Seconds with at most three decimals that count, in milliseconds.
fn seconds(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return None;
    }
    let whole: u64 = whole.parse().ok().filter(|whole| *whole <= SECONDS_MAX)?;
    let part: String = part.chars().chain("000".chars()).take(3).collect();
    Some(whole * 1000 + part.parse::<u64>().ok()?)
}

fn swf(line: &str) -> Read<'_> {
    let line = line.trim();
    if line.is_empty() || line.starts_with(';') {
        return Ok(None);
    }
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    if fields.len() != 18 {
        return Err(format!("{} fields, and the Standard Workload Format has 18", fields.len()));
    }
    let text = |number: usize| fields.get(number - 1).copied().unwrap_or_default();
    // A field by its number in the format; `None` is -1, unknown.
    let field = |number: usize, name: &str| match text(number) {
        "-1" => Ok(None),
        text => match text.parse::<u64>() {
            Ok(figure) => Ok(Some(figure)),
            Err(_) => match seconds(text) {
                Some(ms) => Ok(Some(ms / 1000)),
                None => Err(format!("field {number} ({name}): {text:?} is no number")),
            },
        },
    };
    let ms = |seconds: u64, name: &str| {
        let bounded = Some(seconds).filter(|seconds| *seconds <= SECONDS_MAX);
        bounded.map(|seconds| seconds * 1000).ok_or_else(|| format!("{name}: {seconds} s is too long"))
    };
    let at = field(2, "submit time")?.ok_or("no submit time")?;
    let runs = field(4, "run time")?.filter(|runs| *runs > 0).ok_or("it never ran")?;
    let cpus = field(8, "requested processors")?.filter(|cpus| *cpus > 0);
    let cpus = cpus.or(field(5, "processors")?).filter(|cpus| *cpus > 0).ok_or("no processors")?;
    let asked = field(9, "requested time")?.filter(|asked| *asked > 0).unwrap_or(runs);
    let kib = field(10, "requested memory")?.or(field(7, "used memory")?).filter(|kib| *kib > 0);
    let cpu = cpus.checked_mul(1000).map(MilliCpu::checked).ok_or("too many processors")?;
    let cpu = cpu.map_err(|error| error.to_string())?;
    // Memory is for each processor, in KiB.
    let bytes = kib.map(|kib| kib.checked_mul(1024).and_then(|bytes| bytes.checked_mul(cpus)));
    let mem = match bytes {
        None => None,
        Some(bytes) => {
            Some(Bytes::checked(bytes.ok_or("too much memory")?).map_err(|error| error.to_string())?)
        }
    };
    let arrival = Arrival {
        line: 0,
        at_ms: ms(at, "submit time")?,
        user: 0,
        amount: PartialAmount { cpu: Some(cpu), mem, tasks: None },
        runs_ms: ms(runs, "run time")?,
        lease_ms: Some(ms(asked, "requested time")?),
    };
    Ok(Some((text(12), arrival)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_lines_are_named_and_skipped_or_refused() {
        let text = "arrival_s,user,cpu,mem,wanted_s\n1.5,a,2,1G,10\n\n# note\n1,a,2,1G\nx,a,2,1G,1\n0,b,0,1G,1\n0,b,1,1G,0\n0.25,b,1,1G,1\n";
        let trace = Trace::parse(text, Format::Csv, BadLines::Skip).unwrap();
        assert_eq!(trace.skipped.iter().map(|bad| bad.line).collect::<Vec<_>>(), [5, 6, 7, 8]);
        assert_eq!(trace.arrivals.iter().map(|a| a.at_ms).collect::<Vec<_>>(), [250, 1500]);
        let refused = Trace::parse(text, Format::Csv, BadLines::Refuse).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "line 5: 4 fields, and there must be 5: arrival_s,user,cpu,mem,wanted_s"
        );
    }

    #[test]
    fn the_workload_format_is_read() {
        let text = "; Version: 2.2\n1 100 5 60 4 -1 -1 4 120 1024 1 7 1 1 1 1 -1 -1\n2 101 5 -1 4 -1 -1 4 120 -1 0 7 1 1 1 1 -1 -1\n3 102\n";
        let trace = Trace::parse(text, Format::Swf, BadLines::Skip).unwrap();
        assert_eq!(trace.users, ["7"]);
        let [one] = trace.arrivals.as_slice() else { panic!("{trace:?}") };
        assert_eq!((one.at_ms, one.runs_ms, one.lease_ms), (100_000, 60_000, Some(120_000)));
        let amount = PartialAmount { cpu: Some(MilliCpu(4000)), mem: Some(Bytes(4 << 20)), tasks: None };
        assert_eq!(one.amount, amount);
        assert_eq!(trace.skipped.len(), 2);
    }
}
