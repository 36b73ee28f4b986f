//! Submitted commands that wait: what they are to run outlives the daemon, and is run once.

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use fairshare::contract::{Amounts, Answer, Call, JobCancel, JobState, JobStatus, OneJob, Release, Submit};
use fairshare::wire::error::Code;

use super::handed::{becomes, becoming, begins, client};
use super::harness::{Daemon, Home, PATIENCE};
use super::raw::{Raw, request, request_for, submission};
use super::systemd_faults::share_slice;
use super::works::{alone as service, job, over, service as in_share, slice_alone, submitted, until_it_runs};
use crate::poll::until;
use crate::stand_in::{Verb, World};

/// A machine whose only room somebody has, and a command that waits for it.
fn waits(world: &World, command: Submit) -> (Home, Daemon, u64) {
    let mut home = Home::of_one_cpu(world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request_for(1));
    let id = raw.started(&Call::Submit(Submit { wait: Some(true), ..command }));
    (home, daemon, id)
}

/// Gives the room back.
fn makes_room(raw: &mut Raw) {
    raw.ask(&Call::Release(Release { job_id: None, stop: None, for_uid: Some(1) })).unwrap();
}

/// The same, which has room, and whose process systemd has started: what it is was not given to anybody.
fn is_asked_for(world: &World) -> (Home, Daemon, u64) {
    let (home, daemon, id) = waits(world, submission());
    makes_room(&mut daemon.client());
    until_it_runs(world, id);
    (home, daemon, id)
}

/// Where what is kept of a waiting command is.
pub(super) fn file(home: &Home, name: impl ToString) -> PathBuf {
    home.state_dir().join("jobs").join(name.to_string())
}

fn started(world: &World, job: u64) -> bool {
    let calls = world.take_calls();
    calls.contains(&("StartTransientUnit".to_owned(), service(job)))
}

#[test]
fn a_command_that_waits_is_started_by_the_next_daemon() {
    let world = World::start();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("in"), "read\n").unwrap();
    let script = "umask; cat; echo wrong >&2";
    let named = |name: &str| Some(path(name).into_os_string().into());
    let command = Submit {
        argv: ["sh", "-c", script].map(Into::into).to_vec(),
        input: named("in"),
        output: named("out-%j"),
        errors: named("100%%"),
        ..submission()
    };
    let (mut home, daemon, id) = waits(&world, command);
    let kept = file(&home, id);
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    daemon.kill();
    // Twice: running a start again changes nothing.
    home.activate().kill();
    let daemon = home.activate();
    let mut raw = daemon.client();
    let waiting = job(&mut raw, id);
    assert_eq!((waiting.state, waiting.place), (JobState::Queued, Some(1)));
    makes_room(&mut raw);
    begins(&world, &daemon, id);
    let umask = fs::read_to_string("/proc/self/status").unwrap();
    let umask = umask.lines().find_map(|line| line.strip_prefix("Umask:\t")).unwrap().to_owned();
    assert_eq!(fs::read_to_string(path(&format!("out-{id}"))).unwrap(), format!("{umask}\nread\n"));
    assert_eq!(fs::read_to_string(path("100%")).unwrap(), "wrong\n");
    world.end_service(&service(id), 0);
    assert_eq!(over(&mut raw, id).state, JobState::Done);
    until("what is kept of it to go", PATIENCE, || {
        (!kept.exists() && !file(&home, format!("{id}.started")).exists()).then_some(())
    });
}

