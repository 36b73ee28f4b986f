//! Submitted commands when systemd, the disk or the daemon itself fails: none is lost, none cannot be called back.

use std::time::Duration;

use fairshare::contract::{
    Amounts, Answer, Call, JobCancel, JobFetch, JobInfo, JobState, JobStatus, OneJob, Submit,
};
use fairshare::testing::identity::{JobId, Uid, UnitName, Within};
use fairshare::testing::ledger::allocation::Phase;
use fairshare::wire::error::Code;

use super::handed::begins;
use super::harness::{Home, PATIENCE, Unwritable};
use super::raw::{Raw, request, request_for, submission};
use super::systemd_faults::own_slice;
use crate::poll::until;
use crate::stand_in::World;

fn own() -> Uid {
    Uid::new(rustix::process::getuid().as_raw().into()).unwrap()
}

pub(super) fn service(job: u64) -> String {
    UnitName::JobService(own(), Within::Own, JobId(job)).to_string()
}

/// The service of a command that has an allocation of its own.
pub(super) fn alone(job: u64) -> String {
    UnitName::JobService(own(), Within::Share, JobId(job)).to_string()
}

/// That allocation's slice.
pub(super) fn slice_alone(job: u64) -> String {
    UnitName::JobSlice(own(), Within::Share, JobId(job)).to_string()
}

/// A command that runs from now on.
pub(super) fn submitted(world: &World, raw: &mut Raw, amounts: Amounts) -> u64 {
    let id = posted(raw, amounts);
    until_it_runs(world, id);
    id
}

/// A command that will run.
fn posted(raw: &mut Raw, amounts: Amounts) -> u64 {
    // Where a share is held it runs in there, with these limits.
    let in_share = raw.status().0.is_some_and(|share| share.standing().is_some()).then_some(true);
    raw.started(&Call::Submit(Submit {
        argv: submission().argv,
        cwd: submission().cwd,
        in_share,
        ..Submit::of(amounts)
    }))
}

pub(super) fn runs(world: &World, job: u64) -> bool {
    let active = |name: String| world.unit(&name).is_some_and(|unit| unit.active == "active");
    active(service(job)) || active(alone(job))
}

/// Waits until a command runs.
pub(super) fn until_it_runs(world: &World, job: u64) {
    until("the command to run", PATIENCE, || runs(world, job).then_some(()));
}

pub(super) fn job(raw: &mut Raw, job_id: u64) -> JobInfo {
    match raw.ask(&Call::JobStatus(JobStatus { job_id })) {
        Ok(Answer::Job(OneJob { job, .. })) => job,
        other => panic!("no job: {other:?}"),
    }
}

/// How a command ended, as soon as it has.
pub(super) fn over(raw: &mut Raw, job_id: u64) -> JobInfo {
    until("the command's end", PATIENCE, || Some(job(raw, job_id)).filter(|job| job.ended_ms.is_some()))
}

#[test]
fn a_command_in_the_stand_in_runs_and_ends() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let id = submitted(&world, &mut raw, Amounts::default());
    world.end_service(&service(id), 3);
    let ended = over(&mut raw, id);
    assert_eq!((ended.state, ended.exit_code), (JobState::Failed, Some(3)));
    until("the units to go", PATIENCE, || world.unit(&service(id)).is_none().then_some(()));
}

/// Whose first answer was lost asks again.
#[test]
fn who_cancels_what_is_over_is_told_how_it_ended() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let id = submitted(&world, &mut raw, Amounts::default());
    world.end_service(&service(id), 3);
    let ended = over(&mut raw, id);
    for _ in 0..2 {
        assert_eq!(
            raw.ask(&Call::JobCancel(JobCancel { job_id: id })).unwrap(),
            Answer::Job(OneJob::of(ended.clone()))
        );
    }
}

#[test]
fn what_a_command_could_have_used_is_told() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let (mut raw, mut follower) = (daemon.client(), daemon.client());
    raw.granted(&request());
    follower.follow(None, None);
    let limit = world.cgroup_file(&own_slice(), "memory.max").unwrap().trim().parse().unwrap();
    let within = [None, Some(16 << 20)];
    let ids =
        within.map(|mem_bytes| submitted(&world, &mut raw, Amounts { mem_bytes, ..Amounts::default() }));
    for (id, expected) in ids.into_iter().zip([limit, 16 << 20]) {
        // One after the other: two that end at once are told of in either order.
        world.end_service(&service(id), 0);
        assert_eq!(over(&mut raw, id).mem_limit_bytes, Some(expected));
        let told = std::iter::repeat_with(|| follower.event()).filter_map(|event| event.job);
        let ended = told.take(4).find(|job| job.ended_ms.is_some()).expect("an end");
        assert_eq!(ended.mem_limit_bytes, Some(expected));
    }
}

