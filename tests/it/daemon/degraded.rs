//! Degraded, not dead: what is missing, what is answered all the same, and the way out of it.

use std::fs;
use std::path::Path;

use fairshare::contract::{
    Amounts, Answer, Attach, Call, Changed, Drain, JobAlter, JobCancel, JobList, JobStatus, Ping, Policy,
    Pong, Reload, Renew, Resize, Run, Subscribe, Undrain,
};
use fairshare::wire::error::{Code, WireError};
use rustix::process::Signal;

use super::harness::{DEFAULTS, Daemon, Home, PATIENCE, POLICY, share};
use super::raw::{Raw, release, request, resize_mem, submission};
use crate::poll::until;
use crate::stand_in::World;

/// The limits of [`DEFAULTS`], as the stand-in's units have them.
pub const FIGURES: [(&str, u64); 6] = [
    ("CPUQuotaPerSecUSec", 1_000_000),
    ("CPUWeight", 100),
    ("MemoryLow", 64 << 20),
    ("MemoryMax", 64 << 20),
    ("MemorySwapMax", 0),
    ("TasksMax", 100),
];

/// What is served is served, and everything else is refused; gives the refusal.
fn is_degraded(daemon: &Daemon, shares: usize) -> WireError {
    let mut raw = daemon.client();
    assert!(matches!(raw.ask(&Call::Ping(Ping {})), Ok(Answer::Pong(Pong { .. }))));
    assert!(!raw.healthy());
    assert_eq!(raw.shares().len(), shares);
    let capacity = raw.status().1;
    assert_eq!(capacity.shares, shares as u64);
    let mut last = None;
    for call in [
        request(),
        resize_mem(1 << 20),
        release(),
        Call::Run(Run::default()),
        Call::Attach(Attach { pids: vec![std::process::id().into()] }),
        Call::Policy(Policy { for_uid: None }),
        Call::JobStatus(JobStatus { job_id: 1 }),
        Call::JobList(JobList { all: None }),
        Call::Renew(Renew { lease_ms: 1000, job_id: None, for_uid: None }),
        Call::JobCancel(JobCancel { job_id: 1 }),
        Call::JobAlter(JobAlter { job_id: 1, first: Some(true), ..JobAlter::default() }),
        Call::Submit(submission()),
        Call::Drain(Drain {}),
        Call::Undrain(Undrain {}),
        Call::Subscribe(Subscribe { all: None, job_id: None }),
    ] {
        let error = raw.refused(&call, Code::Degraded);
        assert_eq!(error.message, "The daemon cannot change anything now: shares stay as they are");
        assert_eq!(error.retry_after_ms, Some(5000));
        last = Some(error);
    }
    last.unwrap()
}

/// Nothing is missing, and a share can be taken and given back.
fn works(daemon: &Daemon) {
    let mut raw = daemon.client();
    until("health", PATIENCE, || raw.healthy().then_some(()));
    raw.granted(&request());
    assert!(raw.released());
}

#[test]
fn a_bad_policy_at_start_keeps_shares_and_names_the_line() {
    let world = World::start();
    let mut home = Home::new(&world);
    world.make_slice("fairshare-1-own.slice", &FIGURES);
    home.set_state(vec![share(1, DEFAULTS)]);
    let before = fs::read(home.state_file()).unwrap();
    home.set_policy("defaults: {cpu: 1, mem: 64M}\nmax: {cpu: 0, mem: 256M}\n");
    let daemon = home.activate_with(&[]);
    let ready = daemon.wait_ready();
    assert!(ready.contains("STATUS=degraded, 1 share kept: policy: "), "{ready}");
    let detail = is_degraded(&daemon, 1).more().unwrap();
    let named = format!("policy: {}:2:", home.policy_file().display());
    assert!(detail.contains(&named), "{detail}");
    let check = daemon.client().check("policy");
    assert!(!check.ok && check.detail.unwrap().contains(":2:"));
    assert_eq!(fs::read(home.state_file()).unwrap(), before);
    assert!(world.unit("fairshare-1-own.slice").is_some());

    home.set_policy(POLICY);
    daemon.signal(Signal::HUP);
    daemon.wait_told("RELOADING=1");
    daemon.wait_told("STATUS=1 share");
    works(&daemon);
}

