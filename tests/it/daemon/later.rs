//! Commands that wait for jobs, a time or a release: through the socket, and through the end of a daemon.

use std::time::{SystemTime, UNIX_EPOCH};

use fairshare::contract::{Answer, Call, JobAlter, JobInfo, JobState, OneJob, Submit, WaitsFor};
use fairshare::testing::ledger::apart::Apart;
use fairshare::testing::ledger::job::JobKind;
use fairshare::testing::ledger::time::Time;
use fairshare::wire::error::Code;

use super::handed::begins;
use super::harness::{Home, PATIENCE};
use super::raw::{Raw, request, submission};
use super::waiting::file;
use super::works::{alone as service, job, over, runs, until_it_runs};
use crate::poll::until;
use crate::stand_in::World;

const HOUR_MS: u64 = 3_600_000;

fn later() -> Submit {
    Submit { wait: Some(true), ..submission() }
}

fn altered(raw: &mut Raw, change: JobAlter) -> JobInfo {
    match raw.ask(&Call::JobAlter(change)) {
        Ok(Answer::Job(OneJob { job, .. })) => job,
        other => panic!("not changed: {other:?}"),
    }
}

fn hold(job_id: u64, held: bool) -> JobAlter {
    JobAlter { job_id, hold: Some(held), ..JobAlter::default() }
}

fn first(job_id: u64) -> JobAlter {
    JobAlter { job_id, first: Some(true), ..JobAlter::default() }
}

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn is_kept(home: &Home, job: u64) -> bool {
    file(home, job).exists()
}

pub(super) fn waits_for(raw: &mut Raw, job_id: u64) -> Option<WaitsFor> {
    job(raw, job_id).waits_for.map(|waits_for| *waits_for)
}

fn after(jobs: &[u64]) -> Option<WaitsFor> {
    Some(WaitsFor { after: Some(jobs.to_vec()), ..WaitsFor::default() })
}

#[test]
fn what_is_waited_for_outlives_the_daemon() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let one = raw.put(later());
    begins(&world, &daemon, one);
    let two = raw.put(Submit { after: Some(vec![one]), ..later() });
    let three = raw.put(Submit { after: Some(vec![two]), ..later() });
    let any = raw.put(Submit { after_any: Some(vec![three]), ..later() });
    let held = raw.put(Submit { hold: Some(true), ..later() });
    daemon.kill();
    home.activate().kill();
    let daemon = home.activate();
    let mut raw = daemon.client();
    assert_eq!(job(&mut raw, one).state, JobState::Running);
    for (id, waits) in [(two, after(&[one])), (three, after(&[two])), (any, after(&[three]))] {
        assert_eq!((job(&mut raw, id).state, waits_for(&mut raw, id)), (JobState::Queued, waits));
        assert!(is_kept(&home, id));
    }
    let is_held = Some(WaitsFor { hold: Some(true), ..WaitsFor::default() });
    assert_eq!((waits_for(&mut raw, held), job(&mut raw, held).place), (is_held, None));
    world.end_service(&service(one), 0);
    begins(&world, &daemon, two);
    daemon.kill();
    let daemon = home.activate();
    let mut raw = daemon.client();
    world.end_service(&service(two), 3);
    let never = over(&mut raw, three);
    let error = never.error.unwrap();
    assert_eq!(
        (never.state, never.started_ms, error.code),
        (JobState::Cancelled, None, Code::Cancelled.number())
    );
    assert_eq!(error.message, format!("Job {two}, after which it was to run, ended with exit 3"));
    until("what is kept of it to go", PATIENCE, || (!is_kept(&home, three)).then_some(()));
    until_it_runs(&world, any);
    assert!(!runs(&world, held));
    altered(&mut raw, hold(held, false));
    until_it_runs(&world, held);
}

