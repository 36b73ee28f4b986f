//! `fairshare request`: take a share.

use std::path::Path;

use crate::cli::args::{Request, Span, Wanted};
use crate::cli::exit::{Exit, Failure};
use crate::cli::link::{Link, unexpected};
use crate::cli::render;
use crate::cli::whom::Whom;
use crate::wire::answer::{Answer, ShareInfo};
use crate::wire::call::{Call, Endpoint};

/// Takes a share for `whom`.
///
/// # Errors
/// Refused, or no daemon answers.
pub fn run(args: &Request, whom: &Whom, socket: &Path) -> Result<Exit, Failure> {
    let call = call(args.wanted, whom);
    let answer = Link::open(socket)?.ask(&call, whom)?;
    let Answer::Share { share } = &answer else { return Err(unexpected(Endpoint::RequestResources)) };
    if args.json {
        render::print(&render::json(&answer)?)?;
    } else {
        render::print(&now_held("Granted", whom, share))?;
    }
    Ok(Exit::DONE)
}

/// The call for a share.
pub fn call(wanted: Wanted, whom: &Whom) -> Call {
    Call::RequestResources {
        amounts: wanted.figures.amounts(),
        lease_ms: wanted.lease.map(Span::ms),
        wait: None,
        for_uid: whom.for_uid(),
    }
}

/// One line on what is held after `verb` was done.
pub fn now_held(verb: &str, whom: &Whom, share: &ShareInfo) -> String {
    let figures = render::figures(share.cpu_milli, share.mem_bytes, share.tasks_max);
    let until = match share.lease_ends_ms {
        Some(_) => render::lease(share, render::now_ms()),
        None => "held until released".to_owned(),
    };
    format!("{verb}{}: {figures}; {until}", render::safe(&whom.suffix()))
}
