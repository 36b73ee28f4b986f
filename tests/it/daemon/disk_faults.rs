//! Every call under the state file that fails, and `kill -9` at every call that matters: then never a share nobody
//! remembers, and never a remembered share that is not enforced.

use std::fs;
use std::path::PathBuf;

use fairshare::contract::{
    Amounts, Answer, Call, JobCancel, JobList, JobStarted, JobState, Jobs, Ping, Release, Released,
    RequestResources, Resize,
};
use fairshare::testing::ledger::allocation::Phase;
use fairshare::wire::error::{Code, WireError};

use super::harness::{Daemon, Home, PATIENCE};
use super::history::remembered;
use super::raw::{Raw, release, request, request_for, resize_mem, submission};
use super::strace::Tracer;
use super::systemd_faults::own_slice;
use crate::poll::until;
use crate::stand_in::World;

/// The calls that the state file is written with, and what changes of a large one.
const WRITING: [&str; 6] = ["openat", "write", "fsync", "renameat", "pwrite64", "fdatasync"];

/// How often each is made by a change, which writes intent and outcome, where all is written: each file is synced, and its folder.
const WHOLE: [(&str, u32); 4] = [("openat", 2), ("write", 2), ("fsync", 4), ("renameat", 2)];

/// The same where what changes is written.
const BESIDE: [(&str, u32); 2] = [("pwrite64", 2), ("fdatasync", 2)];

/// The calls that bus, client and the daemon's own threads are talked to with, each so often at least: calls are counted thread
/// by thread, and the thread that writes the file and the one that tells of it have two each.
const TALKING: [(&str, u32); 3] = [("sendmsg", 1), ("recvmsg", 2), ("sendto,write", 2)];

/// What is done while something goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Grant,
    Resize,
    Release,
}

const CHANGES: [Change; 3] = [Change::Grant, Change::Resize, Change::Release];

impl Change {
    fn call(self) -> Call {
        match self {
            Self::Grant => request(),
            Self::Resize => resize_mem(128 << 20),
            Self::Release => release(),
        }
    }

    /// A daemon for which the change is the next thing to do.
    fn prepared(self, home: &mut Home) -> Daemon {
        let daemon = home.activate();
        let mut raw = daemon.client();
        if fs::metadata(home.state_file()).is_ok_and(|file| file.len() > 64 << 10) {
            // Each daemon writes a large state once before it writes what changes.
            raw.released();
            raw.granted(&request());
            raw.released();
            assert!(home.state_dir().join("state.changes").exists());
        }
        match (self, raw.status().0.is_some()) {
            (Self::Grant, true) => assert!(raw.released()),
            (Self::Resize | Self::Release, false) => drop(raw.granted(&request())),
            _ => {}
        }
        if self == Self::Resize {
            raw.granted(&resize_mem(64 << 20));
        }
        daemon
    }
}

fn state_paths(home: &Home) -> Vec<PathBuf> {
    let named = |name| home.state_dir().join(name);
    vec![home.state_dir(), named("state.new"), home.state_file(), named("state.changes")]
}

/// A home with a large state.
fn large(world: &World) -> Home {
    let home = Home::new(world);
    home.set_image(&remembered(900));
    home
}

/// What is held is remembered, enforced, and shown, all three the same.
fn agree(world: &World, home: &Home, daemon: &Daemon, what: &str) -> Option<u64> {
    let share = daemon.client().status().0;
    let shown = share.as_ref().map(|share| share.mem_bytes);
    let unit = world.unit(&own_slice()).filter(|unit| unit.active == "active");
    assert_eq!(unit.and_then(|unit| unit.figure("MemoryMax")), shown, "{what}: systemd and the daemon");
    let kernel = world.cgroup_file(&own_slice(), "memory.max");
    assert_eq!(kernel.map(|max| max.trim().parse().unwrap()), shown, "{what}: the kernel and the daemon");
    let remembered = home.state().allocations;
    assert!(remembered.iter().all(|share| share.phase == Phase::Active), "{what}: {remembered:?}");
    let figure = remembered.first().map(|share| share.amount.mem.0);
    assert_eq!(figure, shown, "{what}: the state and the daemon");
    shown
}

