//! Who is inside a share: the kernel tells, and what follows from it does not wait for the next sweep.
//!
//! [`PATIENCE`] is half of the sweep's period: what comes in time was not found by a sweep.

use std::process::{Child, Command};
use std::time::Duration;

use fairshare::contract::{AllocationState, Amounts, Answer, Attach, Body, Call, HeldShare};
use fairshare::testing::ledger::allocation::Phase;
use fairshare::wire::error::Code;

use super::degraded::FIGURES;
use super::events::own_uid;
use super::harness::{DEFAULTS, Daemon, Home, PATIENCE, POLICY, ending};
use super::raw::{Raw, leased, request, request_for, resize_mem};
use super::strace::Tracer;
use super::systemd_faults::{own_slice, share_slice};
use super::works::{service, submitted};
use crate::poll::until;
use crate::stand_in::World;

/// An empty share goes after this long.
const IDLE: &str = "idle: 500ms\n";

/// A process that does nothing. Ends with the value.
struct Idle(Child);

impl Idle {
    /// In the caller's share, which may not be empty for long: taken for it where it says so.
    fn inside(raw: &mut Raw, taken: Option<Call>) -> Self {
        let idle = Self(Command::new("sleep").arg("600").spawn().unwrap());
        taken.map(|call| raw.granted(&call));
        raw.ask(&Call::Attach(Attach { pids: vec![idle.0.id().into()] })).unwrap();
        idle
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn daemon(policy: &str) -> (World, Home, Daemon) {
    let world = World::start();
    let mut home = Home::new(&world);
    home.set_policy(&format!("{POLICY}{policy}"));
    let daemon = home.activate();
    (world, home, daemon)
}

fn goes(world: &World, raw: &mut Raw) {
    until("the share to go", PATIENCE, || raw.status().0.is_none().then_some(()));
    until("the slice to go", PATIENCE, || world.unit(&own_slice()).is_none().then_some(()));
}

#[test]
fn a_share_goes_when_its_last_process_has_ended() {
    let (world, _home, daemon) = daemon(IDLE);
    let mut raw = daemon.client();
    raw.granted(&request());
    // What is taken and never used goes too.
    goes(&world, &mut raw);
    let (first, second) = (Idle::inside(&mut raw, Some(request())), Idle::inside(&mut raw, None));
    drop(first);
    until("the first scope to go", PATIENCE, || {
        (world.cgroup_file(&own_slice(), "pids.current")? == "1\n").then_some(())
    });
    assert!(raw.status().0.is_some(), "it went with a process inside");
    drop(second);
    goes(&world, &mut raw);
    assert!(!daemon.logs().contains("cannot be watched"), "{}", daemon.logs());
}

#[test]
fn a_share_whose_last_process_ends_while_it_is_changed_goes_too() {
    let (world, home, daemon) = daemon(IDLE);
    let mut raw = daemon.client();
    let inside = Idle::inside(&mut raw, Some(request()));
    world.faults.delay("SetUnitProperties", Duration::from_secs(1));
    let mut changing = daemon.client();
    changing.post(&resize_mem(32 << 20));
    until("the intent", PATIENCE, || {
        home.state()
            .allocations
            .iter()
            .any(|share| matches!(share.phase, Phase::Resizing { .. }))
            .then_some(())
    });
    drop(inside);
    until("the process to be gone", PATIENCE, || {
        (world.cgroup_file(&own_slice(), "pids.current")? == "0\n").then_some(())
    });
    assert!(raw.healthy(), "what the kernel told before this has been heard");
    assert!(matches!(changing.response().unwrap().body, Body::Ok(Answer::Share(HeldShare { .. }))));
    goes(&world, &mut raw);
}

#[test]
fn a_busy_share_whose_lease_is_over_goes_with_its_last_process() {
    let world = World::start();
    let mut home = Home::new(&world);
    home.set_state(vec![ending(own_uid(), DEFAULTS, 6000)]);
    world.make_slice(&own_slice(), &FIGURES);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let idle = Idle::inside(&mut raw, None);
    until("the end of the lease", PATIENCE, || {
        let (share, _) = raw.status();
        (share.expect("it was taken with a process inside").standing().unwrap().state
            == AllocationState::Expired)
            .then_some(())
    });
    drop(idle);
    goes(&world, &mut raw);
}

/// While a command runs its share counts as occupied, whatever the kernel tells of it: it is looked at when the command is over.
#[test]
fn a_share_goes_when_its_last_command_is_over() {
    let (world, _home, daemon) = daemon(IDLE);
    let mut raw = daemon.client();
    let inside = Idle::inside(&mut raw, Some(request()));
    let id = submitted(&world, &mut raw, Amounts::default());
    drop(inside);
    until("the process to be gone", PATIENCE, || {
        (world.cgroup_file(&own_slice(), "pids.current")? == "0\n").then_some(())
    });
    assert!(raw.healthy(), "what the kernel told before this has been heard");
    world.end_service(&service(id), 0);
    goes(&world, &mut raw);
}

/// What could not be given back is tried again with the sweep, and not at once: PID 1 would be asked without a pause.
#[test]
fn a_share_that_could_not_be_given_back_is_not_tried_again_at_once() {
    let world = World::start();
    let mut home = Home::new(&world);
    home.set_state(vec![ending(own_uid(), DEFAULTS, 2000), ending(1, DEFAULTS, 5000)]);
    for slice in [&own_slice(), "fairshare-1-own.slice"] {
        world.make_slice(slice, &FIGURES);
    }
    let _daemon = home.activate();
    world.faults.error("StopUnit", "org.freedesktop.DBus.Error.AccessDenied", "not by you");
    let mut stops = Vec::new();
    until("the end of the later lease", PATIENCE, || {
        stops.extend(world.take_calls().into_iter().filter(|(method, _)| method == "StopUnit"));
        stops.iter().any(|(_, unit)| unit == "fairshare-1-own.slice").then_some(())
    });
    // Once when its lease was over, and once when its limits had come down.
    let of_own = stops.iter().filter(|(_, unit)| *unit == own_slice()).count();
    assert!((1..=2).contains(&of_own), "{of_own}");
}

/// Nothing changes inside then, so that the kernel has nothing to tell.
#[test]
fn a_share_that_was_not_entered_after_all_is_still_empty() {
    let (world, _home, daemon) = daemon("idle: 1s\n");
    let mut raw = daemon.client();
    raw.granted(&request());
    world.faults.error("StartTransientUnit", "org.freedesktop.DBus.Error.Failed", "no");
    let own = Idle(Command::new("sleep").arg("600").spawn().unwrap());
    raw.refused(&Call::Attach(Attach { pids: vec![own.0.id().into()] }), Code::Systemd);
    goes(&world, &mut raw);
}

#[test]
fn a_daemon_that_comes_back_hears_of_what_it_left() {
    let (world, mut home, first) = daemon(IDLE);
    let idle = Idle::inside(&mut first.client(), Some(request()));
    first.kill();
    let daemon = home.activate();
    assert!(daemon.client().status().0.is_some());
    drop(idle);
    goes(&world, &mut daemon.client());
    // One that went empty while there was no daemon.
    let idle = Idle::inside(&mut daemon.client(), Some(request()));
    daemon.kill();
    drop(idle);
    until("the scope to go", PATIENCE, || {
        world.cgroup_file(&own_slice(), "cgroup.events")?.contains("populated 0").then_some(())
    });
    goes(&world, &mut home.activate().client());
}

#[test]
fn what_cannot_be_watched_is_said_once_and_served() {
    let (world, home, daemon) = daemon(IDLE);
    let mut raw = daemon.client();
    let inject = Some("inotify_add_watch:error=ENOSPC");
    let tracer = Tracer::attach(&daemon, &home, "inotify_add_watch", inject, &[]);
    let idle = Idle::inside(&mut raw, Some(request()));
    raw.granted(&request_for(1));
    let trace = tracer.detach();
    assert!(trace.matches("INJECTED").count() >= 2, "{trace}");
    assert_eq!(daemon.logs().matches("cgroups cannot be watched").count(), 1, "{}", daemon.logs());
    // A look at the slice for another reason is the occasion to try again.
    world.say_removed(&own_slice());
    drop(idle);
    goes(&world, &mut raw);
}

/// A connection of a member with a share, and one that follows what happens to it.
fn followed(daemon: &Daemon) -> (Raw, Raw) {
    let (mut raw, mut follower) = (daemon.client(), daemon.client());
    raw.ask(&leased(3_600_000)).unwrap();
    follower.follow(None, None);
    (raw, follower)
}

#[test]
fn who_follows_is_told_of_a_kill_for_memory() {
    let (world, _home, daemon) = daemon("");
    let (_raw, mut follower) = followed(&daemon);
    let killed = |count: u64| world.count_memory_events(&share_slice(), 0, count);
    killed(2);
    let event = follower.event();
    assert_eq!((event.kind.as_str(), event.share.is_some()), ("oom", true), "{event:?}");
    assert!(event.message.unwrap().contains("killed 2 processes"));
    daemon.wait_logged("out of memory: the kernel killed 2 processes");
    killed(3);
    let event = follower.event();
    assert!(event.message.unwrap().contains("killed a process"), "each is told once");
    // Those who follow hear of each, and the journal from time to time of how many there were.
    for count in 4..20 {
        killed(count);
        assert_eq!(follower.event().kind, "oom");
    }
    let lines = || daemon.logs().matches("out of memory").count();
    assert_eq!(lines(), 1);
    let told = "out of memory: the kernel killed 17 processes";
    until("the sweep", PATIENCE * 4, || daemon.logs().contains(told).then_some(()));
    assert_eq!(lines(), 2);
}

#[test]
fn a_kill_of_which_the_daemon_before_told_is_not_told_again() {
    let (world, mut home, first) = daemon("");
    first.client().granted(&request());
    world.count_memory_events(&share_slice(), 0, 2);
    first.wait_logged("out of memory: the kernel killed 2 processes");
    first.kill();
    let daemon = home.activate();
    assert!(daemon.client().healthy());
    world.count_memory_events(&share_slice(), 0, 3);
    daemon.wait_logged("out of memory: the kernel killed ");
    let logs = daemon.logs();
    assert!(logs.contains("killed a process in"), "{logs}");
}

/// What the kernel says of waiting, in percent of the last ten seconds.
fn waiting(percent: u32) -> String {
    let averages = format!("avg10={percent:02}.00 avg60=0.00 avg300=0.00 total=0");
    format!("some {averages}\nfull {averages}\n")
}

#[test]
fn who_follows_is_told_of_waiting_for_memory_once() {
    let (world, _home, daemon) = daemon("");
    let (mut raw, mut follower) = followed(&daemon);
    for (met, percent) in [59, 75, 80, 29, 61].into_iter().enumerate() {
        world.write_cgroup_file(&share_slice(), "memory.pressure", &waiting(percent));
        world.count_memory_events(&share_slice(), met as u64 + 1, 0);
        // What the daemon makes of one is done before it hears of the next.
        assert!(raw.healthy());
    }
    for percent in [75, 61] {
        let event = follower.event();
        assert_eq!((event.kind.as_str(), event.share.is_some()), ("pressure", true), "{event:?}");
        let message = event.message.unwrap();
        assert_eq!(message, format!("waited for memory for {percent} % of the last ten seconds"));
    }
}

/// Nothing tells of it: it is seen when all shares are looked at.
#[test]
fn who_follows_is_told_of_waiting_for_a_cpu() {
    let (world, _home, daemon) = daemon("");
    let (_raw, mut follower) = followed(&daemon);
    world.write_cgroup_file(&share_slice(), "cpu.pressure", &waiting(98));
    follower.stream.set_read_timeout(Some(PATIENCE * 3)).unwrap();
    let event = follower.event();
    assert_eq!(event.message.unwrap(), "waited for a CPU for 98 % of the last ten seconds");
}
