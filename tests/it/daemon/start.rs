//! How it starts, lives and ends: `sd_notify(3)`, signals, the terminal.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::{Duration, Instant};

use fairshare::contract::{Answer, Body, Call, Changed, HeldShare, Ping, Reload, Response, Status};
use fairshare::testing::ledger::BootId;
use fairshare::wire::error::Code;
use rustix::process::Signal;

use super::harness::{DEFAULTS, Daemon, Home, PATIENCE, POLICY, share};
use super::raw::{Raw, request};
use crate::poll::until;
use crate::stand_in::{Verb, World};

/// Longer than half of `WatchdogSec=` in the packaged unit, which is how often it would be fed.
const UNASKED: Duration = Duration::from_secs(11);

fn share_slice() -> String {
    format!("fairshare-{}.slice", rustix::process::getuid().as_raw())
}

fn own_slice() -> String {
    format!("fairshare-{}-own.slice", rustix::process::getuid().as_raw())
}

#[test]
fn ready_is_said_after_the_world_was_made_to_agree_and_with_what_is_held() {
    let world = World::start();
    let mut home = Home::new(&world);
    let mut before = share(1, DEFAULTS);
    before.boot = BootId("an earlier boot".to_owned());
    home.set_state(vec![before]);
    world.faults.delay_job(Verb::Start, Duration::from_millis(500));
    let daemon = home.activate_with(&[]);
    let ready = daemon.wait_ready();
    assert_eq!(
        world.unit("fairshare-1-own.slice").map(|unit| unit.active),
        Some("active"),
        "ready too early"
    );
    assert!(ready.lines().any(|line| line == "STATUS=1 share"), "{ready}");
}

#[test]
fn the_status_follows_what_is_held() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    daemon.client().granted(&request());
    daemon.wait_told("STATUS=1 share");
    assert!(daemon.client().released());
    daemon.wait_told("STATUS=0 shares");
}

/// Feeding it from a thread of its own would keep a daemon alive that serves nobody.
#[test]
fn the_watchdog_is_fed_by_the_loop_and_not_beside_it() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate_with(&[("WATCHDOG_USEC", "300000")]);
    daemon.wait_ready();
    daemon.wait_told("WATCHDOG=1");
    daemon.wait_told("WATCHDOG=1");
    // The loop looks at the list of CPUs for this call, and gets no further: nobody writes to the pipe.
    let mut raw = daemon.client();
    let release = home.cpus_from_a_pipe();
    raw.post(&Call::Status(Status { for_uid: None }));
    // What was on its way before is read off; then nothing comes for several periods.
    let silent = (0..10).any(|_| daemon.told(Duration::from_millis(900)).is_none());
    assert!(silent, "fed while the loop stood still");
    release("0-7\n");
    assert!(raw.response().is_some());
    daemon.wait_told("WATCHDOG=1");
}

/// PID 1 can be stalled, by reclaim or a slow disk: its socket takes a few messages, and then none.
#[test]
fn a_pid_1_that_does_not_read_keeps_nobody_waiting() {
    let world = World::start();
    let mut home = Home::new(&world);
    let deaf = world.dir().join("deaf");
    let _unread = std::os::unix::net::UnixDatagram::bind(&deaf).unwrap();
    let environment = [("NOTIFY_SOCKET", deaf.to_str().unwrap()), ("WATCHDOG_USEC", "20000")];
    let daemon = home.activate_with(&environment);
    let mut raw = Raw::hello(daemon.socket());
    for _ in 0..300 {
        raw.granted(&request());
        assert!(raw.released());
    }
}

/// Half of the period that the packaged unit sets, and more: whoever feeds unasked does it in this time.
#[test]
fn nobody_watches_where_systemd_does_not() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    daemon.client().healthy();
    let fed = until_silent(&daemon, UNASKED);
    assert!(fed.iter().all(|message| !message.contains("WATCHDOG=1")), "{fed:?}");
    daemon.signal(Signal::TERM);
    let said = daemon.wait_told("STOPPING=1");
    assert!(said.iter().all(|message| !message.contains("WATCHDOG=1")), "{said:?}");
}

/// What it says until it has said nothing for that long.
fn until_silent(daemon: &Daemon, silence: Duration) -> Vec<String> {
    std::iter::from_fn(|| daemon.told(silence)).take(10).collect()
}

