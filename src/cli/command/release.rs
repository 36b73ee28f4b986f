//! `fairshare release`: give a share back.

use std::path::Path;
use std::thread;
use std::time::Duration;

use super::watch;
use crate::cli::args::Release;
use crate::cli::exit::{Exit, Failure};
use crate::cli::left;
use crate::cli::link::{Link, unexpected};
use crate::cli::render;
use crate::cli::tell::note;
use crate::cli::whom::Whom;
use crate::contract::{self, Endpoint, JobState, JobStatus, OneJob, ReleaseAnswer};
use crate::sys::signals;

/// How often a job is looked at: soon enough for a person, and at most fifty calls for the ten seconds
/// between SIGTERM and SIGKILL.
const JOB_LOOK_EVERY: Duration = Duration::from_millis(200);

/// Gives the share of `whom` back, ending what is inside where that was asked for.
///
/// # Errors
/// Refused, as with processes inside, or no daemon answers.
pub fn run(args: &Release, whom: &Whom, socket: &Path) -> Result<Exit, Failure> {
    let mut link = Link::new(socket);
    let call = contract::Release { stop: args.stop.then_some(true), for_uid: whom.for_uid() };
    match link.ask(&call, whom)? {
        ReleaseAnswer::Done(released) => render::print(&text(released, whom))?,
        ReleaseAnswer::Stopping(job_id) => {
            wait(&mut link, job_id, whom)?;
            render::print(&text(true, whom))?;
        }
    }
    if let (None, Some(words)) = (whom.for_uid(), left::words()) {
        note(&words);
    }
    Ok(Exit::DONE)
}

fn text(released: bool, whom: &Whom) -> String {
    let suffix = render::safe(&whom.suffix());
    if released { format!("Released{suffix}") } else { format!("No share was held{suffix}") }
}

/// Waits until the job has ended. Interrupting ends the waiting and not the job.
fn wait(link: &mut Link, job_id: u64, whom: &Whom) -> Result<(), Failure> {
    signals::on_interrupt_say(format!(
        "\nfairshare: no longer waiting; job {job_id} goes on ending the processes\n  hint: `{}` shows whether the share is gone\n",
        whom.status()
    ));
    note(&format!("ending the processes inside (job {job_id}): SIGTERM, then SIGKILL after ten seconds"));
    loop {
        let OneJob { job } = link.ask(&JobStatus { job_id }, whom)?;
        match job.state {
            JobState::Queued | JobState::Running => thread::sleep(JOB_LOOK_EVERY),
            JobState::Done => return Ok(()),
            JobState::Failed | JobState::Cancelled | JobState::Interrupted => {
                return watch::outcome(&job, whom).and_then(|_| Err(unexpected(Endpoint::JobStatus)));
            }
        }
    }
}