/// One change with one call failing; `None` where that call was not made that often.
fn with_fault(
    world: &World,
    home: &mut Home,
    change: Change,
    call: &str,
    fault: &str,
    when: u32,
) -> Option<Result<Answer, WireError>> {
    let daemon = change.prepared(home);
    let before = daemon.client().status().0.map(|share| share.mem_bytes);
    let inject = format!("{call}:error={fault}:when={when}");
    let what = format!("{change:?} with {inject}");
    let tracer = Tracer::attach(&daemon, home, &WRITING.join(","), Some(&inject), &state_paths(home));
    let mut raw = daemon.client();
    let answer = raw.ask(&change.call());
    let fired = tracer.detach().contains("(INJECTED)");
    if fired {
        // Nothing is under way any more, and then everything agrees: alive, and after a crash.
        until("health", PATIENCE, || raw.healthy().then_some(()));
        let after = raw.status().0.map(|share| share.mem_bytes);
        if let Err(error) = &answer {
            assert!(error.is(Code::Io), "{what}: {error:?}");
            assert_eq!(error.message, "The state could not be written: nothing was changed");
            assert_eq!(error.detail.as_ref().and_then(|detail| detail.in_force), Some(false), "{what}");
            assert!(error.retryable);
            assert_eq!(after, before, "{what}: refused and changed");
        } else {
            assert_ne!(after, before, "{what}: answered and not changed");
        }
        daemon.kill();
        let daemon = home.activate();
        assert_eq!(agree(world, home, &daemon, &what), after, "{what}: a crash changed it");
        let mut raw = daemon.client();
        // The fault is gone, and the next change works.
        raw.released();
        raw.granted(&request());
        assert!(raw.released());
    }
    fired.then_some(answer)
}

/// Every call of the state file's, in both of the writes that a change makes.
fn every_write_fails(change: Change, fault: &str) {
    let world = World::start();
    let mut home = Home::new(&world);
    for (call, calls) in WHOLE {
        let refused = every_one_fails(change, fault, &world, &mut home, (call, calls));
        // A change whose intent is stored is finished by a start: but nothing is granted without its outcome stored.
        let expected = if change == Change::Grant { calls } else { calls / 2 };
        assert_eq!(refused, expected, "{change:?} {call}");
    }
}

/// How often a change is refused when this call fails, the first to the last time that it is made.
fn every_one_fails(
    change: Change,
    fault: &str,
    world: &World,
    home: &mut Home,
    (call, calls): (&str, u32),
) -> u32 {
    let mut refused = 0;
    for when in 1..=calls {
        // Counted thread by thread: where the second write had another thread the fault did not come.
        let answer = (0..20).find_map(|_| with_fault(world, home, change, call, fault, when));
        let answer = answer.unwrap_or_else(|| panic!("{call} was never called {when} times"));
        refused += u32::from(answer.is_err());
    }
    refused
}

#[test]
fn a_full_disk_under_a_grant() {
    every_write_fails(Change::Grant, "ENOSPC");
}

#[test]
fn a_failing_disk_under_a_resize() {
    every_write_fails(Change::Resize, "EIO");
}

#[test]
fn a_read_only_disk_under_a_release() {
    every_write_fails(Change::Release, "EROFS");
}

/// What cannot be written beside a large state is written with it; only where the disk is full that would take more than there is,
/// and what gives back has what was kept for it.
#[test]
fn a_failing_disk_under_what_changes_of_a_large_state() {
    let refused = [
        (Change::Grant, "ENOSPC", [2, 0]),
        (Change::Resize, "EIO", [0, 0]),
        (Change::Release, "ENOSPC", [0, 0]),
    ];
    for (change, fault, refused) in refused {
        let world = World::start();
        let mut home = large(&world);
        for (call, refused) in BESIDE.into_iter().zip(refused) {
            assert_eq!(
                every_one_fails(change, fault, &world, &mut home, call),
                refused,
                "{change:?} {call:?}"
            );
        }
    }
}

