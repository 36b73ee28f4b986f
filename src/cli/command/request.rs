//! `fairshare request`: take a share.

use std::path::Path;
use std::time::{Duration, Instant};

use super::watch::{self, Waited};
use crate::cli::args::{Request, Wanted};
use crate::cli::exit::{Exit, Failure};
use crate::cli::link::{self, Link, unexpected};
use crate::cli::render;
use crate::cli::tell::note;
use crate::cli::typed::Span;
use crate::cli::whom::Whom;
use crate::contract::{
    Addressed, Endpoint, Granted, HeldShare, JobCancel, JobInfo, JobState, OneJob, RequestResources,
    ShareInfo, Status,
};
use crate::sys::signals;
use crate::wire::error::Code;

/// Takes a share for `whom`, waiting for room where that was asked for.
///
/// # Errors
/// Refused, the time is over, or no daemon answers.
pub fn run(args: &Request, whom: &Whom, socket: &Path) -> Result<Exit, Failure> {
    let mut link = Link::new(socket);
    if args.wait.is_some() {
        // From here on, so that no signal can leave a request in the queue for which nobody waits.
        signals::note_end();
    }
    let call = RequestResources { wait: args.wait.map(|_| true), ..call(args.wanted, whom) };
    let share = match link.ask(&call, whom)? {
        Granted::Share(share) => *share,
        Granted::Queued(job_id) => {
            let most = args.wait.flatten().map(|span| span.0);
            wait(&mut link, job_id, most, whom, socket)?
        }
    };
    let text =
        if args.json { render::json(&HeldShare { share })? } else { now_held("Granted", whom, &share) };
    render::print(&text)?;
    Ok(Exit::DONE)
}

/// Waits for the share until it is granted; gives up its place in the queue where it waits no longer.
fn wait(
    link: &mut Link,
    job_id: u64,
    most: Option<Duration>,
    whom: &Whom,
    socket: &Path,
) -> Result<ShareInfo, Failure> {
    let until = most.and_then(|most| Instant::now().checked_add(most));
    let mut told = String::new();
    let waited = watch::watch(link, socket, job_id, until, |job| {
        let place = watch::place(job, render::now_ms());
        if job.state == JobState::Queued && place != told {
            let place_said = if place.is_empty() { "in the queue" } else { place.as_str() };
            note(&format!("waiting as job {job_id}: {place_said}"));
            told = place;
        }
    })?;
    let job = match &waited {
        Waited::Ended(job) => (**job).clone(),
        Waited::TimeOver | Waited::Interrupted => taken_back(link, socket, job_id, whom)?,
    };
    // A grant may have been faster than the cancelling.
    if job.state == JobState::Done {
        let share = link.ask(&Status { for_uid: whom.for_uid() }, whom)?.share;
        return share.ok_or_else(|| {
            Failure::new(Exit::REFUSED, "the share was granted and is gone again")
                .hint(format!("`{}` shows what is held now", whom.status()))
        });
    }
    match waited {
        Waited::Ended(job) => watch::outcome(&job, whom).and_then(|_| Err(unexpected(Endpoint::JobStatus))),
        Waited::TimeOver => {
            let most = render::span(most.unwrap_or_default());
            Err(Failure::new(Exit::TRY_AGAIN, format!("no room within {most}; the request was taken back"))
                .hint("ask for less, wait longer, or see `fairshare status`"))
        }
        Waited::Interrupted => {
            note("interrupted; the request was taken back");
            signals::die_as_asked();
            Err(Failure::new(Exit::TRY_AGAIN, "interrupted"))
        }
    }
}

/// The job after it was cancelled; where its share is being made already, after that.
fn taken_back(link: &mut Link, socket: &Path, job_id: u64, whom: &Whom) -> Result<JobInfo, Failure> {
    match link.try_ask(&JobCancel { job_id })? {
        Ok(OneJob { job }) => Ok(job),
        Err(error) if error.is(Code::Busy) => match watch::watch(link, socket, job_id, None, |_| {})? {
            Waited::Ended(job) => Ok(*job),
            Waited::TimeOver | Waited::Interrupted => {
                note(&format!("interrupted while the share was made: `{}` shows it", whom.status()));
                signals::die_as_asked();
                Err(Failure::new(Exit::TRY_AGAIN, "interrupted"))
            }
        },
        Err(error) => Err(link::refused(&error, JobCancel::ENDPOINT, whom)),
    }
}

/// The call for a share.
pub fn call(wanted: Wanted, whom: &Whom) -> RequestResources {
    RequestResources {
        lease_ms: wanted.lease.map(Span::ms),
        for_uid: whom.for_uid(),
        ..RequestResources::of(wanted.figures.amounts())
    }
}

/// One line on what is held after `verb` was done.
pub fn now_held(verb: &str, whom: &Whom, share: &ShareInfo) -> String {
    let figures = render::figures(share.cpu_milli, share.mem_bytes, share.tasks_max);
    let until = match share.lease_ends_ms {
        Some(_) => render::lease(share, render::now_ms()),
        None => "held until released".to_owned(),
    };
    format!("{verb}{}: {figures}; {until}", render::safe(&whom.suffix()))
}