/// The kernel keeps a maximum only with the page cache: what is needed is looked at once a minute.
#[test]
fn what_a_command_was_seen_to_need_is_told_of_it() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let id = submitted(&world, &mut raw, Amounts::default());
    let slice = UnitName::JobSlice(own(), Within::Own, JobId(id)).to_string();
    let stat = |anon: u64| format!("anon {anon}\nfile 900000000\nkernel 4096\nsock 0\nshmem 0\n");
    world.write_cgroup_file(&slice, "memory.peak", "950000000");
    world.write_cgroup_file(&slice, "memory.stat", &stat(5 << 20));
    let sweep = PATIENCE * 4;
    until("the sweep", sweep, || job(&mut raw, id).needed_bytes.filter(|needed| *needed == (5 << 20) + 4096));
    // It needs less at the next look, which is over when that has seen another command too.
    world.write_cgroup_file(&slice, "memory.stat", &stat(1 << 20));
    let other = submitted(&world, &mut raw, Amounts::default());
    let slice_of_other = UnitName::JobSlice(own(), Within::Own, JobId(other)).to_string();
    world.write_cgroup_file(&slice_of_other, "memory.stat", &stat(2 << 20));
    until("the next sweep", sweep, || {
        job(&mut raw, other).needed_bytes.filter(|needed| *needed == (2 << 20) + 4096)
    });
    // Its processes are gone by then.
    world.write_cgroup_file(&slice, "memory.stat", &stat(0));
    world.end_service(&service(id), 0);
    let ended = over(&mut raw, id);
    assert_eq!((ended.needed_bytes, ended.peak_mem_bytes), (Some((5 << 20) + 4096), Some(950_000_000)));
    // One that was over before anybody looked.
    let id = submitted(&world, &mut raw, Amounts::default());
    world.end_service(&service(id), 0);
    assert_eq!(over(&mut raw, id).needed_bytes, None);
}

#[test]
fn who_calls_back_again_after_a_failed_cancel_has_the_command_stopped() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let id = submitted(&world, &mut raw, Amounts::default());
    let cancel = Call::JobCancel(JobCancel { job_id: id });
    let unwritable = Unwritable::state(&home);
    raw.refused(&cancel, Code::Io);
    drop(unwritable);
    world.faults.error("StopUnit", "org.freedesktop.DBus.Error.AccessDenied", "not by you");
    raw.refused(&cancel, Code::CleanupFailed);
    world.faults.clear();
    assert!(runs(&world, id));
    let Ok(Answer::Job(OneJob { job, .. })) = raw.ask(&cancel) else { panic!("not cancelled") };
    assert_eq!((job.state, job.signal), (JobState::Cancelled, Some(15)));
}

#[test]
fn a_command_whose_cancel_was_stored_is_stopped_by_the_next_daemon() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let id = submitted(&world, &mut raw, Amounts::default());
    world.faults.error("StopUnit", "org.freedesktop.DBus.Error.AccessDenied", "not by you");
    raw.refused(&Call::JobCancel(JobCancel { job_id: id }), Code::CleanupFailed);
    daemon.kill();
    world.faults.clear();
    let daemon = home.activate();
    assert_eq!(over(&mut daemon.client(), id).state, JobState::Cancelled);
    until("the unit to go", PATIENCE, || world.unit(&service(id)).is_none().then_some(()));
}

#[test]
fn a_command_that_is_done_in_spite_of_a_cancel_is_done() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let id = submitted(&world, &mut raw, Amounts::default());
    world.faults.error("StopUnit", "org.freedesktop.DBus.Error.AccessDenied", "not by you");
    raw.refused(&Call::JobCancel(JobCancel { job_id: id }), Code::CleanupFailed);
    world.faults.clear();
    world.end_service(&service(id), 0);
    let ended = over(&mut raw, id);
    assert_eq!((ended.state, ended.exit_code), (JobState::Done, Some(0)));
}

#[test]
fn a_cancelled_command_of_which_nothing_is_left_is_cancelled() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let [called_back, lost] = [(); 2].map(|()| submitted(&world, &mut raw, Amounts::default()));
    begins(&world, &daemon, lost);
    world.faults.error("StopUnit", "org.freedesktop.DBus.Error.AccessDenied", "not by you");
    raw.refused(&Call::JobCancel(JobCancel { job_id: called_back }), Code::CleanupFailed);
    daemon.kill();
    world.faults.clear();
    world.remove_unit(&service(called_back));
    world.remove_unit(&service(lost));
    let daemon = home.activate();
    let mut raw = daemon.client();
    assert_eq!(over(&mut raw, called_back).state, JobState::Cancelled);
    assert_eq!(over(&mut raw, lost).state, JobState::Interrupted);
}

