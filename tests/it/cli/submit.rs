//! `submit`: where the output goes.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use fairshare::contract::{Answer, Call, JobStarted, Submit};
use fairshare::wire::error::Code;

use super::*;

fn started() -> Next {
    Answer::JobStarted(JobStarted { job_started: 7 }).into()
}

/// `fairshare submit` with these words, in this folder.
fn submit(daemon: &Daemon, folder: &Path, words: &[&str]) -> Output {
    let mut command = daemon.command("submit");
    command.args(words).args(["--", "true"]).current_dir(folder).output().unwrap()
}

/// What was asked, and how many descriptors the kernel was given for it.
fn asked(daemon: &Daemon) -> Submit {
    match daemon.calls().pop() {
        Some(Call::Submit(submission)) => submission,
        other => panic!("nothing was submitted: {other:?}"),
    }
}

fn files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// What a command that waits for days is to read and write cannot be open here all that time.
#[test]
fn files_go_by_their_names_and_the_output_is_made_when_the_command_starts() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().join("50%");
    fs::create_dir(&here).unwrap();
    fs::write(here.join("in"), "").unwrap();
    let daemon = Daemon::saying([started(), started()]);
    let output = submit(&daemon, &here, &[]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "7\n".to_owned()));
    assert_eq!(text(&output.stderr), "fairshare: job 7: its output goes to fairshare-7.out\n");
    let real = fs::canonicalize(&here).unwrap();
    let named = |name: &str| Some(real.join(name).into_os_string().into());
    let twice = |name: &str| {
        let path = real.parent().unwrap().join("50%%").join(name);
        Some(path.into_os_string().into())
    };
    let Submit { input, output, errors, .. } = asked(&daemon);
    assert_eq!((input, output, errors), (None, twice("fairshare-%j.out"), None));
    assert_eq!(files(&here), ["in"]);

    let words = ["--input", "in", "--output", "./x%%-%j", "--errors", "100%"];
    let output = submit(&daemon, &here, &words);
    assert_eq!(text(&output.stderr), "fairshare: job 7: its output goes to ./x%-7\n");
    let Submit { input, output, errors, .. } = asked(&daemon);
    assert_eq!((input, output, errors), (named("in"), twice("x%%-%j"), twice("100%%")));
    assert_eq!(files(&here), ["100%", "in"], "a file that was named is there at once");
}

#[test]
fn where_it_runs_and_whether_it_waits_is_what_was_said() {
    let folder = tempfile::tempdir().unwrap();
    let said = |words: &[&str]| {
        let daemon = Daemon::saying([started()]);
        assert_eq!(submit(&daemon, folder.path(), words).status.code(), Some(0));
        let submission = asked(&daemon);
        (submission.cpu_milli, submission.in_share, submission.wait)
    };
    // Which of the two it is where nothing is said depends on what is held: the daemon decides.
    assert_eq!(said(&[]), (None, None, Some(true)));
    assert_eq!(said(&["--cpu", "2"]), (Some(2000), None, Some(true)));
    assert_eq!(said(&["--own", "--no-wait"]), (None, Some(false), Some(false)));
    assert_eq!(said(&["--in-share", "--cpu", "0.5"]), (Some(500), Some(true), Some(true)));
    let daemon = Daemon::saying([]);
    let both = complaint(&submit(&daemon, folder.path(), &["--own", "--in-share"]), 2);
    assert!(both.contains("cannot be used with"), "{both}");
}

#[test]
fn what_it_waits_for_is_what_was_said() {
    let folder = tempfile::tempdir().unwrap();
    let said = |words: &[&str]| {
        let daemon = Daemon::saying([started()]);
        let mut command = daemon.command("submit");
        // Clocks here are two hours ahead of those in Greenwich.
        command.args(words).args(["--", "true"]).current_dir(folder.path()).env("TZ", "HERE-2");
        assert_eq!(command.output().unwrap().status.code(), Some(0), "{words:?}");
        let Submit { after, after_any, begin_ms, hold, priority, .. } = asked(&daemon);
        (after, after_any, begin_ms, hold, priority)
    };
    assert_eq!(said(&[]), (None, None, None, None, None));
    assert_eq!(said(&["--after", "17,18", "--hold"]), (Some(vec![17, 18]), None, None, Some(true), None));
    assert_eq!(said(&["--after-any", "17", "--priority", "0"]), (None, Some(vec![17]), None, None, Some(0)));
    let day = 4_068_144_000_000;
    for time in ["2098-11-30 22:00", "2098-11-30T22:00:00", "2098-11-30T20:00Z"] {
        assert_eq!(said(&["--begin", time]).2, Some(day + 20 * 3_600_000), "{time}");
    }
    assert!(said(&["--begin", "2h"]).2.is_some());
}

