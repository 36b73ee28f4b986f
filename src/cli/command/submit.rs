//! `fairshare submit`: a command that goes on by itself.

use std::fs::{self, File, Metadata, OpenOptions};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::{env, io};

use rustix::fs::Access;

use crate::cli::args::Submit;
use crate::cli::care::Care;
use crate::cli::exit::{Exit, Failure};
use crate::cli::link::{self, Link};
use crate::cli::render;
use crate::cli::script::{self, Script};
use crate::cli::tell::note;
use crate::cli::whom::Whom;
use crate::client::ClientError;
use crate::contract::handover::numbered;
use crate::contract::{self, Addressed, JobStarted};
use crate::wire::error::{Code, WireError};
use crate::wire::os_text::OsText;

/// Where the output of a command goes that names no file, in the folder that it was submitted from: `%j` is the job's number.
const OUTPUT_DEFAULT: &str = "fairshare-%j.out";

/// What stands for the job's number in the name of a file.
const NUMBER: &[u8] = b"%j";

/// Which users of the machine this process knows by which ids (user_namespaces(7)).
const UID_MAP: &str = "/proc/self/uid_map";

/// Submits the command or the script, and prints the job's number.
///
/// # Errors
/// Refused, no daemon answers, or a file cannot be opened.
pub fn run(args: &Submit, socket: &Path) -> Result<Exit, Failure> {
    let Some(path) = &args.script else { return submit(args, None, socket) };
    let Script { text, options } = script::read(path)?;
    let mut args = args.clone().or(options);
    args.command.insert(0, path.into());
    submit(&args, Some(text.into()), socket)
}

fn submit(args: &Submit, script: Option<OsText>, socket: &Path) -> Result<Exit, Failure> {
    args.conditions.checked(args.no_wait, args.in_share)?;
    let input = args.input.as_deref().map(Stream::read).transpose()?;
    let shown = args.output.as_deref().unwrap_or(Path::new(OUTPUT_DEFAULT));
    let output = Stream::written(shown, "--output", args.output.is_some())?;
    let errors = args.errors.as_deref().map(|path| Stream::written(path, "--errors", true)).transpose()?;
    let mut submission = contract::Submit {
        argv: args.command.iter().cloned().map(Into::into).collect(),
        cwd: folder()?,
        env: env::vars_os().map(|(name, value)| (name.into(), value.into())).collect(),
        name: args.name.clone(),
        lease_ms: args.time_limit.map(|limit| limit.ms()),
        wait: Some(!args.no_wait),
        in_share: match (args.in_share, args.own) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            (false, false) => None,
        },
        script,
        array: args.array.map(|indices| indices.0),
        retry: args.retry,
        requeue: args.requeue.then_some(true),
        ..contract::Submit::of(args.figures.amounts())
    };
    let mut link = Link::new(socket);
    args.conditions.put_in(&mut submission, &mut link)?;
    args.care.put_in(&mut submission);
    let sent = streams(&mut submission, input, output, errors)?;
    if let Some(why) = keeps_no_stream(args).filter(|_| !sent.is_empty()) {
        return Err(Failure::new(Exit::USAGE, why)
            .hint("name a file with `--output`, `--errors` and `--input`, or leave them out"));
    }
    let streams: Vec<_> = sent.iter().map(|file| file.as_fd()).collect();
    let goes_to = |job: &str| match has_number(shown) {
        true => String::from_utf8_lossy(&numbered(shown.as_os_str().as_bytes(), job)).into_owned(),
        false => shown.display().to_string(),
    };
    match link.submit(&submission, &streams) {
        Ok(JobStarted { job_started: job }) => {
            match args.array {
                None => note(&format!("job {job}: its output goes to {}", goes_to(&job.to_string()))),
                Some(_) => note(&format!(
                    "job {job}: the outputs of its tasks go to {}",
                    goes_to(&format!("{job}_INDEX"))
                )),
            }
            render::print(&job.to_string())?;
            Ok(Exit::DONE)
        }
        Err(ClientError::Refused(error)) => Err(refused(&link, &error, &submission)),
        Err(error) if error.leaves_open() => {
            let hint = format!(
                "look at `fairshare jobs` before it is submitted again: where it is there, its output goes to {}",
                goes_to("ID")
            );
            Err(link::fault(error).hint(hint))
        }
        Err(error) => Err(link::fault(error)),
    }
}

/// Why no pipe or terminal goes along with what is submitted, where none does.
fn keeps_no_stream(args: &Submit) -> Option<&'static str> {
    match args {
        Submit { array: Some(_), .. } => Some("the tasks of an array have no pipe or terminal to share"),
        Submit { retry: Some(_), .. } => {
            Some("what may be run again (--retry) has no pipe or terminal to keep")
        }
        Submit { requeue: true, .. } => {
            Some("what may be run again (--requeue) has no pipe or terminal to keep")
        }
        Submit { care: Care { notify: Some(_), .. }, .. } => {
            Some("what is run at the end (--notify) has no pipe or terminal to keep")
        }
        _ => None,
    }
}

