//! `fairshare history`: how jobs and allocations ended.

use std::path::Path;
use std::time::Duration;

use super::past::{self, History};
use crate::cli::array::Named;
use crate::cli::exit::{Exit, Failure};
use crate::cli::link::Link;
use crate::cli::render;
use crate::cli::whom::Whom;
use crate::contract::{self, EndInfo, HistoryAnswer};
use crate::quantity::{Bytes, MilliCpu};

/// Shows how the caller's jobs and allocations ended, or others'.
///
/// # Errors
/// Refused, or no daemon answers.
pub fn run(args: &History, socket: &Path) -> Result<Exit, Failure> {
    let whom = args.user.as_deref().map_or(Ok(Whom::Me), Whom::named)?;
    let asked = contract::History {
        since_ms: args.since.map(past::ago),
        until_ms: args.until.map(past::ago),
        for_uid: whom.for_uid(),
        all: args.all.then_some(true),
        ..contract::History::default()
    };
    let ends = past::ends(&mut Link::new(socket), asked, &whom)?;
    let text = match ends.is_empty() {
        _ if args.json => render::json(&HistoryAnswer { history: ends, next: None })?,
        _ if args.csv => past::csv(&fields(&ends)),
        true => "Nothing is remembered of that time".to_owned(),
        false => table(&ends),
    };
    render::print(&text)?;
    Ok(Exit::DONE)
}

/// What its member knows a job by that has ended.
fn named(end: &EndInfo) -> Option<String> {
    end.job_id.map(|job| end.task.map_or(Named::Job(job), Named::Task).to_string())
}

fn table(ends: &[EndInfo]) -> String {
    let heads = [
        "ENDED", "KIND", "JOB", "USER", "CPU", "MEMORY", "WAITED", "LASTED", "CPU TIME", "NEEDED", "NAME",
        "END",
    ];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    let unknown = || "-".to_owned();
    let span = |ms: u64| render::span(Duration::from_millis(ms));
    let some = |figure: u64, shown: String| if figure > 0 { shown } else { unknown() };
    for end in ends {
        rows.push(vec![
            render::moment(end.ended_ms),
            end.kind.name().to_owned(),
            named(end).unwrap_or_else(unknown),
            user(end),
            some(end.cpu_milli, MilliCpu(end.cpu_milli).to_string()),
            some(end.mem_bytes, Bytes(end.mem_bytes).to_string()),
            span(end.waited_ms),
            end.started_ms.map_or_else(unknown, |at| span(end.ended_ms.saturating_sub(at))),
            end.cpu_usec.map_or_else(unknown, |usec| render::cpu_time(Duration::from_micros(usec))),
            end.needed_bytes.or(end.peak_mem_bytes).map_or_else(unknown, |bytes| Bytes(bytes).to_string()),
            end.name.as_deref().map_or_else(unknown, render::safe),
            how(end),
        ]);
    }
    render::table(&rows)
}

fn user(end: &EndInfo) -> String {
    end.user.as_deref().map_or_else(|| render::user(end.uid), render::safe)
}

fn how(end: &EndInfo) -> String {
    match (end.exit_code, end.signal) {
        _ if end.oom == Some(true) => "out of memory".to_owned(),
        (Some(code), _) => format!("exit {code}{}", render::killed(end.oom_kills)),
        (_, Some(signal)) => format!("signal {signal}{}", render::killed(end.oom_kills)),
        _ => end.state.name().to_owned(),
    }
}

/// The same for a spreadsheet, with all that is known.
fn fields(ends: &[EndInfo]) -> Vec<Vec<String>> {
    let heads = [
        "ended",
        "kind",
        "job",
        "uid",
        "user",
        "name",
        "state",
        "exit_code",
        "signal",
        "oom",
        "cpu",
        "mem_bytes",
        "tasks",
        "asked_s",
        "created",
        "waited_s",
        "started",
        "held_s",
        "cpu_s",
        "needed_bytes",
        "peak_mem_bytes",
        "oom_kills",
    ];
    let number = |figure: Option<u64>| figure.map(|figure| figure.to_string()).unwrap_or_default();
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for end in ends {
        rows.push(vec![
            render::moment(end.ended_ms),
            end.kind.name().to_owned(),
            named(end).unwrap_or_default(),
            end.uid.to_string(),
            past::text_field(&user(end)),
            past::text_field(end.name.as_deref().unwrap_or_default()),
            end.state.name().to_owned(),
            number(end.exit_code),
            number(end.signal),
            end.oom.map(|oom| oom.to_string()).unwrap_or_default(),
            MilliCpu(end.cpu_milli).to_string(),
            end.mem_bytes.to_string(),
            end.tasks_max.to_string(),
            end.lease_ms.map(past::seconds).unwrap_or_default(),
            render::moment(end.created_ms),
            past::seconds(end.waited_ms),
            end.started_ms.map(render::moment).unwrap_or_default(),
            end.held_ms.map(past::seconds).unwrap_or_default(),
            end.cpu_usec.map(|usec| past::seconds(usec / 1000)).unwrap_or_default(),
            number(end.needed_bytes),
            number(end.peak_mem_bytes),
            number(end.oom_kills),
        ]);
    }
    rows
}
