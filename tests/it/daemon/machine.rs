//! A machine that becomes smaller and larger while shares are held: CPUs can be taken off and put on.

use std::time::Duration;

use fairshare::contract::{
    AllocationState, Amounts, Answer, Call, JobStarted, Reload, Renew, RequestResources, Submit,
};
use fairshare::wire::error::Code;

use super::degraded::FIGURES;
use super::events::own_uid;
use super::harness::{DEFAULTS, Daemon, Home, PATIENCE, ending};
use super::raw::{request, request_of, submission};
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

/// What takes room looks at the machine itself, without anybody having asked for the status.
#[test]
fn a_submission_looks_at_the_machine_too() {
    let (_world, home, daemon) = two_cpus();
    let mut raw = daemon.client();
    let one_cpu = Call::Submit(Submit { cpu_milli: Some(1000), ..submission() });
    home.set_cpus("0");
    raw.refused(&one_cpu, Code::OverLimit);
    home.set_cpus("0-1");
    match raw.ask(&one_cpu) {
        Ok(Answer::JobStarted(_)) => {}
        other => panic!("no job: {other:?}"),
    }
}

/// A share whose lease is over has no CPU of its own: whoever renews it takes room again.
#[test]
fn a_renewal_of_an_ended_share_looks_at_the_machine_too() {
    let world = World::start();
    let mut home = Home::new(&world);
    home.set_policy(TIGHT);
    home.set_cpus("0-1");
    home.set_state(vec![ending(own_uid(), DEFAULTS, 1000)]);
    world.make_slice(&own_slice(), &FIGURES);
    world.pretend_processes(&own_slice(), &[4_000_000]);
    world.write_cgroup_file(&own_slice(), "memory.current", &(20_u64 << 20).to_string());
    let daemon = home.activate();
    let mut raw = daemon.client();
    until("the lease to end", PATIENCE, || {
        let share = raw.status().0?;
        (share.standing().unwrap().state == AllocationState::Expired).then_some(())
    });
    let renew = Call::Renew(Renew { lease_ms: 60_000, job_id: None, for_uid: None });
    home.set_cpus("0");
    raw.refused(&renew, Code::NoCapacity);
    home.set_cpus("0-1");
    assert_eq!(raw.granted(&renew).standing().unwrap().state, AllocationState::Active);
}

/// Where the policy keeps nothing for the system all shares together have the whole machine, and no more of it.
#[test]
fn a_reserve_of_nothing_hands_out_the_whole_machine() {
    let (world, home, daemon) = two_cpus();
    let mut raw = daemon.client();
    home.set_policy(&TIGHT.replace("{cpu: 0.5, mem: 1M}", "{cpu: 0, mem: 0}"));
    raw.ask(&Call::Reload(Reload {})).unwrap();
    raw.refused(&request_of(Amounts { cpu_milli: Some(2010), ..Amounts::default() }), Code::OverLimit);
    raw.granted(&request_of(Amounts { cpu_milli: Some(2000), ..Amounts::default() }));
    assert_eq!(raw.status().1.cpu_milli, 2000);
    until("the bound of all shares", PATIENCE, || {
        let bound = world.cgroup_file("fairshare.slice", "cpu.max")?;
        let (quota, period) = bound.trim().split_once(' ')?;
        (quota.parse::<u64>().ok()? == 2 * period.parse::<u64>().ok()?).then_some(())
    });
}

fn most_tasks() -> u64 {
    let read = |file: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/kernel/{file}")).unwrap();
        text.trim().parse::<u64>().unwrap()
    };
    let most = read("threads-max").min(read("pid_max"));
    most - most / 4
}

#[test]
fn all_shares_together_leave_tasks_to_the_system() {
    let (world, _home, daemon) = two_cpus();
    let mut raw = daemon.client();
    raw.granted(&request());
    until("the bound of all shares", PATIENCE, || {
        (world.cgroup_file("fairshare.slice", "pids.max")? == format!("{}\n", most_tasks())).then_some(())
    });
}

#[test]
fn no_member_may_have_more_tasks_than_all_shares_together() {
    let (_world, home, daemon) = two_cpus();
    let mut raw = daemon.client();
    home.set_policy(&TIGHT.replace("tasks: 1000", "tasks: 4194304"));
    raw.ask(&Call::Reload(Reload {})).unwrap();
    let asks = |tasks| request_of(Amounts { tasks_max: Some(tasks), ..Amounts::default() });
    let error = raw.refused(&asks(most_tasks() + 1), Code::OverLimit);
    assert!(error.message.ends_with(&format!("exceeds maximum allowed ({})", most_tasks())), "{error:?}");
    assert_eq!(raw.granted(&asks(most_tasks())).tasks_max, most_tasks());
}

/// Memory that is in use over the bound of all shares is left alone: the kernel would kill to get under it.
#[test]
fn all_shares_together_are_not_bounded_under_what_they_use() {
    let (world, home, daemon) = two_cpus();
    let mut raw = daemon.client();
    raw.granted(&request());
    let bound = until("the bound of all shares", PATIENCE, || {
        world.cgroup_file("fairshare.slice", "memory.max").filter(|max| max != "max\n")
    });
    world.write_cgroup_file(
        "fairshare.slice",
        "memory.current",
        &(bound.trim().parse::<u64>().unwrap() - 4096).to_string(),
    );
    home.set_policy(&TIGHT.replace("mem: 1M", "mem: 64M"));
    raw.ask(&Call::Reload(Reload {})).unwrap();
    daemon.wait_logged("proceeding without setting its memory");
    assert_eq!(world.cgroup_file("fairshare.slice", "memory.max"), Some(bound.clone()));
    // As soon as less is in use the next look sets it.
    world.write_cgroup_file("fairshare.slice", "memory.current", "4096");
    raw.ask(&Call::Reload(Reload {})).unwrap();
    until("the lower bound", PATIENCE, || {
        (world.cgroup_file("fairshare.slice", "memory.max")? != bound).then_some(())
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
