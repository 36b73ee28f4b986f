//! What was typed, as [`Args`].
//!
//! Describing every subcommand to clap takes longer than most calls take the daemon. What is typed most is a
//! subcommand first, and right: then only that one is described. Everything else, and every mistake, is for the
//! whole description, so that help, hints and errors are the same in either case.

use std::ffi::OsString;

use clap::{Args as _, FromArgMatches, Parser};

use super::args::{Args, Global, Release, Request, Resize, Run, Shell, Status, Submit};

/// Reads a command line, its first word the command's own name.
///
/// # Errors
/// It cannot be understood, or asks for help or the version: clap's own error, which says what to print.
pub fn args(line: impl IntoIterator<Item = OsString>) -> Result<Args, clap::Error> {
    let line: Vec<OsString> = line.into_iter().collect();
    named_only(&line).map_or_else(|| Args::try_parse_from(&line), Ok)
}

/// Reads the line by the description of its subcommand alone; nothing where that does not do.
fn named_only(line: &[OsString]) -> Option<Args> {
    let subcommand = match line.get(1)?.to_str()? {
        "status" => Status::augment_args(clap::Command::new("status")),
        "run" => Run::augment_args(clap::Command::new("run")),
        "request" => Request::augment_args(clap::Command::new("request")),
        "resize" => Resize::augment_args(clap::Command::new("resize")),
        "release" => Release::augment_args(clap::Command::new("release")),
        "submit" => Submit::augment_args(clap::Command::new("submit")),
        "shell" => Shell::augment_args(clap::Command::new("shell")),
        _ => return None,
    };
    let command = Global::augment_args(clap::Command::new("fairshare")).subcommand(subcommand);
    let mut matches = command.try_get_matches_from(line).ok()?;
    Args::from_arg_matches_mut(&mut matches).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Vec<OsString> {
        ["fairshare"].into_iter().chain(text.split_whitespace()).map(OsString::from).collect()
    }

    #[test]
    fn what_one_description_reads_the_whole_reads_as_the_same() {
        for text in [
            "status",
            "status --all --json --socket /s",
            "request --cpu 0.5 --mem 2G --for 90m --wait=1h --json",
            "resize --mem 12G",
            "resize --cpu 2 --mem=1.5G --tasks 10 --socket=/s",
            "release --stop",
            "run make -j4 --cpu 2 --help",
            "run --cpu 2 --mem 8G -- make --socket /s",
            "shell --for 1h",
        ] {
            let line = line(text);
            let quick = named_only(&line).unwrap_or_else(|| panic!("{text}: not read"));
            assert_eq!(format!("{quick:?}"), format!("{:?}", Args::try_parse_from(&line).unwrap()), "{text}");
        }
    }

    #[test]
    fn a_mistake_is_told_by_the_whole_description() {
        for text in
            ["status --al", "resize", "run", "request --cpu -1", "status --help", "release now", "stat"]
        {
            let line = line(text);
            assert!(named_only(&line).is_none(), "{text}");
            let whole = Args::try_parse_from(&line).unwrap_err().to_string();
            assert_eq!(args(line).unwrap_err().to_string(), whole, "{text}");
        }
    }
}
