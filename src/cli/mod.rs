//! The members' command: reads the command line, makes the calls, shows the answers.
//!
//! `args` what can be typed · `parse` what was typed · `command` what it does, one file a subcommand · `link` the connection ·
//! `whom` for whom · `render` how it is shown · `exit` how it ends · `hint` and `unreachable` what to type
//! next · `manual` fairshare(1).

pub mod args;
mod command;
mod examples;
mod exit;
mod hint;
mod link;
mod manual;
mod parse;
mod render;
mod typed;
mod unreachable;
mod usage;
mod whom;

use std::env;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use self::exit::Failure;
use crate::client::SOCKET_PATH;
use crate::contract::handover::BECOME;

/// Does what the command line says. The status is one of `fairshare(1)`, section EXIT STATUS.
pub fn main() -> ExitCode {
    // Started by systemd for a submitted command: nobody types this.
    if env::args_os().nth(1).is_some_and(|argument| argument == BECOME) {
        let failure = command::become_job::run(env::args_os().skip(2));
        tell(&failure);
        return ExitCode::from(failure.exit.0);
    }
    let args = match parse::args(env::args_os()) {
        Ok(args) => args,
        Err(error) => return ExitCode::from(usage::tell(&error).0),
    };
    let socket = socket(args.global.socket);
    let exit = match command::run(args.command, &socket) {
        Ok(exit) => exit,
        Err(failure) => {
            tell(&failure);
            failure.exit
        }
    };
    ExitCode::from(exit.0)
}

fn socket(named: Option<PathBuf>) -> PathBuf {
    named
        .or_else(|| env::var_os("FAIRSHARE_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from))
        .unwrap_or_else(|| SOCKET_PATH.into())
}

/// Says on standard error what went wrong and what to type next. Where that cannot be written, the status
/// still says it.
fn tell(failure: &Failure) {
    let _ = io::stderr().write_all(told(failure, colored()).as_bytes());
}

/// Says something on standard error that is worth knowing and no failure.
fn note(text: &str) {
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