#[test]
fn a_reload_by_an_admin_ends_it_too_and_a_second_bad_policy_does_not() {
    let world = World::start();
    let mut home = Home::new(&world);
    home.set_policy("nonsense: 1\n");
    let daemon = home.activate();
    is_degraded(&daemon, 0);
    let mut raw = daemon.client();
    home.set_policy("max: 1\n");
    let error = raw.refused(&Call::Reload(Reload {}), Code::BadRequest);
    assert_eq!(error.message, "The policy cannot be used, and there is none in force");
    is_degraded(&daemon, 0);
    home.set_policy(POLICY);
    assert_eq!(raw.ask(&Call::Reload(Reload {})), Ok(Answer::Changed(Changed { changed: true })));
    works(&daemon);
}

/// What could not be reconciled without a policy is when there is one.
#[test]
fn the_end_of_a_bad_policy_reconciles_before_anything_is_granted() {
    let world = World::start();
    let mut home = Home::new(&world);
    // Granted in this boot, and stopped since; and a slice that drifted; and one nobody remembers.
    home.set_state(vec![share(1, DEFAULTS), share(2, DEFAULTS)]);
    world.make_slice("fairshare-2-own.slice", &[("MemoryMax", 1 << 20)]);
    world.make_slice("fairshare-3-own.slice", &FIGURES);
    home.set_policy("nonsense: 1\n");
    let daemon = home.activate();
    is_degraded(&daemon, 2);
    home.set_policy(POLICY);
    let mut raw = daemon.client();
    assert_eq!(raw.ask(&Call::Reload(Reload {})), Ok(Answer::Changed(Changed { changed: true })));
    // A call right after the reload finds a daemon that knows the world, or one that says that it does not yet.
    match raw.ask(&Call::Resize(Resize { for_uid: Some(1), ..Resize::of(Amounts::default()) })) {
        Err(error) => assert!(error.is(Code::Degraded) || error.is(Code::NotFound), "{error:?}"),
        Ok(answer) => panic!("a share without a slice was resized: {answer:?}"),
    }
    until("the shares that there are", PATIENCE, || {
        let held: Vec<u64> = raw.shares().iter().map(|share| share.uid).collect();
        (held == [2, 3]).then_some(())
    });
    assert_eq!(world.unit("fairshare-2-own.slice").unwrap().figure("MemoryMax"), Some(64 << 20));
    works(&daemon);
}

#[test]
fn without_a_bus_at_start_it_waits_for_one() {
    let mut world = World::start();
    let mut home = Home::new(&world);
    home.set_state(vec![share(1, DEFAULTS)]);
    world.make_slice("fairshare-1-own.slice", &FIGURES);
    world.kill_bus();
    let daemon = home.activate_with(&[]);
    let ready = daemon.wait_ready();
    assert!(ready.contains("STATUS=degraded, 1 share kept: bus: "), "{ready}");
    let detail = is_degraded(&daemon, 1).more().unwrap();
    assert!(detail.contains("bus: connecting to the bus"), "{detail}");
    world.restart_bus();
    daemon.wait_told("STATUS=1 share");
    works(&daemon);
}

#[test]
fn a_bus_that_goes_while_nothing_happens_comes_back_by_itself() {
    let mut world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    daemon.client().granted(&request());
    world.kill_bus();
    daemon.wait_told("STATUS=degraded, 1 share kept: bus: the bus is gone");
    is_degraded(&daemon, 1);
    world.restart_bus();
    daemon.wait_told("STATUS=1 share");
    let mut raw = daemon.client();
    assert!(raw.status().0.is_some());
    assert!(raw.released());
    works(&daemon);
}

/// What happened to slices while nobody could tell is found out.
#[test]
fn the_return_of_the_bus_reconciles() {
    let mut world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    daemon.client().granted(&request());
    let slice = daemon.client().status().0.unwrap().slice;
    world.kill_bus();
    daemon.wait_told("STATUS=degraded");
    world.forget_unit(&slice.replace(".slice", "-own.slice"));
    world.forget_unit(&slice);
    world.make_slice("fairshare-2-own.slice", &FIGURES);
    world.restart_bus();
    daemon.wait_told("STATUS=1 share");
    let held: Vec<u64> = daemon.client().shares().iter().map(|share| share.uid).collect();
    assert_eq!(held, [2]);
    daemon.wait_logged("was stopped by someone else");
    works(&daemon);
}

