//! `fairshare request`: take a share.

use std::path::Path;
use std::time::{Duration, Instant};

use super::watch::{self, Waited};
use crate::cli::args::{Request, Wanted};
use crate::cli::exit::{Exit, Failure};
use crate::cli::link::{self, Link, unexpected};
use crate::cli::render;
use crate::cli::shares;
use crate::cli::tell::note;
use crate::cli::typed::Span;
use crate::cli::whom::Whom;
use crate::contract::{
    Addressed, AllocationInfo, Endpoint, Granted, HeldShare, JobCancel, JobInfo, JobState, OneJob,
    RequestResources, ShareInfo, Status,
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
        if args.json { render::json(&HeldShare { share })? } else { now_held("Granted", whom, &share, None) };
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
    let mut told = watch::Told::default();
    let waited = watch::watch(link, socket, job_id, until, |job| told.tell(job))?;
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
        Waited::TimeOver | Waited::Interrupted => Err(watch::given_up(&waited, most)),
    }
}

/// The job after it was cancelled; where its share is being made already, after that.
fn taken_back(link: &mut Link, socket: &Path, job_id: u64, whom: &Whom) -> Result<JobInfo, Failure> {
    match link.try_ask(&JobCancel { job_id })? {
        Ok(OneJob { job, .. }) => Ok(job),
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

/// One line on what is held after `verb` was done: of this job, or of the standing allocation.
pub fn now_held(verb: &str, whom: &Whom, share: &ShareInfo, job: Option<u64>) -> String {
    // What other allocations have is no part of what was asked for.
    let of_job = |job| share.allocations.as_deref()?.iter().find(|allocation| allocation.job_id == Some(job));
    let (figures, until) = match job.map_or_else(|| share.standing(), of_job) {
        Some(AllocationInfo { lease_ends_ms: None, cpu_milli, mem_bytes, tasks_max, .. }) => {
            (render::figures(*cpu_milli, *mem_bytes, *tasks_max), "held until released".to_owned())
        }
        Some(standing) => (
            render::figures(standing.cpu_milli, standing.mem_bytes, standing.tasks_max),
            shares::lease(standing, render::now_ms()),
        ),
        None => {
            let figures = render::figures(share.cpu_milli, share.mem_bytes, share.tasks_max);
            (figures, "held until released".to_owned())
        }
    };
    format!("{verb}{}: {figures}; {until}", render::safe(&whom.suffix()))
}
