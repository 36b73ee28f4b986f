//! systemd that refuses, fails, forgets to answer, and a kernel that holds something else.

use std::time::Duration;

use fairshare::wire::error::{Code, WireError};

use super::degraded::FIGURES;
use super::harness::{Daemon, Home, PATIENCE};
use super::raw::{release, request, resize_mem};
use crate::poll::until;
use crate::stand_in::{Verb, World};

/// After how long the daemon looks by itself whether all is as it should be.
const LOOKS_EACH: Duration = Duration::from_secs(60);

pub fn own_slice() -> String {
    format!("fairshare-{}-own.slice", rustix::process::getuid().as_raw())
}

/// The slice around all allocations of who runs the tests.
pub fn share_slice() -> String {
    format!("fairshare-{}.slice", rustix::process::getuid().as_raw())
}

/// Asks for a share and is refused by systemd; then nothing is granted, kept or remembered.
fn not_granted(world: &World, home: &Home, daemon: &Daemon) -> WireError {
    let mut raw = daemon.client();
    let error = raw.refused(&request(), Code::Systemd);
    assert!(raw.status().0.is_none());
    assert!(world.unit(&own_slice()).is_none_or(|unit| unit.active != "active"));
    assert!(home.state().allocations.is_empty());
    error
}

/// Everything goes well again.
fn works(daemon: &Daemon) {
    let mut raw = daemon.client();
    raw.granted(&request());
    assert!(raw.released());
    assert!(raw.healthy());
}

#[test]
fn a_start_that_is_refused_grants_nothing() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    world.faults.error("StartTransientUnit", "org.freedesktop.systemd1.LoadFailed", "no such luck");
    let error = not_granted(&world, &home, &daemon);
    assert_eq!(error.message, "systemd refused");
    let detail = error.more().unwrap();
    assert!(detail.contains(&share_slice()) && detail.contains("no such luck"), "{detail}");
    daemon.wait_logged("no such luck");
    world.faults.clear();
    works(&daemon);
}

#[test]
fn a_job_that_fails_grants_nothing_and_leaves_no_failed_unit_in_the_way() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    for result in ["failed", "timeout", "canceled", "dependency"] {
        world.faults.fail_job(Verb::Start, result);
        let error = not_granted(&world, &home, &daemon);
        let detail = error.more().unwrap();
        assert!(detail.contains(&format!("the job ended with result \"{result}\"")), "{detail}");
        world.faults.clear();
        works(&daemon);
    }
}

#[test]
fn a_start_that_never_ends_is_given_up_and_undone() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    world.faults.never_end_job(Verb::Start);
    let error = not_granted(&world, &home, &daemon);
    assert_eq!(error.message, "systemd did not finish in time");
    assert!(error.more().unwrap().contains("StartTransientUnit"));
    world.faults.clear();
    works(&daemon);
}

#[test]
fn a_lost_reply_is_a_timeout_and_what_was_started_is_undone() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    world.faults.lose_reply("StartTransientUnit");
    let error = not_granted(&world, &home, &daemon);
    assert_eq!(error.message, "systemd did not finish in time");
    assert!(world.unit(&own_slice()).is_none(), "the slice that was started stays");
    world.faults.clear();
    works(&daemon);
}

/// While the start of one hangs, others are served.
#[test]
fn one_hanging_start_holds_up_nobody_else() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let held = world.faults.hold_job(Verb::Start);
    let mut slow = daemon.client();
    slow.post(&request());
    until("the start", PATIENCE, || held.has_one().then_some(()));
    world.faults.clear();
    let mut raw = daemon.client();
    assert!(raw.healthy());
    assert!(raw.status().0.is_none() && raw.shares().is_empty(), "shown before it is enforced");
    raw.granted(&super::raw::request_for(1));
    assert_ne!(world.unit(&own_slice()).map(|unit| unit.active), Some("active"));
    drop(held);
    assert!(slow.response().is_some());
}

#[test]
fn a_slice_that_is_there_already_gets_the_limits_of_the_share() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    world.make_slice(&own_slice(), &[("MemoryMax", 1 << 30), ("TasksMax", 7)]);
    let share = daemon.client().granted(&request());
    let unit = world.unit(&own_slice()).unwrap();
    assert_eq!(unit.figure("MemoryMax"), Some(share.mem_bytes));
    assert_eq!(unit.figure("TasksMax"), Some(share.tasks_max));
    assert!(daemon.client().healthy());
}

