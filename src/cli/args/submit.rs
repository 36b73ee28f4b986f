//! `fairshare submit`, as it is typed and as a script says it.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::cli::array::Indices;
use crate::cli::care::Care;
use crate::cli::conditions::Conditions;
use crate::cli::typed::{Figures, Span};
use crate::quantity::RETRIES_MAX;
use crate::wire::field::{NAME_BYTES_MAX, is_name};

/// `fairshare submit`.
#[derive(Debug, Clone, clap::Args)]
pub struct Submit {
    /// What to call it, in 1 to 64 bytes; everybody can see it in systemctl
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub name: Option<String>,
    /// What the command has for itself; with --in-share the most that it may use of what you hold.
    #[command(flatten)]
    pub figures: Figures,
    /// Run it in room of its own, without figures too
    #[arg(long, conflicts_with = "in_share")]
    pub own: bool,
    /// Run it in the standing allocation, with figures too: they are limits then
    #[arg(long)]
    pub in_share: bool,
    /// Refuse it where there is no room now, rather than let it wait
    #[arg(long)]
    pub no_wait: bool,
    /// Run it once for each of these indices, as tasks of an array: 1-100, 0-90:10, 1-100%4 for four at a time
    #[arg(long, value_name = "A-B[:S][%N]", conflicts_with_all = ["in_share", "no_wait"])]
    pub array: Option<Indices>,
    /// What it waits for before that, and before which others it goes.
    #[command(flatten)]
    pub conditions: Conditions,
    /// Run it again where it fails, so many times at most: after a second, and twice as long after each failure
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=RETRIES_MAX), conflicts_with = "in_share")]
    pub retry: Option<u64>,
    /// Have it wait in the queue again where the machine goes down under it
    #[arg(long, conflicts_with = "in_share")]
    pub requeue: bool,
    /// What is done for it while it runs.
    #[command(flatten)]
    pub care: Care,
    /// How long it may run, like 90m, 8h or 7d: then SIGTERM, and SIGKILL after ten seconds
    #[arg(long = "for", value_name = "DUR")]
    pub time_limit: Option<Span>,
    /// Where its output goes, at the end of what is there; %j is the job's number, beside which %% is a percent sign; all else of it stays [default: fairshare-%j.out]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Where its errors go, named in the same way [default: where the output goes]
    #[arg(long, value_name = "FILE")]
    pub errors: Option<PathBuf>,
    /// Where its input comes from [default: /dev/null]
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Run this script as it is now, with the options of its lines that begin with #fairshare; - is standard input
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
    /// The command and its arguments; with --script the arguments of the script
    #[arg(value_name = "CMD", required_unless_present = "script", trailing_var_arg = true)]
    pub command: Vec<OsString>,
}

impl Submit {
    /// The same, where what was not said is as the `other` says it.
    pub fn or(self, other: Self) -> Self {
        let Self {
            name,
            figures,
            own,
            in_share,
            no_wait,
            array,
            conditions,
            retry,
            requeue,
            care,
            time_limit,
            output,
            errors,
            input,
            script,
            command,
        } = self;
        let nowhere = !own && !in_share;
        Self {
            name: name.or(other.name),
            figures: Figures {
                cpu: figures.cpu.or(other.figures.cpu),
                mem: figures.mem.or(other.figures.mem),
                tasks: figures.tasks.or(other.figures.tasks),
            },
            own: own || (nowhere && other.own),
            in_share: in_share || (nowhere && other.in_share),
            no_wait: no_wait || other.no_wait,
            array: array.or(other.array),
            conditions: conditions.or(other.conditions),
            retry: retry.or(other.retry),
            requeue: requeue || other.requeue,
            care: care.or(other.care),
            time_limit: time_limit.or(other.time_limit),
            output: output.or(other.output),
            errors: errors.or(other.errors),
            input: input.or(other.input),
            script,
            command,
        }
    }
}

fn name(text: &str) -> Result<String, String> {
    if !is_name(text) {
        return Err(format!("it must have 1 to {NAME_BYTES_MAX} bytes, and has {}", text.len()));
    }
    Ok(text.to_owned())
}
