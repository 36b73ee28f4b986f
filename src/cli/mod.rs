//! The members' command: reads the command line, makes the calls, shows the answers.
//!
//! `args` what can be typed · `conditions` of it what a command waits for · `care` what is done for it while it runs · `parse` what was typed · `command` what it does, one file a subcommand · `link` the connection ·
//! `whom` for whom · `render` how it is shown · `quota` one's disks · `left` one's files in memory · `exit` how it ends · `tell`
//! what is said of that · `hint` and `unreachable` what to type next · `hints` what work is told of its share · `script` what a script says of its submission · `manual`
//! fairshare(1).

pub mod args;
mod array;
mod care;
mod command;
mod conditions;
mod examples;
mod exit;
mod hint;
mod hints;
mod left;
mod link;
mod manual;
mod parse;
mod quota;
mod render;
mod script;
mod shares;
mod tell;
mod typed;
mod unreachable;
mod usage;
mod whom;

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use self::tell::tell;
use crate::client::SOCKET_PATH;
use crate::contract::handover::{BECOME, NOTIFY};

/// Does what the command line says. The status is one of `fairshare(1)`, section EXIT STATUS.
pub fn main() -> ExitCode {
    // Started by systemd for a submitted command: nobody types this.
    if env::args_os().nth(1).is_some_and(|argument| argument == BECOME) {
        let failure = command::become_job::run(env::args_os().skip(2));
        tell(&failure);
        return ExitCode::from(failure.exit.0);
    }
    // The same, when the command is over.
    if env::args_os().nth(1).is_some_and(|argument| argument == NOTIFY) {
        return ExitCode::from(command::become_job::run_at_end(env::args_os().skip(2)).0);
    }
    let args = match parse::args(env::args_os()) {
        Ok(args) => args,
        Err(error) => return ExitCode::from(usage::tell(&error).0),
    };
    let socket = socket(args.global.socket, env::var_os("FAIRSHARE_SOCKET"));
    let exit = match command::run(args.command, &socket) {
        Ok(exit) => exit,
        Err(failure) => {
            tell(&failure);
            failure.exit
        }
    };
    ExitCode::from(exit.0)
}

/// The daemon's socket: the one that is named on the command line, else in the environment, where nothing is no name.
fn socket(named: Option<PathBuf>, in_environment: Option<OsString>) -> PathBuf {
    named
        .or_else(|| in_environment.filter(|path| !path.is_empty()).map(PathBuf::from))
        .unwrap_or_else(|| SOCKET_PATH.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_name_of_the_socket_is_none() {
        let of = |named: Option<&str>, environment: Option<&str>| {
            socket(named.map(PathBuf::from), environment.map(OsString::from))
        };
        assert_eq!(of(None, None), PathBuf::from("/run/fairshare.sock"));
        assert_eq!(of(None, Some("")), PathBuf::from("/run/fairshare.sock"));
        assert_eq!(of(None, Some("there")), PathBuf::from("there"));
        assert_eq!(of(Some("here"), Some("there")), PathBuf::from("here"));
    }
}
