//! What takes long: waiting for a share, jobs, events.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use fairshare::contract::{
    Amounts, Answer, Call, EventInfo, JobAlter, JobCancel, JobInfo, JobKind, JobList, JobStarted, JobState,
    JobStatus, Jobs, OneJob, RequestResources, Status, Subscribe, WaitsFor,
};
use fairshare::wire::error::{Code, WireError};

use super::*;
use crate::poll::{DEADLINE, until};

const FOLLOW: Call = Call::Subscribe(Subscribe { all: None, job_id: Some(7) });
const LOOK: Call = Call::JobStatus(JobStatus { job_id: 7 });
const CANCEL: Call = Call::JobCancel(JobCancel { job_id: 7 });

fn looked(job: JobInfo) -> Next {
    Answer::Job(OneJob::of(job)).into()
}

fn happened(job: JobInfo) -> EventInfo {
    EventInfo { job: Some(job), job_id: Some(7), ..event("job") }
}

fn queued(place: u64) -> JobInfo {
    JobInfo { place: Some(place), ..job(JobState::Queued) }
}

fn started() -> Next {
    Answer::JobStarted(JobStarted { job_started: 7 }).into()
}

fn waiting() -> Call {
    Call::RequestResources(RequestResources {
        lease_ms: None,
        wait: Some(true),
        for_uid: None,
        ..RequestResources::of(Amounts::default())
    })
}