#[test]
fn what_cannot_be_waited_for_is_a_fault_of_the_line_that_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::saying([]);
    let many = vec!["7"; 33].join(",");
    for (words, why) in [
        (&["--after", "7", "--no-wait"][..], "--no-wait cannot be with --after: whether there is room"),
        (&["--hold", "--in-share"], "--in-share cannot be with --hold: nobody knows"),
        (&["--begin", "2001-01-01 08:00"], "--begin names a time that is over"),
        (&["--begin", "08:00"], "write the day before it"),
        (&["--after", &many], "--after names 33 jobs, and 32 are the most"),
        (&["--priority", "101"], "from 0 to 100"),
        (&["--after", "x"], "invalid"),
    ] {
        let said = complaint(&submit(&daemon, folder.path(), words), 2);
        assert!(said.contains(why) && said.contains("hint: "), "{said}");
    }
    assert!(daemon.calls().is_empty() && files(folder.path()).is_empty());
}

#[test]
fn what_cannot_be_written_is_refused_before_it_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::saying([]);
    let complains = |words: &[&str], why: &str| {
        let said = complaint(&submit(&daemon, folder.path(), words), 1);
        assert!(said.contains(why) && said.contains("hint: "), "{said}");
    };
    complains(&["--input", "nowhere"], "nowhere: cannot be opened");
    complains(&["--output", "no/file"], "no/file: cannot be opened");
    complains(&["--output", "no/%j"], "no/%j: cannot be opened");
    complains(&["--errors", "."], ".: cannot be opened");
    if !rustix::process::getuid().is_root() {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o500)).unwrap();
        complains(&[], "fairshare-%j.out: cannot be opened");
    }
    assert!(daemon.calls().is_empty());
}

/// A pipe, a terminal, a file without a name: nobody could open it later.
#[test]
fn what_has_no_name_goes_along_open() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::saying([started(), started(), started(), started(), started()]);
    let run = |script: &str| {
        let mut shell = std::process::Command::new("bash");
        shell.args(["-c", script, env!("CARGO_BIN_EXE_fairshare")]).current_dir(folder.path());
        let output = shell.env("FAIRSHARE_SOCKET", daemon.socket()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let Submit { input, output, errors, .. } = asked(&daemon);
        (input.is_some(), output.is_some(), errors.is_some())
    };
    assert_eq!(run("echo | $0 submit --input /dev/stdin -- cat"), (false, true, false));
    assert_eq!(run("$0 submit --output /dev/stdout --errors e -- cat | cat"), (false, false, true));
    // That is a file, and goes by its own name.
    assert_eq!(run("$0 submit --output /dev/stdout -- cat >to"), (false, true, false));
    let to = fs::canonicalize(folder.path().join("to")).unwrap();
    assert_eq!(asked(&daemon).output.unwrap().as_bytes(), to.as_os_str().as_bytes());
    // Its name may be that of another file where the command runs.
    assert_eq!(run("unshare --user $0 submit --input to --output to -- cat"), (false, false, false));
    assert_eq!(run("exec 3>gone; rm gone; $0 submit --output /dev/fd/3 -- cat"), (false, false, false));
}

#[test]
fn where_the_output_goes_is_said_where_the_command_may_have_been_submitted() {
    for (next, said) in [(Next::Closes, true), (Code::OverLimit.into(), false)] {
        let folder = tempfile::tempdir().unwrap();
        let output = submit(&Daemon::saying([next]), folder.path(), &[]);
        assert_ne!(output.status.code(), Some(0));
        assert_eq!(files(folder.path()).len(), 0, "{}", text(&output.stderr));
        assert_eq!(text(&output.stderr).contains("its output goes to fairshare-ID.out"), said);
    }
}

