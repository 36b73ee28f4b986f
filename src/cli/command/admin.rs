//! `fairshare admin`: for other members, and on the daemon.

use std::path::Path;

use super::{release, request, resize};
use crate::cli::args::Admin;
use crate::cli::exit::{Exit, Failure};
use crate::cli::link::{Link, unexpected};
use crate::cli::render;
use crate::cli::whom::Whom;
use crate::wire::answer::Answer;
use crate::wire::call::{Call, Endpoint};

/// Does what only an admin may.
///
/// # Errors
/// Refused, no daemon answers, or there is no such user.
pub fn run(args: &Admin, socket: &Path) -> Result<Exit, Failure> {
    match args {
        Admin::Request(args) => request::run(&args.act, &Whom::named(&args.user)?, socket),
        Admin::Resize(args) => resize::run(&args.act, &Whom::named(&args.user)?, socket),
        Admin::Release(args) => release::run(&args.act, &Whom::named(&args.user)?, socket),
        Admin::Reload => {
            let done =
                ["The policy was read again and is in force", "The policy is in force and has not changed"];
            change(&Call::Reload, done, socket)
        }
    }
}

/// Makes a call that changes the daemon, and says which of `done` holds: something changed, or nothing.
fn change(call: &Call, done: [&str; 2], socket: &Path) -> Result<Exit, Failure> {
    let [changed_text, unchanged_text] = done;
    let Answer::Changed { changed } = Link::open(socket)?.ask(call, &Whom::Me)? else {
        return Err(unexpected(Endpoint::Reload));
    };
    render::print(if changed { changed_text } else { unchanged_text })?;
    Ok(Exit::DONE)
}