#[test]
fn a_request_that_waits_shows_its_place_and_then_the_share() {
    let events = vec![happened(queued(1)), happened(queued(1)), happened(job(JobState::Done))];
    let daemon = Daemon::saying([started(), Next::Streams(events, Then::Waits), looked(queued(2)), status()]);
    let output = daemon.run("request --wait");
    assert!(text(&output.stdout).starts_with("Granted: 2 CPU"), "{}", text(&output.stdout));
    assert_eq!(
        text(&output.stderr),
        "fairshare: waiting as job 7: place 2\nfairshare: waiting as job 7: place 1\n"
    );
    assert_eq!(daemon.calls(), [waiting(), FOLLOW, LOOK, Call::Status(Status { for_uid: None })]);

    let json = Daemon::saying([
        started(),
        Next::Streams(vec![], Then::Waits),
        looked(job(JobState::Done)),
        status(),
    ]);
    assert!(shown(&json.run("request --wait --json")).starts_with(r#"{"share":{"#));
    let at_once = Daemon::saying([granted()]);
    assert!(shown(&at_once.run("request --wait=1h")).starts_with("Granted"));
}

#[test]
fn a_request_whose_time_is_over_is_taken_back() {
    let script = |cancelled| {
        vec![
            started(),
            Next::Streams(vec![], Then::Waits),
            looked(queued(2)),
            looked(job(cancelled)),
            status(),
        ]
    };
    let daemon = Daemon::saying(script(JobState::Cancelled));
    let output = daemon.run("request --wait=1ms");
    assert_eq!(output.status.code(), Some(75));
    assert!(
        text(&output.stderr).contains("the request was taken back\n  hint: "),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(daemon.calls(), [waiting(), FOLLOW, LOOK, CANCEL]);
    let faster = Daemon::saying(script(JobState::Done)).run("request --wait=1ms");
    assert_eq!(faster.status.code(), Some(0));
    assert!(text(&faster.stdout).starts_with("Granted: "), "a grant was faster than the cancelling");
    // The share is being made: it is had, and not left to someone who was told that there is none.
    let at_work = WireError::new(Code::Busy, "Job 7 is at work");
    let mut script = script(JobState::Cancelled);
    script.splice(
        3..,
        [at_work.into(), Next::Streams(vec![], Then::Waits), looked(job(JobState::Done)), status()],
    );
    let made = Daemon::saying(script);
    assert!(text(&made.run("request --wait=1ms").stdout).starts_with("Granted: "));
    assert_eq!(made.calls()[3..], [CANCEL, FOLLOW, LOOK, Call::Status(Status { for_uid: None })]);
}

#[test]
fn an_interrupted_request_is_taken_back() {
    let daemon = Daemon::saying([
        started(),
        Next::Streams(vec![], Then::Waits),
        looked(queued(2)),
        looked(job(JobState::Cancelled)),
    ]);
    let mut command = daemon.command("request --wait");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
    assert_eq!(stderr.next().unwrap().unwrap(), "fairshare: waiting as job 7: place 2");
    interrupt(child.id());
    assert_eq!(child.wait().unwrap().signal(), Some(2), "a script must see that it was interrupted");
    assert_eq!(stderr.next().unwrap().unwrap(), "fairshare: interrupted; the request was taken back");
    assert_eq!(daemon.calls(), [waiting(), FOLLOW, LOOK, CANCEL]);
}

/// Many may wait for commands that take days.
#[test]
fn who_waits_sleeps_until_something_happens() {
    let daemon = Daemon::saying([Next::Streams(vec![], Then::Waits), looked(job(JobState::Running))]);
    let mut child = daemon.command("wait 7").stderr(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    // How often it went to sleep, where it sleeps.
    let slept = || {
        let status = fs::read_to_string(&status).unwrap();
        let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
        let often: u64 = line("voluntary_ctxt_switches:").parse().unwrap();
        line("State:").starts_with('S').then_some(often)
    };
    until("both calls", DEADLINE, || (daemon.calls() == [FOLLOW, LOOK]).then_some(()));
    // Until its pauses are over a second long, which ones that end by themselves never would be.
    let (mut often, mut since) = (slept(), Instant::now());
    until("a long sleep", DEADLINE, || {
        let now = slept();
        if now.is_none() || now != often {
            (often, since) = (now, Instant::now());
        }
        (since.elapsed() > Duration::from_secs(1)).then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn waiting_outlives_a_restart_of_the_daemon() {
    let daemon = Daemon::saying([
        Next::Streams(vec![happened(job(JobState::Running))], Then::Closes),
        looked(job(JobState::Running)),
        Next::Streams(vec![EventInfo { lagged: Some(3), ..event("lagged") }], Then::Waits),
        looked(job(JobState::Running)),
        looked(JobInfo { exit_code: Some(5), ..job(JobState::Failed) }),
    ]);
    assert_eq!(daemon.run("wait 7").status.code(), Some(5));
    assert_eq!(daemon.calls(), [FOLLOW, LOOK, FOLLOW, LOOK, LOOK]);
}

#[test]
fn wait_ends_as_the_job_did() {
    let error = |code| Some(Box::new(WireError::new(code, "not so")));
    for (job, exit, says) in [
        (JobInfo { exit_code: Some(0), ..job(JobState::Done) }, 0, ""),
        (job(JobState::Done), 0, ""),
        (JobInfo { exit_code: Some(42), ..job(JobState::Failed) }, 42, ""),
        (JobInfo { signal: Some(15), ..job(JobState::Failed) }, 143, "was ended by signal 15"),
        (JobInfo { signal: Some(9), oom: Some(true), ..job(JobState::Failed) }, 137, "out of memory"),
        (JobInfo { error: error(Code::NoCapacity), ..job(JobState::Failed) }, 75, "not so"),
        (JobInfo { error: error(Code::Systemd), ..job(JobState::Failed) }, 75, "not so"),
        (job(JobState::Cancelled), 1, "was cancelled"),
        (job(JobState::Interrupted), 75, "was interrupted"),
    ] {
        let daemon = Daemon::saying([Next::Streams(vec![], Then::Waits), looked(job.clone())]);
        let output = daemon.run("wait 7");
        assert_eq!(output.status.code(), Some(exit), "{job:?}");
        let stderr = text(&output.stderr);
        assert!(stderr.contains(says) && stderr.is_empty() == says.is_empty(), "{stderr}");
    }
    let unknown = Daemon::saying([WireError::new(Code::NotFound, "there is no job 7").into()]);
    assert!(complaint(&unknown.run("wait 7"), 1).contains("hint: `fairshare jobs`"));
}

/// One connection has the questions and one the events, whatever the number of jobs.
#[test]
fn wait_of_several_ends_with_the_largest_status() {
    let own = u64::from(rustix::process::getuid().as_raw());
    let of = |job_id, exit_code, state| JobInfo { job_id, uid: own, exit_code, ..job(state) };
    let over = |job: JobInfo| EventInfo { job_id: Some(job.job_id), job: Some(job), ..event("job") };
    let running = |id| looked(of(id, None, JobState::Running));
    let events = vec![
        over(of(99, Some(200), JobState::Failed)),
        over(of(8, None, JobState::Running)),
        over(of(8, Some(3), JobState::Failed)),
    ];
    let daemon = Daemon::saying([
        Next::Streams(events, Then::Closes),
        running(7),
        running(8),
        looked(of(9, Some(0), JobState::Done)),
        WireError::new(Code::NotFound, "there is no job 10").into(),
        // The daemon was restarted: what is left is looked at again.
        Next::Streams(vec![EventInfo { lagged: Some(1), ..event("lagged") }], Then::Waits),
        running(7),
        looked(of(7, Some(2), JobState::Failed)),
    ]);
    let output = daemon.run("wait 7 8 9 10 8");
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let stderr = text(&output.stderr);
    for said in [
        "fairshare: job 9 ended with exit 0; 1 of 4 are over\n",
        "fairshare: job 10: there is no job 10\n",
        "fairshare: job 8 ended with exit 3; 3 of 4 are over\n",
        "fairshare: job 7 ended with exit 2; 4 of 4 are over\n",
    ] {
        assert!(stderr.contains(said), "{stderr}");
    }
    let follow = Call::Subscribe(Subscribe { all: None, job_id: None });
    let looks = |job_id| Call::JobStatus(JobStatus { job_id });
    assert_eq!(
        daemon.calls(),
        [follow.clone(), looks(7), looks(8), looks(9), looks(10), follow, looks(7), looks(7)]
    );
    let connections = daemon.heard().iter().filter(|heard| matches!(heard, Heard::Connected)).count();
    assert_eq!(connections, 3, "one for the questions, and one for the events of each daemon");
}

#[test]
fn an_admin_waits_for_others_jobs_as_well() {
    let own = u64::from(rustix::process::getuid().as_raw());
    let of = |job_id, state| JobInfo { job_id, uid: own + 1, ..job(state) };
    let over = |job_id| EventInfo { job: Some(of(job_id, JobState::Done)), ..event("job") };
    let running = |id| looked(of(id, JobState::Running));
    let daemon = Daemon::saying([
        Next::Streams(vec![], Then::Waits),
        running(7),
        running(8),
        Next::Streams(vec![over(8), over(7)], Then::Waits),
        running(7),
        running(8),
    ]);
    assert_eq!(daemon.run("wait 7 8").status.code(), Some(0));
    assert_eq!(daemon.calls()[3], Call::Subscribe(Subscribe { all: Some(true), job_id: None }));
}

#[test]
fn jobs_can_be_shown_by_where_they_stand() {
    let jobs = [queued(1), job(JobState::Running), job(JobState::Done), job(JobState::Failed)];
    let shows = |line: &str| {
        let jobs = Jobs { jobs: jobs.to_vec(), jobs_left_out: None };
        let shown = shown(&Daemon::saying([Answer::Jobs(jobs).into()]).run(line));
        let states = JobState::ALL.map(JobState::name).into_iter();
        states.filter(|state| shown.contains(state)).collect::<Vec<_>>()
    };
    assert_eq!(shows("jobs --state queued,failed"), ["queued", "failed"]);
    assert_eq!(shows("jobs --json --state running --state done"), ["running", "done"]);
    assert!(complaint(&fairshare("jobs --state lost").output().unwrap(), 2).contains("interrupted"));
}

#[test]
fn jobs_are_a_table() {
    let ended = JobInfo {
        name: Some("x\x1b".into()),
        exit_code: Some(3),
        created_ms: 1000,
        started_ms: Some(66_000),
        ended_ms: Some(70_000),
        cpu_usec: Some(120_999),
        peak_mem_bytes: Some(31 << 20),
        ..job(JobState::Failed)
    };
    let long = JobInfo {
        cpu_usec: Some(3_700_000_000),
        needed_bytes: Some(20 << 20),
        mem_limit_bytes: Some(64 << 20),
        ..ended.clone()
    };
    let daemon =
        Daemon::saying([
            Answer::Jobs(Jobs { jobs: vec![queued(2), ended, long], jobs_left_out: Some(7) }).into()
        ]);
    let shown_jobs = shown(&daemon.run("jobs"));
    let rows: Vec<Vec<&str>> = shown_jobs
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    let heads = ["JOB", "USER", "KIND", "STATE", "AGE", "WAITED", "CPU", "NEEDED", "NAME", "RESULT"];
    assert_eq!(rows[0], heads, "{shown_jobs}");
    assert_eq!(rows[1][2..4], ["release", "queued"], "{shown_jobs}");
    assert_eq!(rows[1][4], rows[1][5], "still waiting: {shown_jobs}");
    assert_eq!(rows[1][6..], ["-", "-", "-", "place 2"], "{shown_jobs}");
    assert_eq!(rows[2][5..], ["1m 5s", "120ms", "up to 31.0 MiB", r"x\u{1b}", "exit 3"], "{shown_jobs}");
    assert_eq!(rows[3][6..8], ["1h 1m", "20.0 MiB to 31.0 MiB of 64.0 MiB"], "{shown_jobs}");
    assert_eq!(shown_jobs.lines().last(), Some("Not shown: 7 older jobs"), "{shown_jobs}");
    assert_eq!(daemon.calls(), [Call::JobList(JobList { all: None })]);
    let daemon = Daemon::saying([Answer::Jobs(Jobs { jobs: vec![], jobs_left_out: None }).into()]);
    assert_eq!(shown(&daemon.run("jobs --all --json")), "{\"jobs\":[]}\n");
    assert_eq!(daemon.calls(), [Call::JobList(JobList { all: Some(true) })]);
}

#[test]
fn cancel_says_where_the_job_stands_then() {
    for (state, says) in [(JobState::Cancelled, "cancelled"), (JobState::Done, "done")] {
        let daemon = Daemon::saying([looked(job(state))]);
        assert_eq!(shown(&daemon.run("cancel 7")), format!("Job 7 is {says}\n"));
        assert_eq!(daemon.calls(), [CANCEL]);
    }
}

#[test]
fn one_job_that_cannot_be_cancelled_keeps_no_other_from_it() {
    let no = || Next::from(WireError::new(Code::NotFound, "No such job"));
    let daemon = Daemon::saying([no(), looked(job(JobState::Cancelled)), no()]);
    let output = daemon.run("cancel 5 7 9");
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), "Job 7 is cancelled\n"));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("job 5: No such job") && stderr.contains("job 9: No such job"), "{stderr}");
    let cancel = |job_id| Call::JobCancel(JobCancel { job_id });
    assert_eq!(daemon.calls(), [cancel(5), cancel(7), cancel(9)]);
}

fn apart(waits_for: WaitsFor) -> JobInfo {
    JobInfo { kind: JobKind::Submit, waits_for: Some(Box::new(waits_for)), ..job(JobState::Queued) }
}

#[test]
fn a_job_that_waits_for_something_says_for_what() {
    let begins = WaitsFor { begin_ms: Some(u64::MAX), ..WaitsFor::default() };
    let follows = WaitsFor { after: Some(vec![17, 18]), hold: Some(true), ..WaitsFor::default() };
    let error = Some(Box::new(WireError::new(Code::Cancelled, "Job 3, after which it was to run, failed")));
    let never = JobInfo { kind: JobKind::Submit, error, ..job(JobState::Cancelled) };
    let jobs = vec![apart(follows.clone()), apart(begins), never.clone()];
    let daemon = Daemon::saying([Answer::Jobs(Jobs { jobs, jobs_left_out: None }).into()]);
    let table = shown(&daemon.run("jobs"));
    for (row, says) in
        [(1, "held; after 17, 18"), (2, "begins in "), (3, "Job 3, after which it was to run, failed")]
    {
        assert!(table.lines().nth(row).unwrap().contains(says), "{table}");
    }
    // Who waits for it ends as for one that was cancelled, and hears why.
    let daemon = Daemon::saying([Next::Streams(vec![], Then::Waits), looked(never)]);
    let said = complaint(&daemon.run("wait 7"), 1);
    assert!(said.contains("Job 3, after which it was to run, failed"), "{said}");
}

#[test]
fn what_is_at_work_is_paused_and_resumed() {
    let paused = || JobInfo { paused: Some(true), ..job(JobState::Running) };
    let alter =
        |job_id, pause| Call::JobAlter(JobAlter { job_id, pause: Some(pause), ..JobAlter::default() });
    let no = Next::from(WireError::new(Code::NotFound, "Job 8 is over: only what is at work can be paused"));
    let daemon = Daemon::saying([looked(paused()), no, looked(paused())]);
    let ran = daemon.run("pause 7 8 7");
    assert_eq!(
        (ran.status.code(), text(&ran.stdout).as_str()),
        (Some(1), "Job 7 is paused\nJob 7 is paused\n")
    );
    assert!(text(&ran.stderr).contains("job 8: Job 8 is over"), "{ran:?}");
    assert_eq!(daemon.calls(), [alter(7, true), alter(8, true), alter(7, true)]);
    let daemon = Daemon::saying([looked(job(JobState::Running))]);
    assert_eq!(shown(&daemon.run("resume 7")), "Job 7 is running\n");
    assert_eq!(daemon.calls(), [alter(7, false)]);
    let jobs = vec![paused(), job(JobState::Running)];
    let listed = || Next::from(Answer::Jobs(Jobs { jobs: jobs.clone(), jobs_left_out: None }));
    let table = shown(&Daemon::saying([listed()]).run("jobs"));
    let states: Vec<&str> = table.lines().skip(1).filter_map(|row| row.split_whitespace().nth(3)).collect();
    assert_eq!(states, ["paused", "running"], "{table}");
    let json = shown(&Daemon::saying([listed()]).run("jobs --json"));
    assert_eq!(json.matches("\"paused\":true").count(), 1, "{json}");
}

#[test]
fn what_waits_is_held_released_and_put_first() {
    let held = || looked(apart(WaitsFor { hold: Some(true), ..WaitsFor::default() }));
    let alter = |job_id| JobAlter { job_id, ..JobAlter::default() };
    for (line, script, says, calls) in [
        (
            "--hold 7",
            vec![held()],
            "Job 7 is queued: held\n",
            vec![JobAlter { hold: Some(true), ..alter(7) }],
        ),
        (
            "--release 7,8",
            vec![looked(queued(2)), looked(job(JobState::Running))],
            "Job 7 is queued: place 2\nJob 7 is running\n",
            vec![JobAlter { hold: Some(false), ..alter(7) }, JobAlter { hold: Some(false), ..alter(8) }],
        ),
        // What is named first is in front: it is put there last.
        (
            "--first 7 8",
            vec![looked(queued(1)), looked(queued(1))],
            "Job 7 is queued: place 1\nJob 7 is queued: place 1\n",
            vec![JobAlter { first: Some(true), ..alter(8) }, JobAlter { first: Some(true), ..alter(7) }],
        ),
    ] {
        let daemon = Daemon::saying(script);
        assert_eq!(shown(&daemon.run(&format!("jobs {line}"))), says);
        assert_eq!(daemon.calls(), calls.into_iter().map(Call::JobAlter).collect::<Vec<_>>());
    }
    let no = Next::from(WireError::new(Code::NotFound, "Job 7 is at work: only what waits"));
    let said = complaint(&Daemon::saying([no]).run("jobs --hold 7"), 1);
    assert!(said.contains("Job 7 is at work") && said.contains("`fairshare jobs` shows"), "{said}");
    for line in ["--hold 7 --release 8", "--first 7 --all", "--hold"] {
        complaint(&fairshare(&format!("jobs {line}")).output().unwrap(), 2);
    }
}

#[test]
fn events_are_followed_until_nobody_reads_them() {
    let granted = EventInfo { uid: Some(1000), share: Some(share()), ..event("granted") };
    let hostile = EventInfo { uid: Some(7), message: Some("a\nb\x1b".into()), ..event("expiring") };
    let ended = happened(job(JobState::Done));
    let text_lines = [
        "1970-01-01T00:00:01Z  granted  alice  2 CPU, 8.0 GiB and 4096 tasks",
        r"1970-01-01T00:00:01Z  expiring  uid 7  a\u{a}b\u{1b}",
        "1970-01-01T00:00:01Z  job  job 7 done",
        "1970-01-01T00:00:01Z  lagged  3 events left out",
    ];
    for json in [false, true] {
        let lagged = EventInfo { lagged: Some(3), ..event("lagged") };
        let first = vec![granted.clone(), hostile.clone()];
        let then = vec![ended.clone(), lagged];
        // More than a pipe holds, so that it is written to after it was closed.
        let flood = vec![hostile.clone(); 10_000];
        let daemon = Daemon::saying([
            Next::Streams(first, Then::Closes),
            Next::Streams(then, Then::Closes),
            Next::Streams(flood, Then::Waits),
        ]);
        let mut command = daemon.command(if json { "events --all --json" } else { "events --all" });
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for expected in text_lines {
            let line = lines.next().unwrap().unwrap();
            if json {
                assert!(serde_json::from_str::<EventInfo>(&line).is_ok(), "{line}");
            } else {
                assert_eq!(line, expected);
            }
        }
        drop(lines);
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert_eq!(daemon.calls()[0], Call::Subscribe(Subscribe { all: Some(true), job_id: None }));
    }
}