/// Work in a slice that somebody made behind our back must not die of a limit under what it uses.
#[test]
fn a_busy_slice_that_is_there_already_is_not_strangled() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    world.make_slice(&own_slice(), &[("MemoryMax", 1 << 30), ("TasksMax", 7)]);
    world.pretend_processes(&own_slice(), &[std::process::id()]);
    world.write_cgroup_file(&own_slice(), "memory.current", "536870912");
    let error = daemon.client().refused(&request(), Code::Busy);
    assert!(error.message.contains("512") || error.more().is_some_and(|detail| detail.contains("512")));
    let unit = world.unit(&own_slice()).unwrap();
    assert_eq!(unit.figure("MemoryMax"), Some(1 << 30));
    assert!(!unit.pids.is_empty());
}

#[test]
fn limits_that_the_kernel_does_not_hold_grant_nothing() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    for (file, content) in [("memory.max", "max"), ("cpu.max", "max 100000"), ("pids.max", "99999")] {
        world.faults.kernel_holds(file, content);
        let error = not_granted(&world, &home, &daemon);
        assert_eq!(error.message, "The kernel does not hold the limits that systemd was told");
        assert!(error.more().unwrap().contains(file), "{file}");
        world.faults.clear();
        works(&daemon);
    }
}

#[test]
fn a_kernel_that_lags_is_waited_for() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    world.faults.kernel_lags(Duration::from_millis(700));
    let mut raw = daemon.client();
    raw.granted(&request());
    let max = world.cgroup_file(&own_slice(), "memory.max").unwrap();
    assert_eq!(max, "67108864\n", "answered before the kernel held it");
    raw.granted(&resize_mem(128 << 20));
    assert_eq!(world.cgroup_file(&own_slice(), "memory.max").unwrap(), "134217728\n");
}

#[test]
fn a_resize_that_fails_leaves_what_was_held() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let held = raw.granted(&request());
    world.faults.error("SetUnitProperties", "org.freedesktop.DBus.Error.Failed", "not today");
    let error = raw.refused(&resize_mem(128 << 20), Code::Systemd);
    assert!(error.more().unwrap().contains("not today"));
    world.faults.clear();
    // Not known to hold until it was looked at; then it is what it was, here and in the state.
    until("it to be settled", PATIENCE, || raw.healthy().then_some(()));
    let now = raw.status().0.unwrap();
    assert_eq!(world.unit(&own_slice()).unwrap().figure("MemoryMax"), Some(now.mem_bytes));
    assert_eq!(home.state().allocations[0].amount.mem.0, now.mem_bytes);
    assert_eq!(now.mem_bytes, held.mem_bytes, "a refused resize was done all the same");
}

#[test]
fn a_resize_that_the_kernel_does_not_take_is_undone() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let held = raw.granted(&request());
    world.faults.kernel_holds(&format!("{}/memory.max", own_slice()), &held.mem_bytes.to_string());
    raw.refused(&resize_mem(128 << 20), Code::Systemd);
    world.faults.clear();
    assert_eq!(world.unit(&own_slice()).unwrap().figure("MemoryMax"), Some(held.mem_bytes));
    assert_eq!(raw.status().0.unwrap().mem_bytes, held.mem_bytes);
    assert!(raw.healthy());
    raw.granted(&resize_mem(128 << 20));
}

#[test]
fn a_figure_of_the_kernel_that_makes_no_sense_is_internal_and_changes_nothing() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let held = raw.granted(&request());
    world.write_cgroup_file(&own_slice(), "memory.current", "much");
    let error = raw.refused(&resize_mem(128 << 20), Code::Internal);
    assert_eq!(error.message, "The kernel's figures could not be read");
    assert!(error.more().unwrap().contains("memory.current"));
    daemon.wait_logged("result_code=255");
    assert_eq!(raw.status().0.unwrap().mem_bytes, held.mem_bytes);
    assert_eq!(world.unit(&own_slice()).unwrap().figure("MemoryMax"), Some(held.mem_bytes));
    world.write_cgroup_file(&own_slice(), "memory.current", "0");
    raw.granted(&resize_mem(128 << 20));
}

#[test]
fn a_release_that_systemd_refuses_keeps_the_share() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    world.faults.error("StopUnit", "org.freedesktop.DBus.Error.AccessDenied", "not by you");
    let error = raw.refused(&release(), Code::Systemd);
    assert!(error.more().unwrap().contains("not by you"));
    assert!(raw.status().0.is_some() && raw.healthy());
    assert_eq!(home.state().allocations.len(), 1);
    world.faults.clear();
    assert!(raw.released());
    assert!(world.unit(&own_slice()).is_none());
}

#[test]
fn a_stop_whose_job_fails_is_looked_at_again() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    world.faults.lose_reply("StopUnit");
    raw.refused(&release(), Code::Systemd);
    world.faults.clear();
    // The slice is gone all the same, and so is the share as soon as it was looked at.
    until("the share to go", PATIENCE, || raw.status().0.is_none().then_some(()));
    until("health", PATIENCE, || raw.healthy().then_some(()));
    assert!(world.unit(&own_slice()).is_none());
    works(&daemon);
}

