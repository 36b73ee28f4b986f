//! Commands that are warned before their time is over, and what is told of those that the kernel killed for want of memory.

use std::fs;
use std::process::{Child, Command, Stdio};

use fairshare::client::Client;
use fairshare::contract::handover::{BECOME, BECOMING};
use fairshare::contract::{Amounts, Call, JobState, OutOfMemory, Submit, Warning};
use fairshare::testing::ledger::job::JobKind;
use fairshare::wire::error::Code;

use super::handed::client;
use super::harness::{Daemon, Home, PATIENCE};
use super::raw::{Raw, submission};
use super::works::{alone, job, over, slice_alone, submitted, until_it_runs};
use crate::poll::until;
use crate::stand_in::World;

const HOUR_MS: u64 = 3_600_000;
const USR1: i32 = 10;

/// A command that has an hour, and is warned before that: at once.
fn warned() -> Submit {
    let signal = Some(Warning { number: 10, before_ms: 2 * HOUR_MS });
    Submit { lease_ms: Some(HOUR_MS), signal, cpu_milli: Some(500), ..submission() }
}

fn put(world: &World, raw: &mut Raw) -> u64 {
    let id = raw.started(&Call::Submit(warned()));
    until_it_runs(world, id);
    id
}

/// The process of a command takes what that is, and becomes it.
fn begun(world: &World, daemon: &Daemon, job: u64) -> Client {
    world.pretend_processes(&alone(job), &[std::process::id()]);
    let mut client = client(daemon);
    drop(client.job_fetch(job).unwrap());
    world.pretend_processes(&alone(job), &[]);
    client
}

fn until_warned(world: &World, jobs: &[u64]) {
    let expected: Vec<(String, i32)> = jobs.iter().map(|job| (alone(*job), USR1)).collect();
    until("the signals", PATIENCE, || (world.signals() == expected).then_some(()));
}

/// Whether it is stored that a command was warned.
fn is_stored(home: &Home, id: u64) -> bool {
    home.state().jobs.iter().filter(|job| job.id.0 == id).any(|job| match &job.kind {
        JobKind::Submit(work) => work.care.warning.is_some_and(|warning| warning.sent),
        _ => false,
    })
}

fn until_stored(home: &Home, id: u64) {
    until("that it was warned to be stored", PATIENCE, || is_stored(home, id).then_some(()));
}

/// Before that its process is ours, which the signal would end.
#[test]
fn a_command_is_warned_when_it_has_begun_and_never_again() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let [early, late] = [(); 2].map(|()| put(&world, &mut raw));
    let _connection = begun(&world, &daemon, late);
    until_warned(&world, &[late]);
    let _connection = begun(&world, &daemon, early);
    until_warned(&world, &[late, early]);
    let expected = Some(Warning { number: 10, before_ms: 2 * HOUR_MS });
    assert_eq!(
        (job(&mut raw, early).warning.as_deref().copied(), job(&mut raw, early).state),
        (expected, JobState::Running)
    );
    until_stored(&home, early);
    until_stored(&home, late);
    daemon.kill();
    let daemon = home.activate();
    let third = put(&world, &mut daemon.client());
    let _connection = begun(&world, &daemon, third);
    // What the new daemon would have sent the others it would have sent before.
    until_warned(&world, &[late, early, third]);
}

#[test]
fn what_systemd_did_not_send_it_is_asked_again_by_the_next_daemon_too() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let id = put(&world, &mut daemon.client());
    world.faults.error("KillUnit", "org.freedesktop.DBus.Error.Failed", "not now");
    let asked = || world.take_calls().iter().any(|(method, unit)| method == "KillUnit" && *unit == alone(id));
    let _connection = begun(&world, &daemon, id);
    for _ in 0..2 {
        until("systemd to be asked", PATIENCE, || asked().then_some(()));
    }
    assert!(!is_stored(&home, id));
    daemon.kill();
    world.faults.clear();
    let _daemon = home.activate();
    until_warned(&world, &[id]);
    until_stored(&home, id);
}

