//! `fairshare admin`: for other members, and on the daemon.

use std::path::Path;

use super::{release, renew, request, resize};
use crate::cli::args::Admin;
use crate::cli::exit::{Exit, Failure};
use crate::cli::link::Link;
use crate::cli::render;
use crate::cli::whom::Whom;
use crate::contract::{Addressed, Changed, Drain, Dump, DumpAnswer, Log, LogLevel, Reload, Undrain};

/// Does what only an admin may.
///
/// # Errors
/// Refused, no daemon answers, or there is no such user.
pub fn run(args: &Admin, socket: &Path) -> Result<Exit, Failure> {
    match args {
        Admin::Request(args) => request::run(&args.act, &Whom::named(&args.user)?, socket),
        Admin::Resize(args) => resize::run(&args.act, &Whom::named(&args.user)?, socket),
        Admin::Release(args) => release::run(&args.act, &Whom::named(&args.user)?, socket),
        Admin::Renew(args) => renew::run(&args.act, &Whom::named(&args.user)?, socket),
        Admin::Reload => change(
            &Reload {},
            ["The policy was read again and is in force", "The policy is in force and has not changed"],
            socket,
        ),
        Admin::Drain => change(
            &Drain {},
            [
                "Nothing new is granted from now on; what is held stays",
                "Nothing new was granted before this already",
            ],
            socket,
        ),
        Admin::Undrain => change(
            &Undrain {},
            ["Requests are granted again", "Requests were granted before this already"],
            socket,
        ),
        Admin::Dump => dump(socket),
        Admin::Log { level } => log(*level, socket),
    }
}

/// Makes a call that changes the daemon, and says which of `done` holds: something changed, or nothing.
fn change(call: &impl Addressed<Answer = Changed>, done: [&str; 2], socket: &Path) -> Result<Exit, Failure> {
    let [changed_text, unchanged_text] = done;
    let Changed { changed } = Link::new(socket).ask(call, &Whom::Me)?;
    render::print(if changed { changed_text } else { unchanged_text })?;
    Ok(Exit::DONE)
}

fn dump(socket: &Path) -> Result<Exit, Failure> {
    let DumpAnswer { dump } = Link::new(socket).ask(&Dump {}, &Whom::Me)?;
    render::print(&render::json(&dump)?)?;
    Ok(Exit::DONE)
}

fn log(level: LogLevel, socket: &Path) -> Result<Exit, Failure> {
    let name = level.name();
    let done = [
        format!("Messages of level {name} and above are in the journal, until fairshared is started again"),
        format!("Messages of level {name} and above were in the journal before this already"),
    ];
    change(&Log { level }, done.each_ref().map(String::as_str), socket)
}
