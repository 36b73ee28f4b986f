//! `fairshare output`: what a job has written.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use super::watch;
use crate::cli::args::Output;
use crate::cli::array::{self, Named};
use crate::cli::exit::{Exit, Failure};
use crate::cli::link::Link;
use crate::cli::tell::tell;
use crate::cli::whom::{self, Whom};
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
    let job_id = array::number_of(&mut link, Some(args.id))?.unwrap_or_default();
    let OneJob { job, output } = link.ask(&JobStatus { job_id }, &Whom::Me)?;
    if let Some(array) = &job.array {
        let message =
            format!("job {job_id} is an array: each of its {} tasks has an output of its own", array.tasks);
        return Err(
            Failure::new(Exit::REFUSED, message).hint(format!("`fairshare output {job_id}_INDEX` shows one"))
        );
    }
    if job.kind != JobKind::Submit {
        let message = format!("job {} is no submitted command: it writes nothing", args.id);
        return Err(Failure::new(Exit::REFUSED, message).hint("`fairshare jobs` says what each job is"));
    }
    let Some(path) = output.map(PathBuf::from) else {
        if job.uid != whom::own_uid() {
            let message =
                format!("job {} is another member's: where it writes is told to nobody else", args.id);
            return Err(Failure::new(Exit::NOT_ALLOWED, message).hint("they can show it"));
        }
        let message = format!("the output of job {} has no name to open it by", args.id);
        return Err(Failure::new(Exit::REFUSED, message).hint(
            "it goes where it was submitted to: a terminal, a pipe, or a file whose path is long, no text, or in a user namespace",
        ));
    };
    let has_begun = job.state != JobState::Queued;
    if !args.follow {
        show(&path, &AtomicBool::new(true)).map_err(|error| unshown(args.id, &path, &error, has_begun))?;
        return Ok(Exit::DONE);
    }
    let over = Arc::new(AtomicBool::new(false));
    let (id, until) = (args.id, Arc::clone(&over));
    let shows = thread::spawn(move || {
        if let Err(error) = show(&path, &until) {
            let failure = unshown(id, &path, &error, true);
            tell(&failure);
            // At once: the job may go on for days.
            std::process::exit(failure.exit.0.into());
        }
    });
    watch::watch(&mut link, socket, job_id, None, |_| {})?;
    over.store(true, Ordering::Release);
    match shows.join() {
        Ok(()) => Ok(Exit::DONE),
        Err(_) => Err(Failure::new(Exit::REFUSED, "the output was not shown to its end")),
    }
}

fn unshown(id: Named, path: &Path, error: &io::Error, has_begun: bool) -> Failure {
    if error.kind() == ErrorKind::NotFound && !has_begun {
        let message = format!("job {id} has written nothing: it has not begun");
        return Failure::new(Exit::REFUSED, message).hint("`-f` waits for it");
    }
    Failure::new(Exit::REFUSED, format!("{}: cannot be shown: {error}", path.display()))
}

/// Opens a file, and nothing else by its name: a pipe would wait, a device do something.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no file")) }
}

/// Shows the file, and what comes to be in it until it is over.
fn show(path: &Path, over: &AtomicBool) -> io::Result<()> {
    let mut file = None;
    loop {
        // Before it is read, so that what was written last is shown as well.
        let last = over.load(Ordering::Acquire);
        if file.is_none() {
            file = match open(path) {
                Err(error) if error.kind() == ErrorKind::NotFound && !last => None,
                opened => Some(opened?),
            };
        }
        if let Some(file) = &mut file {
            let mut out = io::stdout().lock();
            io::copy(file, &mut out)?;
            // A line may be long in coming to its end.
            out.flush()?;
        }
        if last {
            return Ok(());
        }
        thread::sleep(SHOWN_WITHIN);
    }
}
