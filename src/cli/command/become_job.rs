//! What systemd starts as the member: it takes what was submitted from the daemon, and becomes it. When that is over systemd starts it
//! once more where something is to be run then (`submit --notify`), and it becomes that.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::execve;
use rustix::fs::{MemfdFlags, Mode};

use super::run::not_executed;
use crate::cli::exit::{Exit, Failure};
use crate::cli::hints::{self, Kind};
use crate::cli::script;
use crate::cli::tell::tell;
use crate::client::{Client, ClientError, Deadlines};
use crate::contract::handover::{BECOMING, Handover, HowEnded, Streams, numbered};
use crate::contract::{Handed, TaskInfo};
use crate::sys::signals;
use crate::time::backoff;
use crate::wire::error::{Code, WireError};
use crate::wire::os_text::OsText;

/// Where a command is looked for by who has no PATH (`confstr(3)`, `_CS_PATH`, with what Debian adds).
const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";

/// What has nothing to be read, and takes all that is written.
const NOTHING: &str = "/dev/null";

/// What runs a file that the kernel does not know how to (`execvp(3)`).
const SHELL: &str = "/bin/sh";

/// How long what is to be run at the end is asked for: systemd gives it ten seconds, of which most are to be left.
const ASKED_AT_END_MAX: Duration = Duration::from_secs(5);

/// Where the journal takes what is to be in it (`systemd.io/JOURNAL_NATIVE_PROTOCOL`).
const JOURNAL: &str = "/run/systemd/journal/socket";

/// What was submitted, as the daemon handed it over.
struct Taken {
    handover: Handover,
    /// How the command ended, where this is run at its end.
    ended: Option<HowEnded>,
    /// How much CPU and memory it has.
    handed: Handed,
    /// Standard input, output and error, as far as they were sent.
    streams: Vec<OwnedFd>,
}

/// Between two tries, where the daemon does not say: from the first to the last, doubled each time.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How long nobody may listen on the socket: longer than an upgrade takes, and an administrator who looks at something.
const NOBODY_LISTENS_MAX: Duration = Duration::from_secs(600);

/// What this process is to become.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// The command.
    Command,
    /// What is run when that is over.
    AtEnd,
}

/// Becomes the command, so that it returns only where that failed.
///
/// `arguments`: the job's number and the daemon's socket, which the daemon has written.
pub fn run(arguments: impl Iterator<Item = OsString>) -> Failure {
    let Some((job, socket)) = named(arguments) else { return no_job() };
    let mut taken = match taken(job, &socket, What::Command) {
        Ok(taken) => taken,
        Err(why) => return lost(&why.to_string()),
    };
    prepared(job, &mut taken).map_or_else(|failure| failure, |()| become_it(job, &taken))
}

/// Becomes what is run at the end of a command, so that it returns only where that failed, or where there is nothing to be run: the
/// command never ran, or is run again. Nobody sees what it says before it has the command's output: that is in the journal.
///
/// `arguments`: as for [`run`].
pub fn run_at_end(arguments: impl Iterator<Item = OsString>) -> Exit {
    let Some((job, socket)) = named(arguments) else { return no_job().exit };
    let failure = match taken(job, &socket, What::AtEnd) {
        Err(ClientError::Refused(refusal)) if refusal.is(Code::NotFound) => return Exit::DONE,
        Err(why) => Failure::new(Exit::UNAVAILABLE, why.to_string()),
        Ok(mut taken) => {
            let command = taken.handover.notify.take().unwrap_or_default();
            taken.handover.argv = [SHELL.into(), "-c".into(), command].to_vec();
            (taken.handover.script, taken.handover.streams.input) = (None, None);
            match prepared(job, &mut taken) {
                Ok(()) => {
                    let failure = become_it(job, &taken);
                    tell(&failure);
                    return failure.exit;
                }
                Err(failure) => failure,
            }
        }
    };
    let message =
        format!("what was to be run at the end of job {job} was not (--notify): {}", failure.message);
    // Nobody is left to be told that it could not be said.
    let _ = logged(&message);
    failure.exit
}

fn named(mut arguments: impl Iterator<Item = OsString>) -> Option<(u64, PathBuf)> {
    // So that nobody sends the command a signal before it is there. What it runs has a name of its own.
    if let Ok(name) = CString::new(BECOMING) {
        let _ = rustix::thread::set_name(&name);
    }
    let job = arguments.next().and_then(|number| number.to_str()?.parse().ok())?;
    Some((job, arguments.next()?.into()))
}

fn no_job() -> Failure {
    Failure::new(Exit::USAGE, "no job is named").hint("`fairshare submit -- CMD` starts this by itself")
}

/// Has what is to be run find its files open, and what is said from here on go where its own goes.
fn prepared(job: u64, taken: &mut Taken) -> Result<(), Failure> {
    rustix::process::umask(Mode::from_bits_truncate(taken.handover.umask));
    let number = taken.handed.task.map_or_else(|| job.to_string(), |task| task.to_string());
    open(&number, &taken.handover.streams, &mut taken.streams)?;
    shown(&taken.streams).map_err(|why| lost(&why))
}