#[test]
fn sigterm_lets_answers_in_flight_out_and_leaves_the_slices() {
    let world = World::start();
    let mut home = Home::new(&world);
    let mut daemon = home.activate();
    let mut idle = daemon.client();
    let mut raw = daemon.client();
    world.faults.delay_job(Verb::Start, Duration::from_secs(1));
    raw.post(&request());
    until("the start", PATIENCE, || world.unit(&own_slice()));
    daemon.signal(Signal::TERM);
    daemon.wait_told("STOPPING=1");
    assert!(idle.response().is_none(), "an idle connection was kept");
    let answer = raw.response().expect("the answer in flight was lost");
    assert!(matches!(answer.body, Body::Ok(Answer::Share(HeldShare { .. }))), "{answer:?}");
    assert_eq!(daemon.wait_end().code(), Some(0));
    assert_eq!(world.unit(&own_slice()).map(|unit| unit.active), Some("active"));
    assert_eq!(home.state().allocations.len(), 1);
}

#[test]
fn sigterm_does_not_wait_for_an_answer_that_does_not_come() {
    let world = World::start();
    let mut home = Home::new(&world);
    let mut daemon = home.activate();
    let mut raw = daemon.client();
    world.faults.never_end_job(Verb::Start);
    raw.post(&request());
    until("the start", PATIENCE, || world.unit(&share_slice()));
    let told = Instant::now();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait_end().code(), Some(0));
    // DRAIN_TIMEOUT, and what a busy machine adds; START_TIMEOUT would be 15 s.
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
    // The intent is remembered, and the next daemon settles it.
    world.faults.clear();
    world.remove_unit(&own_slice());
    let daemon = home.activate();
    assert!(daemon.client().shares().is_empty());
    assert!(home_is_empty(&home, &daemon));
}

fn home_is_empty(home: &Home, daemon: &Daemon) -> bool {
    // The state is written in the background after a start: a call that is stored waits behind it.
    let mut raw = daemon.client();
    raw.granted(&request());
    assert!(raw.released());
    home.state().allocations.is_empty()
}

#[test]
fn sighup_says_reloading_with_the_monotonic_clock_and_ready_again() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    home.set_policy("defaults: {cpu: 2, mem: 32M}\nmax: {cpu: 2, mem: 32M}\n");
    daemon.signal(Signal::HUP);
    let reloading = daemon.wait_told("RELOADING=1").pop().unwrap();
    let usec = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(usec.is_some_and(|usec| usec.parse::<u64>().is_ok()), "{reloading}");
    daemon.wait_ready();
    assert_eq!(daemon.client().granted(&request()).mem_bytes, 32 << 20);
}

#[test]
fn a_bad_policy_at_reload_leaves_the_old_one_and_says_so() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    home.set_policy("defaults: {cpu: 1, mem: 64M}\nmax: {cpu: none, mem: 256M}\n");
    let error = daemon.client().refused(&Call::Reload(Reload {}), Code::BadRequest);
    assert_eq!(error.message, "The policy cannot be used, and the old one stays in force");
    let detail = error.more().unwrap();
    assert!(detail.contains("policy.yaml") && detail.contains(":2:"), "{detail}");
    daemon.signal(Signal::HUP);
    daemon.wait_told("RELOADING=1");
    daemon.wait_ready();
    daemon.wait_logged("the old one stays in force");
    assert!(daemon.client().healthy());
    assert_eq!(daemon.client().granted(&request()).mem_bytes, DEFAULTS.mem.0);
}

#[test]
fn reload_says_whether_anything_changed() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    assert_eq!(raw.ask(&Call::Reload(Reload {})), Ok(Answer::Changed(Changed { changed: false })));
    home.set_policy("defaults: {cpu: 1, mem: 64M}\nmax: {cpu: 1, mem: 64M}\n");
    assert_eq!(raw.ask(&Call::Reload(Reload {})), Ok(Answer::Changed(Changed { changed: true })));
}

#[test]
fn by_hand_it_binds_serves_and_leaves_nothing() {
    let world = World::start();
    let home = Home::new(&world);
    let mut daemon = home.by_hand();
    daemon.wait_ready();
    let mode = std::fs::metadata(home.socket()).unwrap().permissions().mode() & 0o777;
    assert!(mode == 0o600 || mode == 0o660, "{mode:o}");
    let mut raw = daemon.client();
    raw.granted(&request());
    daemon.signal(Signal::INT);
    assert_eq!(daemon.wait_end().code(), Some(0));
    assert!(!home.socket().exists());
    assert!(world.unit(&own_slice()).is_some());
}

/// Starts by hand, sees it end with 78, and gives what it said.
fn fails_by_hand(home: &Home) -> String {
    let mut daemon = home.by_hand();
    assert_eq!(daemon.wait_end().code(), Some(78), "{}", daemon.logs());
    assert!(daemon.told(Duration::from_millis(1)).is_none_or(|said| !said.contains("READY=1")));
    daemon.logs()
}

