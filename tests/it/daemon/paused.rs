//! Commands that stand still: what is frozen is shown, outlives the daemon, and is thawed before it is ended.

use std::sync::Arc;

use fairshare::contract::{
    Amounts, Answer, Call, EventInfo, InUnit, JobAlter, JobCancel, JobInfo, JobList, JobState, JobStatus,
    Jobs, OneJob, Release, Run, Status, StatusAnswer, Submit,
};
use fairshare::testing::ledger::job::{Job, JobKind};
use fairshare::wire::error::Code;

use super::handed::begins;
use super::harness::{Daemon, Home, PATIENCE};
use super::raw::{Raw, request, submission};
use super::roles::{NOGROUP, fairshare};
use super::systemd_faults::share_slice;
use super::users::{MEMBER, member};
use super::works::{alone, job, over, service, submitted};
use crate::poll::until;
use crate::root::is_root;
use crate::stand_in::{Verb, World};

const HOUR_MS: u64 = 3_600_000;

fn alter(job_id: u64, pause: bool) -> Call {
    Call::JobAlter(JobAlter { job_id, pause: Some(pause), ..JobAlter::default() })
}

fn hold_of(job_id: u64) -> Call {
    Call::JobAlter(JobAlter { job_id, hold: Some(true), ..JobAlter::default() })
}

/// Whether each allocation of the caller's is said to stand still.
fn shown_in_status(raw: &mut Raw) -> Vec<Option<bool>> {
    match raw.ask(&Call::Status(Status { for_uid: None })) {
        Ok(Answer::Status(StatusAnswer { share: Some(share), .. })) => {
            share.allocations.iter().flatten().map(|allocation| allocation.paused).collect()
        }
        other => panic!("no share: {other:?}"),
    }
}

fn altered(raw: &mut Raw, job_id: u64, pause: bool) -> JobInfo {
    match raw.ask(&alter(job_id, pause)) {
        Ok(Answer::Job(OneJob { job, .. })) => job,
        other => panic!("not changed: {other:?}"),
    }
}

fn is_frozen(world: &World, unit: &str) -> bool {
    world.cgroup_file(unit, "cgroup.events").expect("a cgroup").contains("frozen 1")
}

/// A command with room of its own that runs, in a world of its own.
fn one_runs() -> (World, Home, Daemon, Raw, u64) {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let id = submitted(&world, &mut raw, Amounts::default());
    begins(&world, &daemon, id);
    (world, home, daemon, raw, id)
}

/// A command that was ended, by the signal that reached it.
fn ended_by(raw: &mut Raw, id: u64) -> (JobState, Option<u64>, Option<bool>) {
    let ended = over(raw, id);
    (ended.state, ended.signal, ended.paused)
}

#[test]
fn what_is_paused_is_shown_and_outlives_the_daemon() {
    let (world, mut home, daemon, mut raw, id) = one_runs();
    let mut follower = daemon.client();
    follower.follow(None, Some(id));
    assert_eq!(job(&mut raw, id).paused, None);
    for _ in 0..2 {
        let paused = altered(&mut raw, id, true);
        assert_eq!((paused.state, paused.paused), (JobState::Running, Some(true)));
        assert!(is_frozen(&world, &alone(id)));
        assert_eq!(shown_in_status(&mut raw), [Some(true)]);
    }
    let told = |event: EventInfo| event.job.is_some_and(|job| job.paused == Some(true));
    assert!((0..4).any(|_| told(follower.event())), "nobody was told");
    daemon.kill();
    let daemon = home.activate();
    let mut raw = daemon.client();
    let Ok(Answer::Jobs(Jobs { jobs, .. })) = raw.ask(&Call::JobList(JobList { all: None })) else {
        panic!("no jobs")
    };
    assert_eq!(jobs.iter().map(|job| (job.job_id, job.paused)).collect::<Vec<_>>(), [(id, Some(true))]);
    for _ in 0..2 {
        assert_eq!(altered(&mut raw, id, false).paused, None);
        assert!(!is_frozen(&world, &alone(id)));
        assert_eq!(shown_in_status(&mut raw), [None]);
    }
    daemon.kill();
    let daemon = home.activate();
    assert_eq!(job(&mut daemon.client(), id).paused, None);
}

/// systemd 257 does not stop what ended while it was being frozen, nor forgets it.
#[test]
fn what_ended_while_it_was_paused_is_thawed_and_cleared_away() {
    let (world, _home, _daemon, mut raw, id) = one_runs();
    world.faults.fail_job(Verb::Stop, "frozen");
    world.take_calls();
    world.end_service(&alone(id), 0);
    over(&mut raw, id);
    let thawed = ("ThawUnit".to_owned(), alone(id));
    until("it to be thawed", PATIENCE, || world.take_calls().contains(&thawed).then_some(()));
    world.faults.clear();
    until("its unit to go", PATIENCE, || world.unit(&alone(id)).is_none().then_some(()));
}

