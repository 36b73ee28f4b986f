//! `submit`: where the output goes.

use std::fs;
use std::path::Path;
use std::process::Command;

use fairshare::contract::{Answer, JobStarted};
use fairshare::wire::error::Code;

use super::*;

fn started() -> Next {
    Answer::JobStarted(JobStarted { job_started: 7 }).into()
}

/// `fairshare submit -- true` in this folder, which strace refuses what `inject` says.
fn submit(daemon: &Daemon, folder: &Path, inject: &[&str]) -> Output {
    let mut command = Command::new("strace");
    command.args(["-o", "/dev/null"]).args(inject).arg(env!("CARGO_BIN_EXE_fairshare"));
    command.args(["submit", "--", "true"]).current_dir(folder).env("FAIRSHARE_SOCKET", daemon.socket());
    command.stdin(Stdio::null()).output().unwrap()
}

fn files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// NFS, 9p and FUSE know no `RENAME_NOREPLACE`.
#[test]
fn the_output_is_named_after_the_job_unless_the_name_is_taken() {
    for inject in [&[][..], &["-e", "inject=renameat2:error=EINVAL"]] {
        let folder = tempfile::tempdir().unwrap();
        let daemon = Daemon::saying([started(), started()]);
        let output = submit(&daemon, folder.path(), inject);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "7\n".to_owned()));
        assert_eq!(text(&output.stderr), "fairshare: job 7: its output goes to fairshare-7.out\n");
        assert_eq!(files(folder.path()), ["fairshare-7.out"]);
        fs::write(folder.path().join("fairshare-7.out"), "of another").unwrap();
        let output = submit(&daemon, folder.path(), inject);
        assert!(text(&output.stderr).contains("goes to .fairshare-"), "{}", text(&output.stderr));
        assert_eq!(fs::read_to_string(folder.path().join("fairshare-7.out")).unwrap(), "of another");
        assert_eq!(files(folder.path()).len(), 2);
    }
}

#[test]
fn the_output_stays_where_the_command_may_have_been_submitted() {
    for (next, kept) in [(Next::Closes, 1), (Code::OverLimit.into(), 0)] {
        let folder = tempfile::tempdir().unwrap();
        let output = submit(&Daemon::saying([next]), folder.path(), &[]);
        assert_ne!(output.status.code(), Some(0));
        assert_eq!(files(folder.path()).len(), kept, "{}", text(&output.stderr));
        assert_eq!(text(&output.stderr).contains("its output goes to .fairshare-"), kept == 1);
    }
}

/// As a submit whose answer was lost leaves one, and the numbers of processes come again.
#[test]
fn an_output_that_another_process_of_the_same_number_left_stays_and_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::saying([started()]);
    let mut command = Command::new("sh");
    let script = "echo of another >.fairshare-$$.out; echo of another >.fairshare-$$-1.out; exec \"$0\" submit -- true";
    command.args(["-c", script, env!("CARGO_BIN_EXE_fairshare")]).current_dir(folder.path());
    let output = command.env("FAIRSHARE_SOCKET", daemon.socket()).output().unwrap();
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(0), "7\n".to_owned()),
        "{}",
        text(&output.stderr)
    );
    let files = files(folder.path());
    assert_eq!(files.len(), 3, "{files:?}");
    for file in files {
        let left = if file == "fairshare-7.out" { "" } else { "of another\n" };
        assert_eq!(fs::read_to_string(folder.path().join(&file)).unwrap(), left, "{file}");
    }
}
