//! `fairshare policy simulate`: what a policy would have made of a trace of requests.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::past;
use crate::cli::exit::{Exit, Failure};
use crate::cli::render;
use crate::host::account::{self, Directory};
use crate::host::machine;
use crate::identity::{Gid, Uid};
use crate::policy::Machine;
use crate::policy::file::{self, POLICY_DIR};
use crate::quantity::{Bytes, MilliCpu};
use crate::simulate::trace::{BadLine, BadLines, Format, Trace};
use crate::simulate::{Order, Report, replay};

/// What the help shows.
pub const EXAMPLES: &str = "Examples:
  fairshare policy simulate --trace requests.csv
  fairshare policy simulate --policy ./policy.d --trace cluster.swf --format swf --cpus 64 --memory 256G
  sudo fairshare policy simulate --policy ./policy.d --from-history";

/// `fairshare policy simulate`.
#[derive(Debug, clap::Args)]
pub struct PolicySimulate {
    /// The folder with the policy's *.yaml
    #[arg(long, value_name = "DIR", default_value = POLICY_DIR)]
    pub policy: PathBuf,

    /// The requests
    #[arg(long, value_name = "FILE", required_unless_present = "from_history")]
    pub trace: Option<PathBuf>,

    /// Take what `fairshare history` has for the requests: everybody's for an admin, else your own
    #[arg(long, conflicts_with_all = ["trace", "format", "skip_bad_lines"])]
    pub from_history: bool,

    /// How the trace is written
    #[arg(long, value_enum, default_value = "csv")]
    pub format: TraceFormat,

    /// Leave out lines that are not understood, instead of stopping at the first
    #[arg(long)]
    pub skip_bad_lines: bool,

    /// The machine's CPUs, where it is not this one
    #[arg(long, value_name = "N")]
    pub cpus: Option<MilliCpu>,

    /// The machine's memory, where it is not this one
    #[arg(long, value_name = "SIZE", value_parser = crate::cli::typed::memory)]
    pub memory: Option<Bytes>,

    /// In which order who waits is served
    #[arg(long, value_enum, default_value = "fair")]
    pub order: Served,

    /// Both orders, one beside the other
    #[arg(long, conflicts_with = "order")]
    pub compare: bool,

    /// One JSON object instead of tables
    #[arg(long)]
    pub json: bool,
}

/// In which order who waits is served.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Served {
    /// Who holds least, and got least while others waited, goes first
    Fair,
    /// First come, first served, and who cannot delay the first beside it (EASY)
    Fcfs,
}

/// What both orders made of a trace.
#[derive(serde::Serialize)]
struct Compared {
    fair: Report,
    fcfs: Report,
}

/// How a trace is written.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum TraceFormat {
    /// arrival_s,user,cpu,mem,wanted_s
    Csv,
    /// The Standard Workload Format of the Parallel Workloads Archive
    Swf,
}

/// Replays the trace and prints the report.
///
/// # Errors
/// The policy or the trace cannot be read, or there is nothing to hand out.
pub fn run(args: &PolicySimulate, socket: &Path) -> Result<Exit, Failure> {
    let refused = |why: String| Failure::new(Exit::REFUSED, why);
    let policy = file::load(&args.policy, &Directory::System).map_err(|error| refused(error.to_string()))?;
    let trace = match &args.trace {
        Some(path) => read(args, path)?,
        None => Trace::of_ends(&past::all_that_may_be_seen(socket)?),
    };
    let machine = this_machine(args)?;
    let replayed = |order| {
        replay(&trace, &policy, machine, (None, order), user).map_err(|error| {
            refused(error.to_string())
                .hint("name a larger machine with `--cpus` and `--memory`, or a smaller `reserve`")
        })
    };
    if args.compare {
        let both = Compared { fair: replayed(Order::Fair)?, fcfs: replayed(Order::Arrival)? };
        render::print(&if args.json { render::json(&both)? } else { beside(&both) })?;
        return Ok(Exit::DONE);
    }
    let report = replayed(match args.order {
        Served::Fair => Order::Fair,
        Served::Fcfs => Order::Arrival,
    })?;
    render::print(&if args.json { render::json(&report)? } else { table(&report) })?;
    Ok(Exit::DONE)
}

/// The trace that is in a file.
fn read(args: &PolicySimulate, file: &Path) -> Result<Trace, Failure> {
    let refused = |why: String| Failure::new(Exit::REFUSED, why);
    let path = file.display();
    let text = fs::read_to_string(file).map_err(|error| refused(format!("{path}: {error}")))?;
    let format = match args.format {
        TraceFormat::Csv => Format::Csv,
        TraceFormat::Swf => Format::Swf,
    };
    let bad_lines = if args.skip_bad_lines { BadLines::Skip } else { BadLines::Refuse };
    Trace::parse(&text, format, bad_lines).map_err(|bad| {
        refused(format!("{path}: {bad}"))
            .hint("mend the line, or leave such lines out with `--skip-bad-lines`")
    })
}

