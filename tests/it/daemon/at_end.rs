//! What is run at the end of a command (`submit --notify`): once, told how that ended, and by its member's own process only.

use std::fs;
use std::process::{Child, Command};

use fairshare::contract::handover::NOTIFY;
use fairshare::contract::{ArrayRange, Call, JobCancel, JobFetch, JobState, Submit};
use fairshare::wire::error::Code;
use tempfile::TempDir;

use super::handed::{begins, client};
use super::harness::{Daemon, Home, PATIENCE};
use super::raw::{Raw, submission};
use super::tries::until_tried;
use super::works::{alone as service, job, over, until_it_runs};
use crate::poll::until;
use crate::stand_in::World;

/// Says what it is told, at the end of the job's output.
const TELLS: &str = "echo $FAIRSHARE_JOB_ID $FAIRSHARE_TASK $FAIRSHARE_TRY $FAIRSHARE_JOB_STATE \
    code=$FAIRSHARE_EXIT_CODE signal=$FAIRSHARE_SIGNAL; pwd";

/// A command at whose end this is run, with its output in a file of this folder.
fn with(folder: &TempDir, notify: &str) -> Submit {
    Submit {
        wait: Some(true),
        cwd: "/usr".into(),
        output: Some(format!("{}/out", folder.path().display()).as_str().into()),
        notify: Some(notify.into()),
        ..submission()
    }
}

fn said(folder: &TempDir) -> String {
    fs::read_to_string(folder.path().join("out")).unwrap_or_default()
}

fn until_at_end(world: &World, id: u64) {
    let there = || world.unit(&service(id)).is_some_and(|unit| unit.text("SubState") == Some("stop-post"));
    until("the end of the command", PATIENCE, || there().then_some(()));
}

/// The process that systemd starts at a command's end.
fn process_at_end(world: &World, id: u64) -> Child {
    until_at_end(world, id);
    let words = world.program_at_end(&service(id)).unwrap();
    // It is there before it has anything to say.
    let script = "read go; exec \"$@\"";
    let mut start = Command::new("sh");
    start.args(["-c", script, "sh", env!("CARGO_BIN_EXE_fairshare")]).args(&words[1..]);
    let mut child = start.stdin(std::process::Stdio::piped()).spawn().unwrap();
    world.pretend_processes(&service(id), &[child.id()]);
    drop(child.stdin.take());
    child
}

/// Lets that process do what it is there for. With which code it ended.
fn runs_at_end(world: &World, id: u64) -> Option<i32> {
    let mut process = process_at_end(world, id);
    let code = process.wait().unwrap().code();
    world.pretend_processes(&service(id), &[]);
    world.end_at_end(&service(id));
    code
}

fn refused_at_end(daemon: &Daemon, id: u64, code: Code) {
    daemon.client().refused(&Call::JobFetch(JobFetch { job_id: id, at_end: Some(true) }), code);
}

#[test]
fn what_is_run_at_the_end_is_told_how_it_ended_and_goes_on_with_the_output() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let folder = tempfile::tempdir().unwrap();
    let argv = ["sh", "-c", "echo works"].map(Into::into).to_vec();
    let id = raw.put(Submit { argv, ..with(&folder, TELLS) });
    until_it_runs(&world, id);
    // Everybody may read what systemd has of a unit.
    let socket = daemon.socket().to_str().unwrap();
    assert_eq!(world.program_at_end(&service(id)).unwrap(), ["fairshare", NOTIFY, &id.to_string(), socket]);
    begins(&world, &daemon, id);
    world.end_service(&service(id), 3);
    until_at_end(&world, id);
    assert_eq!(job(&mut raw, id).state, JobState::Running);
    assert_eq!(runs_at_end(&world, id), Some(0));
    let ended = over(&mut raw, id);
    assert_eq!((ended.state, ended.exit_code), (JobState::Failed, Some(3)));
    assert_eq!(said(&folder), format!("works\n{id} failed code=3 signal=\n/usr\n"));
    let kept = || fs::read_dir(home.state_dir().join("jobs")).unwrap().count();
    until("what is kept of it to go", PATIENCE, || (kept() == 0).then_some(()));
    // Of others systemd runs nothing at their end.
    let without = raw.put(Submit { in_share: Some(false), wait: Some(true), ..submission() });
    until_it_runs(&world, without);
    assert_eq!(world.program_at_end(&service(without)), None);
}

#[test]
fn nobody_else_has_what_is_run_at_the_end_and_nobody_before_that() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let folder = tempfile::tempdir().unwrap();
    let id = daemon.client().put(with(&folder, TELLS));
    until_it_runs(&world, id);
    refused_at_end(&daemon, id, Code::Forbidden);
    world.pretend_processes(&service(id), &[std::process::id()]);
    // It has neither begun nor ended.
    refused_at_end(&daemon, id, Code::Busy);
    drop(client(&daemon).job_fetch(id).unwrap());
    refused_at_end(&daemon, id, Code::Busy);
    world.pretend_processes(&service(id), &[]);
    world.end_service(&service(id), 0);
    until_at_end(&world, id);
    refused_at_end(&daemon, id, Code::Forbidden);
    world.pretend_processes(&service(id), &[std::process::id()]);
    drop(client(&daemon).job_fetch_at_end(id).unwrap());
    refused_at_end(&daemon, id, Code::NotFound);
    world.pretend_processes(&service(id), &[]);
    world.end_at_end(&service(id));
    assert_eq!(over(&mut daemon.client(), id).state, JobState::Done);
}