/// What systemd says of a unit cannot be had, but the connection lives.
#[test]
fn a_command_that_could_not_be_followed_is_followed_again() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let amounts = Amounts { cpu_milli: Some(500), ..Amounts::default() };
    let id = submitted(&world, &mut raw, amounts);
    world.faults.error("Get", "org.freedesktop.DBus.Error.LimitsExceeded", "too much at once");
    world.end_service(&alone(id), 0);
    daemon.wait_logged("too much at once");
    world.faults.clear();
    let ended = over(&mut raw, id);
    assert_eq!((ended.state, ended.exit_code), (JobState::Done, Some(0)));
    until("the share that was taken for it to go", PATIENCE, || raw.status().0.is_none().then_some(()));
}

/// What an admin wrote beside it does not parse, say: systemd lets it run, and keeps nothing of it for us.
#[test]
fn a_command_whose_unit_systemd_cannot_read_any_more_is_followed_to_its_end() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let id = submitted(&world, &mut raw, Amounts::default());
    begins(&world, &daemon, id);
    daemon.kill();
    world.faults.error("RefUnit", "org.freedesktop.systemd1.BadUnitSetting", "a bad unit file setting");
    let daemon = home.activate();
    daemon.wait_logged("a bad unit file setting");
    world.end_service(&service(id), 3);
    let ended = over(&mut daemon.client(), id);
    assert_eq!((ended.state, ended.exit_code), (JobState::Failed, Some(3)));
}

/// It asks again, a second later: the connection that it asks on is another one by then.
#[test]
fn a_command_that_is_lost_while_the_bus_comes_back_is_followed_again() {
    let mut world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let id = submitted(&world, &mut raw, Amounts::default());
    begins(&world, &daemon, id);
    world.faults.error("Get", "org.freedesktop.DBus.Error.LimitsExceeded", "too much at once");
    world.end_service(&service(id), 0);
    daemon.wait_logged("too much at once");
    world.faults.clear();
    world.kill_bus();
    world.restart_bus();
    until("the bus to be back", PATIENCE, || raw.healthy().then_some(()));
    assert_eq!(over(&mut raw, id).state, JobState::Done);
}

/// dbus-daemon lets one connection wait for 128 answers (`max_replies_per_connection`).
#[test]
fn many_commands_are_followed_at_once_without_asking_too_much() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let ids: Vec<u64> = (0..100).map(|_| posted(&mut raw, Amounts::default())).collect();
    ids.iter().for_each(|id| begins(&world, &daemon, *id));
    daemon.kill();
    world.faults.delay("Get", Duration::from_millis(50));
    let daemon = home.activate();
    world.end_service(&service(ids[99]), 0);
    assert_eq!(over(&mut daemon.client(), ids[99]).state, JobState::Done);
    world.faults.clear();
    ids[..99].iter().for_each(|id| world.end_service(&service(*id), 0));
    for id in &ids {
        assert_eq!(over(&mut daemon.client(), *id).state, JobState::Done);
    }
    until("all units to go", PATIENCE, || {
        ids.iter().all(|id| world.unit(&service(*id)).is_none()).then_some(())
    });
    let logs = daemon.logs();
    assert!(!logs.contains("pending replies"), "{logs}");
}

/// As the bus refuses what is one too many.
#[test]
fn what_is_left_of_a_command_goes_when_systemd_takes_the_call() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let id = submitted(&world, &mut raw, Amounts::default());
    let too_many = "The maximum number of pending replies per connection has been reached";
    world.faults.error("StopUnit", "org.freedesktop.DBus.Error.LimitsExceeded", too_many);
    world.end_service(&service(id), 0);
    assert_eq!(over(&mut raw, id).state, JobState::Done);
    daemon.wait_logged("LimitsExceeded");
    world.faults.clear();
    until("the units to go", PATIENCE, || world.unit(&service(id)).is_none().then_some(()));
}

#[test]
fn a_command_whose_start_was_put_off_while_the_bus_went_runs_when_it_is_back() {
    let mut world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let slice = slice_alone(1);
    world.faults.kernel_holds(&format!("{slice}/memory.max"), "max");
    let amounts = Amounts { mem_bytes: Some(64 << 20), ..Amounts::default() };
    let id = posted(&mut raw, amounts);
    until("the slice", PATIENCE, || world.unit(&slice).filter(|unit| unit.active == "active"));
    world.faults.clear();
    // What systemd answered before this it has said before.
    raw.granted(&request_for(1));
    world.kill_bus();
    daemon.wait_logged("the bus is gone");
    world.write_cgroup_file(&slice, "memory.max", "67108864");
    until("the grant to be stored", PATIENCE, || {
        home.state()
            .allocations
            .iter()
            .any(|share| share.id.uid == own() && share.phase == Phase::Active)
            .then_some(())
    });
    assert!(!runs(&world, id));
    world.restart_bus();
    until_it_runs(&world, id);
    world.end_service(&alone(id), 0);
    assert_eq!(over(&mut raw, id).state, JobState::Done);
}

