//! What goes out for what was typed, and what is said when it is done.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::thread;

use fairshare::contract::{
    AllocationInfo, AllocationKind, Amounts, Answer, Attach, Audit, AuditAnswer, Call, Changed, Drain,
    Finding, FindingKind, HeldShare, JobInfo, JobStarted, JobState, JobStatus, Log, LogLevel, OneJob,
    Release, Released, Reload, Renew, RequestResources, Resize, ShareInfo, StatusAnswer, Undrain,
};
use fairshare::wire::error::{Code, WireError};

use super::*;

#[test]
fn figures_go_out_as_they_were_typed() {
    let amounts = Amounts { cpu_milli: Some(500), mem_bytes: Some(3 << 29), tasks_max: Some(9) };
    let nothing = Amounts::default();
    for (line, call) in [
        (
            "request --cpu 0.5 --mem 1.5G --tasks 9",
            Call::RequestResources(RequestResources {
                lease_ms: None,
                wait: None,
                for_uid: None,
                ..RequestResources::of(amounts)
            }),
        ),
        (
            "request --for 90m",
            Call::RequestResources(RequestResources {
                lease_ms: Some(5_400_000),
                wait: None,
                for_uid: None,
                ..RequestResources::of(nothing)
            }),
        ),
        ("renew --for 7d", Call::Renew(Renew { lease_ms: 604_800_000, job_id: None, for_uid: None })),
        (
            "admin renew --user root --for 1ms",
            Call::Renew(Renew { lease_ms: 1, job_id: None, for_uid: Some(0) }),
        ),
        (
            "request",
            Call::RequestResources(RequestResources {
                lease_ms: None,
                wait: None,
                for_uid: None,
                ..RequestResources::of(nothing)
            }),
        ),
        (
            "resize --cpu 0.5 --mem 1.5G --tasks 9",
            Call::Resize(Resize { for_uid: None, ..Resize::of(amounts) }),
        ),
        (
            "admin request --user root --cpu 0.5 --mem 1.5G --tasks 9",
            Call::RequestResources(RequestResources {
                lease_ms: None,
                wait: None,
                for_uid: Some(0),
                ..RequestResources::of(amounts)
            }),
        ),
        (
            "admin resize --user 4000000000 --cpu 0.5 --mem 1.5G --tasks 9",
            Call::Resize(Resize { for_uid: Some(4_000_000_000), ..Resize::of(amounts) }),
        ),
    ] {
        let daemon = Daemon::saying([granted()]);
        let said = shown(&daemon.run(line));
        assert!(said.contains("2 CPU, 8.0 GiB and 4096 tasks; held until released"), "{said}");
        assert_eq!(daemon.calls(), [call], "{line}");
    }
}

#[test]
fn release_says_whether_anything_was_held() {
    for (line, released, says, call) in [
        ("release", true, "Released\n", Call::Release(Release { job_id: None, stop: None, for_uid: None })),
        (
            "release",
            false,
            "No share was held\n",
            Call::Release(Release { job_id: None, stop: None, for_uid: None }),
        ),
        (
            "release --stop",
            true,
            "Released\n",
            Call::Release(Release { job_id: None, stop: Some(true), for_uid: None }),
        ),
        (
            "admin release --user root",
            true,
            "Released for root\n",
            Call::Release(Release { job_id: None, stop: None, for_uid: Some(0) }),
        ),
    ] {
        let daemon = Daemon::saying([Answer::Released(Released { released }).into()]);
        assert_eq!(shown(&daemon.run(line)), says);
        assert_eq!(daemon.calls()[0], call);
    }
}

/// Whoever left something in a `run` and gives back what they hold is told where it is.
#[test]
fn release_of_nothing_names_what_goes_on_in_room_of_its_own() {
    let run = AllocationInfo { kind: AllocationKind::Run, job_id: Some(17), ..standing() };
    let share = ShareInfo { allocations: Some(vec![run]), ..share() };
    let busy = WireError::new(Code::Busy, "1 process is inside the share").detail("sleep (pid 7), since 3m");
    let daemon = Daemon::saying([
        Answer::Released(Released { released: false }).into(),
        Answer::Status(StatusAnswer { share: Some(share), capacity: capacity() }).into(),
        Next::from(busy),
    ]);
    let output = daemon.run("release");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "No share was held\n".to_owned()));
    assert_eq!(
        text(&output.stderr),
        "fairshare: job 17 goes on, 1 process is inside the share: sleep (pid 7), since 3m; \
         `fairshare release --stop --job 17` ends it\n"
    );
    let last = Call::Release(Release { job_id: Some(17), ..Release::default() });
    assert_eq!(daemon.calls().pop(), Some(last));
}

#[test]
fn what_is_changed_of_a_job_is_said_of_that_job() {
    let run = AllocationInfo { kind: AllocationKind::Run, job_id: Some(17), cpu_milli: 500, ..standing() };
    let share = ShareInfo { allocations: Some(vec![standing(), run]), ..share() };
    for (line, call) in [
        (
            "resize --job 17 --cpu 0.5",
            Call::Resize(Resize { cpu_milli: Some(500), job_id: Some(17), ..Resize::default() }),
        ),
        (
            "renew --job 17 --for 1h",
            Call::Renew(Renew { lease_ms: 3_600_000, job_id: Some(17), for_uid: None }),
        ),
    ] {
        let daemon = Daemon::saying([Answer::Share(HeldShare { share: share.clone() }).into()]);
        let said = shown(&daemon.run(line));
        assert!(said.contains(": 0.5 CPU, "), "{line}: {said}");
        assert_eq!(daemon.calls(), [call], "{line}");
    }
}

