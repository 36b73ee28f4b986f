//! The members' command.

use std::process::ExitCode;

fn main() -> ExitCode {
    fairshare::fairshare()
}
