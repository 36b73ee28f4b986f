//! Arrays, through the socket and through the end of a daemon: each task is run once, whenever the daemon dies.

use std::fs;
use std::os::fd::AsFd as _;

use fairshare::contract::{
    Answer, ArrayInfo, ArrayRange, Call, JobCancel, JobInfo, JobList, JobState, OneJob, Ping, Submit,
    TaskInfo,
};
use fairshare::wire::envelope::Body;
use fairshare::wire::error::Code;

use super::explained::set_policy;
use super::handed::{begins, client};
use super::harness::{Daemon, Home, PATIENCE, Unwritable};
use super::history::own as ends;
use super::raw::{Raw, submission};
use super::waiting::file;
use super::works::{alone as service, job, over, runs, until_it_runs};
use crate::poll::until;
use crate::stand_in::{Verb, World};

/// Each is of the default size, of which a member may have two.
fn array(count: u64, at_once: Option<u64>) -> Submit {
    let range = ArrayRange { first: 1, last: count, step: None, at_once };
    Submit { wait: Some(true), array: Some(range), ..submission() }
}

fn jobs(raw: &mut Raw) -> Vec<JobInfo> {
    match raw.ask(&Call::JobList(JobList { all: None })) {
        Ok(Answer::Jobs(jobs)) => jobs.jobs,
        other => panic!("{other:?}"),
    }
}

/// The job that is the task for an index, once it is there.
fn task(raw: &mut Raw, array: u64, index: u64) -> u64 {
    until("the task", PATIENCE, || {
        let is_it = |job: &JobInfo| job.task.as_deref() == Some(&TaskInfo { job_id: array, index });
        jobs(raw).into_iter().find(is_it).map(|job| job.job_id)
    })
}

fn stands(raw: &mut Raw, id: u64) -> ArrayInfo {
    *job(raw, id).array.unwrap()
}

/// What was kept of commands that are over goes once that is stored.
fn until_nothing_is_kept(home: &Home) {
    let kept = || fs::read_dir(home.state_dir().join("jobs")).unwrap().count();
    until("what is kept to go", PATIENCE, || (kept() == 0).then_some(()));
}

fn ends_with(world: &World, raw: &mut Raw, id: u64, exit: i32) {
    until_it_runs(world, id);
    world.end_service(&service(id), exit);
    over(raw, id);
}

#[test]
fn each_task_is_a_job_that_knows_which_it_is() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let written = tempfile::tempdir().unwrap();
    let script = "echo $FAIRSHARE_JOB_ID $FAIRSHARE_TASK $FAIRSHARE_KIND";
    let id = raw.put(Submit {
        argv: ["/bin/sh", "-c", script].map(Into::into).to_vec(),
        output: Some(format!("{}/out-%j", written.path().display()).as_str().into()),
        name: Some("sweep".into()),
        ..array(3, Some(1))
    });
    let one = task(&mut raw, id, 1);
    until_it_runs(&world, one);
    let told = stands(&mut raw, id);
    assert_eq!(
        told,
        ArrayInfo {
            tasks: 3,
            to_come: 2,
            at_work: 1,
            done: 0,
            failed: 0,
            at_once: Some(1),
            first: Some(1),
            step: Some(1)
        }
    );
    let shown = job(&mut raw, one);
    assert_eq!((shown.name.as_deref(), shown.state), (Some("sweep"), JobState::Running));
    begins(&world, &daemon, one);
    let said = fs::read_to_string(written.path().join(format!("out-{id}_1"))).unwrap();
    assert_eq!(said, format!("{id} 1 submit\n"));
    ends_with(&world, &mut raw, one, 0);
    let two = task(&mut raw, id, 2);
    ends_with(&world, &mut raw, two, 3);
    let three = task(&mut raw, id, 3);
    ends_with(&world, &mut raw, three, 0);
    let last = over(&mut raw, id);
    assert_eq!((last.state, last.exit_code), (JobState::Failed, Some(3)));
    assert_eq!((stands(&mut raw, id).done, stands(&mut raw, id).failed), (2, 1));
    until("what is kept of it to go", PATIENCE, || (!file(&home, id).exists()).then_some(()));
    // Each task is in the history, with its array, and the array is not counted again.
    let told: Vec<_> = ends(&mut raw).into_iter().map(|end| (end.job_id, end.task)).collect();
    let of = |job, index| (Some(job), Some(TaskInfo { job_id: id, index }));
    assert_eq!(told, [of(one, 1), of(two, 2), of(three, 3)]);
}