/// The script goes with the submission: no file is left that could be another one by now.
#[test]
fn a_script_that_waits_is_run_as_it_was_and_its_output_is_found() {
    let world = World::start();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("50%").to_str().unwrap().to_owned();
    let script = "#!/bin/sh -e\necho $# $1; false; echo not reached\n";
    let command = Submit {
        argv: ["gone.sh", "one two"].map(Into::into).to_vec(),
        script: Some(script.into()),
        output: Some(format!("{out}%-%j").into()),
        ..submission()
    };
    let (mut home, daemon, id) = waits(&world, command);
    daemon.kill();
    let daemon = home.activate();
    let mut raw = daemon.client();
    makes_room(&mut raw);
    assert_eq!(becomes(&world, &daemon, id).code(), Some(1), "by what its first line says");
    let told = |raw: &mut Raw, id| match raw.ask(&Call::JobStatus(JobStatus { job_id: id })) {
        Ok(Answer::Job(OneJob { output, .. })) => output,
        other => panic!("{other:?}"),
    };
    let output = told(&mut raw, id).unwrap();
    assert_eq!(output, format!("{out}-{id}"));
    assert_eq!(fs::read_to_string(output).unwrap(), "1 one two\n");

    // Each write of the state would have it.
    let long =
        Submit { output: Some(format!("/{}", "x".repeat(255)).into()), wait: Some(true), ..submission() };
    let Ok(Answer::JobStarted(long)) = raw.ask(&Call::Submit(long)) else { panic!() };
    assert_eq!(told(&mut raw, long.job_started), None);
}

/// A command that has begun with a daemon that dies, and whose unit is not there any more.
#[test]
fn a_command_whose_process_has_it_is_never_started_again() {
    let world = World::start();
    let (mut home, daemon, id) = waits(&world, submission());
    makes_room(&mut daemon.client());
    begins(&world, &daemon, id);
    assert!(file(&home, format!("{id}.started")).exists() && !file(&home, id).exists());
    daemon.kill();
    world.remove_unit(&service(id));
    world.take_calls();
    let daemon = home.activate();
    assert_eq!(over(&mut daemon.client(), id).state, JobState::Interrupted);
    assert!(!started(&world, id), "it may have run");
    until("what is kept of it to go", PATIENCE, || {
        (!file(&home, format!("{id}.started")).exists()).then_some(())
    });
}

/// Nobody can have begun with it: what it is was not given to anybody.
#[test]
fn a_command_that_systemd_was_asked_to_start_and_whose_process_has_nothing_is_started_again() {
    let world = World::start();
    let (mut home, mut daemon, id) = is_asked_for(&world);
    for _ in 0..2 {
        until_it_runs(&world, id);
        daemon.kill();
        world.remove_unit(&service(id));
        world.take_calls();
        daemon = home.activate();
    }
    begins(&world, &daemon, id);
    world.end_service(&service(id), 0);
    assert_eq!(over(&mut daemon.client(), id).state, JobState::Done);
}

/// Of the daemon before there is a unit, and a process that waits: there is no second one.
#[test]
fn a_command_whose_unit_is_there_is_not_started_beside_it() {
    let world = World::start();
    let (mut home, daemon, id) = is_asked_for(&world);
    let began = job(&mut daemon.client(), id).started_ms;
    daemon.kill();
    let daemon = home.activate();
    let mut raw = daemon.client();
    // Whose time runs since then.
    assert_eq!(job(&mut raw, id).started_ms, began);
    begins(&world, &daemon, id);
    world.end_service(&service(id), 3);
    assert_eq!(over(&mut raw, id).exit_code, Some(3));
    until("its unit to go", PATIENCE, || world.unit(&service(id)).is_none().then_some(()));
}

/// Its process gave up before there was another daemon, or systemd ended it.
#[test]
fn a_command_whose_process_ended_with_nothing_is_started_again() {
    let world = World::start();
    let (mut home, daemon, id) = is_asked_for(&world);
    daemon.kill();
    world.end_service(&service(id), 69);
    world.take_calls();
    let daemon = home.activate();
    until("it to be started once more", PATIENCE, || started(&world, id).then_some(()));
    begins(&world, &daemon, id);
    world.end_service(&service(id), 0);
    assert_eq!(over(&mut daemon.client(), id).state, JobState::Done);
}

