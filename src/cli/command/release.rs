//! `fairshare release`: give a share back.

use std::path::Path;
use std::thread;
use std::time::Duration;

use super::watch;
use crate::cli::args::Release;
use crate::cli::exit::{Exit, Failure};
use crate::cli::link::{Link, unexpected};
use crate::cli::whom::Whom;
use crate::cli::{note, render};
use crate::sys::signals;
use crate::wire::answer::{Answer, JobState};
use crate::wire::call::{Call, Endpoint};

/// How often a job is looked at: soon enough for a person, and at most fifty calls for the ten seconds
/// between SIGTERM and SIGKILL.
const JOB_LOOK_EVERY: Duration = Duration::from_millis(200);

/// Gives the share of `whom` back, ending what is inside where that was asked for.
///
/// # Errors
/// Refused, as with processes inside, or no daemon answers.
pub fn run(args: &Release, whom: &Whom, socket: &Path) -> Result<Exit, Failure> {
    let mut link = Link::new(socket);
    let call = Call::Release { stop: args.stop.then_some(true), for_uid: whom.for_uid() };
    match link.ask(&call, whom)? {
        Answer::Released { released } => render::print(&text(released, whom))?,
        Answer::JobStarted { job_started } => {
            wait(&mut link, job_started, whom)?;
            render::print(&text(true, whom))?;
        }
        _ => return Err(unexpected(Endpoint::Release)),
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
        let Answer::Job { job } = link.ask(&Call::JobStatus { job_id }, whom)? else {
            return Err(unexpected(Endpoint::JobStatus));
        };
        match job.state {
            JobState::Queued | JobState::Running => thread::sleep(JOB_LOOK_EVERY),
            JobState::Done => return Ok(()),
            JobState::Failed | JobState::Cancelled | JobState::Interrupted => {
                return watch::outcome(&job, whom).and_then(|_| Err(unexpected(Endpoint::JobStatus)));
            }
        }
    }
}