#[test]
fn each_task_is_run_once_whenever_the_daemon_dies() {
    let world = World::start();
    let mut home = Home::new(&world);
    let mut daemon = home.activate();
    let id = daemon.client().put(array(4, Some(1)));
    for index in 1..=4 {
        let one = task(&mut daemon.client(), id, index);
        until_it_runs(&world, one);
        daemon.kill();
        daemon = home.activate();
        let mut raw = daemon.client();
        let told = stands(&mut raw, id);
        assert_eq!((told.to_come, told.at_work, told.done), (4 - index, 1, index - 1));
        assert!(runs(&world, one) && file(&home, id).exists());
        // Its process has not had what it is to become: the next daemon has that too.
        begins(&world, &daemon, one);
        ends_with(&world, &mut raw, one, 0);
    }
    let mut raw = daemon.client();
    assert_eq!(over(&mut raw, id).state, JobState::Done);
    let tasks = jobs(&mut raw).into_iter().filter_map(|job| job.task).map(|task| task.index);
    assert_eq!(tasks.collect::<Vec<u64>>(), [1, 2, 3, 4]);
    until_nothing_is_kept(&home);
}

/// Its tasks begin and end one after the other: what is to be done for them has no end.
#[test]
fn an_array_shuts_out_no_call_of_its_members() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let (mut raw, mut other) = (daemon.client(), daemon.client());
    let tasks = |world: &World| {
        let started =
            |call: &(String, String)| call.0 == "StartTransientUnit" && call.1.ends_with(".service");
        world.take_calls().into_iter().filter(started).count()
    };
    let held = world.faults.hold_job(Verb::Start);
    let small =
        Submit { cpu_milli: Some(10), mem_bytes: Some(4 << 20), tasks_max: Some(8), ..array(40, None) };
    raw.put(small);
    // It waits for its turn behind all that was decided for the array.
    let call = Submit { hold: Some(true), wait: Some(true), ..submission() };
    other.post(&Call::Submit(call));
    // Asked later, and answered: then the call before waits.
    daemon.client().ask(&Call::Ping(Ping {})).unwrap();
    drop(held);
    let answer = other.response().map(|response| response.body);
    assert!(matches!(answer, Some(Body::Ok(Answer::JobStarted(_)))), "{answer:?}");
    let begun = tasks(&world);
    assert!(begun < 40, "all tasks began before the call had its turn");
}

/// What says that a task was started goes when its end is stored, and no sooner: it would be run again.
#[test]
fn a_task_whose_end_was_not_stored_when_the_daemon_died_has_ended_as_it_did() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let id = raw.put(array(2, Some(1)));
    let one = task(&mut raw, id, 1);
    begins(&world, &daemon, one);
    let unwritable = Unwritable::state(&home);
    world.end_service(&service(one), 7);
    daemon.wait_logged(&format!("how job {one} ended is not stored"));
    // Whatever was to be done to the folder by now has been done before this is.
    raw.refused(&Call::Submit(array(2, None)), Code::Io);
    assert!(file(&home, format!("{one}.started")).exists());
    daemon.kill();
    drop(unwritable);
    world.take_calls();
    let daemon = home.activate();
    let mut raw = daemon.client();
    assert_eq!(over(&mut raw, one).exit_code, Some(7));
    let two = task(&mut raw, id, 2);
    ends_with(&world, &mut raw, two, 0);
    assert_eq!(over(&mut raw, id).exit_code, Some(7));
    let started = ("StartTransientUnit".to_owned(), service(one));
    assert!(!world.take_calls().contains(&started), "it is run again");
    until_nothing_is_kept(&home);
}