/// Without that its process is given nothing: it asks again, and has it when it can be stored.
#[test]
fn a_command_begins_when_that_can_be_stored() {
    let world = World::start();
    let (home, daemon, id) = waits(&world, submission());
    // Where the name is to be that says so.
    let in_the_way = file(&home, format!("{id}.started"));
    fs::create_dir(&in_the_way).unwrap();
    makes_room(&mut daemon.client());
    until_it_runs(&world, id);
    let mut process = becoming(&world, &daemon, id);
    daemon.wait_logged("could not be stored");
    fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(0));
    assert!(in_the_way.exists() && !file(&home, id).exists());
}

/// The daemon died when it had written the command, and not yet the state: the number is the next one's.
#[test]
fn what_was_never_submitted_takes_nothing_from_who_has_its_number() {
    let world = World::start();
    let mut home = Home::of_one_cpu(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request_for(1));
    let first = raw.started(&Call::Submit(Submit { wait: Some(true), ..submission() }));
    daemon.kill();
    let next = first + 1;
    fs::write(file(&home, next), "of no job").unwrap();
    let daemon = home.activate();
    let mut raw = daemon.client();
    let id = raw.started(&Call::Submit(Submit { wait: Some(true), ..submission() }));
    assert_eq!(id, next);
    // The state is written meanwhile.
    let third = raw.started(&Call::Submit(Submit { wait: Some(true), ..submission() }));
    raw.ask(&Call::JobCancel(JobCancel { job_id: third })).unwrap();
    until("what is kept of the third to go", PATIENCE, || (!file(&home, third).exists()).then_some(()));
    assert!(file(&home, id).exists(), "it would be run with nothing");
}

/// What the daemon before asked for came after the next one had looked.
#[test]
fn a_command_whose_unit_comes_late_is_not_started_beside_it() {
    let world = World::start();
    let (mut home, daemon, id) = is_asked_for(&world);
    daemon.kill();
    world.remove_unit(&service(id));
    world.faults.delay("StartTransientUnit", Duration::from_secs(3));
    let daemon = home.activate();
    let mut raw = daemon.client();
    assert_eq!(job(&mut raw, id).state, JobState::Running);
    world.make_scope(&service(id), &slice_alone(id));
    begins(&world, &daemon, id);
    world.faults.clear();
    world.end_service(&service(id), 4);
    assert_eq!(over(&mut raw, id).exit_code, Some(4));
}

/// What is run in a share that is there is kept as long.
#[test]
fn a_command_in_a_share_that_nobody_has_begun_with_is_run_by_the_next_daemon() {
    let world = World::start();
    let mut home = Home::new(&world);
    let mut daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let limits = Amounts { cpu_milli: Some(500), ..Amounts::default() };
    let id = submitted(&world, &mut raw, limits);
    for gone in [false, true] {
        daemon.kill();
        if gone {
            world.remove_unit(&in_share(id));
        }
        daemon = home.activate();
        until_it_runs(&world, id);
    }
    begins(&world, &daemon, id);
    world.end_service(&in_share(id), 0);
    assert_eq!(over(&mut daemon.client(), id).state, JobState::Done);
    until("what is kept of it to go", PATIENCE, || {
        (!file(&home, format!("{id}.started")).exists()).then_some(())
    });
}

/// The daemon that was to stop it died before it did, and nobody had begun with it.
#[test]
fn a_command_that_was_called_back_is_stopped_and_not_started_again() {
    for there in [true, false] {
        let world = World::start();
        let (mut home, daemon, id) = is_asked_for(&world);
        let held = world.faults.hold_job(Verb::Stop);
        let mut raw = daemon.client();
        raw.post(&Call::JobCancel(JobCancel { job_id: id }));
        let cancelled = |home: &Home| {
            let job = home.state().jobs.into_iter().find(|job| job.id.0 == id);
            job.is_some_and(|job| job.called_back())
        };
        until("that it is called back to be stored", PATIENCE, || cancelled(&home).then_some(()));
        daemon.kill();
        if !there {
            world.remove_unit(&service(id));
        }
        world.take_calls();
        let daemon = home.activate();
        if there {
            // It is stopped still, and does not begin.
            world.pretend_processes(&service(id), &[std::process::id()]);
            let refused = client(&daemon).job_fetch(id).unwrap_err().to_string();
            assert!(refused.contains("Nothing is left to be fetched"), "{refused}");
            world.pretend_processes(&service(id), &[]);
        }
        drop(held);
        world.faults.clear();
        assert_eq!(over(&mut daemon.client(), id).state, JobState::Cancelled);
        assert!(!started(&world, id));
        until("its unit to go", PATIENCE, || world.unit(&service(id)).is_none().then_some(()));
    }
}

