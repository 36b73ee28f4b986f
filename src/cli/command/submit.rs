//! `fairshare submit`: a command that goes on by itself.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::{env, io};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::cli::args::Submit;
use crate::cli::exit::{Exit, Failure};
use crate::cli::link::{self, Link};
use crate::cli::render;
use crate::cli::tell::note;
use crate::cli::whom::Whom;
use crate::client::ClientError;
use crate::contract::{self, Addressed, JobStarted};
use crate::wire::os_text::OsText;

/// Submits the command, and prints the job's number.
///
/// # Errors
/// Refused, no daemon answers, or a file cannot be opened.
pub fn run(args: &Submit, socket: &Path) -> Result<Exit, Failure> {
    let submission = contract::Submit {
        argv: args.command.iter().cloned().map(Into::into).collect(),
        cwd: folder()?,
        env: env::vars_os().map(|(name, value)| (name.into(), value.into())).collect(),
        name: args.name.clone(),
        lease_ms: args.time_limit.map(|limit| limit.ms()),
        wait: Some(true),
        ..contract::Submit::of(args.figures.amounts())
    };
    let input = match &args.input {
        Some(path) => File::open(path).map_err(|error| unopened(path, &error, "--input"))?,
        None => {
            File::open("/dev/null").map_err(|error| unopened(Path::new("/dev/null"), &error, "--input"))?
        }
    };
    let output = Output::open(args.output.as_deref())?;
    let streams = [input.as_fd(), output.file.as_fd(), output.file.as_fd()];
    match Link::new(socket).submit(&submission, &streams) {
        Ok(JobStarted { job_started: job }) => {
            let path = output.keep(job);
            note(&format!("job {job}: its output goes to {}", path.display()));
            render::print(&job.to_string())?;
            Ok(Exit::DONE)
        }
        Err(ClientError::Refused(error)) => {
            output.discard();
            Err(link::refused(&error, contract::Submit::ENDPOINT, &Whom::Me))
        }
        Err(error) if error.leaves_open() => {
            let hint = format!(
                "look at `fairshare jobs` before it is submitted again: where it is there, its output goes to {}",
                output.path.display()
            );
            Err(link::fault(error).hint(hint))
        }
        Err(error) => {
            output.discard();
            Err(link::fault(error))
        }
    }
}

/// How many names are tried beside the first for an output that has no number yet.
const UNNAMED_TRIES_MAX: u32 = 100;

/// What an output is called until its job has a number, where so many such names are taken.
fn unnamed(taken: u32) -> String {
    let process = std::process::id();
    if taken == 0 { format!(".fairshare-{process}.out") } else { format!(".fairshare-{process}-{taken}.out") }
}

/// The file of the command's output. It is opened here, as the member: nobody else opens a path that a member named.
struct Output {
    file: File,
    path: PathBuf,
    /// Whether it is named after the job, once that has a number.
    unnamed: bool,
}

impl Output {
    fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let mut options = OpenOptions::new();
        options.append(true);
        match path {
            Some(path) => {
                let file =
                    options.create(true).open(path).map_err(|error| unopened(path, &error, "--output"))?;
                Ok(Self { file, path: path.to_owned(), unnamed: false })
            }
            None => {
                options.create_new(true);
                let mut tries = 0;
                loop {
                    let path = PathBuf::from(unnamed(tries));
                    match options.open(&path) {
                        Ok(file) => return Ok(Self { file, path, unnamed: true }),
                        // An earlier process with this number was not answered, and left it to the command.
                        Err(error)
                            if error.kind() == ErrorKind::AlreadyExists && tries < UNNAMED_TRIES_MAX =>
                        {
                            tries += 1;
                        }
                        Err(error) => return Err(unopened(&path, &error, "--output")),
                    }
                }
            }
        }
    }

    /// Names it after the job, unless something has that name already.
    fn keep(self, job: u64) -> PathBuf {
        let named = PathBuf::from(format!("fairshare-{job}.out"));
        if self.unnamed && renamed(&self.path, &named) { named } else { self.path }
    }

    /// Nothing was submitted: what was made for it goes.
    fn discard(self) {
        if self.unnamed {
            let _ = fs::remove_file(self.path);
        }
    }
}

/// Gives a file another name, and never one that is taken.
fn renamed(from: &Path, to: &Path) -> bool {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        // NFS, 9p and FUSE know no NOREPLACE; a link is refused where the name is taken (link(2)).
        Err(_) => fs::hard_link(from, to).is_ok() && fs::remove_file(from).is_ok(),
    }
}

fn unopened(path: &Path, error: &io::Error, option: &str) -> Failure {
    Failure::new(Exit::REFUSED, format!("{}: cannot be opened: {error}", path.display()))
        .hint(format!("`{option} FILE` names another file"))
}

fn folder() -> Result<OsText, Failure> {
    let lost = |error| {
        Failure::new(Exit::REFUSED, format!("this folder is not there any more: {error}"))
            .hint("`cd` to a folder first")
    };
    env::current_dir().map(|folder| folder.into_os_string().into()).map_err(lost)
}