/// As batch systems have it: the script as it is now, with its options in its comments, which the command line overrules.
#[test]
fn a_script_goes_as_it_is_with_the_options_in_its_comments() {
    let folder = tempfile::tempdir().unwrap();
    let script = "#!/bin/bash\n#fairshare --cpu 2 --mem 1G # enough\n#fairshare --own --output 'a b'\necho $1\n\
                  #fairshare --cpu 9\n";
    fs::write(folder.path().join("job.sh"), script).unwrap();
    let run = |words: &[&str]| {
        let daemon = Daemon::saying([started()]);
        let output = daemon.command("submit").args(words).current_dir(folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        asked(&daemon)
    };
    let submission = run(&["--script", "job.sh", "--cpu", "0.5", "--in-share", "one", "--two"]);
    assert_eq!(submission.script, Some(script.into()));
    assert_eq!(submission.argv, ["job.sh".into(), "one".into(), "--two".into()]);
    assert_eq!((submission.cpu_milli, submission.mem_bytes), (Some(500), Some(1 << 30)));
    assert_eq!(submission.in_share, Some(true), "the script's --own is overruled, and not said beside it");
    assert!(submission.output.unwrap().as_bytes().ends_with(b"/a b"));
    let submission = run(&["--script", "job.sh"]);
    assert_eq!((submission.cpu_milli, submission.in_share), (Some(2000), Some(false)));

    let daemon = Daemon::saying([started()]);
    let mut command = daemon.command("submit");
    let mut child =
        command.args(["--script", "-"]).current_dir(&folder).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"echo\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(asked(&daemon).script, Some("echo\n".into()));
}

#[test]
fn what_is_no_script_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let large = vec![b'#'; (512 << 10) + 1];
    for (content, exit, says) in [
        (&b"#!/bin/sh\n#fairshare --cup 2\n"[..], 2, "job.sh:2: unexpected argument '--cup' found"),
        (b"#!/bin/sh\r\necho\r\n", 1, "sed -i"),
        (b"\x7fELF\0", 1, "`fairshare submit -- job.sh` runs a program"),
        (b"", 1, "job.sh: has nothing in it"),
        (&large, 1, "has more than 512 KiB"),
    ] {
        fs::write(folder.path().join("job.sh"), content).unwrap();
        let daemon = Daemon::saying([]);
        let words = ["--script", "job.sh"];
        let output = daemon.command("submit").args(words).current_dir(folder.path()).output().unwrap();
        let said = complaint(&output, exit);
        assert!(said.contains(says) && said.contains("hint: "), "{said}");
        assert!(daemon.calls().is_empty());
    }
    let nowhere = Daemon::saying([]).command("submit").args(["--script", "/nowhere"]).output().unwrap();
    assert!(complaint(&nowhere, 1).contains("/nowhere: cannot be read: "));
}

#[test]
fn what_is_run_at_the_end_is_one_command_for_a_shell() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("job.sh"), "#fairshare --notify './tell  $FAIRSHARE_JOB_ID'\n").unwrap();
    let notify = |words: &[&str]| {
        let daemon = Daemon::saying([started()]);
        let output = daemon.command("submit").args(words).current_dir(folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        asked(&daemon).notify
    };
    assert_eq!(notify(&["--notify", "a; b 'c d'", "--", "true"]), Some("a; b 'c d'".into()));
    assert_eq!(notify(&["--script", "job.sh"]), Some("./tell  $FAIRSHARE_JOB_ID".into()));
    assert_eq!(notify(&["--notify", "b", "--script", "job.sh"]), Some("b".into()));
    assert_eq!(notify(&["--", "true"]), None);
    let long = "x".repeat(4097);
    for (words, says) in [
        (&["--notify", ""][..], "write what is to be run"),
        (&["--notify", &long], "it has 4097 bytes, and 4096 is the most"),
        (&["--notify", "a", "--in-share"], "cannot be used with '--in-share'"),
        (
            &["--notify", "a", "--output", "/dev/stderr"],
            "what is run at the end (--notify) has no pipe or terminal",
        ),
    ] {
        let daemon = Daemon::saying([]);
        let said = complaint(&submit(&daemon, folder.path(), words), 2);
        assert!(said.contains(says), "{said}");
        assert!(daemon.calls().is_empty());
    }
    let run = Daemon::saying([]).command("run").args(["--notify", "a", "--", "true"]).output().unwrap();
    assert!(complaint(&run, 2).contains("unexpected argument '--notify'"));
}
