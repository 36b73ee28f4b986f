//! `run` and `shell`: becoming another command.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use fairshare::contract::{
    Amounts, Answer, Call, EventInfo, JobCancel, JobInfo, JobKind, JobStarted, JobState, OneJob, Run,
};
use fairshare::wire::error::Code;

use super::*;

#[test]
fn run_with_a_share_costs_one_connection_and_one_call() {
    let daemon = Daemon::saying([unit()]);
    assert_eq!(shown(&daemon.run("run -- true")), "");
    assert_eq!(daemon.heard(), [Heard::Connected, Heard::Asked(Call::Run(Run::default()))]);
}

#[test]
fn what_is_said_of_room_goes_along_in_one_call() {
    let amounts = Amounts { cpu_milli: Some(1000), mem_bytes: Some(GIB), tasks_max: None };
    for (line, call) in [
        ("run --cpu 1 --mem 1G --for 1m echo in", Run { lease_ms: Some(60_000), ..Run::of(amounts) }),
        ("run --own echo in", Run { in_share: Some(false), ..Run::default() }),
        ("run --in-share echo in", Run { in_share: Some(true), ..Run::default() }),
        ("run --wait --cpu 1 --mem 1G echo in", Run { wait: Some(true), ..Run::of(amounts) }),
    ] {
        let daemon = Daemon::saying([own_unit()]);
        assert_eq!(shown(&daemon.run(line)), "in\n", "{line}");
        assert_eq!(daemon.heard(), [Heard::Connected, Heard::Asked(Call::Run(call))], "{line}");
    }
    complaint(&Daemon::saying([Code::NoCapacity.into()]).run("run --own echo in"), 75);
    complaint(&Daemon::saying([]).run("run --own --in-share echo in"), 2);
}

/// Who waits for room is told where they stand, and goes in when it is there.
#[test]
fn run_waits_for_room_and_goes_in_then() {
    let started = || Answer::JobStarted(JobStarted { job_started: 7 }).into();
    let is = |state| Answer::Job(OneJob::of(JobInfo { kind: JobKind::Run, ..job(state) })).into();
    let began = EventInfo { job: Some(job(JobState::Running)), ..event("job") };
    let daemon = Daemon::saying([
        started(),
        Next::Streams(vec![began], Then::Waits),
        is(JobState::Queued),
        own_unit(),
    ]);
    let output = daemon.run("run --wait --cpu 1 echo in");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "in\n".to_owned()));
    assert!(text(&output.stderr).starts_with("fairshare: waiting as job 7: "), "{}", text(&output.stderr));
    let last = daemon.calls().pop();
    assert_eq!(last, Some(Call::Run(Run { job_id: Some(7), ..Run::default() })));

    // Whose time is over gives up the place.
    let daemon = Daemon::saying([
        started(),
        Next::Streams(vec![], Then::Waits),
        is(JobState::Queued),
        is(JobState::Cancelled),
    ]);
    let output = daemon.run("run --wait=1s --cpu 1 echo in");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(75), String::new()));
    assert!(text(&output.stderr).contains("no room within 1s; the request was taken back"));
    assert_eq!(daemon.calls().pop(), Some(Call::JobCancel(JobCancel { job_id: 7 })));
}

#[test]
fn run_says_so_where_another_share_than_the_wanted_is_held() {
    const RESIZE: &str = "`fairshare resize` changes it";
    const RENEW: &str = "`fairshare renew` moves its lease's end";
    for (line, ways) in [
        ("run --cpu 4 echo in", RESIZE.to_owned()),
        ("run --mem 4G echo in", RESIZE.to_owned()),
        ("run --tasks 4 echo in", RESIZE.to_owned()),
        ("run --cpu 2 --for 1h echo in", RENEW.to_owned()),
        ("run --cpu 4 --for 1h echo in", format!("{RESIZE}, {RENEW}")),
        ("run --cpu 2 --mem 8G --tasks 4096 echo in", String::new()),
    ] {
        let output = Daemon::saying([unit(), status()]).run(line);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "in\n".to_owned()));
        let held = "using the share that you hold, 2 CPU, 8.0 GiB and 4096 tasks, no lease";
        let note = if ways.is_empty() { ways.clone() } else { format!("fairshare: {held}; {ways}\n") };
        assert_eq!(text(&output.stderr), note, "{line}");
    }
}

#[test]
fn what_is_in_the_share_runs_even_where_the_share_cannot_be_shown() {
    for next in [Code::Degraded.into(), Next::Closes] {
        assert_eq!(shown(&Daemon::saying([unit(), next]).run("run --cpu 4 echo in")), "in\n");
    }
}

