//! The command line, as clap reads it. The doc comments are what `--help` and fairshare(1) say.

mod submit;

pub use submit::Submit;

use super::array::Named;
use super::command::{past, simulate};
use super::conditions::Alteration;
use super::examples::{
    ADMIN_EXAMPLES, ATTACH_EXAMPLES, CANCEL_EXAMPLES, COMPLETIONS_EXAMPLES, DOCTOR_EXAMPLES, EVENTS_EXAMPLES,
    EXAMPLES, HISTORY_EXAMPLES, JOBS_EXAMPLES, JSON_EXAMPLES, OUTPUT_EXAMPLES, PAUSE_EXAMPLES,
    POLICY_CHECK_EXAMPLES, RELEASE_EXAMPLES, RENEW_EXAMPLES, REQUEST_EXAMPLES, RESIZE_EXAMPLES,
    RESUME_EXAMPLES, RUN_EXAMPLES, SHELL_EXAMPLES, SUBMIT_EXAMPLES, USAGE_EXAMPLES, WAIT_EXAMPLES,
};
use super::typed::{Figures, Span};
use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Parser, Subcommand, ValueEnum};

use crate::contract::{JobState, LogLevel};
use crate::policy::file::POLICY_DIR;

/// Your share of this machine: take it, work in it, give it back.
///
/// A share is so much CPU, memory and tasks, which the kernel holds you to and keeps for you. It is the
/// sum of your allocations: the standing one, which `request` takes and in which `run`, `shell` and
/// `attach` put what they are given, and one for each command that `submit` gives room of its own.
#[derive(Debug, Parser)]
#[command(name = "fairshare", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Args {
    /// For every subcommand.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be said with every subcommand.
#[derive(Debug, clap::Args)]
pub struct Global {
    /// The daemon's socket [default: $FAIRSHARE_SOCKET, or /run/fairshare.sock]
    #[arg(long, global = true, value_name = "PATH", display_order = 900)]
    pub socket: Option<PathBuf>,
}

/// What the command can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show your share, what it uses, and the machine
    Status(Status),
    /// Take the standing allocation of your share
    #[command(after_help = REQUEST_EXAMPLES)]
    Request(Request),
    /// Change the standing allocation, or that of a job, in place
    #[command(after_help = RESIZE_EXAMPLES)]
    Resize(Resize),
    /// Move the end of the lease of the standing allocation, or of a `run`
    #[command(after_help = RENEW_EXAMPLES)]
    Renew(Renew),
    /// Give the standing allocation back, or that of a job
    #[command(after_help = RELEASE_EXAMPLES)]
    Release(Release),
    /// Run a command, in room of its own or in the standing allocation
    #[command(after_help = RUN_EXAMPLES)]
    Run(Run),
    /// Start your shell ($SHELL), in room of its own or in the standing allocation
    #[command(after_help = SHELL_EXAMPLES)]
    Shell(Shell),
    /// Move running processes of yours into your share
    #[command(after_help = ATTACH_EXAMPLES)]
    Attach(Attach),
    /// Run a command in the background; prints the job's number
    #[command(after_help = SUBMIT_EXAMPLES)]
    Submit(Box<Submit>),
    /// Show your jobs: requests, submitted commands and releases; also how each that is over ended. Or change what waits
    #[command(after_help = JOBS_EXAMPLES)]
    Jobs(Jobs),
    /// Show what a job has written
    #[command(after_help = OUTPUT_EXAMPLES)]
    Output(Output),
    /// Wait until jobs have ended, and end as they did
    #[command(after_help = WAIT_EXAMPLES)]
    Wait(JobNumbers),
    /// Cancel jobs
    #[command(after_help = CANCEL_EXAMPLES)]
    Cancel(JobNumbers),
    /// Have jobs that are at work stand still: they use no CPU, and their memory stays
    #[command(after_help = PAUSE_EXAMPLES)]
    Pause(JobNumbers),
    /// Have paused jobs go on
    #[command(after_help = RESUME_EXAMPLES)]
    Resume(JobNumbers),
    /// Show how your jobs and allocations ended: asked, needed, CPU time, wait, end
    #[command(after_help = HISTORY_EXAMPLES)]
    History(past::History),
    /// Sum up what was held and used: CPU hours, memory hours, waits
    #[command(after_help = USAGE_EXAMPLES)]
    Usage(past::Usage),
    /// Follow what happens to your share and your jobs
    #[command(after_help = EVENTS_EXAMPLES)]
    Events(Events),
    /// Say whether the daemon is well, check by check; exit 1 when it is not
    Health(Health),
    /// Say whether what was promised is kept, and where your work runs; exit 1 when some runs outside
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(Doctor),
    /// Show what the policy gives you; check one, or try one on a trace of requests
    #[command(subcommand)]
    Policy(Policy),
    /// Act for other members, and on the daemon
    #[command(subcommand, after_help = ADMIN_EXAMPLES)]
    Admin(Admin),
    /// Answer lines of JSON with lines of JSON, for programs
    #[command(after_help = JSON_EXAMPLES)]
    Json,
    /// Print completions for a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(Completions),
}