fn lost(why: &str) -> Failure {
    Failure::new(Exit::UNAVAILABLE, format!("what was submitted did not arrive: {why}"))
        .hint("`fairshare jobs` says more")
}

/// Says something in the journal, as a line of the job's unit.
fn logged(message: &str) -> io::Result<()> {
    // What the message names is written over lines here: a line break would begin a field.
    let message = message.replace('\n', " ");
    let entry = format!("MESSAGE={message}\nPRIORITY=4\nSYSLOG_IDENTIFIER=fairshare\n");
    UnixDatagram::unbound()?.send_to(entry.as_bytes(), JOURNAL).map(drop)
}

/// Opens the files of the command's standard input, output and error that are named, after those that were sent.
fn open(number: &str, named: &Streams, streams: &mut Vec<OwnedFd>) -> Result<(), Failure> {
    if named.is_empty() {
        return Ok(());
    }
    let Streams { input, output, errors } = named;
    let path = |text: &OsText| PathBuf::from(OsString::from_vec(numbered(text.as_bytes(), number)));
    let fails = |path: &Path, error: io::Error| {
        Failure::new(Exit::NOT_EXECUTABLE, format!("{}: cannot be opened: {error}", path.display()))
    };
    let written = |text: &OsText| {
        let path = path(text);
        let file = OpenOptions::new().append(true).create(true).open(&path);
        file.map(OwnedFd::from).map_err(|error| fails(&path, error))
    };
    if streams.is_empty() {
        let source = input.as_ref().map_or_else(|| NOTHING.into(), |input| PathBuf::from(input.as_os_str()));
        streams.push(File::open(&source).map_err(|error| fails(&source, error))?.into());
    }
    if streams.len() == 1 && (output.is_some() || errors.is_some()) {
        streams.push(output.as_ref().map_or_else(|| written(&NOTHING.into()), written)?);
    }
    if streams.len() == 2 {
        streams.extend(errors.as_ref().map(written).transpose()?);
    }
    Ok(())
}

fn taken(job: u64, socket: &Path, what: What) -> Result<Taken, ClientError> {
    // With the connection, whose end tells the daemon that all was read.
    let (_client, handed, descriptors) = fetched(job, socket, what)?;
    let mut descriptors = descriptors.into_iter();
    let no_file = || io::Error::other("nothing was handed over");
    let mut file = File::from(descriptors.next().ok_or_else(no_file).map_err(ClientError::Io)?);
    let mut bytes = Vec::new();
    // It was written through another descriptor that shares its place: from the beginning, then.
    io::Seek::rewind(&mut file).and_then(|()| file.read_to_end(&mut bytes)).map_err(ClientError::Io)?;
    let decoded = Handover::decode_with_end(&bytes);
    let (handover, ended) = decoded.map_err(|why| ClientError::Io(io::Error::other(why)))?;
    Ok(Taken { handover, ended, handed, streams: descriptors.collect() })
}

/// Asks until the daemon has said yes or no: it may be restarted meanwhile, or have no place for now.
fn fetched(job: u64, socket: &Path, what: What) -> Result<(Client, Handed, Vec<OwnedFd>), ClientError> {
    let (mut pauses, began) = (backoff(PAUSE), Instant::now());
    let mut unheard = began;
    let (nobody_listens_max, asked_max, deadlines) = match what {
        What::Command => (NOBODY_LISTENS_MAX, Duration::MAX, Deadlines::default()),
        What::AtEnd => {
            let (all, half) = (ASKED_AT_END_MAX, ASKED_AT_END_MAX / 2);
            (all, all, Deadlines { hello: half, call: half })
        }
    };
    loop {
        let mut client = Client::new(socket, "fairshare", env!("CARGO_PKG_VERSION"), deadlines);
        let answer = match what {
            What::Command => client.job_fetch(job),
            What::AtEnd => client.job_fetch_at_end(job),
        };
        let error = match answer {
            Ok((handed, descriptors)) => return Ok((client, handed, descriptors)),
            Err(error) => error,
        };
        match &error {
            ClientError::Refused(refusal) if is_for_now(refusal) => {
                unheard = Instant::now();
                if let Some(told) = refusal.retry_after_ms {
                    pauses.as_told(Duration::from_millis(told));
                }
            }
            ClientError::Closed | ClientError::Timeout { .. } | ClientError::Io(_) => {
                unheard = Instant::now()
            }
            ClientError::NoSocket { .. }
            | ClientError::NobodyListens { .. }
            | ClientError::Connect { .. }
                if unheard.elapsed() < nobody_listens_max => {}
            _ => return Err(error),
        }
        if began.elapsed() >= asked_max {
            return Err(error);
        }
        std::thread::sleep(pauses.pause());
    }
}

/// Whether the daemon may say something else a moment later.
fn is_for_now(refusal: &WireError) -> bool {
    refusal.is_any(&[Code::Busy, Code::Timeout, Code::RateLimited, Code::Draining, Code::Degraded])
}

