//! `fairshare jobs`, `cancel`, `pause`, `resume`: what takes long, and what becomes of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::cli::args::{JobNumbers, Jobs};
use crate::cli::array::{self, Named};
use crate::cli::conditions;
use crate::cli::exit::{Exit, Failure};
use crate::cli::link::Link;
use crate::cli::render;
use crate::cli::tell::tell;
use crate::cli::whom::Whom;
use crate::contract::{Addressed, JobAlter, JobCancel, JobInfo, JobKind, JobList, JobState, OneJob};
use crate::quantity::Bytes;

const MIB: u64 = 1 << 20;

/// Shows the caller's jobs, or everyone's; or changes some that wait.
///
/// # Errors
/// Refused, or no daemon answers.
pub fn list(args: &Jobs, socket: &Path) -> Result<Exit, Failure> {
    let changes = args.alteration.changes();
    if !changes.is_empty() {
        let named: Vec<Named> = changes.iter().map(|(named, _)| *named).collect();
        let mut link = Link::new(socket);
        let calls = array::numbers(&mut link, &named)?.into_iter().zip(changes);
        let calls = calls.map(|(found, (named, change))| {
            (named, found.map(|job_id| (job_id, JobAlter { job_id, ..change })))
        });
        return each(calls, link, |job| match conditions::place(job, render::now_ms()) {
            place if place.is_empty() => stands(job),
            place => format!("{}: {place}", stands(job)),
        });
    }
    let mut answer = Link::new(socket).ask(&JobList { all: args.all.then_some(true) }, &Whom::Me)?;
    if !args.states.is_empty() {
        answer.jobs.retain(|job| args.states.contains(&job.state));
    }
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

/// Cancels jobs. One that has ended stays as it is, and one that is refused keeps no other from being cancelled.
///
/// # Errors
/// The one, or the last of several, was refused, or no daemon answers.
pub fn cancel(args: &JobNumbers, socket: &Path) -> Result<Exit, Failure> {
    let mut link = Link::new(socket);
    let call = |job_id| (job_id, JobCancel { job_id });
    let found = array::numbers(&mut link, &args.ids)?.into_iter().map(|found| found.map(call));
    let calls = args.ids.iter().copied().zip(found);
    each(calls, link, |job| match job.array.as_ref().filter(|array| array.at_work > 0) {
        Some(array) => {
            format!("Job {}: {} of its tasks are being ended, and no more begin", job.job_id, array.at_work)
        }
        None => stands(job),
    })
}

/// Has jobs that are at work stand still, or go on. One that is refused keeps no other from it.
///
/// # Errors
/// The one, or the last of several, was refused, or no daemon answers.
pub fn pause(args: &JobNumbers, pause: bool, socket: &Path) -> Result<Exit, Failure> {
    let mut link = Link::new(socket);
    let call = |job_id| (job_id, JobAlter { job_id, pause: Some(pause), ..JobAlter::default() });
    let found = array::numbers(&mut link, &args.ids)?.into_iter().map(|found| found.map(call));
    let calls = args.ids.iter().copied().zip(found);
    each(calls, link, stands)
}

fn stands(job: &JobInfo) -> String {
    format!("Job {} is {}", job.number(), state(job))
}

/// Where a job stands, in a word.
fn state(job: &JobInfo) -> &'static str {
    if job.paused == Some(true) { "paused" } else { job.state.name() }
}

/// Makes one call for each job, and says where it stands then. One that is refused, or not found, keeps no other from being made.
fn each<E: Addressed<Answer = OneJob>>(
    calls: impl ExactSizeIterator<Item = (Named, Result<(u64, E), Failure>)>,
    mut link: Link,
    said: impl Fn(&JobInfo) -> String,
) -> Result<Exit, Failure> {
    let (alone, mut last) = (calls.len() == 1, None);
    for (named, call) in calls {
        let refused = match call {
            Ok((job_id, call)) => match link.try_ask(&call)? {
                Ok(OneJob { job, .. }) => {
                    render::print(&said(&job))?;
                    continue;
                }
                Err(error) => {
                    let refused = link.refused(&error, E::ENDPOINT, &Whom::Me);
                    let refused = array::renamed(refused, job_id, named);
                    let message = format!("job {named}: {}", refused.message);
                    if alone { refused } else { Failure { message, ..refused } }
                }
            },
            Err(failure) => failure,
        };
        last.replace(refused).iter().for_each(tell);
    }
    last.map_or(Ok(Exit::DONE), Err)
}

fn table(jobs: &[JobInfo], now_ms: u64) -> String {
    let heads = ["JOB", "USER", "KIND", "STATE", "AGE", "WAITED", "CPU", "NEEDED", "NAME", "RESULT"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    let unknown = || "-".to_owned();
    let mut users = BTreeMap::new();
    for job in jobs {
        let began_ms = job.started_ms.or(job.ended_ms).unwrap_or(now_ms);
        rows.push(vec![
            job.number(),
            users.entry(job.uid).or_insert_with(|| render::user(job.uid)).clone(),
            kind(job).to_owned(),
            state(job).to_owned(),
            between(job.created_ms, now_ms),
            between(job.created_ms, began_ms),
            job.cpu_usec.map_or_else(unknown, |usec| render::cpu_time(Duration::from_micros(usec))),
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

fn kind(job: &JobInfo) -> &'static str {
    match job.kind {
        JobKind::Request => "request",
        JobKind::Submit => "submit",
        JobKind::Release => "release",
        JobKind::Run => "run",
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

/// How the tasks of an array stand: `12 of 100 done, 1 failed, 4 at work; place 2`.
fn tasks(job: &JobInfo, now_ms: u64) -> String {
    let Some(array) = &job.array else { return String::new() };
    let mut parts = vec![format!("{} of {} done", array.done, array.tasks)];
    let others = [(array.failed, "failed"), (array.at_work, "at work")];
    parts.extend(others.iter().filter(|(count, _)| *count > 0).map(|(count, how)| format!("{count} {how}")));
    let said = parts.join(", ");
    let place = if job.state == JobState::Queued { conditions::place(job, now_ms) } else { String::new() };
    if place.is_empty() { said } else { format!("{said}; {place}") }
}

fn result(job: &JobInfo, now_ms: u64) -> String {
    let result = end(job, now_ms);
    match conditions::try_of(job).filter(|_| job.state != JobState::Queued) {
        Some(which) if result.is_empty() => which,
        Some(which) => format!("{result}, in {which}"),
        None => result,
    }
}

/// How a job ended, or what it waits for.
fn end(job: &JobInfo, now_ms: u64) -> String {
    match (job.exit_code, job.signal, &job.error) {
        _ if job.array.is_some() => tasks(job, now_ms),
        _ if job.state == JobState::Queued => conditions::place(job, now_ms),
        _ if job.oom == Some(true) => out_of_memory(job),
        (.., Some(error)) if job.kind == JobKind::Submit => render::safe(&error.message),
        (Some(code), ..) => format!("exit {code}{}", render::killed(job.oom_kills)),
        (_, Some(signal), _) => format!("signal {signal}{}", render::killed(job.oom_kills)),
        (.., Some(error)) => render::safe(&error.message),
        _ => String::new(),
    }
}
