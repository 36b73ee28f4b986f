//! `fairshare shell`: become the member's shell inside the share.

use std::env;
use std::ffi::OsString;
use std::path::Path;

use super::run::{enter, execute};
use crate::cli::args::Shell;
use crate::cli::exit::{Exit, Failure};

/// What every system has (POSIX says so of `sh`, and Debian's policy of its place).
const SHELL: &str = "/bin/sh";

/// Moves this process into the share and executes `$SHELL`, so that it returns only where it failed. No
/// option is given to it: on a terminal it is interactive by itself, and otherwise reads a script.
///
/// # Errors
/// Refused, no daemon answers, or the shell cannot be executed.
pub fn run(args: &Shell, socket: &Path) -> Result<Exit, Failure> {
    let held = enter(args.room, socket)?;
    let shell = env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| SHELL.into());
    let command: [OsString; 1] = [shell];
    Err(execute(&command, &held))
}