#[test]
fn systemd_that_leaves_the_bus_and_comes_back_is_found_again() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    daemon.client().granted(&request());
    world.vanish();
    let mut raw = daemon.client();
    assert!(matches!(raw.ask(&Call::Ping(Ping {})), Ok(Answer::Pong(Pong { .. }))));
    assert!(raw.status().0.is_some());
    // A call waits for it as for a systemd that re-executes itself.
    raw.post(&release());
    world.come_back();
    let answer = raw.response().unwrap();
    let body = format!("{:?}", answer.body);
    assert!(body.contains("released: true"), "{body}");
    works(&daemon);
}

#[test]
fn a_state_folder_that_is_not_there_or_taken_is_degraded_and_a_reload_ends_it() {
    let world = World::start();
    let mut home = Home::new(&world);
    fs::remove_dir(home.state_dir()).unwrap();
    world.make_slice("fairshare-1-own.slice", &FIGURES);
    let daemon = home.activate();
    let detail = is_degraded(&daemon, 1).more().unwrap();
    assert!(detail.contains("state: ") && detail.contains("cannot open the folder"), "{detail}");
    fs::create_dir(home.state_dir()).unwrap();
    assert!(daemon.client().ask(&Call::Reload(Reload {})).is_ok());
    until("the state", PATIENCE, || daemon.client().healthy().then_some(()));
    until("what systemd has to be adopted", PATIENCE, || {
        (home.state_file().exists() && home.state().allocations.len() == 1).then_some(())
    });
    works(&daemon);
}

#[test]
fn two_daemons_do_not_share_a_state() {
    let world = World::start();
    let mut home = Home::new(&world);
    let first = home.by_hand();
    first.wait_ready();
    let before = fs::read(home.state_file()).unwrap();
    fs::remove_file(home.socket()).unwrap();
    let second = home.activate();
    let detail = is_degraded(&second, 0).more().unwrap();
    assert!(detail.contains("another fairshared is using this state: stop it first"), "{detail}");
    assert_eq!(fs::read(home.state_file()).unwrap(), before);
    first.kill();
    // Nobody has to tell it.
    until("the state", PATIENCE, || second.client().healthy().then_some(()));
    works(&second);
}

/// What a thread that cannot end has open stays open after SIGKILL: the locks of the state and of the history must be none of that.
#[test]
fn the_state_is_open_on_the_thread_that_has_it_and_on_no_other() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let (folder, history) = (home.state_dir(), home.state_dir().join("history"));
    let having = |is_meant: &dyn Fn(&Path) -> bool| {
        let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
        let mut having: Vec<String> = Vec::new();
        for task in tasks.map(|task| task.unwrap().path()) {
            let open = fs::read_dir(task.join("fd")).unwrap();
            let mut paths = open.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
            if paths.any(|path| is_meant(&path)) {
                having.push(fs::read_to_string(task.join("comm")).unwrap().trim().to_owned());
            }
        }
        having
    };
    assert_eq!(having(&|path| path.starts_with(&folder) && !path.starts_with(&history)), ["state"]);
    // The history beside it has a lock too, and a thread that has nothing else.
    let opened = || Some(having(&|path| path.starts_with(&history))).filter(|having| !having.is_empty());
    assert_eq!(until("the history to be opened", PATIENCE, opened), ["history"]);
}

/// Reading does not hold the daemon up while it looks for a bus that never answers.
#[test]
fn a_degraded_daemon_answers_while_it_looks() {
    let world = World::start_without_systemd();
    let mut home = Home::new(&world);
    let daemon = home.activate_with(&[]);
    daemon.wait_ready();
    let mut raw = Raw::hello(daemon.socket());
    for _ in 0..20 {
        assert!(!raw.healthy());
    }
    world.come_back();
    daemon.wait_told("STATUS=0 shares");
    works(&daemon);
}

/// As on a Raspberry Pi, whose firmware starts the kernel without it.
#[test]
fn without_a_controller_nothing_is_granted_and_what_mends_it_is_said() {
    let world = World::start();
    std::fs::write(world.cgroup_root().join("cgroup.controllers"), "cpuset cpu io pids\n").unwrap();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let check = raw.check("controllers");
    let detail = check.detail.unwrap();
    assert!(
        !check.ok && detail.contains("without memory") && detail.contains("cgroup_disable=memory"),
        "{detail}"
    );
    let error = raw.refused(&request(), Code::Degraded);
    assert!(error.more().unwrap().contains("cgroup_disable=memory"));
}