#[test]
fn run_ends_as_its_command() {
    let dir = tempfile::tempdir().unwrap();
    let not_executable = dir.path().join("text");
    fs::write(&not_executable, "no program").unwrap();
    for (command, exit) in [
        ("sh -c exit\u{a0}7", 7),
        ("true", 0),
        ("no-such-command-here", 127),
        ("/no/such/command", 127),
        (not_executable.to_str().unwrap(), 126),
        ("/", 126),
    ] {
        let words = command.split(' ').map(|word| OsString::from(word.replace('\u{a0}', " ")));
        let output = Daemon::saying([unit()]).command("run --").args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(exit), "{command}: {}", text(&output.stderr));
        if exit > 7 {
            let complaint = complaint(&output, exit);
            assert!(complaint.contains("\n  hint: "), "{complaint}");
        }
    }
    let output = Daemon::saying([unit()]).command("run -- sh -c").arg("kill -9 $$").output().unwrap();
    assert_eq!(output.status.signal(), Some(9));
}

#[test]
fn run_gives_its_own_process_with_all_that_it_has() {
    let daemon = Daemon::saying([unit()]);
    let mut command = daemon.command("run -- sh -c");
    command
        .arg("echo $$; cat; echo $WORD; pwd; ls -l /proc/self/fd | grep -c socket")
        .env("WORD", "kept")
        .current_dir("/usr");
    let (stdin, mut feed) = std::io::pipe().unwrap();
    let child = command.stdin(stdin).stdout(Stdio::piped()).spawn().unwrap();
    drop(command);
    feed.write_all(b"fed\n").unwrap();
    drop(feed);
    let pid = child.id();
    let stdout = text(&child.wait_with_output().unwrap().stdout);
    assert_eq!(stdout, format!("{pid}\nfed\nkept\n/usr\n0\n"), "and the connection is closed");
}

/// What is inherited of other work, such as the job that runs this, is not said of this.
#[test]
fn run_and_shell_tell_what_they_start_how_much_it_has() {
    for (words, script) in [("run -- env", ""), ("shell", "env\n")] {
        let daemon = Daemon::saying([unit()]);
        let mut command = daemon.command(words);
        command.env("SHELL", "/bin/sh").env("FAIRSHARE_JOB_ID", "7").env("FAIRSHARE_CPUS", "64");
        let (stdin, mut feed) = std::io::pipe().unwrap();
        feed.write_all(script.as_bytes()).unwrap();
        drop(feed);
        let stdout = shown(&command.stdin(stdin).output().unwrap());
        let mut told: Vec<&str> = stdout
            .lines()
            .filter(|line| line.starts_with("FAIRSHARE_") && !line.starts_with("FAIRSHARE_SOCKET="))
            .collect();
        told.sort_unstable();
        let memory = format!("FAIRSHARE_MEM_BYTES={}", 8 * GIB);
        assert_eq!(told, ["FAIRSHARE_CPUS=2", "FAIRSHARE_KIND=run", &memory], "{words}");
    }
    let own = shown(&Daemon::saying([own_unit()]).run("run -- env"));
    assert!(own.lines().any(|line| line == "FAIRSHARE_JOB_ID=7"), "{own}");
    {}
}

#[test]
fn run_gives_signals_as_it_was_given_them() {
    let signals = "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status";
    for before in ["", "trap '' PIPE INT; ", "trap '' PIPE; "] {
        let daemon = Daemon::saying([unit()]);
        let run = |prefix: &str| {
            let script = format!("{before}exec {prefix}{signals}");
            let mut shell = Command::new("sh");
            shell.args(["-c", &script]).env("FAIRSHARE_SOCKET", daemon.socket());
            shown(&shell.output().unwrap())
        };
        let command = format!("{} run -- ", env!("CARGO_BIN_EXE_fairshare"));
        assert_eq!(run(&command), run(""), "{before:?}");
    }
}

#[test]
fn a_shell_reads_its_script_in_the_share() {
    for (shell, exit) in [(Some("/bin/sh"), 3), (Some(""), 3), (None, 3), (Some("/no/such/shell"), 127)] {
        let daemon = Daemon::saying([unit()]);
        let mut command = daemon.command("shell");
        match shell {
            Some(shell) => command.env("SHELL", shell),
            None => command.env_remove("SHELL"),
        };
        let (stdin, mut feed) = std::io::pipe().unwrap();
        feed.write_all(b"exit 3\n").unwrap();
        drop(feed);
        assert_eq!(command.stdin(stdin).output().unwrap().status.code(), Some(exit), "{shell:?}");
        assert_eq!(daemon.heard(), [Heard::Connected, Heard::Asked(Call::Run(Run::default()))]);
    }
}
