//! `fairshare run`: become a command inside the share.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::execvpe;

use super::request;
use crate::cli::args::{Figures, Run, Wanted};
use crate::cli::exit::{Exit, Failure};
use crate::cli::hints::{self, Kind};
use crate::cli::link::{self, Link, unexpected};
use crate::cli::render;
use crate::cli::tell::note;
use crate::cli::whom::Whom;
use crate::contract::{self, Amounts, Endpoint, Granted, InUnit, ShareInfo, Status, StatusAnswer};
use crate::sys::signals;
use crate::wire::error::Code;

/// Moves this process into the share and executes the command, so that it returns only where it failed.
///
/// # Errors
/// Refused, no daemon answers, or the command cannot be executed.
pub fn run(args: &Run, socket: &Path) -> Result<Exit, Failure> {
    let held = enter(args.wanted, socket)?;
    Err(execute(&args.command, &held))
}

/// Has this process moved into the caller's share, after taking one where none is held. The value says where it is then, and
/// how much that has.
///
/// # Errors
/// Refused, or no daemon answers.
pub fn enter(wanted: Wanted, socket: &Path) -> Result<InUnit, Failure> {
    let mut link = Link::new(socket);
    match link.try_ask(&contract::Run {})? {
        Ok(entered) => {
            compare(&mut link, wanted);
            return Ok(entered);
        }
        Err(error) if error.is(Code::NotFound) => {}
        Err(error) => return Err(link::refused(&error, Endpoint::Run, &Whom::Me)),
    }
    let request = request::call(wanted, &Whom::Me);
    let raced = match link.try_ask(&request)? {
        Ok(Granted::Share(_)) => false,
        // It asked not to wait.
        Ok(Granted::Queued(_)) => return Err(unexpected(Endpoint::RequestResources)),
        // Another command of the same member was faster: its share serves as well.
        Err(error) if error.is(Code::AlreadyAllocated) => true,
        Err(error) => return Err(link::refused(&error, Endpoint::RequestResources, &Whom::Me)),
    };
    let entered = link.ask(&contract::Run {}, &Whom::Me)?;
    if raced {
        compare(&mut link, wanted);
    }
    Ok(entered)
}

/// Says so where another share was asked for than the one that is held: the command runs in what is held.
/// It is in there by now, so that nothing which goes wrong here is worth keeping it from running.
fn compare(link: &mut Link, wanted: Wanted) {
    if wanted.figures.amounts() == Amounts::default() && wanted.lease.is_none() {
        return;
    }
    let status = link.try_ask(&Status { for_uid: None });
    let Ok(Ok(StatusAnswer { share: Some(held), .. })) = status else { return };
    let mut ways = Vec::new();
    if differs(wanted.figures, &held) {
        ways.push("`fairshare resize` changes it");
    }
    if wanted.lease.is_some() {
        ways.push("`fairshare renew` moves its lease's end");
    }
    if !ways.is_empty() {
        let figures = render::figures(held.cpu_milli, held.mem_bytes, held.tasks_max);
        let lease = render::lease(&held, render::now_ms());
        note(&format!("using the share that you hold, {figures}, {lease}; {}", ways.join(", ")));
    }
}

fn differs(wanted: Figures, held: &ShareInfo) -> bool {
    wanted.cpu.is_some_and(|cpu| cpu.0 != held.cpu_milli)
        || wanted.tasks.is_some_and(|tasks| tasks.0 != held.tasks_max)
        || wanted.mem.is_some_and(|mem| mem.whole_pages().0 != held.mem_bytes)
}

/// Becomes the command, which is looked for as a shell does. Not by `std`'s `CommandExt::exec`: that sets
/// SIGPIPE and the signal mask to their defaults, where a command started directly has what it inherits.
pub fn execute(command: &[OsString], entered: &InUnit) -> Failure {
    let words: Result<Vec<CString>, _> =
        command.iter().map(|word| CString::new(word.clone().into_vec())).collect();
    let (Ok(words), Some(name)) = (words, command.first()) else {
        return Failure::new(Exit::USAGE, "there is no command to run");
    };
    let Some(program) = words.first() else {
        return Failure::new(Exit::USAGE, "there is no command to run");
    };
    let env = hints::environment(std::env::vars_os(), Kind::Run, entered.cpu_milli, entered.mem_bytes);
    signals::restore_sigpipe();
    let Err(errno) = execvpe(program, &words, &env);
    not_executed(name, errno)
}

/// Why the command was not executed, with the status that a shell gives (POSIX, Shell Command Language, 2.8.2).
pub fn not_executed(name: &OsStr, errno: Errno) -> Failure {
    let name = name.display();
    match errno {
        Errno::ENOENT if name_is_path(name.to_string().as_ref()) => {
            Failure::new(Exit::NOT_FOUND, format!("{name}: no such file, or its interpreter is missing"))
                .hint(format!("`ls -l {name}` says whether it is there"))
        }
        Errno::ENOENT => Failure::new(Exit::NOT_FOUND, format!("{name}: command not found")).hint(format!(
            "`command -v {name}` says where the shell finds it; aliases and functions are the shell's own"
        )),
        _ => Failure::new(Exit::NOT_EXECUTABLE, format!("{name} cannot be executed: {}", errno.desc()))
            .hint(format!("`ls -l {name}` says who may execute it")),
    }
}

fn name_is_path(name: &OsStr) -> bool {
    name.as_bytes().contains(&b'/')
}
