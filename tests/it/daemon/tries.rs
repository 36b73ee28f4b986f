//! Commands that are run again, through the socket and through the end of a daemon.

use std::fs;

use fairshare::contract::{
    AgainInfo, Answer, ArrayRange, Call, JobCancel, JobInfo, JobList, JobState, Jobs, Submit,
};
use fairshare::wire::error::Code;

use super::handed::begins;
use super::harness::{Daemon, Home, PATIENCE, Unwritable};
use super::history::own as ends;
use super::raw::{Raw, submission};
use super::waiting::file;
use super::works::{alone as service, job, over, until_it_runs};
use crate::poll::until;
use crate::stand_in::World;

fn retry(times: u64) -> Submit {
    Submit { wait: Some(true), retry: Some(times), ..submission() }
}

fn requeue() -> Submit {
    Submit { wait: Some(true), requeue: Some(true), ..submission() }
}

/// The job, once so many tries of it are over.
fn tried(raw: &mut Raw, id: u64, times: u64) -> JobInfo {
    until("the try to be over", PATIENCE, || {
        Some(job(raw, id)).filter(|job| job.again.as_ref().is_some_and(|again| again.tries == times))
    })
}

/// Waits until a try is at work, before which there were so many.
pub(super) fn until_tried(world: &World, raw: &mut Raw, id: u64, times: u64) {
    until("the next try", PATIENCE, || (tried(raw, id, times).state == JobState::Running).then_some(()));
    until_it_runs(world, id);
}

fn starts(world: &World, id: u64) -> usize {
    let start = ("StartTransientUnit".to_owned(), service(id));
    world.take_calls().into_iter().filter(|call| *call == start).count()
}

#[test]
fn what_fails_is_one_job_that_is_run_again_and_knows_it() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let written = tempfile::tempdir().unwrap();
    let id = raw.put(Submit {
        argv: ["/bin/sh", "-c", "echo $FAIRSHARE_JOB_ID $FAIRSHARE_TRY"].map(Into::into).to_vec(),
        output: Some(format!("{}/out-%j", written.path().display()).as_str().into()),
        ..retry(1)
    });
    until_tried(&world, &mut raw, id, 0);
    begins(&world, &daemon, id);
    world.end_service(&service(id), 3);
    let waits = tried(&mut raw, id, 1);
    let last = Some("ended with exit 3".to_owned());
    assert_eq!(
        waits.again.as_deref(),
        Some(&AgainInfo { retry: 1, failed: 1, requeue: false, tries: 1, last })
    );
    until_tried(&world, &mut raw, id, 1);
    begins(&world, &daemon, id);
    world.end_service(&service(id), 4);
    let ended = over(&mut raw, id);
    assert_eq!((ended.state, ended.exit_code), (JobState::Failed, Some(4)));
    let said = fs::read_to_string(written.path().join(format!("out-{id}"))).unwrap();
    assert_eq!(said, format!("{id} 1\n{id} 2\n"));
    assert_eq!(starts(&world, id), 2);
    let told: Vec<_> = ends(&mut raw).into_iter().map(|end| (end.job_id, end.exit_code)).collect();
    assert_eq!(told, [(Some(id), Some(3)), (Some(id), Some(4))], "what was held for each try counts");
    let kept = || fs::read_dir(home.state_dir().join("jobs")).unwrap().count();
    until("what is kept of it to go", PATIENCE, || (kept() == 0).then_some(()));
}

#[test]
fn each_try_is_made_once_whenever_the_daemon_dies() {
    let world = World::start();
    let mut home = Home::new(&world);
    let mut daemon = home.activate();
    let id = daemon.client().put(retry(3));
    for times in 0..4 {
        until_tried(&world, &mut daemon.client(), id, times);
        daemon.kill();
        daemon = home.activate();
        // Its process has not had what it is to become: the next daemon has that too.
        begins(&world, &daemon, id);
        world.end_service(&service(id), 1);
        if times < 3 {
            // With what is left of the try, or without: at whatever step the daemon is.
            tried(&mut daemon.client(), id, times + 1);
            daemon.kill();
            daemon = home.activate();
        }
    }
    assert_eq!(over(&mut daemon.client(), id).exit_code, Some(1));
    assert_eq!(starts(&world, id), 4);
}