/// The slice cannot be taken back, as somebody is in it, and the kernel does not hold the share's limits: what came of the grant
/// is found out later.
#[test]
fn a_command_whose_grant_had_no_outcome_runs_when_its_share_is_seen_to_hold() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let slice = slice_alone(1);
    world.faults.kernel_holds(&format!("{slice}/memory.max"), "max");
    let id = posted(&mut raw, Amounts { mem_bytes: Some(64 << 20), ..Amounts::default() });
    until("the slice", PATIENCE, || world.unit(&slice).filter(|unit| unit.active == "active"));
    world.pretend_processes(&slice, &[4_194_000]);
    until("the doubt", PATIENCE, || (!raw.healthy()).then_some(()));
    assert!(!runs(&world, id));
    world.faults.clear();
    until_it_runs(&world, id);
    world.pretend_processes(&slice, &[]);
    world.end_service(&alone(id), 0);
    assert_eq!(over(&mut raw, id).state, JobState::Done);
}

/// systemd started it and its answer was lost: whether it may go is the kernel's word all the same.
#[test]
fn a_command_whose_start_has_no_outcome_does_not_run_beyond_its_limits() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    world.faults.lose_reply("StartTransientUnit");
    world.faults.kernel_holds("memory.max", "max");
    let id = posted(&mut raw, Amounts { mem_bytes: Some(16 << 20), ..Amounts::default() });
    until("the process", PATIENCE, || runs(&world, id).then_some(()));
    world.pretend_processes(&service(id), &[std::process::id()]);
    raw.refused(&Call::JobFetch(JobFetch { job_id: id, at_end: None }), Code::Systemd);
    world.pretend_processes(&service(id), &[]);
    let ended = over(&mut raw, id);
    assert_eq!(ended.state, JobState::Failed);
    assert!(ended.error.unwrap().more().unwrap().contains("memory.max"), "not why");
    // Nobody keeps what is not to run.
    until("the units to go", PATIENCE, || world.unit(&service(id)).is_none().then_some(()));
}

/// systemd still has what it said: it is not to be thrown away before it is on the disk.
#[test]
fn how_a_command_ended_is_kept_by_systemd_until_it_is_stored() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let id = submitted(&world, &mut raw, Amounts::default());
    begins(&world, &daemon, id);
    let unwritable = Unwritable::state(&home);
    world.end_service(&service(id), 7);
    daemon.wait_logged(&format!("how job {id} ended is not stored"));
    daemon.kill();
    drop(unwritable);
    let daemon = home.activate();
    assert_eq!(over(&mut daemon.client(), id).exit_code, Some(7));
    until("the units to go", PATIENCE, || world.unit(&service(id)).is_none().then_some(()));
}

#[test]
fn how_a_command_ended_is_stored_as_soon_as_that_can_be() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let id = submitted(&world, &mut raw, Amounts::default());
    let unwritable = Unwritable::state(&home);
    world.end_service(&service(id), 7);
    daemon.wait_logged(&format!("how job {id} ended is not stored"));
    drop(unwritable);
    until("the units to go", PATIENCE, || world.unit(&service(id)).is_none().then_some(()));
    let stored = home.state().jobs.into_iter().find(|job| job.id.0 == id);
    assert!(stored.is_some_and(|job| job.ended()));
}

/// What is inside may be somebody's work: stopping the share would kill it.
#[test]
fn a_share_of_which_the_kernel_does_not_say_what_is_inside_is_not_stopped() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let id = submitted(&world, &mut raw, Amounts { cpu_milli: Some(500), ..Amounts::default() });
    let slice = slice_alone(id);
    let events = world.cgroup_file(&slice, "cgroup.events").unwrap();
    world.write_cgroup_file(&slice, "cgroup.events", "what?");
    world.end_service(&alone(id), 0);
    daemon.wait_logged("proceeding as if somebody was inside");
    let stop = ("StopUnit".to_owned(), slice.clone());
    assert!(!world.take_calls().contains(&stop));
    assert!(raw.status().0.is_some());
    world.write_cgroup_file(&slice, "cgroup.events", &events);
    over(&mut raw, id);
    until("the allocation to go", PATIENCE, || raw.status().0.is_none().then_some(()));
    assert!(world.take_calls().contains(&stop));
}

/// Whether systemd was asked to stop the share.
pub(super) fn stops(calls: &[(String, String)]) -> bool {
    calls.contains(&("StopUnit".to_owned(), own_slice()))
}
