//! `fairshare attach`: move running processes into the share.

use std::path::Path;

use crate::cli::args::Attach;
use crate::cli::exit::{Exit, Failure};
use crate::cli::link::{Link, unexpected};
use crate::cli::render;
use crate::cli::whom::Whom;
use crate::wire::answer::Answer;
use crate::wire::call::{Call, Endpoint};

/// Moves processes of the caller's into its share.
///
/// # Errors
/// Refused, or no daemon answers.
pub fn run(args: &Attach, socket: &Path) -> Result<Exit, Failure> {
    let pids: Vec<u64> = args.pids.iter().copied().map(u64::from).collect();
    let moved = render::counted(args.pids.len().try_into().unwrap_or(u64::MAX), "process", "processes");
    match Link::new(socket).ask(&Call::Attach { pids }, &Whom::Me)? {
        Answer::Unit { unit } => render::print(&format!("Moved {moved} into {}", render::safe(&unit)))?,
        _ => return Err(unexpected(Endpoint::Attach)),
    }
    Ok(Exit::DONE)
}
