//! `fairshare jobs`, `wait`, `cancel`: what takes long.

use std::path::Path;
use std::time::Duration;

use super::watch::{self, Waited};
use crate::cli::args::{JobNumber, Jobs};
use crate::cli::exit::{Exit, Failure};
use crate::cli::link::Link;
use crate::cli::render;
use crate::cli::whom::Whom;
use crate::contract::{JobCancel, JobInfo, JobKind, JobList, JobState, OneJob};
use crate::quantity::Bytes;

const MIB: u64 = 1 << 20;

/// Shows the caller's jobs, or everyone's.
///
/// # Errors
/// Refused, or no daemon answers.
pub fn list(args: &Jobs, socket: &Path) -> Result<Exit, Failure> {
    let answer = Link::new(socket).ask(&JobList { all: args.all.then_some(true) }, &Whom::Me)?;
    let text = if args.json {
        render::json(&answer)?
    } else if answer.jobs.is_empty() {
        "No jobs".to_owned()
    } else {
        let table = table(&answer.jobs, render::now_ms());
        render::left_out(table, answer.jobs_left_out, "older jobs")
    };
    render::print(&text)?;
    Ok(Exit::DONE)
}

/// Waits until a job has ended, and ends with its command's own status.
///
/// # Errors
/// Refused, no daemon answers, or the job did not do what it was for.
pub fn wait(args: &JobNumber, socket: &Path) -> Result<Exit, Failure> {
    let mut link = Link::new(socket);
    match watch::watch(&mut link, socket, args.id, None, |_| {})? {
        Waited::Ended(job) => watch::outcome(&job, &Whom::Me),
        // Neither can be: there is no time, and signals have their usual effect.
        Waited::TimeOver | Waited::Interrupted => Ok(Exit::TRY_AGAIN),
    }
}

/// Cancels a job. One that has ended stays as it is.
///
/// # Errors
/// Refused, or no daemon answers.
pub fn cancel(args: &JobNumber, socket: &Path) -> Result<Exit, Failure> {
    let OneJob { job } = Link::new(socket).ask(&JobCancel { job_id: args.id }, &Whom::Me)?;
    render::print(&format!("Job {} is {}", job.job_id, state(&job)))?;
    Ok(Exit::DONE)
}

fn table(jobs: &[JobInfo], now_ms: u64) -> String {
    let heads = ["JOB", "UID", "KIND", "STATE", "AGE", "WAITED", "CPU", "NEEDED", "NAME", "RESULT"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    let unknown = || "-".to_owned();
    for job in jobs {
        let began_ms = job.started_ms.or(job.ended_ms).unwrap_or(now_ms);
        rows.push(vec![
            job.job_id.to_string(),
            job.uid.to_string(),
            kind(job).to_owned(),
            state(job).to_owned(),
            between(job.created_ms, now_ms),
            between(job.created_ms, began_ms),
            job.cpu_usec.map_or_else(unknown, |usec| cpu_time(Duration::from_micros(usec))),
            needed(job).unwrap_or_else(unknown),
            job.name.as_deref().map_or_else(unknown, render::safe),
            result(job, now_ms),
        ]);
    }
    render::table(&rows)
}

fn between(from_ms: u64, to_ms: u64) -> String {
    render::span(Duration::from_millis(to_ms.saturating_sub(from_ms)))
}

/// What most commands use is less than a second.
fn cpu_time(used: Duration) -> String {
    if used < Duration::from_secs(1) { format!("{}ms", used.as_millis()) } else { render::span(used) }
}

fn kind(job: &JobInfo) -> &'static str {
    match job.kind {
        JobKind::Request => "request",
        JobKind::Submit => "submit",
        JobKind::Release => "release",
    }
}

/// In one word where a job stands.
pub fn state(job: &JobInfo) -> &'static str {
    match job.state {
        JobState::Queued => "queued",
        JobState::Running => "running",
        JobState::Done => "done",
        JobState::Failed => "failed",
        JobState::Cancelled => "cancelled",
        JobState::Interrupted => "interrupted",
    }
}

/// The most memory that was needed, and of how much. Where nobody has seen that, it was no more than what was counted with the
/// page cache.
fn needed(job: &JobInfo) -> Option<String> {
    let most = match (job.needed_bytes, job.peak_mem_bytes) {
        // It was looked at once a minute: in between it may have been anything up to the peak.
        (Some(needed), Some(peak)) if peak > needed => format!("{} to {}", Bytes(needed), Bytes(peak)),
        (Some(needed), _) => Bytes(needed).to_string(),
        (None, peak) => format!("up to {}", Bytes(peak?)),
    };
    Some(match job.mem_limit_bytes {
        Some(limit) => format!("{most} of {}", Bytes(limit)),
        None => most,
    })
}

/// What was used, and what to ask for next: half as much again. No page cache was left to take back when the kernel killed, so
/// that the peak is what was needed.
fn out_of_memory(job: &JobInfo) -> String {
    match job.peak_mem_bytes.map(Bytes) {
        Some(peak) => {
            let next = peak.0.saturating_add(peak.0 / 2).div_ceil(MIB);
            format!("out of memory at {peak}: try --mem {next}M, in a share of at least as much")
        }
        None => "out of memory".to_owned(),
    }
}

fn result(job: &JobInfo, now_ms: u64) -> String {
    match (job.exit_code, job.signal, &job.error) {
        _ if job.state == JobState::Queued => watch::place(job, now_ms),
        _ if job.oom == Some(true) => out_of_memory(job),
        (.., Some(error)) if job.kind == JobKind::Submit => render::safe(&error.message),
        (Some(code), ..) => format!("exit {code}"),
        (_, Some(signal), _) => format!("signal {signal}"),
        (.., Some(error)) => render::safe(&error.message),
        _ => String::new(),
    }
}