/// systemd 252 thaws what is around a unit with it.
#[test]
fn what_an_administrator_has_frozen_no_member_has_go_on() {
    let (world, _home, _daemon, mut raw, id) = one_runs();
    altered(&mut raw, id, true);
    let share = share_slice();
    world.write_cgroup_file(&share, "cgroup.freeze", "1");
    world.take_calls();
    let error = raw.refused(&alter(id, false), Code::Forbidden);
    let said = "An administrator has frozen what job 1 is in: it goes on when that is thawed";
    assert_eq!(error.message, said);
    raw.ask(&Call::JobCancel(JobCancel { job_id: id })).unwrap();
    let calls = world.take_calls();
    assert!(calls.iter().all(|(method, _)| method != "ThawUnit"), "{calls:?}");
    // Without that it does.
    let other = submitted(&world, &mut raw, Amounts::default());
    world.write_cgroup_file(&share, "cgroup.freeze", "0");
    altered(&mut raw, other, true);
    assert_eq!(altered(&mut raw, other, false).paused, None);
}

/// The stand-in lets SIGTERM reach nobody who stands still, as the kernel does.
#[test]
fn what_is_paused_is_thawed_before_it_is_cancelled() {
    let (_world, mut home, daemon, mut raw, id) = one_runs();
    altered(&mut raw, id, true);
    // Whoever starts next knows it too.
    daemon.kill();
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.ask(&Call::JobCancel(JobCancel { job_id: id })).unwrap();
    assert_eq!(ended_by(&mut raw, id), (JobState::Cancelled, Some(15), None));
}

#[test]
fn a_cancel_that_a_new_daemon_finishes_thaws_too() {
    let (world, mut home, daemon, mut raw, id) = one_runs();
    altered(&mut raw, id, true);
    // The daemon dies with the cancel stored, and nothing done of it.
    world.faults.delay("ThawUnit", PATIENCE);
    raw.post(&Call::JobCancel(JobCancel { job_id: id }));
    let called_back = |job: &Arc<Job>| matches!(&job.kind, JobKind::Submit(work) if work.cancelled);
    until("the cancel to be stored", PATIENCE, || home.state().jobs.iter().any(called_back).then_some(()));
    daemon.kill();
    world.faults.clear();
    let daemon = home.activate();
    assert_eq!(ended_by(&mut daemon.client(), id), (JobState::Cancelled, Some(15), None));
}

#[test]
fn what_is_paused_in_a_share_is_thawed_before_that_is_released() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let ids = [(); 2].map(|()| submitted(&world, &mut raw, Amounts::default()));
    world.pretend_processes(&service(ids[0]), &[1]);
    altered(&mut raw, ids[0], true);
    assert!(is_frozen(&world, &service(ids[0])) && !is_frozen(&world, &service(ids[1])));
    let stop = Call::Release(Release { job_id: None, stop: Some(true), for_uid: None });
    let release = raw.started(&stop);
    assert_eq!(over(&mut raw, release).state, JobState::Done);
    for id in ids {
        assert_eq!(ended_by(&mut raw, id), (JobState::Failed, Some(15), None));
    }
}

/// systemd ends it at its time limit, by a signal.
#[test]
fn what_is_paused_is_thawed_when_its_time_is_over() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let limited = Submit { lease_ms: Some(HOUR_MS), ..submission() };
    let id = raw.started(&Call::Submit(limited));
    super::works::until_it_runs(&world, id);
    altered(&mut raw, id, true);
    daemon.kill();
    let mut image = home.state();
    for stored in &mut image.jobs {
        if let JobKind::Submit(work) = &mut Arc::make_mut(stored).kind {
            work.time_limit_ms = Some(1);
        }
    }
    home.set_image(&image);
    let daemon = home.activate();
    until("the thaw", PATIENCE, || (!is_frozen(&world, &alone(id))).then_some(()));
    let error = daemon.client().refused(&alter(id, true), Code::NotFound);
    assert!(error.message.contains("is being ended"), "{error:?}");
}

#[test]
fn a_command_in_the_foreground_with_room_of_its_own_is_paused() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let wanted = Run::of(Amounts { cpu_milli: Some(1000), ..Amounts::default() });
    let Ok(Answer::Unit(InUnit { unit, job_id: Some(id), .. })) = raw.ask(&Call::Run(wanted)) else {
        panic!("not in room of its own")
    };
    assert_eq!(altered(&mut raw, id, true).paused, Some(true));
    assert!(is_frozen(&world, &unit));
    daemon.kill();
    let daemon = home.activate();
    let mut raw = daemon.client();
    assert_eq!(job(&mut raw, id).paused, Some(true));
    assert_eq!(altered(&mut raw, id, false).paused, None);
    altered(&mut raw, id, true);
    world.take_calls();
    raw.ask(&Call::JobCancel(JobCancel { job_id: id })).unwrap();
    assert_eq!(over(&mut raw, id).paused, None);
    let calls = world.take_calls();
    let ends: Vec<&str> = calls.iter().map(|(method, _)| method.as_str()).collect();
    let at = |method: &str| ends.iter().position(|call| *call == method);
    assert!(at("ThawUnit").is_some() && at("ThawUnit") < at("StopUnit"), "{ends:?}");
}