#[test]
fn by_hand_every_fault_ends_it_with_78_and_the_reason() {
    let mut world = World::start();
    let home = Home::new(&world);
    home.set_policy("defaults: {cpu: 1}\n");
    let said = fails_by_hand(&home);
    assert!(said.contains("policy: ") && said.contains("policy.yaml"), "{said}");
    home.set_policy(super::harness::POLICY);

    let first = home.by_hand();
    first.wait_ready();
    let said = fails_by_hand(&home);
    assert!(said.contains("another daemon listens there: stop fairshared.socket"), "{said}");
    first.kill();

    std::fs::write(home.socket(), "").ok();
    std::fs::remove_file(home.socket()).unwrap();
    std::fs::write(home.socket(), "").unwrap();
    let said = fails_by_hand(&home);
    assert!(said.contains("there is a file that is no socket"), "{said}");
    std::fs::remove_file(home.socket()).unwrap();

    std::fs::remove_dir_all(home.state_dir()).unwrap();
    let said = fails_by_hand(&home);
    assert!(said.contains("state: ") && said.contains("cannot open the folder"), "{said}");
    std::fs::create_dir(home.state_dir()).unwrap();

    world.kill_bus();
    let said = fails_by_hand(&home);
    assert!(said.contains("bus: ") && said.contains("cannot be reached"), "{said}");
}

/// Whoever may write to the folder can put a link in the socket's place as soon as it is bound.
#[test]
fn by_hand_no_link_that_takes_the_sockets_place_is_followed() {
    let world = World::start();
    let home = Home::new(&world);
    let victim = world.dir().join("victim");
    std::fs::write(&victim, "").unwrap();
    std::fs::set_permissions(&victim, std::fs::Permissions::from_mode(0o601)).unwrap();
    let seen = || {
        let victim = std::fs::metadata(&victim).unwrap();
        (victim.mode(), victim.uid(), victim.gid())
    };
    let before = seen();
    // The kernel's word on bind(2) is late, and meanwhile the path comes to lead elsewhere.
    let trace = world.dir().join("trace").to_str().unwrap().to_owned();
    let late = ["-e", "trace=bind", "-e", "inject=bind:delay_exit=3000000"];
    let daemon = home.by_hand_under(&[&["strace", "-D", "-f", "-qq", "-o", &trace][..], &late].concat());
    until("the socket", PATIENCE, || home.socket().exists().then_some(()));
    std::fs::rename(home.socket(), world.dir().join("aside")).unwrap();
    std::os::unix::fs::symlink(&victim, home.socket()).unwrap();
    daemon.wait_ready();
    assert_eq!(seen(), before);
}

#[test]
fn a_socket_that_a_killed_daemon_left_is_taken_over() {
    let world = World::start();
    let home = Home::new(&world);
    let first = home.by_hand();
    first.wait_ready();
    first.kill();
    assert!(home.socket().exists());
    let second = home.by_hand();
    second.wait_ready();
    second.client().healthy();
}

#[test]
fn rust_log_says_how_much_is_said() {
    let world = World::start();
    let home = Home::new(&world);
    for (level, hello, enforced) in [("debug", true, true), ("info", false, true), ("error", false, false)] {
        let daemon = home.by_hand_with(&[("RUST_LOG", level)]);
        daemon.wait_ready();
        daemon.client().healthy();
        let logs = daemon.logs();
        assert_eq!(logs.contains("client_name"), hello, "{level}: {logs}");
        assert_eq!(logs.contains("everything enforced"), enforced, "{level}: {logs}");
        daemon.stop();
    }
}

#[test]
fn connections_that_came_while_it_was_dead_are_served_by_the_next() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    daemon.client().granted(&request());
    daemon.kill();
    // As PID 1 does, the test holds the socket.
    let mut early = Raw::connect(&home.socket());
    let _daemon = home.activate();
    early.greet().unwrap();
    assert!(early.status().0.is_some());
    let Response { v, .. } = {
        early.post(&Call::Ping(Ping {}));
        early.response().unwrap()
    };
    assert_eq!(v, 2);
}

/// A file that is not read is no fault, and whoever put it there thinks that it is.
#[test]
fn what_the_policys_folder_has_that_is_not_read_is_named() {
    let world = World::start();
    let mut home = Home::new(&world);
    let folder = home.policy_file();
    fs::remove_file(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("default.yaml"), POLICY).unwrap();
    fs::write(folder.join("site.yml"), "max: {cpu: 1}\n").unwrap();
    let daemon = home.activate();
    daemon.wait_logged("left out: site.yml (only *.yaml is read)");
    let mut raw = daemon.client();
    let check = raw.check("policy");
    assert_eq!((check.ok, check.detail.as_deref()), (true, Some("left out: site.yml (only *.yaml is read)")));
    assert!(raw.healthy());
    fs::remove_file(folder.join("site.yml")).unwrap();
    assert_eq!(raw.check("policy").detail, None);
}
