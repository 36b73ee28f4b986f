//! Leases run on the clock, whatever else the daemon has to do.

use std::time::{Duration, Instant};

use fairshare::contract::{Amounts, Answer, Call, JobStarted, Release, Renew, RequestResources};
use fairshare::testing::ledger::allocation::Allocation;
use fairshare::wire::error::Code;

use super::degraded::FIGURES;
use super::events::own_uid;
use super::harness::{DEFAULTS, Home, PATIENCE, Unwritable, ending};
use super::raw::{Raw, leased, request_for};
use super::systemd_faults::own_slice;
use crate::poll::until;
use crate::stand_in::World;

/// Has another member wait for so much.
fn waits(raw: &mut Raw, uid: u64, cpu_milli: u64) {
    let call = Call::RequestResources(RequestResources {
        lease_ms: None,
        wait: Some(true),
        for_uid: Some(uid),
        ..RequestResources::of(Amounts { cpu_milli: Some(cpu_milli), ..Amounts::default() })
    });
    match raw.ask(&call) {
        Ok(Answer::JobStarted(JobStarted { .. })) => {}
        other => panic!("it does not wait: {other:?}"),
    }
}

#[test]
fn a_lease_ends_also_while_the_daemon_is_asked_without_a_pause() {
    let world = World::start();
    let mut home = Home::new(&world);
    home.set_state(vec![ending(own_uid(), DEFAULTS, 4000)]);
    world.make_slice(&own_slice(), &FIGURES);
    let began = Instant::now();
    let daemon = home.activate();
    let mut raw = daemon.client();
    // Each answer wakes the loop long before its next turn of its own.
    while raw.status().0.is_some() {
        assert!(began.elapsed() < PATIENCE, "the lease did not end");
    }
    assert!(began.elapsed() >= Duration::from_secs(3), "before its time");
}

/// A machine that hands out two CPU, and stops what an ended lease leaves for who waits.
fn evicts(home: &mut Home) {
    home.set_policy(
        "defaults: {cpu: 1, mem: 64M, tasks: 100}\nmax: {cpu: 2, mem: 64M, tasks: 100}\n\
         reserve: {cpu: 1, mem: 1M}\ndangerous: {evict: true}\n",
    );
    home.set_cpus("0-2");
}

fn announced_to(uid: u64) -> String {
    format!("the work in the standing allocation of uid {uid} is stopped in 5 min: someone waits")
}

/// What was announced is kept: else each start of the daemon would begin the five minutes anew.
#[test]
fn an_announced_eviction_is_remembered_by_the_next_daemon() {
    let world = World::start();
    let mut home = Home::new(&world);
    evicts(&mut home);
    home.set_state(vec![ending(own_uid(), DEFAULTS, 2000)]);
    world.make_slice(&own_slice(), &FIGURES);
    world.pretend_processes(&own_slice(), &[4_000_000]);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request_for(1));
    // The room of the one share whose lease ends will not be enough.
    waits(&mut raw, 2, 2000);
    daemon.wait_logged(&announced_to(own_uid()));
    let announced =
        until("the state", PATIENCE, || home.state().allocations.iter().find_map(Allocation::eviction));
    daemon.kill();
    let daemon = home.activate();
    let mut raw = daemon.client();
    assert_eq!(raw.status().1.waiting, 1);
    assert!(!daemon.logs().contains("is stopped in"), "{}", daemon.logs());
    // Anything that is stored shows what the daemon holds to be.
    raw.ask(&Call::Release(Release { job_id: None, stop: None, for_uid: Some(1) })).unwrap();
    until("the next grant", PATIENCE, || {
        home.state().allocations.iter().any(|share| share.id.uid.get() == 2).then_some(())
    });
    assert_eq!(home.state().allocations.iter().find_map(Allocation::eviction), None, "nobody waits any more");
    assert!(announced.0 > 0);
}