/// A disk that stays full: everything that changes is refused, everything else is answered, and nothing is lost.
#[test]
fn a_disk_that_stays_full() {
    let world = World::start();
    let mut home = Home::new(&world);
    for (call, fault) in [("write", "ENOSPC"), ("openat", "EROFS"), ("renameat", "EIO"), ("fsync", "EIO")] {
        for change in CHANGES {
            let what = format!("{change:?} while {call} fails");
            let daemon = change.prepared(&mut home);
            let before = daemon.client().status().0.map(|share| share.mem_bytes);
            let inject = format!("{call}:error={fault}");
            let calls = WRITING.join(",");
            let tracer = Tracer::attach(&daemon, &home, &calls, Some(&inject), &state_paths(&home));
            let mut raw = daemon.client();
            for _ in 0..2 {
                let error = raw.refused(&change.call(), Code::Io);
                assert!(
                    !error.more().unwrap().contains("/state"),
                    "the path is the administrator's business"
                );
                assert_eq!(raw.status().0.map(|share| share.mem_bytes), before, "{what}");
                // No write has succeeded since, which would have taken it away.
                let left = home.state_dir().join("state.new");
                until("no state.new to be left", PATIENCE, || (!left.exists()).then_some(()));
            }
            tracer.detach();
            raw.ask(&change.call()).unwrap_or_else(|error| panic!("{what}: afterwards {error:?}"));
            daemon.kill();
            let daemon = home.activate();
            agree(&world, &home, &daemon, &what);
        }
    }
}

/// `kill -9` at the n-th of these calls, for every n until the change is through.
fn killed_at_every(change: Change, calls: &[(&str, u32)], paths: impl Fn(&Home) -> Vec<PathBuf>) {
    let world = World::start();
    killed_in(change, &world, Home::new(&world), calls, paths);
}

fn killed_in(
    change: Change,
    world: &World,
    mut home: Home,
    calls: &[(&str, u32)],
    paths: impl Fn(&Home) -> Vec<PathBuf>,
) {
    for (call, least) in calls {
        let mut deaths = 0;
        for _ in 0..100 {
            let when = deaths + 1;
            let daemon = change.prepared(&mut home);
            let before = daemon.client().status().0.map(|share| share.mem_bytes);
            let mut raw = daemon.client();
            let inject = format!("{call}:signal=KILL:when={when}");
            let what = format!("{change:?} with {inject}");
            let tracer = Tracer::attach(&daemon, &home, call, Some(&inject), &paths(&home));
            let answer = raw.try_ask(&change.call());
            let died = answer.is_none() || raw.try_ask(&Call::Ping(Ping {})).is_none();
            tracer.detach();
            daemon.kill();
            let daemon = home.activate();
            until("health", PATIENCE, || daemon.client().healthy().then_some(()));
            let after = agree(world, &home, &daemon, &what);
            // What was answered was done; what was not answered was done or not.
            if let Some(answer) = answer {
                answer.unwrap_or_else(|error| panic!("{what}: {error:?}"));
                assert_ne!(after, before, "{what}: answered and forgotten");
            }
            // Counted thread by thread: a write by another thread than the one before is not the second.
            deaths += u32::from(died);
            if !died && deaths >= *least {
                break;
            }
        }
        println!("{change:?}: killed at {deaths} calls of {call}");
        assert!(deaths >= *least, "{change:?}: killed at {deaths} calls of {call} only");
    }
}

#[test]
fn killed_at_every_call_of_the_state_file() {
    for change in CHANGES {
        killed_at_every(change, &WHOLE, state_paths);
    }
}

#[test]
fn killed_at_every_change_of_a_large_state() {
    for change in CHANGES {
        let world = World::start();
        killed_in(change, &world, large(&world), &BESIDE, state_paths);
    }
}

#[test]
fn killed_at_every_word_on_a_socket_in_a_grant() {
    killed_at_every(Change::Grant, &TALKING, |_| Vec::new());
}

#[test]
fn killed_at_every_word_on_a_socket_in_a_resize() {
    killed_at_every(Change::Resize, &TALKING, |_| Vec::new());
}

#[test]
fn killed_at_every_word_on_a_socket_in_a_release() {
    killed_at_every(Change::Release, &TALKING, |_| Vec::new());
}

/// What waits or runs later, and has to be remembered as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Promise {
    /// A request that waits for room.
    Queue,
    /// A command into a share that is held.
    SubmitHeld,
    /// A command that takes a share.
    SubmitTaken,
}

const PROMISES: [Promise; 3] = [Promise::Queue, Promise::SubmitHeld, Promise::SubmitTaken];

impl Promise {
    fn call(self) -> Call {
        match self {
            Self::Queue => Call::RequestResources(RequestResources {
                lease_ms: None,
                wait: Some(true),
                for_uid: None,
                ..RequestResources::of(Amounts::default())
            }),
            Self::SubmitHeld | Self::SubmitTaken => Call::Submit(submission()),
        }
    }

