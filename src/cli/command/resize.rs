//! `fairshare resize`: change a share in place.

use std::path::Path;

use super::request::now_held;
use crate::cli::args::Resize;
use crate::cli::array;
use crate::cli::exit::{Exit, Failure};
use crate::cli::link::Link;
use crate::cli::render;
use crate::cli::whom::Whom;
use crate::contract;

/// Changes the share of `whom`; what was not named stays.
///
/// # Errors
/// Refused, or no daemon answers.
pub fn run(args: &Resize, whom: &Whom, socket: &Path) -> Result<Exit, Failure> {
    let mut link = Link::new(socket);
    let job_id = array::number_of(&mut link, args.job)?;
    let figures = contract::Resize::of(args.figures.amounts());
    let call = contract::Resize { job_id, for_uid: whom.for_uid(), ..figures };
    let answer = array::ask_of(&mut link, &call, whom, job_id.zip(args.job))?;
    if args.json {
        render::print(&render::json(&answer)?)?;
    } else {
        render::print(&now_held("Resized", whom, &answer.share, job_id))?;
    }
    Ok(Exit::DONE)
}
