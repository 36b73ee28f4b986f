//! `fairshare run`: become a command inside the share.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::execvpe;

use super::watch::{self, Waited};
use crate::cli::args::{Room, Run, Wanted};
use crate::cli::exit::{Exit, Failure};
use crate::cli::hints::{self, Kind};
use crate::cli::link::{Link, unexpected};
use crate::cli::render;
use crate::cli::shares;
use crate::cli::tell::note;
use crate::cli::typed::Figures;
use crate::cli::typed::Span;
use crate::cli::whom::Whom;
use crate::contract::{
    self, AllocationInfo, Amounts, Endpoint, Entered, InUnit, JobCancel, JobState, Status, StatusAnswer,
};
use crate::sys::signals;

/// Moves this process into the share and executes the command, so that it returns only where it failed.
///
/// # Errors
/// Refused, no daemon answers, or the command cannot be executed.
pub fn run(args: &Run, socket: &Path) -> Result<Exit, Failure> {
    let held = enter(args.room, socket)?;
    Err(execute(&args.command, &held))
}

/// Has this process moved into room of its own, or into the standing allocation, waiting for room where that was asked for. The
/// value says where it is then, and how much that has.
///
/// # Errors
/// Refused, the time is over, or no daemon answers.
pub fn enter(room: Room, socket: &Path) -> Result<InUnit, Failure> {
    let mut link = Link::new(socket);
    if room.wait.is_some() {
        // From here on, so that no signal can leave a request in the queue for which nobody waits.
        signals::note_end();
    }
    let entered = match link.ask(&call(room), &Whom::Me)? {
        Entered::In(entered) => entered,
        Entered::Queued(job_id) => {
            wait(&mut link, socket, job_id, room.wait.flatten().map(|span| span.0))?;
            match link.ask(&contract::Run { job_id: Some(job_id), ..Default::default() }, &Whom::Me)? {
                Entered::In(entered) => entered,
                Entered::Queued(_) => return Err(unexpected(Endpoint::Run)),
            }
        }
    };
    // The command would never hear of what came until now.
    signals::die_as_asked();
    if entered.job_id.is_none() {
        compare(&mut link, room.wanted);
    }
    Ok(entered)
}

fn call(room: Room) -> contract::Run {
    let Room { wanted, wait, own, in_share } = room;
    contract::Run {
        lease_ms: wanted.lease.map(Span::ms),
        wait: wait.map(|_| true),
        in_share: (own || in_share).then_some(in_share),
        ..contract::Run::of(wanted.figures.amounts())
    }
}

/// Waits until there is room, and gives up its place in the queue where it waits no longer.
fn wait(link: &mut Link, socket: &Path, job_id: u64, most: Option<Duration>) -> Result<(), Failure> {
    let until = most.and_then(|most| Instant::now().checked_add(most));
    let mut told = watch::Told::default();
    let over = |job: &contract::JobInfo| job.state != JobState::Queued;
    let waited = watch::watch_until(link, socket, job_id, until, over, |job| told.tell(job))?;
    if matches!(waited, Waited::Ended(_)) {
        return Ok(());
    }
    // It may have been granted meanwhile: then that is given back.
    link.ask(&JobCancel { job_id }, &Whom::Me)?;
    Err(watch::given_up(&waited, most))
}

/// Says so where something was asked for and the command runs in what is held.
/// It is in there by now, so that nothing which goes wrong here is worth keeping it from running.
fn compare(link: &mut Link, wanted: Wanted) {
    if wanted.figures.amounts() == Amounts::default() && wanted.lease.is_none() {
        return;
    }
    let status = link.try_ask(&Status { for_uid: None });
    let Ok(Ok(StatusAnswer { share: Some(share), .. })) = status else { return };
    let Some(held) = share.standing() else { return };
    let mut ways = Vec::new();
    if differs(wanted.figures, held) {
        ways.push("`fairshare resize` changes it");
    }
    if wanted.lease.is_some() {
        ways.push("`fairshare renew` moves its lease's end");
    }
    if !ways.is_empty() {
        let figures = render::figures(held.cpu_milli, held.mem_bytes, held.tasks_max);
        let lease = shares::lease(held, render::now_ms());
        note(&format!("using the share that you hold, {figures}, {lease}; {}", ways.join(", ")));
    }
}

fn differs(wanted: Figures, held: &AllocationInfo) -> bool {
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
    // Who is in a submitted command stays in it, and is told what that was told.
    let env = if entered.unit.ends_with(".service") {
        hints::unchanged(std::env::vars_os())
    } else {
        let kind = Kind::Run(entered.job_id);
        hints::environment(std::env::vars_os(), kind, None, (entered.cpu_milli, entered.mem_bytes), None)
    };
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
