//! What `history`, `usage` and `policy simulate --from-history` have in common: which ends are meant, and how they are had.

use std::path::Path;

use crate::cli::exit::{Exit, Failure};
use crate::cli::link::{self, Link};
use crate::cli::render;
use crate::cli::typed::Span;
use crate::cli::whom::Whom;
use crate::contract::{self, EndInfo, Endpoint, HistoryAnswer};
use crate::wire::error::Code;

/// For how long `usage` looks back where nothing is said: 30 days.
const USAGE_SINCE: &str = "30d";

/// `fairshare history`.
#[derive(Debug, clap::Args)]
pub struct History {
    /// Only what ended in the last DUR, like 8h or 30d
    #[arg(long, value_name = "DUR")]
    pub since: Option<Span>,
    /// Only what ended before the last DUR
    #[arg(long, value_name = "DUR")]
    pub until: Option<Span>,
    /// Of this member, by name or uid; for admins
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    pub user: Option<String>,
    /// Everyone's, for admins
    #[arg(long)]
    pub all: bool,
    /// Comma-separated values instead of a table: times in UTC, lengths in seconds
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// One JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

/// `fairshare usage`.
#[derive(Debug, clap::Args)]
pub struct Usage {
    /// Of what ended in the last DUR
    #[arg(long, value_name = "DUR", default_value = USAGE_SINCE)]
    pub since: Span,
    /// What a line is of
    #[arg(long, value_enum, default_value = "user")]
    pub by: By,
    /// Everyone's, for admins
    #[arg(long)]
    pub all: bool,
    /// Comma-separated values instead of a table
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// One JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

/// What a line of `fairshare usage` is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// A member
    User,
    /// A group: who is in several counts in each
    Group,
    /// A day, in UTC
    Day,
}

/// The moment that is so long ago, in Unix milliseconds.
pub fn ago(span: Span) -> u64 {
    render::now_ms().saturating_sub(span.ms())
}

/// All that is asked for, page after page.
///
/// # Errors
/// Refused, or no daemon answers.
pub fn ends(link: &mut Link, asked: contract::History, whom: &Whom) -> Result<Vec<EndInfo>, Failure> {
    let mut ends = Vec::new();
    let mut asked = asked;
    loop {
        let HistoryAnswer { history, next } = link.ask(&asked, whom)?;
        ends.extend(history);
        // A page that leads nowhere would be asked for without end.
        if next.is_none() || next <= asked.after {
            return Ok(ends);
        }
        asked.after = next;
    }
}

/// Everybody's for an admin, else the caller's own.
///
/// # Errors
/// No daemon answers, or it cannot tell.
pub fn all_that_may_be_seen(socket: &Path) -> Result<Vec<EndInfo>, Failure> {
    let mut link = Link::new(socket);
    let all = contract::History { all: Some(true), limit: Some(1), ..contract::History::default() };
    let all = match link.try_ask(&all)? {
        Ok(_) => Some(true),
        Err(error) if error.is(Code::Forbidden) => None,
        Err(error) => return Err(link::refused(&error, Endpoint::History, &Whom::Me)),
    };
    let ends = ends(&mut link, contract::History { all, ..contract::History::default() }, &Whom::Me)?;
    if ends.is_empty() {
        return Err(Failure::new(Exit::REFUSED, "nothing is remembered of jobs and allocations yet")
            .hint("`fairshare history` shows what is; --trace takes requests from a file"));
    }
    Ok(ends)
}

/// Milliseconds as a field: seconds.
pub fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// Lines of comma-separated values (RFC 4180).
pub fn csv(rows: &[Vec<String>]) -> String {
    let line = |row: &Vec<String>| row.iter().map(|field| quoted(field)).collect::<Vec<_>>().join(",");
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

/// A text of somebody's, as a field: nothing that a terminal obeys, nor a spreadsheet.
pub fn text_field(text: &str) -> String {
    let safe = render::safe(text);
    if safe.starts_with(['=', '+', '-', '@']) { format!("'{safe}") } else { safe }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_two_fields_is_quoted_and_nothing_is_obeyed() {
        let row = ["a,b", "say \"no\"", "plain", ""].map(str::to_owned).to_vec();
        assert_eq!(csv(&[row]), "\"a,b\",\"say \"\"no\"\"\",plain,");
        let fields = ["=1+1", "@x", "-2", "a-b", "two\nlines"].map(text_field);
        assert_eq!(fields, ["'=1+1", "'@x", "'-2", "a-b", r"two\u{a}lines"]);
    }
}