#[test]
fn a_slice_stopped_behind_our_back_is_a_share_dropped() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    world.remove_unit(&own_slice());
    until("the share to go", PATIENCE, || raw.status().0.is_none().then_some(()));
    daemon.wait_logged("was stopped by someone else");
    until("the state", PATIENCE, || home.state().allocations.is_empty().then_some(()));
    works(&daemon);
}

/// systemd says of a unit that it is removed when it reads its configuration again too.
#[test]
fn a_daemon_reload_drops_nothing() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    world.reload();
    world.say_removed(&own_slice());
    let share = raw.granted(&resize_mem(128 << 20));
    assert_eq!(raw.status().0.unwrap().mem_bytes, share.mem_bytes);
    assert!(raw.healthy());
}

#[test]
fn what_is_a_bug_is_in_the_journal_with_all_that_is_known_of_it() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    world.write_cgroup_file(&own_slice(), "memory.current", "much");
    let error = raw.refused(&resize_mem(32 << 20), Code::Internal);
    assert!(error.more().is_some_and(|detail| detail.contains("memory.current")));
    daemon.wait_logged("ERROR resize of uid");
    daemon.wait_logged("The kernel's figures could not be read: ");
}

#[test]
fn limits_changed_behind_our_back_are_told_by_health_and_set_again_at_a_start() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    daemon.client().granted(&request());
    world.write_cgroup_file(&own_slice(), "memory.max", "max");
    let check = daemon.client().check("limits");
    let detail = check.detail.unwrap();
    assert!(!check.ok && detail.contains(&own_slice()) && detail.contains("memory.max"), "{detail}");
    daemon.kill();
    let daemon = home.activate();
    assert_eq!(world.cgroup_file(&own_slice(), "memory.max").unwrap(), "67108864\n");
    assert!(daemon.client().healthy());
    daemon.wait_logged("has drifted from its share");
}

/// Who mends something and asks again wants to know whether it is mended.
#[test]
fn what_health_says_of_the_limits_is_how_they_are_when_it_is_asked() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    for _ in 0..3 {
        world.write_cgroup_file(&own_slice(), "memory.max", "max");
        // Good news may be as old as figures may be.
        until("the news", PATIENCE, || (!raw.check("limits").ok).then_some(()));
        world.write_cgroup_file(&own_slice(), "memory.max", "67108864");
        assert!(raw.check("limits").ok, "bad news was kept");
    }
}

#[test]
fn limits_changed_behind_our_back_are_set_again_without_a_start() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    daemon.client().granted(&request());
    world.write_cgroup_file(&own_slice(), "memory.max", "max");
    until("the limit to be set again", LOOKS_EACH + PATIENCE, || {
        world.cgroup_file(&own_slice(), "memory.max").filter(|max| max == "67108864\n")
    });
    daemon.wait_logged("has drifted from its share");
}

#[test]
fn a_share_in_doubt_that_could_not_be_looked_at_is_looked_at_again() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    world.faults.error("ListUnitsByPatterns", "org.freedesktop.DBus.Error.Failed", "not at this moment");
    world.faults.lose_reply("StopUnit");
    raw.refused(&release(), Code::Systemd);
    daemon.wait_logged("not at this moment");
    assert!(!raw.check("settled").ok, "well, and nobody has looked");
    world.faults.clear();
    until("it to be looked at", PATIENCE, || raw.check("settled").ok.then_some(()));
    until("the share to go", PATIENCE, || raw.status().0.is_none().then_some(()));
}

#[test]
fn a_bus_that_goes_in_the_middle_of_a_grant_is_told_and_settled() {
    let mut world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    world.faults.never_end_job(Verb::Start);
    let mut raw = daemon.client();
    raw.post(&request());
    until("the start", PATIENCE, || world.unit(&share_slice()));
    world.kill_bus();
    let answer = format!("{:?}", raw.response().unwrap().body);
    assert!(answer.contains("systemd cannot be reached"), "{answer}");
    world.faults.clear();
    // systemd ended what was asked of it while nobody listened.
    world.forget_unit(&own_slice());
    world.make_slice(&own_slice(), &FIGURES);
    world.restart_bus();
    until("health", PATIENCE, || raw.healthy().then_some(()));
    // Either there is a share and a slice, or neither.
    let held = raw.status().0.is_some();
    assert_eq!(world.unit(&own_slice()).is_some(), held);
    until("the state", PATIENCE, || (home.state().allocations.len() == usize::from(held)).then_some(()));
    if held {
        assert!(raw.released());
    }
    works(&daemon);
}