#[test]
fn what_is_stopped_or_out_of_time_has_its_end_told_too() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let folder = tempfile::tempdir().unwrap();
    let [cancelled, killed] = [(); 2].map(|()| {
        let id = raw.put(with(&folder, TELLS));
        until_it_runs(&world, id);
        id
    });
    let mut other = daemon.client();
    let cancel = std::thread::spawn(move || other.ask(&Call::JobCancel(JobCancel { job_id: cancelled })));
    assert_eq!(runs_at_end(&world, cancelled), Some(0));
    assert!(cancel.join().unwrap().is_ok());
    let ended = over(&mut raw, cancelled);
    assert_eq!((ended.state, ended.signal), (JobState::Cancelled, Some(15)));
    world.fail_service(&service(killed), "oom-kill");
    assert_eq!(runs_at_end(&world, killed), Some(0));
    let ended = over(&mut raw, killed);
    assert_eq!((ended.state, ended.oom), (JobState::Failed, Some(true)));
    let expected =
        format!("{cancelled} cancelled code= signal=15\n/usr\n{killed} failed code= signal=15\n/usr\n");
    assert_eq!(said(&folder), expected);
    // What never ran has no end to be told.
    let waits = raw.put(Submit { hold: Some(true), ..with(&folder, TELLS) });
    raw.ask(&Call::JobCancel(JobCancel { job_id: waits })).unwrap();
    assert_eq!(over(&mut raw, waits).state, JobState::Cancelled);
    assert_eq!((world.program_at_end(&service(waits)), said(&folder)), (None, expected));
}

#[test]
fn nothing_is_run_at_the_end_of_a_try_after_which_another_comes() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let folder = tempfile::tempdir().unwrap();
    let array = Some(ArrayRange { first: 4, last: 4, step: None, at_once: None });
    let array = raw.put(Submit { array, retry: Some(1), ..with(&folder, TELLS) });
    let task = array + 1;
    until_it_runs(&world, task);
    world.end_service(&service(task), 1);
    assert_eq!(runs_at_end(&world, task), Some(0), "there is nothing for it, and that is no failure");
    until_tried(&world, &mut raw, task, 1);
    // systemd ends this one by itself: its process comes before anybody knows whether it is the last.
    world.fail_service(&service(task), "timeout");
    assert_eq!(runs_at_end(&world, task), Some(0));
    assert_eq!(over(&mut raw, array).state, JobState::Failed);
    assert_eq!(said(&folder), format!("{array} 4 2 failed code= signal=15\n/usr\n"));
}

/// With what is run at its end under way, and with that over before there is a daemon again.
#[test]
fn how_a_command_ended_stays_so_whenever_the_daemon_dies() {
    let world = World::start();
    let mut home = Home::new(&world);
    let mut daemon = home.activate();
    for gone in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let id = daemon.client().put(with(&folder, TELLS));
        begins(&world, &daemon, id);
        daemon.kill();
        world.end_service(&service(id), 3);
        daemon = home.activate();
        until_at_end(&world, id);
        daemon.kill();
        if gone {
            world.end_at_end(&service(id));
            world.remove_unit(&service(id));
            daemon = home.activate();
        } else {
            daemon = home.activate();
            assert_eq!(runs_at_end(&world, id), Some(0));
            assert_eq!(said(&folder), format!("{id} failed code=3 signal=\n/usr\n"));
        }
        let ended = over(&mut daemon.client(), id);
        assert_eq!((ended.state, ended.exit_code), (JobState::Failed, Some(3)), "gone: {gone}");
    }
}

#[test]
fn what_cannot_be_run_at_an_end_is_refused() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let folder = tempfile::tempdir().unwrap();
    let mut refused = |submit: Submit| raw.refused(&Call::Submit(submit), Code::BadRequest).message;
    assert_eq!(refused(with(&folder, "")), "notify has 0 bytes: a command has 1 to 4096");
    assert_eq!(refused(with(&folder, &"x".repeat(4097))), "notify has 4097 bytes: a command has 1 to 4096");
    assert_eq!(refused(with(&folder, "a\0b")), "notify has a NUL in it");
    let in_share = refused(Submit { in_share: Some(true), ..with(&folder, "true") });
    assert!(
        in_share.contains("has something run at its end") && in_share.contains("room of its own"),
        "{in_share}"
    );
    let null = fs::File::open("/dev/null").unwrap();
    let streams = [std::os::fd::AsFd::as_fd(&null)];
    let error =
        client(&daemon).call_with(&Submit { output: None, ..with(&folder, "true") }, &streams).unwrap_err();
    assert!(error.to_string().contains("No descriptors go with"), "{error}");
    // The longest there may be.
    let id = raw_put(&daemon, with(&folder, &format!("{}:", " ".repeat(4095))));
    until_it_runs(&world, id);
}

fn raw_put(daemon: &Daemon, submit: Submit) -> u64 {
    let mut raw: Raw = daemon.client();
    raw.put(submit)
}

/// Until then systemd's unit is all that is known of a try: a daemon that dies when it has asked systemd to take it away has stored
/// that the command is to be run again.
#[test]
fn how_a_try_ended_is_stored_before_anything_of_it_is_taken_away() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let folder = tempfile::tempdir().unwrap();
    let id = daemon.client().put(Submit { retry: Some(1), ..with(&folder, TELLS) });
    until_it_runs(&world, id);
    world.end_service(&service(id), 1);
    until_at_end(&world, id);
    daemon.kill();
    let stored = home.state();
    assert!(
        stored.jobs.iter().any(|job| job.id.0 == id && job.queued()),
        "its end is lost: {:?}",
        stored.jobs
    );
    world.end_at_end(&service(id));
    let daemon = home.activate();
    let mut raw = daemon.client();
    until_tried(&world, &mut raw, id, 1);
    world.end_service(&service(id), 0);
    assert_eq!(runs_at_end(&world, id), Some(0));
    assert_eq!(over(&mut raw, id).state, JobState::Done);
}
