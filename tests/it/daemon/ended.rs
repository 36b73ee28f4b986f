//! Shares whose lease is over, and requests that wait while the policy changes: what is told to systemd, and kept.

use fairshare::contract::{
    AllocationState, Amounts, Call, JobState, Release, Reload, Renew, RequestResources,
};
use fairshare::testing::ledger::allocation::Phase;
use fairshare::wire::error::Code;

use super::degraded::FIGURES;
use super::events::own_uid;
use super::harness::{DEFAULTS, Daemon, Home, PATIENCE, Unwritable, ending};
use super::raw::{Raw, leased, request, request_for, submission};
use super::strace::Tracer;
use super::systemd_faults::own_slice;
use super::works::job;
use crate::poll::until;
use crate::stand_in::World;

const USED: u64 = 20 << 20;

/// A busy share of the caller's own whose lease ends soon, using so much.
fn soon_over(world: &World, home: &mut Home) -> Daemon {
    home.set_state(vec![ending(own_uid(), DEFAULTS, 1000)]);
    world.make_slice(&own_slice(), &FIGURES);
    world.pretend_processes(&own_slice(), &[4_000_000, 4_000_001]);
    world.write_cgroup_file(&own_slice(), "memory.current", &USED.to_string());
    home.activate()
}

fn keeps(home: &Home) -> Option<u64> {
    let image = home.state();
    let share = image.allocations.first().filter(|share| share.phase == Phase::Active)?;
    share.keeps().map(|keeps| keeps.mem.0)
}

#[test]
fn an_ended_share_has_what_it_uses_and_gets_back_what_it_had() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = soon_over(&world, &mut home);
    let kept = USED + (16 << 20);
    until("the limits to come down", PATIENCE, || (keeps(&home) == Some(kept)).then_some(()));
    let unit = world.unit(&own_slice()).unwrap();
    let figures = ["MemoryMax", "TasksMax", "CPUWeight", "MemoryLow", "IOWeight", "CPUQuotaPerSecUSec"];
    let told: Vec<_> = figures.iter().map(|name| unit.figure(name).unwrap()).collect();
    assert_eq!(told, [kept, 10, 0, 0, 1, 1_000_000]);
    let mut raw = daemon.client();
    assert!(raw.healthy());
    let (share, capacity) = raw.status();
    let share = share.unwrap();
    assert_eq!(
        (share.standing().unwrap().state, share.mem_bytes, share.tasks_max),
        (AllocationState::Expired, kept, 10)
    );
    assert_eq!(capacity.mem_bytes - capacity.free_mem_bytes, kept, "what it keeps is not free");
    assert_eq!(capacity.cpu_milli, capacity.free_cpu_milli, "its CPU is");
    // A daemon that starts on it changes nothing.
    daemon.kill();
    world.take_calls();
    let daemon = home.activate();
    let mut raw = daemon.client();
    assert!(raw.healthy());
    let set = world.take_calls().into_iter().find(|(_, unit)| *unit == own_slice());
    assert_eq!(set, None);
    let renewed = raw.granted(&Call::Renew(Renew { lease_ms: 60_000, job_id: None, for_uid: None }));
    assert_eq!(
        (renewed.standing().unwrap().state, renewed.mem_bytes, renewed.tasks_max),
        (AllocationState::Active, 64 << 20, 100)
    );
    assert!(renewed.standing().unwrap().lease_ends_ms > share.standing().unwrap().lease_ends_ms);
    let unit = world.unit(&own_slice()).unwrap();
    let told: Vec<_> = figures.iter().map(|name| unit.figure(name).unwrap()).collect();
    assert_eq!(told, [64 << 20, 100, 100, 64 << 20, 1, 1_000_000]);
    assert_eq!(keeps(&home), None);
}

#[test]
fn an_ended_share_whose_limits_somebody_raised_has_them_lowered_again() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = soon_over(&world, &mut home);
    until("the limits to come down", PATIENCE, || keeps(&home));
    daemon.kill();
    world.write_cgroup_file(&own_slice(), "cpu.idle", "0");
    let daemon = home.activate();
    assert!(daemon.client().healthy());
    assert_eq!(world.cgroup_file(&own_slice(), "cpu.idle").as_deref(), Some("1\n"));
}

#[test]
fn a_lease_under_a_minute_is_refused_and_says_why() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let error = raw.refused(&leased(59_999), Code::BadRequest);
    assert_eq!(error.message, "Requested lease (59s 999ms) is shorter than the least (1m)");
    raw.granted(&leased(60_000));
    raw.refused(&Call::Renew(Renew { lease_ms: 1, job_id: None, for_uid: None }), Code::BadRequest);
    for ms in [1 << 53, 1 << 62, u64::MAX] {
        raw.refused(&Call::Renew(Renew { lease_ms: ms, job_id: None, for_uid: None }), Code::OverLimit);
    }
}