/// Why it was refused, as it is told.
fn refused(link: &Link, error: &WireError, submission: &contract::Submit) -> Failure {
    let refused = link.refused(error, contract::Submit::ENDPOINT, &Whom::Me);
    let waits = submission.after.is_some() || submission.after_any.is_some();
    if waits && error.is(Code::NotFound) {
        return refused.hint("`fairshare jobs` shows yours: --after and --after-any take no others");
    }
    refused
}

/// What a command reads, or where it writes.
enum Stream {
    /// A file that the command's own process opens when it starts, and that outlives a daemon.
    Named(OsText),
    /// What has no name that it could be opened by: a pipe, a terminal, what is open here alone.
    Open(File),
}

impl Stream {
    fn read(path: &Path) -> Result<Self, Failure> {
        let file = File::open(path).map_err(|error| unopened(path, &error, "--input"))?;
        match named(path, &file) {
            Some(name) => Ok(Self::Named(name.into_os_string().into())),
            None => Ok(Self::Open(file)),
        }
    }

    /// What is written to is looked at here, so that a command does not wait for what cannot be. Only a file that the member has
    /// `asked` for is made now.
    fn written(path: &Path, option: &str, asked: bool) -> Result<Self, Failure> {
        let unopened = |error: io::Error| unopened(path, &error, option);
        if !asked || has_number(path) {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = fs::canonicalize(parent.unwrap_or(Path::new("."))).map_err(unopened)?;
            rustix::fs::access(&parent, Access::WRITE_OK | Access::EXEC_OK)
                .map_err(|errno| unopened(errno.into()))?;
            let name = path.file_name().unwrap_or_default().as_bytes();
            return Ok(Self::Named([&escaped(&parent), b"/".as_slice(), name].concat().into()));
        }
        let file = OpenOptions::new().append(true).create(true).open(path).map_err(unopened)?;
        match named(path, &file) {
            Some(name) => Ok(Self::Named(escaped(&name).into())),
            None => Ok(Self::Open(file)),
        }
    }

    fn open(self) -> Result<File, Failure> {
        match self {
            Self::Open(file) => Ok(file),
            Self::Named(name) => {
                let path = PathBuf::from(name.as_os_str());
                OpenOptions::new().read(true).open(&path).map_err(|error| unopened(&path, &error, "--input"))
            }
        }
    }
}

/// Names the command's streams, as far as they have names; what comes before one that has none goes along with it.
fn streams(
    submission: &mut contract::Submit,
    input: Option<Stream>,
    output: Stream,
    errors: Option<Stream>,
) -> Result<Vec<File>, Failure> {
    let nothing = || Stream::Named("/dev/null".into());
    let mut sent = Vec::new();
    match (output, input, errors) {
        (Stream::Open(output), input, errors) => {
            sent.push(input.unwrap_or_else(nothing).open()?);
            let also =
                output.try_clone().map_err(|error| unopened(Path::new("the output"), &error, "--output"))?;
            sent.push(output);
            match errors {
                None => sent.push(also),
                Some(Stream::Open(errors)) => sent.push(errors),
                Some(Stream::Named(errors)) => submission.errors = Some(errors),
            }
        }
        (Stream::Named(_), _, Some(Stream::Open(_))) => {
            return Err(Failure::new(
                Exit::USAGE,
                "--errors names no file that could be opened later, and --output does",
            )
            .hint("name a file for the errors as well, or leave --errors out"));
        }
        (Stream::Named(output), input, errors) => {
            submission.output = Some(output);
            if let Some(Stream::Named(errors)) = errors {
                submission.errors = Some(errors);
            }
            match input {
                Some(Stream::Named(input)) => submission.input = Some(input),
                Some(Stream::Open(input)) => sent.push(input),
                None => {}
            }
        }
    }
    Ok(sent)
}

/// The name by which what is open can be opened again, by another process and later: that of a file, or of `/dev/null`. Whoever is
/// in a user namespace may see other file systems than the command's own process will.
fn named(path: &Path, open: &File) -> Option<PathBuf> {
    if is_in_namespace(&fs::read_to_string(UID_MAP).ok()?) {
        return None;
    }
    let name = fs::canonicalize(path).ok()?;
    let same = |one: &Metadata, other: &Metadata| (one.dev(), one.ino()) == (other.dev(), other.ino());
    let (open, found) = (open.metadata().ok()?, fs::metadata(&name).ok()?);
    let lasts = open.is_file() || (open.file_type().is_char_device() && name == Path::new("/dev/null"));
    (lasts && same(&open, &found) && !name.starts_with("/proc")).then_some(name)
}

/// Whether users are not known by the machine's own ids, all of them.
fn is_in_namespace(uid_map: &str) -> bool {
    !uid_map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

/// Whether the job's number is a part of the name.
fn has_number(path: &Path) -> bool {
    path.as_os_str().as_bytes().windows(NUMBER.len()).any(|word| word == NUMBER)
}

/// A path in which a percent sign means itself.
fn escaped(path: &Path) -> Vec<u8> {
    let twice = |byte: &u8| if *byte == b'%' { vec![b'%', b'%'] } else { vec![*byte] };
    path.as_os_str().as_bytes().iter().flat_map(twice).collect()
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