#[test]
fn what_was_to_begin_while_there_was_no_daemon_begins_with_the_next() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let begin_ms = now_ms() + HOUR_MS;
    let id = raw.put(Submit { begin_ms: Some(begin_ms), ..later() });
    let told = waits_for(&mut raw, id).unwrap().begin_ms.unwrap();
    assert!(told.abs_diff(begin_ms) < HOUR_MS / 2, "{told} {begin_ms}");
    daemon.kill();
    let mut image = home.state();
    for stored in &mut image.jobs {
        if let JobKind::Submit(work) = &mut std::sync::Arc::make_mut(stored).kind {
            work.apart = Some(Box::new(Apart { begin: Some(Time(1)), ..Apart::default() }));
        }
    }
    home.set_image(&image);
    let _daemon = home.activate();
    until_it_runs(&world, id);
}

#[test]
fn what_is_to_run_after_what_has_failed_is_told_so_and_leaves_nothing() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let one = raw.put(later());
    until_it_runs(&world, one);
    world.end_service(&service(one), 1);
    over(&mut raw, one);
    let two = raw.put(Submit { after: Some(vec![one]), ..later() });
    let ended = over(&mut raw, two);
    assert_eq!((ended.state, ended.waits_for), (JobState::Cancelled, None));
    assert!(ended.error.unwrap().message.ends_with("ended with exit 1"));
    until("what is kept of it to go", PATIENCE, || (!is_kept(&home, two)).then_some(()));
    let three = raw.put(Submit { after_any: Some(vec![one]), ..later() });
    until_it_runs(&world, three);
}

#[test]
fn the_order_of_ones_own_is_ones_own() {
    let world = World::start();
    let mut home = Home::of_one_cpu(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let usual = raw.put(Submit { in_share: Some(false), ..later() });
    let urgent = raw.put(Submit { in_share: Some(false), priority: Some(100), ..later() });
    let place = |raw: &mut Raw, id| job(raw, id).place;
    assert_eq!([urgent, usual].map(|id| place(&mut raw, id)), [Some(1), Some(2)]);
    // As often as one likes.
    for _ in 0..2 {
        assert_eq!(altered(&mut raw, first(usual)).place, Some(1));
    }
    let held = altered(&mut raw, hold(usual, true));
    assert_eq!((held.place, held.waits_for.unwrap().hold), (None, Some(true)));
    daemon.kill();
    let daemon = home.activate();
    let mut raw = daemon.client();
    assert_eq!(place(&mut raw, urgent), Some(1));
    assert_eq!(altered(&mut raw, hold(usual, false)).place, Some(1), "it is still to be first");
}

#[test]
fn what_cannot_be_waited_for_or_changed_is_refused_and_says_why() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let one = raw.put(later());
    until_it_runs(&world, one);
    let held = || Submit { hold: Some(true), ..later() };
    for (command, code, says) in [
        (Submit { after: Some(vec![99]), ..later() }, Code::NotFound, "No such job"),
        (Submit { after_any: Some(vec![one, 99]), ..later() }, Code::NotFound, "No such job"),
        (Submit { wait: None, ..held() }, Code::BadRequest, "must be let wait for room"),
        (Submit { in_share: Some(true), ..held() }, Code::BadRequest, "has room of its own"),
        (Submit { priority: Some(101), ..later() }, Code::BadRequest, "from 0 to 100"),
    ] {
        let error = raw.refused(&Call::Submit(command), code);
        assert!(error.message.contains(says), "{error:?}");
    }
    for (change, code, says) in [
        (
            JobAlter { job_id: one, ..JobAlter::default() },
            Code::BadRequest,
            "name hold, first, priority or pause",
        ),
        (JobAlter { priority: Some(101), ..first(one) }, Code::BadRequest, "from 0 to 100"),
        (first(one), Code::NotFound, "is at work: only what waits"),
        (hold(99, true), Code::NotFound, "No such job"),
    ] {
        let error = raw.refused(&Call::JobAlter(change), code);
        assert!(error.message.contains(says), "{error:?}");
    }
    world.end_service(&service(one), 0);
    over(&mut raw, one);
    let error = raw.refused(&Call::JobAlter(hold(one, false)), Code::NotFound);
    assert!(error.message.contains("is over: only what waits"), "{error:?}");
}
