//! `fairshare renew`: move the end of a lease.

use std::path::Path;

use super::request::now_held;
use crate::cli::args::Renew;
use crate::cli::array;
use crate::cli::exit::{Exit, Failure};
use crate::cli::link::Link;
use crate::cli::render;
use crate::cli::whom::Whom;
use crate::contract;

/// Moves the end of the lease of `whom`, counted from now.
///
/// # Errors
/// Refused, or no daemon answers.
pub fn run(args: &Renew, whom: &Whom, socket: &Path) -> Result<Exit, Failure> {
    let mut link = Link::new(socket);
    let job_id = array::number_of(&mut link, args.job)?;
    let call = contract::Renew { lease_ms: args.lease.ms(), job_id, for_uid: whom.for_uid() };
    let answer = array::ask_of(&mut link, &call, whom, job_id.zip(args.job))?;
    if args.json {
        render::print(&render::json(&answer)?)?;
    } else {
        render::print(&now_held("Renewed", whom, &answer.share, job_id))?;
    }
    Ok(Exit::DONE)
}
