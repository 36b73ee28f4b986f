//! fairshare(1): the man page, from the same description that `--help` is made of.

use clap::{Arg, Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use super::args::Args;
use super::exit::{Exit, Failure};

/// What ends how; the numbers are those of [`Exit`].
const EXIT_STATUS: &[(&str, &str)] = &[
    ("0", "Done."),
    (
        "1",
        "Refused, and asking again will not help; of health: the daemon is not well; of doctor: a promise is not kept, or work is outside.",
    ),
    ("2", "The command line is wrong."),
    ("69", "No daemon answers."),
    (
        "75",
        "Refused for now: the same may succeed later; of wait: the job was interrupted, could not be started or was out of time.",
    ),
    ("77", "Not allowed: by the role, or because the socket may not be opened."),
    ("126", "Of run and shell, and of wait for a submitted command: the command cannot be executed."),
    ("127", "Of run and shell, and of wait for a submitted command: the command is not found."),
    (
        "any other",
        "Of run and shell: the status of the command itself; of wait: that of the job, 128 and its number for a signal.",
    ),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("FAIRSHARE_SOCKET", "The daemon's socket, where --socket does not name it."),
    (
        "NO_COLOR",
        "Where this is set and not empty, messages have no colours. On anything but a terminal they never have.",
    ),
    ("SHELL", "What fairshare shell starts; /bin/sh where it is not set."),
    (
        "FAIRSHARE_CPUS",
        "Set for what run, shell and submit start: the CPUs that it has, rounded up to whole ones, for make -j and the like. \
         nproc(1) says how many the machine has. As it was at the start: a resize does not change it.",
    ),
    (
        "FAIRSHARE_MEM_BYTES",
        "Set for what run, shell and submit start: the memory that it has, in bytes. As it was at the start.",
    ),
    ("FAIRSHARE_KIND", "Set for what run, shell and submit start: submit for a job, run for the others."),
    (
        "FAIRSHARE_JOB_ID",
        "Set for what submit starts, and run and shell where they bring room of their own: the number of the job, of a task that of \
         its array.",
    ),
    (
        "FAIRSHARE_TRY",
        "Set for what is submitted with --retry or --requeue: 1, and one more each time that it is run again.",
    ),
    ("FAIRSHARE_TASK", "Set for the tasks of submit --array: the index of the task."),
    (
        "FAIRSHARE_JOB_STATE",
        "Set for what submit --notify runs at the end, beside all that the job had: how the job ended, done, failed, cancelled or \
         interrupted, as jobs --json has it.",
    ),
    ("FAIRSHARE_EXIT_CODE", "Set for the same where the job's command has exited: with which code."),
    (
        "FAIRSHARE_SIGNAL",
        "Set for the same where a signal has ended the job's command: the number of the signal.",
    ),
];

/// How work leaves the share that it was started in, by nobody's fault and against nobody's will.
const LEAVES: &str = "\
What is started in a share stays in it, with all that it starts, unless something opens a login: su, su -, sudo -i, runuser -l, \
ssh to this machine, machinectl shell. pam_systemd(8) moves each into the login of the user that it is for, and no program can \
forbid that. Such work is not counted in the share, has nothing of what the share was promised, and may go on where the job that \
started it is ended.

Use what changes the user and opens no login: runuser -u USER -- CMD and setpriv --reuid USER --regid USER --init-groups CMD, \
which are root's, and sudo without -i.

systemd-run --user, podman without root and tmux on Debian 13 leave the share for the user's own systemd: fairshared(8) says \
more.

fairshare doctor shows what has left, and fairshare attach brings one's own back. Members' logins are held where the policy says \
so (baseline in fairshare-policy(5)).";

const FILES: &[(&str, &str)] = &[
    ("/run/fairshare.sock", "The daemon's socket, open to the group fairshare."),
    ("/etc/fairshare/policy.d/*.yaml", "The policy: see fairshare-policy(5)."),
];

const EXAMPLES: &[(&str, &str)] = &[
    ("fairshare run --cpu 2 --mem 8G -- make -j4", "Work, in room of its own that goes with it."),
    ("fairshare status", "What is mine, and what is free."),
    ("fairshare request --cpu 4 --mem 16G && fairshare shell", "Take a share now, and a shell inside it."),
    ("fairshare attach $(pgrep -u $USER python3)", "Have what runs already count in the share."),
    ("fairshare release", "Give it back."),
    (
        "fairshare submit --for 8h --mem 4G -- make -j4",
        "Work in the background, with 4 GiB of its own, and print the job's number.",
    ),
    ("id=$(fairshare submit -- make) && fairshare wait $id", "The same, waited for: ends as make does."),
    ("fairshare submit --after $id -- make check", "Work that starts when job $id has ended with exit 0."),
    ("fairshare jobs", "What waits and runs, and how the rest ended."),
    ("fairshare jobs --first 19", "Put a job before all others of mine that wait."),
    ("fairshare pause 7", "Have a job stand still, with its memory; fairshare resume 7 has it go on."),
    ("fairshare cancel 7", "End a job."),
    ("fairshare history --since 7d", "How what ended in the last week did: asked, needed, waited."),
    ("fairshare usage --by day", "What I held and used, day by day."),
    ("fairshare events", "What happens to my share and my jobs, as it happens."),
];

const SEE_ALSO: &str =
    "fairshared(8), fairshare-policy(5), fairshare-protocol(7), systemd.slice(5), cgroups(7)";

/// The page, as roff.
///
/// # Errors
/// It cannot be put together; that would be a bug.
pub fn page() -> Result<String, Failure> {
    let mut command = Args::command();
    command.build();
    let source = format!("fairshare {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(Args::command()).title("FAIRSHARE").source(source).manual("fairshare");
    let mut bytes = Vec::new();
    man.render_title(&mut bytes).and_then(|()| man.render_name_section(&mut bytes)).map_err(broken)?;

    let mut roff = Roff::new();
    let mut leaves = Vec::new();
    collect_leaves(&command, "fairshare", &mut leaves);
    roff.control("SH", ["SYNOPSIS"]);
    for (name, leaf) in &leaves {
        roff.text(usage(name, leaf));
        roff.control("br", []);
    }
    roff.control("SH", ["DESCRIPTION"]);
    let about = command.get_long_about().map(ToString::to_string).unwrap_or_default();
    paragraphs(&mut roff, about.split_once("\n\n").map_or(about.as_str(), |(_, rest)| rest));
    roff.control("SH", ["OPTIONS"]);
    command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set())
        .for_each(|option| describe(&mut roff, option));
    roff.control("SH", ["COMMANDS"]);
    leaves.iter().for_each(|(name, leaf)| describe_command(&mut roff, name, leaf));
    roff.control("SH", ["WHAT LEAVES THE SHARE"]);
    paragraphs(&mut roff, LEAVES);
    for (title, entries) in
        [("EXIT STATUS", EXIT_STATUS), ("ENVIRONMENT", ENVIRONMENT), ("FILES", FILES), ("EXAMPLES", EXAMPLES)]
    {
        roff.control("SH", [title]);
        for (term, text) in entries {
            roff.control("TP", []).text([bold(*term)]).text([roman(*text)]);
        }
    }
    roff.control("SH", ["SEE ALSO"]).text([roman(SEE_ALSO)]);
    roff.to_writer(&mut bytes).map_err(broken)?;
    String::from_utf8(bytes).map_err(|error| broken(std::io::Error::other(error)))
}

fn broken(error: std::io::Error) -> Failure {
    Failure::new(Exit::REFUSED, format!("cannot put the man page together: {error}"))
}

/// The commands that do something, with their whole names, in the order of the help.
fn collect_leaves<'a>(command: &'a Command, name: &str, leaves: &mut Vec<(String, &'a Command)>) {
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        let name = format!("{name} {}", inner.get_name());
        if inner.has_subcommands() {
            collect_leaves(inner, &name, leaves);
        } else {
            leaves.push((name, inner));
        }
    }
}