/// A process with the name of one that is to become a command, until it reads a line.
fn becoming() -> Child {
    let script = format!("printf {BECOMING} > /proc/$$/comm; read; exec sleep 1000");
    let mut shell = Command::new("bash");
    let child = shell.args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
    until_named(&child);
    child
}

fn until_named(child: &Child) {
    let comm = format!("/proc/{}/comm", child.id());
    let named = || fs::read_to_string(&comm).is_ok_and(|name| name.trim() == BECOMING);
    until("the process to have its name", PATIENCE, || named().then_some(()));
}

/// The daemon that has handed it nothing does not know whether another has.
#[test]
fn what_another_daemon_started_is_warned_when_it_has_become_what_it_is() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let id = put(&world, &mut daemon.client());
    let mut child = becoming();
    world.set_main_process(&alone(id), child.id());
    daemon.kill();
    let daemon = home.activate();
    let other = put(&world, &mut daemon.client());
    let _connection = begun(&world, &daemon, other);
    until_warned(&world, &[other]);
    drop(child.stdin.take());
    until_warned(&world, &[other, id]);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_process_that_becomes_a_command_has_the_name_by_which_it_is_spared() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairshare"));
    let mut child = command.args([BECOME, "7", "/nowhere"]).stderr(Stdio::null()).spawn().unwrap();
    until_named(&child);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// What it left behind goes on, and the signal is for nobody.
#[test]
fn who_has_no_main_process_any_more_needs_no_warning() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let id = put(&world, &mut daemon.client());
    world.set_main_process(&alone(id), 0);
    let _connection = begun(&world, &daemon, id);
    until_stored(&home, id);
    assert_eq!(world.signals(), []);
}

#[test]
fn what_warns_of_nothing_is_refused_with_what_to_do() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let signal = |number, before_ms| Some(Warning { number, before_ms });
    for (submit, says) in [
        (Submit { lease_ms: None, ..warned() }, "as with --for 8h"),
        (Submit { signal: signal(10, 0), ..warned() }, "before the time limit"),
        (Submit { signal: signal(0, 1), ..warned() }, "no signal 0: they are 1 to 64"),
        (Submit { signal: signal(65, 1), ..warned() }, "no signal 65: they are 1 to 64"),
        (Submit { signal: signal(266, 1), ..warned() }, "no signal 266"),
    ] {
        let refused = raw.ask(&Call::Submit(submit)).unwrap_err();
        assert!(refused.is(Code::BadRequest) && refused.message.contains(says), "{refused:?}");
    }
}

#[test]
fn all_of_a_command_is_killed_for_want_of_memory_unless_it_is_to_continue() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    for (oom, policy) in
        [(None, "kill"), (Some(OutOfMemory::Kill), "kill"), (Some(OutOfMemory::Continue), "continue")]
    {
        let id = raw.started(&Call::Submit(Submit { oom, ..submission() }));
        until_it_runs(&world, id);
        assert_eq!(world.unit(&alone(id)).unwrap().text("OOMPolicy"), Some(policy));
        world.end_service(&alone(id), 0);
        over(&mut raw, id);
    }
}

#[test]
fn what_the_kernel_killed_of_a_command_that_went_on_is_told() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let ids = [(); 2].map(|()| submitted(&world, &mut raw, Amounts::default()));
    world.count_memory_events(&slice_alone(ids[0]), 7, 2);
    for (id, kills) in ids.into_iter().zip([Some(2), None]) {
        world.end_service(&alone(id), 0);
        let ended = over(&mut raw, id);
        assert_eq!((ended.state, ended.oom, ended.oom_kills), (JobState::Done, Some(false), kills));
    }
    daemon.kill();
    assert_eq!(job(&mut home.activate().client(), ids[0]).oom_kills, Some(2));
}
