//! `fairshare resize`: change a share in place.

use std::path::Path;

use super::request::now_held;
use crate::cli::args::Resize;
use crate::cli::exit::{Exit, Failure};
use crate::cli::link::{Link, unexpected};
use crate::cli::render;
use crate::cli::whom::Whom;
use crate::wire::answer::Answer;
use crate::wire::call::{Call, Endpoint};

/// Changes the share of `whom`; what was not named stays.
///
/// # Errors
/// Refused, or no daemon answers.
pub fn run(args: &Resize, whom: &Whom, socket: &Path) -> Result<Exit, Failure> {
    let call = Call::Resize { amounts: args.figures.amounts(), for_uid: whom.for_uid() };
    let answer = Link::new(socket).ask(&call, whom)?;
    let Answer::Share { share } = &answer else { return Err(unexpected(Endpoint::Resize)) };
    if args.json {
        render::print(&render::json(&answer)?)?;
    } else {
        render::print(&now_held("Resized", whom, share))?;
    }
    Ok(Exit::DONE)
}