/// What a command takes besides what all of them take.
fn own_arguments(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|argument| {
        !argument.is_hide_set() && !argument.is_global_set() && argument.get_id() != "help"
    })
}

fn usage(name: &str, command: &Command) -> Vec<Inline> {
    let mut line = vec![bold(name)];
    let (positionals, options): (Vec<_>, Vec<_>) =
        own_arguments(command).partition(|arg| arg.is_positional());
    for argument in options.into_iter().chain(positionals) {
        let optional = !argument.is_required_set();
        if argument.is_trailing_var_arg_set() {
            line.push(roman(" [--]"));
        }
        line.push(roman(if optional { " [" } else { " " }));
        line.extend(syntax(argument));
        line.push(roman(if optional { "]" } else { "" }));
    }
    line
}

/// `--cpu N`, `--json`, `PID...`.
fn syntax(argument: &Arg) -> Vec<Inline> {
    let mut parts = Vec::new();
    if let Some(short) = argument.get_short() {
        parts.extend([bold(format!("-{short}")), roman(", ")]);
    }
    if let Some(long) = argument.get_long() {
        parts.push(bold(format!("--{long}")));
    }
    let range = argument.get_num_args().unwrap_or_default();
    if range.takes_values() {
        let value = argument.get_value_names().into_iter().flatten().map(ToString::to_string);
        let value = value.collect::<Vec<_>>().join(" ");
        let several = argument.is_positional() && range.max_values() > 1;
        if !parts.is_empty() {
            parts.push(roman(if range.min_values() == 0 { "[=" } else { " " }));
        }
        parts.push(italic(if several { format!("{value}...") } else { value }));
        if range.min_values() == 0 && !argument.is_positional() {
            parts.push(roman("]"));
        }
    }
    parts
}

