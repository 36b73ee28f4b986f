//! What systemd starts as the member: it takes what was submitted from the daemon, and becomes it.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::unistd::execve;
use rustix::fs::Mode;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, Shutdown, recvmsg, shutdown};

use super::run::not_executed;
use crate::cli::exit::{Exit, Failure};
use crate::sys::signals;
use crate::wire::handover::{GO, HANDED_MAX, Handover};

/// Where a command is looked for by who has no PATH (`confstr(3)`, `_CS_PATH`, with what Debian adds).
const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";

/// What runs a file that the kernel does not know how to (`execvp(3)`).
const SHELL: &str = "/bin/sh";

/// What was submitted, as it was taken from the socket.
struct Taken {
    handover: Handover,
    /// Standard input, output and error, as far as they were sent.
    streams: Vec<OwnedFd>,
}

/// Becomes the command, so that it returns only where that failed.
pub fn run() -> Failure {
    match taken().and_then(|taken| Ok((told(&taken.streams)?, taken))) {
        Ok((true, taken)) => become_it(&taken),
        Ok((false, _)) => {
            Failure::new(Exit::UNAVAILABLE, "the limits of this command do not hold: it does not run")
                .hint("`fairshare jobs --json` says which")
        }
        Err(why) => Failure::new(Exit::UNAVAILABLE, format!("what was submitted did not arrive: {why}"))
            .hint("`fairshare submit -- CMD` starts this by itself"),
    }
}

fn taken() -> Result<Taken, String> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(HANDED_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(rustix::stdio::stdin(), &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)
        .map_err(|errno| errno.to_string())?;
    let mut descriptors = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
        _ => Vec::new(),
    });
    let mut file = File::from(descriptors.next().ok_or("nothing was handed over")?);
    let mut bytes = Vec::new();
    // It was written through another descriptor that shares its place: from the beginning, then.
    std::io::Seek::rewind(&mut file)
        .and_then(|()| file.read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    Ok(Taken { handover: Handover::decode(&bytes)?, streams: descriptors.collect() })
}

/// Has what is said from here on go where the command's own goes, and waits for the word whether it is to run.
fn told(streams: &[OwnedFd]) -> Result<bool, String> {
    let said = |errno: rustix::io::Errno| errno.to_string();
    if let Some(output) = streams.get(1) {
        rustix::stdio::dup2_stdout(output).map_err(said)?;
        rustix::stdio::dup2_stderr(streams.get(2).unwrap_or(output)).map_err(said)?;
    }
    let go = told_to_go()?;
    // Everything was taken. It may have been shut down by who is gone.
    let _ = shutdown(rustix::stdio::stdin(), Shutdown::Both);
    Ok(go)
}

/// Whether the command is to run, once that is known.
fn told_to_go() -> Result<bool, String> {
    let mut word = [0];
    loop {
        match rustix::io::read(rustix::stdio::stdin(), &mut word) {
            Ok(0) => return Ok(true),
            Ok(_) => return Ok(word == [GO]),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.to_string()),
        }
    }
}

fn become_it(Taken { handover, streams }: &Taken) -> Failure {
    if let Err(failure) = take_input(streams.first()) {
        return failure;
    }
    rustix::process::umask(Mode::from_bits_truncate(handover.umask));
    if let Err(error) = std::env::set_current_dir(&handover.cwd) {
        return Failure::new(Exit::NOT_EXECUTABLE, format!("{}: cannot go there: {error}", handover.cwd))
            .hint("the folder that a command was submitted from must be there when it starts");
    }
    let word =
        |word: String| CString::new(word).map_err(|_| Failure::new(Exit::USAGE, "a NUL in an argument"));
    let argv: Result<Vec<CString>, Failure> = handover.argv.iter().cloned().map(word).collect();
    let env: Result<Vec<CString>, Failure> =
        handover.env.iter().map(|(name, value)| word(format!("{name}={value}"))).collect();
    match (argv, env) {
        (Ok(argv), Ok(env)) => execute(handover, argv, &env),
        (Err(failure), _) | (_, Err(failure)) => failure,
    }
}

/// The command's standard input, in place of the socket.
fn take_input(input: Option<&OwnedFd>) -> Result<(), Failure> {
    let failed =
        |what: &str, error: io::Error| Failure::new(Exit::NOT_EXECUTABLE, format!("{what}: {error}"));
    match input {
        Some(input) => rustix::stdio::dup2_stdin(input),
        None => {
            rustix::stdio::dup2_stdin(File::open("/dev/null").map_err(|error| failed("/dev/null", error))?)
        }
    }
    .map_err(|errno| failed("no standard input", errno.into()))
}

/// Looked for as `execvp(3)` does, but in the command's own PATH.
fn execute(handover: &Handover, argv: Vec<CString>, env: &[CString]) -> Failure {
    let name = handover.argv.first().map_or("", String::as_str);
    signals::restore_sigpipe();
    let mut worst = Errno::ENOENT;
    for program in places(name, handover.env.get("PATH").map_or(PATH_DEFAULT, String::as_str)) {
        let Ok(program) = CString::new(program.as_bytes()) else { continue };
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
    not_executed(OsStr::new(name), worst)
}

fn places(name: &str, path: &str) -> Vec<OsString> {
    if name.contains('/') {
        return vec![name.into()];
    }
    let place = |folder: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    path.split(':').map(|folder| place(folder).into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_looked_for_as_a_shell_does() {
        assert_eq!(places("make", "/a:/b"), ["/a/make", "/b/make"]);
        assert_eq!(places("make", ":/b"), ["make", "/b/make"]);
        assert_eq!(places("./make", "/a"), ["./make"]);
    }
}
