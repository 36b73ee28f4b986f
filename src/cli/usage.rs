//! What is said about a command line that cannot be read, and where help was asked for.

use std::env;

use clap::CommandFactory;
use clap::error::ErrorKind;

use super::args::Args;
use super::exit::{Exit, Failure};
use super::tell::tell as say;

/// Prints what clap has to say, in the form of all our messages, and says with which status to end.
pub fn tell(error: &clap::Error) -> Exit {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            Exit::DONE
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            Exit::USAGE
        }
        _ => {
            say(&failure(&error.render().to_string(), &subcommand()));
            Exit::USAGE
        }
    }
}

/// clap's text: `error: message`, paragraphs of what more there is, and a last one on where help is.
pub fn failure(text: &str, subcommand: &str) -> Failure {
    let text = text.trim_end().trim_end_matches("For more information, try '--help'.").trim_end();
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let (message, rest) = text.split_once('\n').unwrap_or((text, ""));
    let failure = Failure::new(Exit::USAGE, message)
        .hint(format!("`{subcommand} --help` says what can be typed, with examples"));
    let rest: Vec<&str> = rest.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if rest.is_empty() { failure } else { failure.detail(rest.join("\n")) }
}

/// The innermost subcommand that was typed.
fn subcommand() -> String {
    let mut command = Args::command();
    let mut name = command.get_name().to_owned();
    for word in env::args_os().skip(1) {
        let Some(inner) = command.find_subcommand(&word) else { continue };
        name = format!("{name} {}", inner.get_name());
        command = inner.clone();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_speaks_as_we_do() {
        let failure = failure(
            "error: unexpected argument '--cup' found\n\n  tip: a similar argument exists: '--cpu'\n\n\
             Usage: fairshare request --cpu <N>\n\nFor more information, try '--help'.\n",
            "fairshare request",
        );
        assert_eq!(failure.message, "unexpected argument '--cup' found");
        assert_eq!(
            failure.detail.as_deref(),
            Some("tip: a similar argument exists: '--cpu'\nUsage: fairshare request --cpu <N>")
        );
        assert_eq!(
            failure.hint.as_deref(),
            Some("`fairshare request --help` says what can be typed, with examples")
        );
    }
}