/// The figures of both orders.
fn beside(Compared { fair, fcfs }: &Compared) -> String {
    let span = |ms: u64| render::span(Duration::from_millis(ms));
    let ratio =
        |one: f64, other: f64| if other > 0.0 { format!("{:.2}", one / other) } else { "-".to_owned() };
    let time = |name: &str, of: fn(&Report) -> u64| {
        let (one, other) = (of(fair), of(fcfs));
        vec![name.to_owned(), span(one), span(other), ratio(one as f64, other as f64)]
    };
    let (slow, slower) = (fair.slowdown_mean, fcfs.slowdown_mean);
    let slowdown =
        ["Slowdown, mean".to_owned(), format!("{slow:.2}"), format!("{slower:.2}"), ratio(slow, slower)];
    let (held, beside) = (fair.utilisation_cpu, fcfs.utilisation_cpu);
    let percent = |part: f64| format!("{:.1} %", part * 100.0);
    let used = ["CPU held".to_owned(), percent(held), percent(beside), ratio(held, beside)];
    render::table(&[
        ["", "FAIR", "FCFS", "RATIO"].map(str::to_owned).to_vec(),
        time("Wait, mean", |report| report.wait_mean_ms),
        time("Wait, p95", |report| report.wait_p95_ms),
        time("Wait, max", |report| report.wait_max_ms),
        time("First, max", |report| report.first_max_ms),
        time("Envy", |report| report.envy_ms),
        slowdown.to_vec(),
        used.to_vec(),
        time("Lasted", |report| report.makespan_ms),
    ])
}

/// The machine that is named; for what is not named, this one.
fn this_machine(args: &PolicySimulate) -> Result<Machine, Failure> {
    if let (Some(cpu), Some(mem)) = (args.cpus, args.memory) {
        return Ok(Machine { cpu, mem });
    }
    let here = machine::read(Path::new(machine::ONLINE)).map_err(|error| {
        Failure::new(Exit::REFUSED, format!("how much of this machine there is cannot be read: {error}"))
            .hint("name a machine with `--cpus` and `--memory`")
    })?;
    Ok(Machine { cpu: args.cpus.unwrap_or(here.cpu), mem: args.memory.unwrap_or(here.mem) })
}

/// A user of this machine with all groups; names that nobody has here get what the policy gives everyone.
fn user(name: &str) -> Option<(Uid, Vec<Gid>)> {
    account::by_name(name).ok().flatten().map(|account| (account.uid, account.groups))
}

fn table(report: &Report) -> String {
    let span = |ms: u64| render::span(Duration::from_millis(ms));
    let percent = |part: f64| format!("{:.1} %", part * 100.0);
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let Report { requests, granted, refused, skipped, .. } = report;
    let whole = render::table(&[
        row(
            "Requests",
            format!("{requests} ({granted} granted, {refused} refused, {skipped} lines left out)"),
        ),
        row("Wait, mean", span(report.wait_mean_ms)),
        row("Wait, p95", span(report.wait_p95_ms)),
        row("Wait, max", span(report.wait_max_ms)),
        row("First, max", span(report.first_max_ms)),
        row("Envy", span(report.envy_ms)),
        row("Slowdown, mean", format!("{:.2}", report.slowdown_mean)),
        row("CPU held", percent(report.utilisation_cpu)),
        row("Memory held", percent(report.utilisation_mem)),
        row("Lasted", span(report.makespan_ms)),
    ]);
    let head = ["USER", "REQUESTS", "GRANTED", "WAIT, MEAN", "CPU TIME", "SHARE"].map(str::to_owned).to_vec();
    let users = report.users.iter().map(|user| {
        vec![
            render::safe(&user.user).to_string(),
            user.requests.to_string(),
            user.granted.to_string(),
            span(user.wait_mean_ms),
            format!("{:.0} s", user.cpu_seconds),
            percent(user.share),
        ]
    });
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(users).collect();
    let refused = named("Refused", &report.refused_lines);
    let left_out = named("Left out", &report.skipped_lines);
    format!("{whole}\n\n{}{refused}{left_out}", render::table(&rows))
}

/// Lines of the trace under a heading; nothing where there are none.
fn named(heading: &str, lines: &[BadLine]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = lines.iter().map(|line| render::safe(&line.to_string())).collect();
    format!("\n\n{heading}\n  {}", lines.join("\n  "))
}