fn waits(raw: &mut Raw, cpu_milli: Option<u64>) -> u64 {
    let amounts = Amounts { cpu_milli, ..Amounts::default() };
    let call = Call::RequestResources(RequestResources {
        lease_ms: None,
        wait: Some(true),
        for_uid: None,
        ..RequestResources::of(amounts)
    });
    raw.started(&call)
}

const ONE_CPU: &str = "defaults: {cpu: 1, mem: 64M, tasks: 100}\nmax: {cpu: 1, mem: 64M, tasks: 100}\nreserve: {cpu: 1, mem: 1M}\n";
const LESS: &str = "defaults: {cpu: 0.5, mem: 64M, tasks: 100}\nmax: {cpu: 0.5, mem: 64M, tasks: 100}\nreserve: {cpu: 1, mem: 1M}\n";

/// After a reload and after a restart alike: who waits gets no more than the policy in force allows.
#[test]
fn who_waits_is_judged_by_the_policy_that_is_in_force() {
    for (restart, named) in [(false, Some(1000)), (true, Some(1000)), (false, None)] {
        let world = World::start();
        let mut home = Home::of_one_cpu(&world);
        let mut daemon = home.activate();
        let mut raw = daemon.client();
        raw.granted(&request_for(1));
        let id = waits(&mut raw, named);
        home.set_policy(LESS);
        if restart {
            daemon.kill();
            daemon = home.activate();
            raw = daemon.client();
        } else {
            raw.ask(&Call::Reload(Reload {})).unwrap();
        }
        if named.is_some() {
            let job = until("the end of waiting", PATIENCE, || {
                Some(job(&mut raw, id)).filter(|job| job.state == JobState::Failed)
            });
            let error = job.error.unwrap();
            assert!(error.is(Code::OverLimit), "{error:?}");
            assert_eq!(error.more().as_deref(), Some("Requested CPU (1) exceeds maximum allowed (0.5)"));
            assert_eq!(raw.status().1.waiting, 0);
        } else {
            // What nobody named is what the policy gives now.
            until("the new figure", PATIENCE, || {
                let image = home.state();
                let ask = image.jobs.iter().find_map(|job| job.kind.ask())?;
                (ask.amount.cpu.0 == 500).then_some(())
            });
            raw.ask(&Call::Release(Release { job_id: None, stop: None, for_uid: Some(1) })).unwrap();
            let share = until("the grant", PATIENCE, || raw.status().0);
            assert_eq!(share.cpu_milli, 500);
        }
    }
}

/// The rename was done, the folder could not be synced: who was told that nothing was changed must not wait after a crash.
#[test]
fn a_request_that_could_not_be_stored_waits_for_nobody() {
    let world = World::start();
    let mut home = Home::of_one_cpu(&world);
    home.set_policy(ONE_CPU);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request_for(1));
    let paths = [home.state_dir(), home.state_dir().join("state.new"), home.state_file()];
    // The file's own sync is the first, the folder's the second.
    let tracer = Tracer::attach(&daemon, &home, "fsync", Some("fsync:error=EIO:when=2"), &paths);
    let wait = Call::RequestResources(RequestResources {
        lease_ms: None,
        wait: Some(true),
        for_uid: None,
        ..RequestResources::of(Amounts::default())
    });
    let error = raw.refused(&wait, Code::Io);
    assert!(tracer.detach().contains("(INJECTED)"));
    assert_eq!(error.message, "The state could not be written: nothing was changed");
    daemon.kill();
    assert!(home.state().jobs.iter().all(|job| !job.queued()), "the file says that it waits");
    assert_eq!(home.activate().client().status().1.waiting, 0);
}

/// What nobody waits for is stored too, when the disk can be written again.
#[test]
fn what_could_not_be_stored_in_the_background_is_stored_later() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let unwritable = Unwritable::state(&home);
    world.remove_unit(&own_slice());
    until("the share to go", PATIENCE, || raw.status().0.is_none().then_some(()));
    daemon.wait_logged("state.new");
    assert_eq!(home.state().allocations.len(), 1, "nothing was written");
    drop(unwritable);
    until("the state", PATIENCE, || home.state().allocations.is_empty().then_some(()));
}

#[test]
fn a_command_that_waited_when_its_slice_was_adopted_runs_in_it() {
    let world = World::start();
    let mut home = Home::of_one_cpu(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request_for(1));
    let submit = Call::Submit(fairshare::contract::Submit { wait: Some(true), ..submission() });
    let id = raw.started(&submit);
    daemon.kill();
    let slice = own_slice().replace("-own", &format!("-job{id}"));
    world.make_slice(&slice, &FIGURES);
    world.pretend_processes(&slice, &[4_000_000]);
    let daemon = home.activate();
    let mut raw = daemon.client();
    until("it to run", PATIENCE, || (job(&mut raw, id).state == JobState::Running).then_some(()));
}