/// What says on disk that it was started is of its last try until that is taken back.
#[test]
fn what_waits_for_its_next_try_is_known_to_the_next_daemon() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let id = raw.put(retry(1));
    until_it_runs(&world, id);
    world.end_service(&service(id), 1);
    until("it to be as if it had never been started", PATIENCE, || file(&home, id).exists().then_some(()));
    // Each change has all of the state stored.
    raw.put(Submit { wait: Some(true), hold: Some(true), ..submission() });
    daemon.kill();
    let daemon = home.activate();
    let mut raw = daemon.client();
    until_tried(&world, &mut raw, id, 1);
    begins(&world, &daemon, id);
    world.end_service(&service(id), 0);
    assert_eq!(over(&mut raw, id).state, JobState::Done);
}

#[test]
fn a_task_is_tried_again_as_its_array_was_submitted() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let array = Some(ArrayRange { first: 1, last: 1, step: None, at_once: None });
    let id = raw.put(Submit { array, ..retry(1) });
    let task = id + 1;
    until_it_runs(&world, task);
    world.end_service(&service(task), 1);
    until_tried(&world, &mut raw, task, 1);
    world.end_service(&service(task), 0);
    assert_eq!(over(&mut raw, id).state, JobState::Done);
    assert_eq!(starts(&world, task), 2);
}

/// It has begun, and its units went while no daemon was there to see how it ended, as with the end of the machine.
fn interrupted(world: &World, home: &mut Home, daemon: Daemon, id: u64) -> Daemon {
    begins(world, &daemon, id);
    daemon.kill();
    world.remove_unit(&service(id));
    home.activate()
}

#[test]
fn what_was_interrupted_waits_again_where_that_was_asked_for() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let (again, once) = (raw.put(requeue()), raw.put(Submit { wait: Some(true), ..submission() }));
    until_it_runs(&world, once);
    begins(&world, &daemon, once);
    world.remove_unit(&service(once));
    let daemon = interrupted(&world, &mut home, daemon, again);
    let mut raw = daemon.client();
    assert_eq!(over(&mut raw, once).state, JobState::Interrupted);
    until_tried(&world, &mut raw, again, 1);
    assert_eq!(job(&mut raw, again).again.unwrap().last.as_deref(), Some("was interrupted"));
    // Once more, and then it is not wanted any more.
    let daemon = interrupted(&world, &mut home, daemon, again);
    let mut raw = daemon.client();
    let waits = tried(&mut raw, again, 2);
    assert!(waits.state == JobState::Queued && waits.waits_for.unwrap().begin_ms.is_some());
    until("what is kept of it to wait", PATIENCE, || file(&home, again).exists().then_some(()));
    raw.ask(&Call::JobCancel(JobCancel { job_id: again })).unwrap();
    assert_eq!(over(&mut raw, again).state, JobState::Cancelled);
}

/// Whoever was told that it failed submits it anew.
#[test]
fn a_submission_that_failed_is_not_tried_again() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let unwritable = Unwritable::state(&home);
    raw.refused(&Call::Submit(retry(3)), Code::Io);
    drop(unwritable);
    let Ok(Answer::Jobs(Jobs { jobs, .. })) = raw.ask(&Call::JobList(JobList { all: None })) else {
        panic!("no jobs")
    };
    assert!(jobs.iter().all(|job| job.ended_ms.is_some()), "{jobs:?}");
}

#[test]
fn what_could_not_be_tried_again_is_refused() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let error = raw.refused(&Call::Submit(retry(101)), Code::BadRequest);
    assert_eq!(error.message, "retry is 101, and 100 is the most");
    let error = raw.refused(&Call::Submit(Submit { in_share: Some(true), ..retry(1) }), Code::BadRequest);
    assert!(error.message.contains("room of its own"), "{}", error.message);
    // None is none.
    let id = raw.put(retry(0));
    assert_eq!(job(&mut raw, id).again, None);
}
