//! `fairshare health`: is the daemon well, check by check.

use std::path::Path;

use crate::cli::args::Health;
use crate::cli::exit::{Exit, Failure};
use crate::cli::link::Link;
use crate::cli::render;
use crate::cli::whom::Whom;
use crate::contract::{self, Check};

/// Shows the daemon's checks; the status says whether all is well.
///
/// # Errors
/// Refused, or no daemon answers.
pub fn run(args: &Health, socket: &Path) -> Result<Exit, Failure> {
    let answer = Link::new(socket).ask(&contract::Health {}, &Whom::Me)?;
    if args.json {
        render::print(&render::json(&answer)?)?;
    } else {
        let mut lines: Vec<String> = answer.checks.iter().map(line).collect();
        lines.push(if answer.healthy { "healthy" } else { "not healthy" }.to_owned());
        render::print(&lines.join("\n"))?;
    }
    Ok(if answer.healthy { Exit::DONE } else { Exit::REFUSED })
}

fn line(check: &Check) -> String {
    let verdict = if check.ok { "ok   " } else { "FAULT" };
    match &check.detail {
        Some(detail) => format!("{verdict}  {}: {}", render::safe(&check.name), render::safe(detail)),
        None => format!("{verdict}  {}", render::safe(&check.name)),
    }
}