/// It waits for what it is to become, and the daemon that had it started has gone: another has it on disk.
#[test]
fn a_command_whose_process_waits_is_handed_over_by_the_next_daemon() {
    let world = World::start();
    let (mut home, daemon, id) = is_asked_for(&world);
    daemon.kill();
    let daemon = home.activate();
    begins(&world, &daemon, id);
    world.end_service(&service(id), 0);
    assert_eq!(over(&mut daemon.client(), id).state, JobState::Done);
}

/// The share was made for it and the daemon died: nobody has asked systemd to start it.
#[test]
fn a_command_whose_share_was_made_and_that_was_never_started_is() {
    let world = World::start();
    let (mut home, daemon, id) = waits(&world, submission());
    let held = world.faults.hold_job(Verb::Start);
    makes_room(&mut daemon.client());
    until("the share to be on its way", PATIENCE, || {
        (job(&mut daemon.client(), id).state == JobState::Running).then_some(())
    });
    daemon.kill();
    drop(held);
    until("the share to be made", PATIENCE, || {
        world.unit(&share_slice()).is_some_and(|unit| unit.active == "active").then_some(())
    });
    world.faults.clear();
    let daemon = home.activate();
    until_it_runs(&world, id);
    assert_eq!(job(&mut daemon.client(), id).state, JobState::Running);
}

#[test]
fn a_command_that_came_with_descriptors_ends_with_the_daemon_that_has_them() {
    let world = World::start();
    let (mut home, daemon, id) = waits(&world, submission());
    let mut raw = daemon.client();
    raw.ask(&Call::JobCancel(JobCancel { job_id: id })).unwrap();
    until("what is kept of it to go", PATIENCE, || (!file(&home, id).exists()).then_some(()));
    let input = fs::File::open("/dev/null").unwrap();
    let command = Submit { wait: Some(true), ..submission() };
    let named = Submit { input: Some("/dev/null".into()), ..command.clone() };
    let refused = client(&daemon).call_with(&named, &[input.as_fd()]).unwrap_err();
    assert!(refused.to_string().contains("input is named, and a descriptor sent for it"), "{refused}");
    let id = client(&daemon).call_with(&command, &[input.as_fd()]).unwrap().job_started;
    assert!(!file(&home, id).exists());
    daemon.kill();
    let daemon = home.activate();
    let ended = over(&mut daemon.client(), id);
    assert_eq!(ended.state, JobState::Interrupted);
    assert!(ended.error.unwrap().message.contains("before the command was started"));
}

#[test]
fn what_is_damaged_is_not_run_and_hinders_nobody() {
    let world = World::start();
    let (mut home, daemon, id) = waits(&world, submission());
    daemon.kill();
    let kept = file(&home, id);
    let mut bytes = fs::read(&kept).unwrap();
    bytes[30] ^= 1;
    fs::write(&kept, bytes).unwrap();
    fs::write(file(&home, id + 7), "of no job").unwrap();
    fs::write(file(&home, "notes"), "of an administrator's").unwrap();
    let daemon = home.activate();
    until("what is of no job to go", PATIENCE, || (!file(&home, id + 7).exists()).then_some(()));
    let mut raw = daemon.client();
    makes_room(&mut raw);
    let ended = over(&mut raw, id);
    assert_eq!(ended.state, JobState::Failed);
    let error = ended.error.unwrap();
    assert!(error.is(Code::Systemd) && error.more().unwrap().contains("it is damaged"), "{error:?}");
    assert!(!started(&world, id) && file(&home, "notes").exists());
}