/// What share to take.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct Wanted {
    /// The policy's default for each that is not named.
    #[command(flatten)]
    pub figures: Figures,
    /// For how long, like 90m, 8h, 7d or 1-12:00:00
    #[arg(long = "for", value_name = "DUR")]
    pub lease: Option<Span>,
}

/// `fairshare status`.
#[derive(Debug, clap::Args)]
pub struct Status {
    /// Everyone's shares, as far as the policy shows them
    #[arg(long)]
    pub all: bool,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// `fairshare request`.
#[derive(Debug, clap::Args)]
pub struct Request {
    /// What to take.
    #[command(flatten)]
    pub wanted: Wanted,
    /// Wait in the queue where there is no room now, at most for DUR where it is given
    #[arg(long, value_name = "DUR", num_args = 0..=1, require_equals = true)]
    pub wait: Option<Option<Span>>,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// `fairshare resize`.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("figure").args(["cpu", "mem", "tasks"]).required(true).multiple(true))]
pub struct Resize {
    /// What to change; the others stay.
    #[command(flatten)]
    pub figures: Figures,
    /// Of this job, rather than of the standing allocation
    #[arg(long, value_name = "ID")]
    pub job: Option<Named>,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// `fairshare renew`.
#[derive(Debug, clap::Args)]
pub struct Renew {
    /// How long it is to be held from now on, like 90m, 8h or 7d
    #[arg(long = "for", value_name = "DUR")]
    pub lease: Span,
    /// Of this `run`, rather than of the standing allocation
    #[arg(long, value_name = "ID")]
    pub job: Option<Named>,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// `fairshare release`.
#[derive(Debug, clap::Args)]
pub struct Release {
    /// End the processes inside: SIGTERM, ten seconds, SIGKILL
    #[arg(long)]
    pub stop: bool,
    /// That of this job, rather than the standing allocation
    #[arg(long, value_name = "ID")]
    pub job: Option<Named>,
}

/// Where a command in the foreground runs.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct Room {
    /// What it has for itself.
    #[command(flatten)]
    pub wanted: Wanted,
    /// Wait in the queue where there is no room now, at most for DUR where it is given
    #[arg(long, value_name = "DUR", num_args = 0..=1, require_equals = true)]
    pub wait: Option<Option<Span>>,
    /// In room of its own, without figures too
    #[arg(long, conflicts_with = "in_share")]
    pub own: bool,
    /// In the standing allocation, with figures too
    #[arg(long)]
    pub in_share: bool,
}

/// `fairshare run`.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// Where it runs.
    #[command(flatten)]
    pub room: Room,
    /// The command and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
    pub command: Vec<OsString>,
}

/// `fairshare shell`.
#[derive(Debug, clap::Args)]
pub struct Shell {
    /// Where it runs.
    #[command(flatten)]
    pub room: Room,
}

/// `fairshare attach`.
#[derive(Debug, clap::Args)]
pub struct Attach {
    /// Processes of yours
    #[arg(value_name = "PID", required_unless_present = "all", num_args = 1.., value_parser = clap::value_parser!(u32).range(1..))]
    pub pids: Vec<u32>,
    /// All of yours that are outside of your share, but for the command itself and what it was started from
    #[arg(long, conflicts_with = "pids")]
    pub all: bool,
}

/// `fairshare jobs`.
#[derive(Debug, clap::Args)]
pub struct Jobs {
    /// Everyone's, for admins
    #[arg(long)]
    pub all: bool,
    /// Only those that are in this state; may be named several times, or several with commas
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',', value_parser = one_of(JobState::ALL, JobState::name))]
    pub states: Vec<JobState>,
    /// What becomes of some that wait.
    #[command(flatten)]
    pub alteration: Alteration,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// `fairshare output`.
#[derive(Debug, clap::Args)]
pub struct Output {
    /// The job's number, as `fairshare jobs` shows it
    #[arg(value_name = "ID")]
    pub id: Named,
    /// Go on with what it writes, until it has ended
    #[arg(short, long)]
    pub follow: bool,
}

/// `fairshare wait`, `fairshare cancel`, `fairshare pause`, `fairshare resume`.
#[derive(Debug, clap::Args)]
pub struct JobNumbers {
    /// The jobs' numbers, as `fairshare jobs` shows them
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<Named>,
}

/// `fairshare events`.
#[derive(Debug, clap::Args)]
pub struct Events {
    /// Everyone's, for admins
    #[arg(long)]
    pub all: bool,
    /// One JSON object a line instead of text
    #[arg(long)]
    pub json: bool,
}

/// `fairshare health`.
#[derive(Debug, clap::Args)]
pub struct Health {
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// `fairshare doctor`.
#[derive(Debug, clap::Args)]
pub struct Doctor {
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// `fairshare policy`.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// What holds for you: defaults, the most you may have, leases, your role
    Show(PolicyShow),
    /// Say whether a policy is right, by the daemon's own code and without a daemon
    #[command(after_help = POLICY_CHECK_EXAMPLES)]
    Check(PolicyCheck),
    /// Replay a trace of requests under a policy, in no time and without a daemon
    #[command(after_help = simulate::EXAMPLES)]
    Simulate(simulate::PolicySimulate),
}

/// `fairshare policy show`.
#[derive(Debug, clap::Args)]
pub struct PolicyShow {
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// `fairshare policy check`.
#[derive(Debug, clap::Args)]
pub struct PolicyCheck {
    /// The folder with the policy's *.yaml
    #[arg(value_name = "DIR", default_value = POLICY_DIR)]
    pub dir: PathBuf,
}

/// `fairshare admin`.
#[derive(Debug, Subcommand)]
pub enum Admin {
    /// Take a share for a member
    Request(For<Request>),
    /// Change a member's share in place
    Resize(For<Resize>),
    /// Move the end of a member's lease
    Renew(For<Renew>),
    /// Give a member's share back
    Release(For<Release>),
    /// Have the daemon read its policy again
    Reload,
    /// Have the daemon grant nothing new; what is held stays
    Drain,
    /// Have the daemon grant again
    Undrain,
    /// Show all that the daemon remembers, as one JSON object
    Dump,
    /// Have the journal told more, or less, until the daemon is started again
    Log {
        /// Messages of this level and above
        #[arg(value_name = "LEVEL", value_parser = one_of(LogLevel::ALL, LogLevel::name))]
        level: LogLevel,
    },
}

/// A member, and what to do for it.
#[derive(Debug, clap::Args)]
pub struct For<A: clap::Args> {
    /// The member, by name or uid
    #[arg(long, value_name = "NAME")]
    pub user: String,
    /// What to do.
    #[command(flatten)]
    pub act: A,
}

/// `fairshare completions`.
#[derive(Debug, clap::Args)]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Generated,
}

/// What can be generated from the command line's own description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Generated {
    /// Completions for bash.
    Bash,
    /// Completions for zsh.
    Zsh,
    /// Completions for fish.
    Fish,
    /// The man page, for the package.
    #[value(hide = true)]
    Man,
}

/// One of these, by its name.
fn one_of<T: Copy + Send + Sync + 'static, const N: usize>(
    all: [T; N],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(all.map(name)).try_map(move |typed| {
        all.into_iter().find(|one| name(*one) == typed).ok_or("there is none of this name")
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_description_is_sound_and_every_command_says_what_it_does() {
        fn said(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{} has no description", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
            command.get_subcommands().for_each(said);
        }
        let mut command = Args::command();
        command.build();
        command.debug_assert();
        said(&Args::command());
    }

    #[test]
    fn the_socket_is_named_before_or_after_the_subcommand() {
        for line in [["fairshare", "--socket", "/s", "status"], ["fairshare", "status", "--socket", "/s"]] {
            assert_eq!(Args::try_parse_from(line).unwrap().global.socket, Some("/s".into()));
        }
    }

    #[test]
    fn what_follows_the_command_belongs_to_it() {
        for line in ["run make -j4 --cpu 2 --help", "run -- make -j4 --cpu 2 --help"] {
            let args = Args::try_parse_from(["fairshare"].into_iter().chain(line.split(' '))).unwrap();
            let Command::Run(run) = args.command else { panic!("{line}") };
            assert_eq!(run.command, ["make", "-j4", "--cpu", "2", "--help"]);
            assert_eq!(run.room.wanted.figures.cpu, None);
        }
    }
}