/// Has what is said from here on go where the command's own goes.
fn shown(streams: &[OwnedFd]) -> Result<(), String> {
    let said = |errno: rustix::io::Errno| errno.to_string();
    if let Some(output) = streams.get(1) {
        rustix::stdio::dup2_stdout(output).map_err(said)?;
        rustix::stdio::dup2_stderr(streams.get(2).unwrap_or(output)).map_err(said)?;
    }
    Ok(())
}

fn become_it(job: u64, Taken { handover, ended, handed, streams }: &Taken) -> Failure {
    // Without one it stays what systemd has made it: /dev/null.
    if let Some(Err(errno)) = streams.first().map(rustix::stdio::dup2_stdin) {
        return Failure::new(Exit::NOT_EXECUTABLE, format!("no standard input: {errno}"));
    }
    let folder = handover.cwd.as_os_str();
    if let Err(error) = std::env::set_current_dir(folder) {
        return Failure::new(Exit::NOT_EXECUTABLE, format!("{}: cannot go there: {error}", folder.display()))
            .hint("the folder that a command was submitted from must be there when it starts");
    }
    let argv: Result<Vec<CString>, _> =
        handover.argv.iter().map(|argument| CString::new(argument.as_bytes())).collect();
    let text = |(name, value): (&OsText, &OsText)| (name.as_os_str().into(), value.as_os_str().into());
    let inherited = handover.env.iter().map(text);
    let kind = match handed.task {
        Some(TaskInfo { job_id, index }) => Kind::Task(job_id, index),
        None => Kind::Submit(job),
    };
    let has = (handed.cpu_milli, handed.mem_bytes);
    let env = hints::environment(inherited, kind, handed.tries, has, ended.as_ref());
    match argv {
        Ok(argv) => match &handover.script {
            Some(script) => interpret(script, argv, &env),
            None => execute(handover, argv, &env),
        },
        Err(_) => Failure::new(Exit::USAGE, "a NUL in an argument"),
    }
}

/// Has what a script's first line names read the script, out of memory: the file may be another one by now, or gone.
fn interpret(text: &OsText, argv: Vec<CString>, env: &[CString]) -> Failure {
    let failed = |why: String| Failure::new(Exit::NOT_EXECUTABLE, format!("the script cannot be run: {why}"));
    // Not closed as it is executed: the interpreter opens it by its number.
    let file = match rustix::fs::memfd_create("script", MemfdFlags::empty()).map(File::from) {
        Ok(mut file) => match file.write_all(text.as_bytes()) {
            Ok(()) => file,
            Err(error) => return failed(error.to_string()),
        },
        Err(errno) => return failed(errno.to_string()),
    };
    let name = format!("/proc/self/fd/{}", file.as_raw_fd());
    let words = script::interpreter(text.as_bytes()).into_iter().map(<[u8]>::to_vec);
    let words: Result<Vec<CString>, _> = words.chain([name.into_bytes()]).map(CString::new).collect();
    let Ok(mut words) = words else { return failed("a NUL in its first line".to_owned()) };
    words.extend(argv.into_iter().skip(1));
    signals::restore_sigpipe();
    let program = words.first().cloned().unwrap_or_default();
    let Err(errno) = execve(&program, &words, env);
    not_executed(OsStr::from_bytes(program.as_bytes()), errno)
}

/// Looked for as `execvp(3)` does, but in the command's own PATH.
fn execute(handover: &Handover, argv: Vec<CString>, env: &[CString]) -> Failure {
    let name = handover.argv.first().map_or(OsStr::new(""), OsText::as_os_str);
    let path = handover.env.get(&OsText::from("PATH"));
    signals::restore_sigpipe();
    let mut worst = Errno::ENOENT;
    for program in places(name.as_bytes(), path.map_or(PATH_DEFAULT.as_bytes(), OsText::as_bytes)) {
        let Ok(program) = CString::new(program) else { continue };
        match execve(&program, &argv, env) {
            Err(Errno::ENOEXEC) => {
                let rest = argv.iter().skip(1).cloned();
                let Ok(shell) = CString::new(SHELL) else { continue };
                let words: Vec<CString> = [shell.clone(), program].into_iter().chain(rest).collect();
                let Err(errno) = execve(&shell, &words, env);
                worst = errno;
                break;
            }
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            // Another place may have one that can be executed.
            Err(Errno::EACCES) => worst = Errno::EACCES,
            Err(errno) => {
                worst = errno;
                break;
            }
        }
    }
    not_executed(name, worst)
}

fn places(name: &[u8], path: &[u8]) -> Vec<Vec<u8>> {
    if name.contains(&b'/') {
        return vec![name.to_vec()];
    }
    let place = |folder: &[u8]| if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() };
    path.split(|byte| *byte == b':').map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_looked_for_as_a_shell_does() {
        assert_eq!(places(b"make", b"/a:/b"), [b"/a/make", b"/b/make"]);
        assert_eq!(places(b"make", b":/b"), [&b"make"[..], b"/b/make"]);
        assert_eq!(places(b"./make", b"/a"), [b"./make"]);
        assert_eq!(places(b"caf\xe9", b"/\xe9"), [b"/\xe9/caf\xe9"]);
    }
}