#[test]
fn release_with_stop_waits_until_the_job_has_ended() {
    let started = || Answer::JobStarted(JobStarted { job_started: 7 }).into();
    let daemon = Daemon::saying([
        started(),
        Answer::Job(OneJob::of(job(JobState::Running))).into(),
        Answer::Job(OneJob::of(job(JobState::Done))).into(),
    ]);
    let output = daemon.run("release --stop");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "Released\n".to_owned()));
    assert!(text(&output.stderr).contains("job 7"));
    assert_eq!(
        daemon.calls()[1..],
        [Call::JobStatus(JobStatus { job_id: 7 }), Call::JobStatus(JobStatus { job_id: 7 })]
    );

    let error =
        Some(Box::new(WireError::new(Code::CleanupFailed, "1 process is still there").detail("4711")));
    for (state, error, exit, says) in [
        (JobState::Failed, error, 1, "1 process is still there\n  4711\n"),
        (JobState::Failed, None, 1, "job 7 failed\n"),
        (JobState::Cancelled, None, 1, "job 7 was cancelled\n"),
        (JobState::Interrupted, None, 75, "job 7 was interrupted"),
    ] {
        let job = JobInfo { error, ..job(state) };
        let daemon = Daemon::saying([started(), Answer::Job(OneJob::of(job)).into()]);
        let complaint = complaint(&daemon.run("release --stop"), exit);
        assert!(complaint.contains(&format!("\nfairshare: {says}")), "{complaint}");
        assert!(complaint.contains("\n  hint: `fairshare "), "{complaint}");
    }
}

#[test]
fn interrupting_a_release_leaves_it_running_and_says_so() {
    let daemon = Daemon::saying([
        Answer::JobStarted(JobStarted { job_started: 7 }).into(),
        // As an interrupt while the answer is awaited, so that nothing depends on when it comes.
        Next::Sends(b""),
    ]);
    let mut child =
        daemon.command("release --stop").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while daemon.calls().len() < 2 {
        assert_eq!(child.try_wait().unwrap(), None);
        thread::yield_now();
    }
    interrupt(child.id());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.signal(), Some(2), "a script must see that it was interrupted");
    let stderr = text(&output.stderr);
    assert!(stderr.contains("job 7 goes on") && stderr.contains("hint: `fairshare status`"), "{stderr}");
}

/// Of those that the daemon finds outside only one's own are moved, and not what the command was started from.
#[test]
fn attach_all_moves_what_is_found_of_ones_own() {
    let own = u64::from(rustix::process::getuid().as_raw());
    let this = u64::from(std::process::id());
    let of = |uid: u64, pids: Vec<u64>| Finding {
        uid: Some(uid),
        pids: Some(pids),
        ..Finding::new(FindingKind::Left, "some")
    };
    let mut idle = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let pid = u64::from(idle.id());
    let audited = |findings| Answer::Audit(AuditAnswer { findings, findings_left_out: None });
    let found = vec![of(own + 1, vec![7]), of(own, vec![this, pid])];
    let daemon = Daemon::saying([audited(found).into(), unit()]);
    assert_eq!(shown(&daemon.run("attach --all")), "Moved 1 process into fairshare-1000-own-run1.scope\n");
    assert_eq!(daemon.calls(), [Call::Audit(Audit {}), Call::Attach(Attach { pids: vec![pid] })]);
    idle.kill().unwrap();
    idle.wait().unwrap();

    let status = Answer::Status(StatusAnswer { share: Some(share()), capacity: capacity() });
    let daemon = Daemon::saying([audited(vec![]).into(), status.into()]);
    assert_eq!(
        shown(&daemon.run("attach --all")),
        "Nothing of yours is outside of your share but what this was started from\n"
    );
}

#[test]
fn attach_and_what_changes_the_daemon_say_what_was_done() {
    let daemon = Daemon::saying([unit()]);
    // Two that are there: those that have ended meanwhile are left out.
    let mut idle = [0; 2].map(|_| std::process::Command::new("sleep").arg("600").spawn().unwrap());
    let pids = [0, 1].map(|at: usize| u64::from(idle[at].id()));
    let attach = format!("attach {} {}", pids[0], pids[1]);
    assert_eq!(shown(&daemon.run(&attach)), "Moved 2 processes into fairshare-1000-own-run1.scope\n");
    assert_eq!(daemon.calls(), [Call::Attach(Attach { pids: pids.to_vec() })]);
    for idle in &mut idle {
        idle.kill().unwrap();
        idle.wait().unwrap();
    }
    for (line, call, changed, says) in [
        ("admin reload", Call::Reload(Reload {}), true, "was read again"),
        ("admin reload", Call::Reload(Reload {}), false, "has not changed"),
        ("admin drain", Call::Drain(Drain {}), true, "Nothing new is granted from now on"),
        ("admin drain", Call::Drain(Drain {}), false, "already"),
        ("admin undrain", Call::Undrain(Undrain {}), true, "granted again"),
        ("admin undrain", Call::Undrain(Undrain {}), false, "already"),
        (
            "admin log debug",
            Call::Log(Log { level: LogLevel::Debug }),
            true,
            "until fairshared is started again",
        ),
        ("admin log info", Call::Log(Log { level: LogLevel::Info }), false, "already"),
    ] {
        let daemon = Daemon::saying([Answer::Changed(Changed { changed }).into()]);
        let shown = shown(&daemon.run(line));
        assert!(shown.contains(says), "{shown}");
        assert_eq!(daemon.calls(), [call]);
    }
}
