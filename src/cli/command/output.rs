//! `fairshare output`: what a job has written.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::watch;
use crate::cli::args::Output;
use crate::cli::exit::{Exit, Failure};
use crate::cli::link::Link;
use crate::cli::whom::Whom;
use crate::contract::{JobKind, JobState, JobStatus, OneJob};
use crate::sys::signals;

/// How soon what is written is shown to who follows it.
const SHOWN_WITHIN: Duration = Duration::from_millis(100);

/// Shows what a job has written, as it is in the file; with `--follow` until the job has ended.
///
/// # Errors
/// Refused, no daemon answers, there is no such file, or it cannot be read.
pub fn run(args: &Output, socket: &Path) -> Result<Exit, Failure> {
    // Whoever reads only the beginning ends this, as with every other program that shows a file.
    signals::restore_sigpipe();
    let mut link = Link::new(socket);
    let OneJob { job, output } = link.ask(&JobStatus { job_id: args.id }, &Whom::Me)?;
    if job.kind != JobKind::Submit {
        let message = format!("job {} is no submitted command: it writes nothing", args.id);
        return Err(Failure::new(Exit::REFUSED, message).hint("`fairshare jobs` says what each job is"));
    }
    let Some(output) = output else {
        let message = format!("the output of job {} has no name to open it by", args.id);
        return Err(Failure::new(Exit::REFUSED, message).hint(
            "it goes where it was submitted to: a terminal, a pipe, or a file whose path is long, no text, or in a user namespace",
        ));
    };
    let path = PathBuf::from(output);
    let over = AtomicBool::new(!args.follow);
    let shown = if args.follow {
        thread::scope(|scope| {
            let shows = scope.spawn(|| show(&path, &over));
            let waited = watch::watch(&mut link, socket, args.id, None, |_| {});
            over.store(true, Ordering::Release);
            let shown = shows.join();
            waited.map(|_| shown)
        })?
    } else {
        Ok(show(&path, &over))
    };
    match shown {
        Ok(Ok(())) => Ok(Exit::DONE),
        Ok(Err(error)) if error.kind() == ErrorKind::NotFound && job.state == JobState::Queued => {
            let message = format!("job {} has written nothing: it has not begun", args.id);
            Err(Failure::new(Exit::REFUSED, message).hint("`-f` waits for it"))
        }
        Ok(Err(error)) => {
            let message = format!("{}: cannot be shown: {error}", path.display());
            Err(Failure::new(Exit::REFUSED, message))
        }
        Err(_) => Err(Failure::new(Exit::REFUSED, "the output was not shown to its end")),
    }
}

/// Shows the file, and what comes to be in it until it is over.
fn show(path: &Path, over: &AtomicBool) -> io::Result<()> {
    let mut file = None;
    loop {
        // Before it is read, so that what was written last is shown as well.
        let last = over.load(Ordering::Acquire);
        if file.is_none() {
            file = match File::open(path) {
                Err(error) if error.kind() == ErrorKind::NotFound && !last => None,
                opened => Some(opened?),
            };
        }
        if let Some(file) = &mut file {
            io::copy(file, &mut io::stdout().lock())?;
        }
        if last {
            return Ok(());
        }
        thread::sleep(SHOWN_WITHIN);
    }
}
