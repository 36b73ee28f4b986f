//! A machine that becomes smaller and larger while shares are held: CPUs can be taken off and put on.

use std::time::Duration;

use fairshare::contract::{Amounts, Answer, Call, JobStarted, RequestResources};
use fairshare::wire::error::Code;

use super::harness::{Daemon, Home, PATIENCE};
use super::raw::request;
use super::systemd_faults::own_slice;
use crate::poll::until;
use crate::stand_in::World;

/// Two CPUs less the reserve hold one share of 1 CPU, and 0.5 CPU more.
const TIGHT: &str = "defaults: {cpu: 1, mem: 64M, tasks: 100}\nmax: {cpu: 2, mem: 256M, tasks: 1000}\n\
    reserve: {cpu: 0.5, mem: 1M}\n";

fn two_cpus() -> (World, Home, Daemon) {
    let world = World::start();
    let mut home = Home::new(&world);
    home.set_policy(TIGHT);
    home.set_cpus("0-1");
    let daemon = home.activate();
    (world, home, daemon)
}

fn quarter_for(uid: u64, wait: bool) -> Call {
    Call::RequestResources(RequestResources {
        lease_ms: None,
        wait: wait.then_some(true),
        for_uid: Some(uid),
        ..RequestResources::of(Amounts { cpu_milli: Some(250), ..Amounts::default() })
    })
}

#[test]
fn cpus_that_go_take_nothing_and_cpus_that_come_are_handed_out() {
    let (world, home, daemon) = two_cpus();
    let mut raw = daemon.client();
    raw.granted(&request());
    home.set_cpus("0");
    // Already the next answer knows.
    let (share, capacity) = raw.status();
    assert_eq!((capacity.cpu_milli, capacity.free_cpu_milli, capacity.shares), (500, 0, 1));
    assert_eq!(share.map(|share| share.cpu_milli), Some(1000), "what is held was taken");
    assert_eq!(world.cgroup_file(&own_slice(), "cpu.max").as_deref(), Some("100000 100000\n"));
    until("the bound of all shares", PATIENCE, || {
        (world.cgroup_file("fairshare.slice", "cpu.max")? == "50000 100000\n").then_some(())
    });
    raw.refused(&quarter_for(1, false), Code::NoCapacity);
    home.set_cpus("0-1");
    raw.granted(&quarter_for(1, false));

    // A request itself looks, without anybody having asked for the status.
    home.set_cpus("0");
    raw.refused(&quarter_for(2, false), Code::NoCapacity);
    match raw.ask(&quarter_for(2, true)) {
        Ok(Answer::JobStarted(JobStarted { .. })) => {}
        other => panic!("it does not wait: {other:?}"),
    }
    assert_eq!(raw.status().1.waiting, 1);
    home.set_cpus("0-1");
    assert_eq!(raw.status().1.cpu_milli, 1500);
    until("the share of who waited", PATIENCE, || {
        raw.shares().iter().any(|share| share.uid == 2 && share.cpu_milli == 250).then_some(())
    });
}

#[test]
fn a_list_of_cpus_that_is_not_understood_changes_nothing() {
    let (_world, home, daemon) = two_cpus();
    let mut raw = daemon.client();
    for nonsense in ["", "3-1", "lots"] {
        home.set_cpus(nonsense);
        assert_eq!(raw.status().1.cpu_milli, 1500, "{nonsense:?}");
    }
    raw.granted(&request());
}

/// systemd may be told of the second change before the first has come to hold: the last one counts.
#[test]
fn the_bound_of_all_shares_follows_a_machine_that_changes_faster_than_systemd() {
    let (world, home, daemon) = two_cpus();
    let mut raw = daemon.client();
    raw.granted(&request());
    let bound = |quota: &str| {
        until(&format!("the bound of all shares to be {quota}"), PATIENCE, || {
            (world.cgroup_file("fairshare.slice", "cpu.max")? == quota).then_some(())
        });
    };
    bound("150000 100000\n");
    world.faults.delay("SetUnitProperties", Duration::from_millis(500));
    for (cpus, capacity) in [("0", 500), ("0-1", 1500)] {
        home.set_cpus(cpus);
        assert_eq!(raw.status().1.cpu_milli, capacity);
    }
    bound("50000 100000\n");
    bound("150000 100000\n");
}
