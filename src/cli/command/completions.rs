//! `fairshare completions`: what shells and man(1) know about the command.

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::cli::args::{Args, Completions, Generated};
use crate::cli::exit::{Exit, Failure};
use crate::cli::{manual, render};

/// Prints completions, or the man page.
///
/// # Errors
/// They cannot be written.
pub fn run(args: &Completions) -> Result<Exit, Failure> {
    let text = match args.shell {
        Generated::Bash => completions(Shell::Bash),
        Generated::Zsh => completions(Shell::Zsh),
        Generated::Fish => completions(Shell::Fish),
        Generated::Man => manual::page()?,
    };
    render::print(text.trim_end())?;
    Ok(Exit::DONE)
}

fn completions(shell: Shell) -> String {
    let mut bytes = Vec::new();
    generate(shell, &mut Args::command(), "fairshare", &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
