//! `fairshare doctor`: is every promise kept, and where does the work run.

use std::path::Path;

use crate::cli::args::Doctor;
use crate::cli::exit::{Exit, Failure};
use crate::cli::link::Link;
use crate::cli::render;
use crate::cli::whom::Whom;
use crate::contract::{self, Finding, FindingKind};

/// Shows the findings; the status says whether a promise is broken, work is outside, or something is not known.
///
/// # Errors
/// Refused, or no daemon answers.
pub fn run(args: &Doctor, socket: &Path) -> Result<Exit, Failure> {
    let answer = Link::new(socket).ask(&contract::Audit {}, &Whom::Me)?;
    if args.json {
        render::print(&render::json(&answer)?)?;
    } else {
        let lines: Vec<String> = answer.findings.iter().map(text).collect();
        render::print(&render::left_out(lines.join("\n"), answer.findings_left_out, "findings"))?;
    }
    let is_wrong = |finding: &Finding| {
        matches!(finding.kind, FindingKind::Broken | FindingKind::Outside | FindingKind::Unknown)
    };
    let whole = answer.findings_left_out.is_none();
    Ok(if whole && !answer.findings.iter().any(is_wrong) { Exit::DONE } else { Exit::REFUSED })
}

/// A finding, and in a line below what can be done.
fn text(finding: &Finding) -> String {
    let kind = match finding.kind {
        FindingKind::Kept => "ok",
        FindingKind::Broken => "FAULT",
        FindingKind::Outside => "OUTSIDE",
        FindingKind::Held => "held",
        FindingKind::Left => "left",
        FindingKind::Unknown => "unknown",
        FindingKind::Note => "note",
    };
    let hint = finding.hint.as_ref().map(|hint| format!("\n         hint: {}", render::safe(hint)));
    format!("{kind:<7}  {}{}", render::safe(&finding.text), hint.unwrap_or_default())
}
