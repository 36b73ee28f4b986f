//! What each subcommand does, one a file.

mod admin;
mod attach;
pub mod become_job;
mod completions;
mod doctor;
mod events;
mod health;
mod history;
mod jobs;
mod json;
mod output;
pub mod past;
mod policy;
mod release;
mod renew;
mod request;
mod resize;
mod run;
mod shell;
pub mod simulate;
mod status;
mod submit;
mod usage;
mod wait;
mod watch;

use std::path::Path;

use super::args::Command;
use super::exit::{Exit, Failure};
use super::whom::Whom;

/// Runs one subcommand.
///
/// # Errors
/// It did not do what it was asked, and why.
pub fn run(command: Command, socket: &Path) -> Result<Exit, Failure> {
    match command {
        Command::Status(args) => status::run(&args, socket),
        Command::Request(args) => request::run(&args, &Whom::Me, socket),
        Command::Resize(args) => resize::run(&args, &Whom::Me, socket),
        Command::Renew(args) => renew::run(&args, &Whom::Me, socket),
        Command::Release(args) => release::run(&args, &Whom::Me, socket),
        Command::Run(args) => run::run(&args, socket),
        Command::Shell(args) => shell::run(&args, socket),
        Command::Attach(args) => attach::run(&args, socket),
        Command::Submit(args) => submit::run(&args, socket),
        Command::Jobs(args) => jobs::list(&args, socket),
        Command::Output(args) => output::run(&args, socket),
        Command::Wait(args) => wait::run(&args, socket),
        Command::Cancel(args) => jobs::cancel(&args, socket),
        Command::Pause(args) => jobs::pause(&args, true, socket),
        Command::Resume(args) => jobs::pause(&args, false, socket),
        Command::History(args) => history::run(&args, socket),
        Command::Usage(args) => usage::run(&args, socket),
        Command::Events(args) => events::run(&args, socket),
        Command::Health(args) => health::run(&args, socket),
        Command::Doctor(args) => doctor::run(&args, socket),
        Command::Policy(args) => policy::run(&args, socket),
        Command::Admin(args) => admin::run(&args, socket),
        Command::Json => json::run(socket),
        Command::Completions(args) => completions::run(&args),
    }
}