fn describe_command(roff: &mut Roff, name: &str, command: &Command) {
    roff.control("SS", [name]);
    roff.text(usage(name, command));
    roff.control("PP", []);
    if let Some(about) = command.get_long_about().or_else(|| command.get_about()) {
        roff.text([roman(format!("{about}."))]);
    }
    own_arguments(command).for_each(|argument| describe(roff, argument));
    let Some(after) = command.get_after_help().map(ToString::to_string) else { return };
    for part in after.split("\n\n") {
        roff.control("PP", []);
        let literal = part.starts_with("Examples:");
        if literal {
            roff.control("nf", []);
        }
        part.lines().for_each(|line| {
            roff.text([roman(line)]);
        });
        if literal {
            roff.control("fi", []);
        }
    }
}

fn describe(roff: &mut Roff, argument: &Arg) {
    roff.control("TP", []).text(syntax(argument));
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let default: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let takes = argument.get_num_args().is_some_and(|range| range.takes_values());
    let default = match default.as_slice() {
        [] => String::new(),
        _ if !takes => String::new(),
        values => format!(" [default: {}]", values.join(" ")),
    };
    roff.text([roman(format!("{help}{default}"))]);
}

fn paragraphs(roff: &mut Roff, text: &str) {
    for paragraph in text.split("\n\n") {
        roff.control("PP", []).text([roman(paragraph.replace('\n', " "))]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_command_and_every_section() {
        let page = page().unwrap();
        for section in [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "OPTIONS",
            "COMMANDS",
            "\"WHAT LEAVES THE SHARE\"",
            "\"EXIT STATUS\"",
            "ENVIRONMENT",
            "FILES",
            "EXAMPLES",
            "\"SEE ALSO\"",
        ] {
            assert!(page.contains(&format!("\n.SH {section}\n")), "{section}\n{page}");
        }
        let mut command = Args::command();
        command.build();
        let mut leaves = Vec::new();
        collect_leaves(&command, "fairshare", &mut leaves);
        assert!(leaves.len() > 10);
        for (name, _) in leaves {
            assert!(page.contains(&format!("\n.SS \"{name}\"\n")), "{name}");
        }
    }
}
