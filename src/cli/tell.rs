//! What is said on standard error: what went wrong and what to type next, and what is worth knowing.

use std::env;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use super::exit::Failure;
use super::render;

/// Says on standard error what went wrong and what to type next. Where that cannot be written, the status
/// still says it.
pub fn tell(failure: &Failure) {
    let _ = io::stderr().write_all(told(failure, colored()).as_bytes());
}

/// Says something on standard error that is worth knowing and no failure.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "fairshare: {}", render::safe(text));
}

fn told(failure: &Failure, colored: bool) -> String {
    let (red, cyan, plain) = if colored { ("\x1b[1;31m", "\x1b[36m", "\x1b[0m") } else { ("", "", "") };
    let mut text = format!("{red}fairshare:{plain} {}\n", render::safe(&failure.message));
    for line in failure.detail.iter().flat_map(|detail| detail.lines()) {
        let _ = writeln!(text, "  {}", render::safe(line));
    }
    if let Some(hint) = &failure.hint {
        let _ = writeln!(text, "  {cyan}hint:{plain} {}", render::safe(hint));
    }
    text
}

/// Whether standard error shows colours and they are wanted (no-color.org: unless `NO_COLOR` is not empty).
fn colored() -> bool {
    let wanted = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let able = env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
    wanted && able && io::stderr().is_terminal()
}