/// The room was made for a task and the daemon died: nobody has asked systemd to start it.
#[test]
fn a_task_whose_room_was_made_and_that_was_never_started_is() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let held = world.faults.hold_job(Verb::Start);
    let id = daemon.client().put(array(2, Some(1)));
    let one = task(&mut daemon.client(), id, 1);
    until("the room to be on its way", PATIENCE, || {
        (job(&mut daemon.client(), one).state == JobState::Running).then_some(())
    });
    daemon.kill();
    drop(held);
    world.faults.clear();
    let daemon = home.activate();
    let mut raw = daemon.client();
    let one = task(&mut raw, id, 1);
    ends_with(&world, &mut raw, one, 0);
    let two = task(&mut raw, id, 2);
    ends_with(&world, &mut raw, two, 0);
    assert_eq!(over(&mut raw, id).state, JobState::Done);
}

/// The number of a task's job is nothing that its member knows it by.
#[test]
fn what_waits_for_the_end_of_a_task_names_no_other_job() {
    let world = World::start();
    let mut home = Home::new(&world);
    set_policy(&home, 16);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let id = raw.put(Submit { lease_ms: Some(3_600_000), ..array(2, None) });
    let one = task(&mut raw, id, 1);
    until_it_runs(&world, one);
    let waits = job(&mut raw, id);
    assert!(waits.starts_ms > Some(waits.created_ms) && waits.starts_after.is_none(), "{waits:?}");
}

#[test]
fn who_cancels_an_array_has_all_of_it_ended() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let id = raw.put(array(9, None));
    let tasks = [1, 2].map(|index| task(&mut raw, id, index));
    tasks.iter().for_each(|one| until_it_runs(&world, *one));
    let Ok(Answer::Job(OneJob { job: told, .. })) = raw.ask(&Call::JobCancel(JobCancel { job_id: id }))
    else {
        panic!()
    };
    assert_eq!((told.job_id, told.array.unwrap().to_come), (id, 0));
    assert_eq!(over(&mut raw, id).state, JobState::Cancelled);
    for one in tasks {
        assert_eq!(over(&mut raw, one).state, JobState::Cancelled);
    }
    assert_eq!(jobs(&mut raw).len(), 3);
}

#[test]
fn what_no_array_can_be_is_refused() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon: Daemon = home.activate();
    let mut raw = daemon.client();
    let range = |first, last, step, at_once| {
        let range = ArrayRange { first, last, step, at_once };
        Call::Submit(Submit { array: Some(range), ..array(1, None) })
    };
    for (call, says) in [
        (range(2, 1, None, None), "1 to 10000 tasks"),
        (range(1, 10_001, None, None), "1 to 10000 tasks"),
        (range(1, 2, Some(0), None), "1 to 10000 tasks"),
        (range(1, u64::MAX, Some(u64::MAX), None), "from 0 to 4294967295"),
        (range(1, 2, None, Some(0)), "at least one"),
        (Call::Submit(Submit { wait: None, ..array(2, None) }), "must be let wait"),
        (Call::Submit(Submit { in_share: Some(true), ..array(2, None) }), "has room of its own"),
    ] {
        let error = raw.ask(&call).unwrap_err();
        assert!(error.is(Code::BadRequest) && error.message.contains(says), "{error:?}");
    }
    let input = fs::File::open("/dev/null").unwrap();
    let refused = client(&daemon).call_with(&array(2, None), &[input.as_fd()]).unwrap_err();
    assert!(refused.to_string().contains("No descriptors go with an array"), "{refused}");
    assert_eq!(jobs(&mut raw).len(), 0);
}
