//! `fairshare attach`: move running processes into the share.

use std::path::Path;

use crate::cli::args::Attach;
use crate::cli::exit::{Exit, Failure};
use crate::cli::link::Link;
use crate::cli::render;
use crate::cli::whom::Whom;
use crate::contract::{self, InUnit};

/// Moves processes of the caller's into its share.
///
/// # Errors
/// Refused, or no daemon answers.
pub fn run(args: &Attach, socket: &Path) -> Result<Exit, Failure> {
    let pids: Vec<u64> = args.pids.iter().copied().map(u64::from).collect();
    let moved = render::counted(args.pids.len().try_into().unwrap_or(u64::MAX), "process", "processes");
    let InUnit { unit } = Link::new(socket).ask(&contract::Attach { pids }, &Whom::Me)?;
    render::print(&format!("Moved {moved} into {}", render::safe(&unit)))?;
    Ok(Exit::DONE)
}