    /// A daemon for which the promise is the next thing to make.
    fn prepared(self, home: &mut Home) -> Daemon {
        let daemon = home.activate();
        match self {
            Self::Queue => drop(daemon.client().granted(&request_for(1))),
            Self::SubmitHeld => drop(daemon.client().granted(&request())),
            Self::SubmitTaken => {}
        }
        daemon
    }
}

/// Jobs of the caller's that wait or run.
fn open_jobs(raw: &mut Raw) -> Vec<u64> {
    let Ok(Answer::Jobs(Jobs { jobs, .. })) = raw.ask(&Call::JobList(JobList { all: None })) else {
        panic!("no jobs")
    };
    let open = jobs.iter().filter(|job| matches!(job.state, JobState::Queued | JobState::Running));
    open.map(|job| job.job_id).collect()
}

#[test]
fn what_cannot_be_remembered_does_not_wait_and_does_not_run() {
    for promise in PROMISES {
        let world = World::start();
        let mut home = Home::of_one_cpu(&world);
        let daemon = promise.prepared(&mut home);
        let mut raw = daemon.client();
        let before = raw.status().0.is_some();
        let inject = Some("write:error=ENOSPC");
        let tracer = Tracer::attach(&daemon, &home, &WRITING.join(","), inject, &state_paths(&home));
        raw.refused(&promise.call(), Code::Io);
        until("nothing to be open", PATIENCE, || open_jobs(&mut raw).is_empty().then_some(()));
        tracer.detach();
        if promise == Promise::Queue {
            let release = Call::Release(Release { job_id: None, stop: None, for_uid: Some(1) });
            raw.ask(&release).unwrap();
        }
        // A call of the same member's that is stored comes after whatever there was to be done for them.
        raw.ask(&Call::Resize(Resize { for_uid: None, ..Resize::of(Amounts::default()) })).ok();
        assert_eq!(raw.status().0.is_some(), before, "{promise:?}: what was refused was done");
        assert!(!world.units().iter().any(|unit| unit.contains("-job")), "{promise:?}: a command ran");
    }
}

#[test]
fn what_was_promised_is_remembered_when_the_daemon_dies_at_any_write() {
    for promise in PROMISES {
        for (call, least) in [("openat", 1), ("write", 1), ("fsync", 2), ("renameat", 1)] {
            for when in 1..=least {
                let world = World::start();
                let mut home = Home::of_one_cpu(&world);
                let daemon = promise.prepared(&mut home);
                let mut raw = daemon.client();
                let inject = format!("{call}:signal=KILL:when={when}");
                let tracer = Tracer::attach(&daemon, &home, call, Some(&inject), &state_paths(&home));
                let answer = raw.try_ask(&promise.call());
                tracer.detach();
                daemon.kill();
                // Before that write nothing was certain; so nothing may have been said.
                assert_eq!(answer, None, "{promise:?} with {inject}: answered before it was stored");
            }
        }
    }
}

/// A full disk with a reserve: each write of the state fails once, and not again when the reserve was given up.
#[test]
fn what_gives_back_is_done_on_a_full_disk() {
    let world = World::start();
    let mut home = Home::of_one_cpu(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let reserve = home.state_dir().join("state.reserve");
    assert!(fs::metadata(&reserve).unwrap().len() >= 64 << 10);
    raw.granted(&request_for(1));
    let Ok(Answer::JobStarted(JobStarted { job_started })) = raw.ask(&Promise::Queue.call()) else {
        panic!("it waits not")
    };
    let inject = Some("write:error=ENOSPC:when=1+2");
    let tracer = Tracer::attach(&daemon, &home, &WRITING.join(","), inject, &state_paths(&home));
    raw.ask(&Call::JobCancel(JobCancel { job_id: job_started })).unwrap();
    assert_eq!(
        raw.ask(&Call::Release(Release { job_id: None, stop: None, for_uid: Some(1) })),
        Ok(Answer::Released(Released { released: true }))
    );
    // What takes something does not use up what was kept for giving back.
    raw.refused(&request(), Code::Io);
    let trace = tracer.detach();
    assert!(trace.matches("(INJECTED)").count() >= 4, "{trace}");
    assert!(fs::metadata(&reserve).unwrap().len() >= 64 << 10, "it was not made again");
    daemon.kill();
    let daemon = home.activate();
    assert_eq!((daemon.client().shares().len(), open_jobs(&mut daemon.client())), (0, Vec::new()));
}
