//! `fairshare usage`: what was held and used, summed up.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::past::{self, By, Usage};
use crate::cli::exit::{Exit, Failure};
use crate::cli::link::Link;
use crate::cli::render;
use crate::cli::whom::Whom;
use crate::contract::{self, EndInfo, EndKind};
use crate::host::account;
use crate::identity::Uid;

const HOUR_MS: f64 = 3_600_000.0;
const GIB: f64 = (1u64 << 30) as f64;

/// What is told of all lines together.
#[derive(serde::Serialize)]
struct Report {
    since_ms: u64,
    by: By,
    usage: Vec<Line>,
}

/// What one member, group or day comes to.
#[derive(Debug, Clone, Default, serde::Serialize)]
struct Line {
    /// The name of that.
    of: String,
    /// How much has ended.
    ends: u64,
    /// CPU times the hours that it was held.
    cpu_held_hours: f64,
    /// Hours of CPU time, of what it is known of.
    cpu_used_hours: f64,
    /// GiB of memory times the hours that it was held.
    mem_held_gib_hours: f64,
    /// From the asking to the start, in milliseconds: the mean of what has started.
    wait_mean_ms: u64,
    /// The longest of these.
    wait_max_ms: u64,
    #[serde(skip)]
    started: u64,
    #[serde(skip)]
    waited_ms: u64,
}

/// Shows what the caller held and used, or everybody.
///
/// # Errors
/// Refused, or no daemon answers.
pub fn run(args: &Usage, socket: &Path) -> Result<Exit, Failure> {
    let since_ms = past::ago(args.since);
    let asked = contract::History {
        since_ms: Some(since_ms),
        all: args.all.then_some(true),
        ..contract::History::default()
    };
    let ends = past::ends(&mut Link::new(socket), asked, &Whom::Me)?;
    let usage = summed(&ends, args.by);
    let text = match usage.is_empty() {
        _ if args.json => render::json(&Report { since_ms, by: args.by, usage })?,
        _ if args.csv => past::csv(&fields(&usage, args.by)),
        true => "Nothing has ended in that time".to_owned(),
        false => table(&usage, args.by),
    };
    render::print(&text)?;
    Ok(Exit::DONE)
}

fn summed(ends: &[EndInfo], by: By) -> Vec<Line> {
    let mut lines: BTreeMap<String, Line> = BTreeMap::new();
    let mut known: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for end in ends {
        let keys = match by {
            By::Day => vec![day(end.ended_ms)],
            By::User => vec![end.user.clone().unwrap_or_else(|| render::user(end.uid))],
            By::Group => known.entry(end.uid).or_insert_with(|| groups(end.uid)).clone(),
        };
        for key in keys {
            lines.entry(key).or_default().add(end);
        }
    }
    lines.into_iter().map(|(of, line)| Line { of, wait_mean_ms: line.mean(), ..line }).collect()
}

/// The day of a moment, in UTC.
fn day(ms: u64) -> String {
    render::moment(ms).split('T').next().unwrap_or_default().to_owned()
}

/// The groups that a user is in now.
fn groups(uid: u64) -> Vec<String> {
    let names = Uid::new(uid).map(account::group_names).unwrap_or_default();
    if names.is_empty() { vec!["-".to_owned()] } else { names }
}

impl Line {
    fn add(&mut self, end: &EndInfo) {
        let held_hours = end.held_ms.unwrap_or(0) as f64 / HOUR_MS;
        self.ends = self.ends.saturating_add(1);
        self.cpu_held_hours += end.cpu_milli as f64 / 1000.0 * held_hours;
        self.mem_held_gib_hours += end.mem_bytes as f64 / GIB * held_hours;
        // What worked in room that another end has is in that one's figure too.
        let used_usec = end.cpu_usec.filter(|_| end.held_ms.is_some());
        self.cpu_used_hours += used_usec.unwrap_or(0) as f64 / 1000.0 / HOUR_MS;
        // Who waited for a standing allocation is told by the request.
        if end.started_ms.is_some() && end.kind != EndKind::Standing {
            self.started = self.started.saturating_add(1);
            self.waited_ms = self.waited_ms.saturating_add(end.waited_ms);
            self.wait_max_ms = self.wait_max_ms.max(end.waited_ms);
        }
    }

    fn mean(&self) -> u64 {
        self.waited_ms.checked_div(self.started).unwrap_or(0)
    }
}

fn of(by: By) -> &'static str {
    match by {
        By::User => "user",
        By::Group => "group",
        By::Day => "day",
    }
}

fn table(lines: &[Line], by: By) -> String {
    let heads =
        [&*of(by).to_uppercase(), "ENDS", "CPU HELD", "CPU USED", "MEMORY HELD", "WAIT, MEAN", "WAIT, MAX"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    let span = |ms: u64| render::span(Duration::from_millis(ms));
    rows.extend(lines.iter().map(|line| {
        vec![
            render::safe(&line.of),
            line.ends.to_string(),
            format!("{:.2} h", line.cpu_held_hours),
            format!("{:.2} h", line.cpu_used_hours),
            format!("{:.2} GiB h", line.mem_held_gib_hours),
            span(line.wait_mean_ms),
            span(line.wait_max_ms),
        ]
    }));
    render::table(&rows)
}

fn fields(lines: &[Line], by: By) -> Vec<Vec<String>> {
    let heads = [
        of(by),
        "ends",
        "cpu_held_hours",
        "cpu_used_hours",
        "mem_held_gib_hours",
        "wait_mean_s",
        "wait_max_s",
    ];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    rows.extend(lines.iter().map(|line| {
        vec![
            past::text_field(&line.of),
            line.ends.to_string(),
            format!("{:.6}", line.cpu_held_hours),
            format!("{:.6}", line.cpu_used_hours),
            format!("{:.6}", line.mem_held_gib_hours),
            past::seconds(line.wait_mean_ms),
            past::seconds(line.wait_max_ms),
        ]
    }));
    rows
}