/// Nothing else is stored then: a machine that has become another is no change of the state.
#[test]
fn an_eviction_that_is_announced_when_the_machine_grows_is_remembered() {
    let world = World::start();
    let mut home = Home::new(&world);
    evicts(&mut home);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&leased(3_600_000));
    raw.granted(&request_for(1));
    waits(&mut raw, 2, 2000);
    daemon.kill();
    // When the next one starts the lease is over, and what waits is more than the machine has.
    let mut image = home.state();
    image.allocations.retain(|share| u64::from(share.id.uid.get()) != own_uid());
    image.allocations.push(ending(own_uid(), DEFAULTS, 1));
    home.set_image(&image);
    home.set_cpus("0-1");
    world.pretend_processes(&own_slice(), &[4_000_000]);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let lowered = |share: &Allocation| share.keeps().is_some();
    until("the limits to come down", PATIENCE, || home.state().allocations.iter().any(lowered).then_some(()));
    assert_eq!(home.state().allocations.iter().find_map(Allocation::eviction), None);
    home.set_cpus("0-2");
    assert_eq!(raw.status().1.cpu_milli, 2000);
    daemon.wait_logged(&announced_to(own_uid()));
    until("the state", PATIENCE, || home.state().allocations.iter().find_map(Allocation::eviction));
}

/// An end that becomes known changes who may pass: the answer is about the caller's share all the same.
#[test]
fn a_renewal_is_answered_with_the_share_that_was_renewed() {
    let world = World::start();
    let mut home = Home::new(&world);
    home.set_policy(
        "defaults: {cpu: 1, mem: 64M, tasks: 100}\nmax: {cpu: 3, mem: 64M, tasks: 100}\n\
         reserve: {cpu: 1, mem: 1M}\n",
    );
    home.set_cpus("0-4");
    let daemon = home.activate();
    let mut raw = daemon.client();
    let amounts = Amounts { cpu_milli: Some(2000), ..Amounts::default() };
    raw.granted(&Call::RequestResources(RequestResources {
        lease_ms: None,
        wait: None,
        for_uid: None,
        ..RequestResources::of(amounts)
    }));
    waits(&mut raw, 2, 3000);
    let share = raw.granted(&Call::Renew(Renew { lease_ms: 3_600_000, job_id: None, for_uid: None }));
    assert_eq!((share.uid, share.cpu_milli), (0, 2000));
    assert!(share.standing().unwrap().lease_ends_ms.is_some());
    // The first has a start from then on, and who would delay it is not let in.
    let amounts = Amounts { cpu_milli: Some(2000), ..Amounts::default() };
    let late = Call::RequestResources(RequestResources {
        lease_ms: Some(7_200_000),
        wait: None,
        for_uid: Some(3),
        ..RequestResources::of(amounts)
    });
    raw.refused(&late, Code::NoCapacity);
}

#[test]
fn who_finds_no_room_is_told_when_there_will_be_some() {
    const HOUR_MS: u64 = 3_600_000;
    let world = World::start();
    let mut home = Home::of_one_cpu(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&leased(HOUR_MS));
    let after = raw.refused(&request_for(1), Code::NoCapacity).retry_after_ms.unwrap();
    assert!((HOUR_MS / 2..=HOUR_MS).contains(&after), "{after}");
}

/// It is in force before it is stored: then it must not be said that nothing was changed.
#[test]
fn a_renewal_that_is_not_stored_is_said_to_hold_for_now() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let ends = raw.granted(&leased(3_600_000)).standing().unwrap().lease_ends_ms;
    let renew = Call::Renew(Renew { lease_ms: 36_000_000, job_id: None, for_uid: None });
    let unwritable = Unwritable::state(&home);
    let error = raw.refused(&renew, Code::Io);
    assert!(error.message.contains("it holds until the daemon restarts"), "{error:?}");
    assert_eq!(error.detail.and_then(|detail| detail.in_force), Some(true));
    assert!(raw.status().0.unwrap().standing().unwrap().lease_ends_ms > ends);
    drop(unwritable);
    raw.granted(&renew);
}
