//! `output`: what a job has written.

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::Stdio;

use fairshare::contract::{Answer, JobInfo, JobKind, OneJob};

use super::*;

fn job_with(state: JobState, output: Option<&Path>) -> Next {
    let uid = rustix::process::getuid().as_raw().into();
    let job = JobInfo { kind: JobKind::Submit, uid, ..job(state) };
    let output = output.map(|path| path.to_str().unwrap().to_owned());
    Answer::Job(OneJob { job, output }).into()
}

#[test]
fn what_was_written_is_shown_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    fs::write(&path, b"one\n\x1b[2J\xff").unwrap();
    let output = Daemon::saying([job_with(JobState::Done, Some(&path))]).run("output 7");
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"one\n\x1b[2J\xff"[..]));
}

#[test]
fn who_follows_sees_what_is_written_as_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let queued = || job_with(JobState::Queued, Some(&path));
    let daemon = Daemon::saying([queued(), Next::Streams(vec![], Then::Waits), queued()]);
    let mut command = daemon.command("output");
    let mut child = command.args(["-f", "7"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = BufReader::new(child.stdout.take().unwrap());
    let mut file = OpenOptions::new().append(true).create(true).open(&path).unwrap();
    for written in ["one\n", "two\n"] {
        file.write_all(written.as_bytes()).unwrap();
        let mut line = String::new();
        shown.read_line(&mut line).unwrap();
        assert_eq!(line, written);
    }
    assert!(child.try_wait().unwrap().is_none(), "it is over while the job is not");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn who_follows_is_done_when_the_job_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    fs::write(&path, "all\n").unwrap();
    let looked = || job_with(JobState::Running, Some(&path));
    let ended = EventInfo { job: Some(job(JobState::Failed)), ..event("job") };
    let output =
        Daemon::saying([looked(), Next::Streams(vec![ended], Then::Waits), looked()]).run("output -f 7");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "all\n".to_owned()));
}

#[test]
fn where_there_is_nothing_to_show_is_said_why() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("out");
    let says = |next: Next, why: &str| {
        let said = complaint(&Daemon::saying([next]).run("output 7"), 1);
        assert!(said.contains(why), "{said}");
    };
    says(job_with(JobState::Queued, Some(&missing)), "job 7 has written nothing: it has not begun");
    says(job_with(JobState::Done, Some(&missing)), "out: cannot be shown: No such file");
    says(job_with(JobState::Running, None), "the output of job 7 has no name to open it by");
    let others = OneJob::of(JobInfo { kind: JobKind::Submit, uid: 4_000_000, ..job(JobState::Running) });
    let said = complaint(&Daemon::saying([Answer::Job(others).into()]).run("output 7"), 77);
    assert!(said.contains("is another member's"), "{said}");
    says(job_with(JobState::Running, Some(folder.path())), "cannot be shown: it is no file");
    let request = Answer::Job(OneJob::of(JobInfo { kind: JobKind::Request, ..job(JobState::Done) }));
    says(request.into(), "job 7 is no submitted command");
}