#[test]
fn what_cannot_be_paused_is_refused_and_says_why() {
    let (world, _home, _daemon, mut raw, id) = one_runs();
    let both = JobAlter { job_id: id, pause: Some(true), first: Some(true), ..JobAlter::default() };
    let error = raw.refused(&Call::JobAlter(both), Code::BadRequest);
    assert!(error.message.contains("pause is for what is at work"), "{error:?}");
    let held = raw.started(&Call::Submit(Submit { hold: Some(true), wait: Some(true), ..submission() }));
    world.end_service(&alone(id), 0);
    over(&mut raw, id);
    for pause in [true, false] {
        for (job_id, says) in [
            (held, "waits: only what is at work can be paused, and what waits be held"),
            (id, "is over: only what is at work can be paused"),
            (999, "No such job"),
        ] {
            let error = raw.refused(&alter(job_id, pause), Code::NotFound);
            assert!(error.message.contains(says), "{error:?}");
        }
    }
}

/// All or nothing: what could not be paused goes on, and what is shown is what the kernel says.
#[test]
fn what_systemd_or_the_kernel_does_not_freeze_goes_on() {
    let (world, _home, _daemon, mut raw, id) = one_runs();
    world.pretend_processes(&alone(id), &[1]);
    world.faults.freezes_nobody();
    let error = raw.refused(&alter(id, true), Code::Systemd);
    assert_eq!(error.message, "The kernel does not do what systemd was told");
    assert_eq!(job(&mut raw, id).paused, None);
    world.faults.clear();
    world.faults.error("FreezeUnit", "org.freedesktop.systemd1.UnitBusy", "in progress");
    let error = raw.refused(&alter(id, true), Code::Systemd);
    assert!(format!("{error:?}").contains("in progress"), "{error:?}");
    assert_eq!(job(&mut raw, id).paused, None);
    // Frozen, and nobody said so: it is thawed again.
    world.faults.clear();
    world.faults.lose_reply("FreezeUnit");
    raw.refused(&alter(id, true), Code::Systemd);
    assert!(!is_frozen(&world, &alone(id)));
    assert_eq!(job(&mut raw, id).paused, None);
    world.faults.clear();
    assert_eq!(altered(&mut raw, id, true).paused, Some(true));
    world.faults.error("ThawUnit", "org.freedesktop.systemd1.UnitBusy", "in progress");
    raw.refused(&alter(id, false), Code::Systemd);
    assert_eq!(job(&mut raw, id).paused, Some(true));
}

/// It has ended, and its daemon has not heard of it yet.
#[test]
fn a_command_that_ends_while_it_is_to_be_paused_is_said_to_have_ended() {
    let (world, _home, _daemon, mut raw, id) = one_runs();
    world.forget_unit(&alone(id));
    let error = raw.refused(&alter(id, true), Code::NotFound);
    assert!(error.message.contains("Nothing of job"), "{error:?}");
    // What has ended as soon as it went on has gone on.
    altered(&mut raw, id, false);
}

#[test]
fn a_member_pauses_their_own_alone() {
    if !is_root() {
        return;
    }
    let (world, _home, daemon, mut raw, id) = one_runs();
    let mut other = member(&daemon, MEMBER);
    assert_eq!(other.refused(&alter(id, true), Code::NotFound).message, "No such job");
    assert!(!is_frozen(&world, &alone(id)));
    assert_eq!(altered(&mut raw, id, true).paused, Some(true));
    other.refused(&alter(id, false), Code::NotFound);
    other.refused(&Call::JobStatus(JobStatus { job_id: id }), Code::NotFound);
    assert!(is_frozen(&world, &alone(id)));
    // Nor does an admin, who cancels what is another's and does not change it.
    let (code, theirs) =
        fairshare(&daemon, MEMBER, NOGROUP, &["submit", "--output", "/dev/null", "--", "true"]);
    assert_eq!(code, 0, "{theirs}");
    let theirs = theirs.split_whitespace().next().unwrap().parse().unwrap();
    for pause in [true, false] {
        let error = raw.refused(&alter(theirs, pause), Code::Forbidden);
        assert!(error.message.contains("is someone else's: only its member pauses it"), "{error:?}");
    }
    assert!(raw.refused(&hold_of(theirs), Code::Forbidden).message.contains("only its member holds it"));
    assert_eq!(raw.refused(&alter(9999, true), Code::NotFound).message, "No such job");
    assert_eq!(other.refused(&hold_of(id), Code::NotFound).message, "No such job");
    let (code, said) = fairshare(&daemon, 0, NOGROUP, &["pause", &theirs.to_string()]);
    assert!(code == 77 && said.contains("ends it with `fairshare cancel`"), "{said}");
}
