//! `fairshare release`: give a share back.

use std::path::Path;
use std::thread;
use std::time::Duration;

use super::watch;
use crate::cli::args::Release;
use crate::cli::array;
use crate::cli::exit::{Exit, Failure};
use crate::cli::left;
use crate::cli::link::{Link, unexpected};
use crate::cli::render;
use crate::cli::tell::note;
use crate::cli::whom::Whom;
use crate::contract::{
    self, AllocationKind, Endpoint, JobState, JobStatus, OneJob, ReleaseAnswer, Status, StatusAnswer,
};
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
    let (stop, job_id) = (args.stop.then_some(true), array::number_of(&mut link, args.job)?);
    let call = contract::Release { stop, job_id, for_uid: whom.for_uid() };
    match array::ask_of(&mut link, &call, whom, job_id.zip(args.job))? {
        ReleaseAnswer::Done(released) => {
            render::print(&text(released, whom))?;
            if !released && job_id.is_none() && *whom == Whom::Me {
                tell_of_runs(&mut link);
            }
        }
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

/// Says what is in allocations of the caller's that commands in the foreground left something in: giving the standing one back
/// may have been meant for them. One with nothing inside goes by itself, and may as well go now.
fn tell_of_runs(link: &mut Link) {
    let Ok(Ok(StatusAnswer { share: Some(share), .. })) = link.try_ask(&Status { for_uid: None }) else {
        return;
    };
    let runs = share.allocations.unwrap_or_default();
    let runs = runs.into_iter().filter(|allocation| allocation.kind == AllocationKind::Run);
    for job in runs.filter_map(|run| run.job_id) {
        let call = contract::Release { job_id: Some(job), ..contract::Release::default() };
        if let Ok(Err(error)) = link.try_ask(&call) {
            let more = error.more().map_or_else(String::new, |more| format!(": {more}"));
            let what = render::safe(&format!("{}{more}", error.message));
            note(&format!("job {job} goes on, {what}; `fairshare release --stop --job {job}` ends it"));
        }
    }
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
        let OneJob { job, .. } = link.ask(&JobStatus { job_id }, whom)?;
        match job.state {
            JobState::Queued | JobState::Running => thread::sleep(JOB_LOOK_EVERY),
            JobState::Done => return Ok(()),
            JobState::Failed | JobState::Cancelled | JobState::Interrupted => {
                return watch::outcome(&job, whom).and_then(|_| Err(unexpected(Endpoint::JobStatus)));
            }
        }
    }
}
