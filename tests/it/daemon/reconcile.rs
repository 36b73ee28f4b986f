//! Every row of the reconciliation table, and that a second start changes nothing.

use std::fs;

use fairshare::contract::{Answer, Call, ShareInfo, Submit};
use fairshare::testing::identity::JobId;
use fairshare::testing::ledger::BootId;
use fairshare::testing::ledger::allocation::{Allocation, Keeps, Lease, Phase, Stage};
use fairshare::testing::ledger::time::Time;
use fairshare::testing::quantity::{Amount, Bytes, MilliCpu, Tasks};

use super::degraded::FIGURES;
use super::harness::{DEFAULTS, Home, PATIENCE, share};
use super::raw::{release, request, resize_mem, submission};
use crate::root::is_root;
use crate::stand_in::World;

/// Methods of the manager that change nothing.
const QUESTIONS: [&str; 2] = ["Subscribe", "ListUnitsByPatterns"];

/// A user that every system has, and an id that none gives out.
const DAEMON: u64 = 1;
const NOBODY_KNOWS: u64 = 424_242;

fn slice(uid: u64) -> String {
    format!("fairshare-{uid}-own.slice")
}

/// What a start made of it.
struct Seen {
    shares: Vec<ShareInfo>,
    calls: Vec<(String, String)>,
    logs: String,
    healthy: bool,
}

fn start(world: &World, home: &mut Home) -> Seen {
    world.take_calls();
    let daemon = home.activate();
    let mut raw = daemon.client();
    let (mut shares, healthy) = (raw.shares(), raw.healthy());
    // A share is granted, and its lease ends, on another clock than it is told on: the state has both to the microsecond, an
    // answer to the millisecond or two.
    for allocation in shares.iter_mut().flat_map(|share| share.allocations.iter_mut().flatten()) {
        (allocation.granted_ms, allocation.lease_ends_ms) = (0, None);
    }
    // The state and the bound of all shares are written beside the first answers: a stop awaits neither.
    crate::poll::until("the state", super::harness::PATIENCE, || {
        let bound = world.cgroup_file("fairshare.slice", "memory.max").is_none_or(|max| max != "max\n");
        let held = home.state_file().exists().then(|| home.state()).is_some_and(|image| {
            image.allocations.len() == shares.len()
                && image.allocations.iter().all(|s| s.phase == Phase::Active)
        });
        (held && bound).then_some(())
    });
    daemon.signal(rustix::process::Signal::TERM);
    let logs = daemon.logs();
    daemon.stop();
    let mut calls = world.take_calls();
    // While there is no share the slice above all has no cgroup to be compared with, and is told its bound again.
    let compared = world.cgroup_file("fairshare.slice", "memory.max").is_some();
    calls.retain(|(method, unit)| {
        !QUESTIONS.contains(&method.as_str()) && (compared || unit != "fairshare.slice")
    });
    Seen { shares, calls, logs, healthy }
}

/// Starts on it once, and again: the second time must change nothing.
fn settle(world: &World, home: &mut Home) -> Seen {
    let first = start(world, home);
    let state = home.state();
    let second = start(world, home);
    assert_eq!(second.calls, [], "the second start changed something");
    assert_eq!(second.shares, first.shares);
    assert_eq!(home.state().allocations, state.allocations);
    first
}

fn world_with(units: &[(u64, &[(&str, u64)])], shares: Vec<Allocation>) -> (World, Home) {
    let world = World::start();
    let home = Home::new(&world);
    for (uid, figures) in units {
        world.make_slice(&slice(*uid), figures);
    }
    home.set_state(shares);
    (world, home)
}

/// [`FIGURES`] with another value for one of them.
fn figures_but(name: &str, value: u64) -> [(&'static str, u64); FIGURES.len()] {
    FIGURES.map(|(each, figure)| (each, if each == name { value } else { figure }))
}

fn about(seen: &Seen, uid: u64) -> Vec<&str> {
    seen.calls.iter().filter(|(_, unit)| *unit == slice(uid)).map(|(method, _)| method.as_str()).collect()
}

#[test]
fn a_share_with_its_limits_is_not_touched() {
    let (world, mut home) = world_with(&[(DAEMON, &FIGURES)], vec![share(DAEMON, DEFAULTS)]);
    let before = world.unit(&slice(DAEMON));
    let seen = settle(&world, &mut home);
    assert_eq!(about(&seen, DAEMON), [] as [&str; 0]);
    assert_eq!(seen.shares.len(), 1);
    assert_eq!(world.unit(&slice(DAEMON)), before);
    assert!(seen.healthy);
}

#[test]
fn other_limits_are_set_again_and_logged() {
    let drifted = figures_but("MemoryMax", 1 << 30);
    let (world, mut home) = world_with(&[(DAEMON, &drifted)], vec![share(DAEMON, DEFAULTS)]);
    let seen = settle(&world, &mut home);
    assert!(seen.logs.contains("has drifted from its share: setting its limits again"), "{}", seen.logs);
    assert_eq!(world.unit(&slice(DAEMON)).unwrap().figure("MemoryMax"), Some(64 << 20));
    assert_eq!(seen.shares[0].mem_bytes, 64 << 20);
    assert!(seen.healthy);
}

/// "No process is ever killed by reconciliation": a limit under what is in use would do that.
#[test]
fn limits_are_not_set_again_under_what_is_in_use() {
    let drifted = figures_but("MemoryMax", 1 << 30);
    let (world, mut home) = world_with(&[(DAEMON, &drifted)], vec![share(DAEMON, DEFAULTS)]);
    world.pretend_processes(&slice(DAEMON), &[std::process::id()]);
    world.write_cgroup_file(&slice(DAEMON), "memory.current", "536870912");
    let daemon = home.activate();
    let max = world.unit(&slice(DAEMON)).unwrap().figure("MemoryMax").unwrap();
    assert!(max >= 512 << 20, "set to {max} with 512 MiB in use");
    assert!(!daemon.client().healthy(), "a share that is not enforced is not said");
    daemon.wait_logged("proceeding without setting");
    // When less is in use, what the share says is set.
    world.write_cgroup_file(&slice(DAEMON), "memory.current", "1048576");
    daemon.kill();
    let daemon = home.activate();
    assert_eq!(world.unit(&slice(DAEMON)).unwrap().figure("MemoryMax"), Some(64 << 20));
    assert!(daemon.client().healthy());
}

#[test]
fn a_share_of_this_boot_whose_slice_was_stopped_is_dropped() {
    let (world, mut home) = world_with(&[], vec![share(DAEMON, DEFAULTS)]);
    let seen = settle(&world, &mut home);
    assert_eq!(about(&seen, DAEMON), [] as [&str; 0]);
    assert!(seen.shares.is_empty() && home.state().allocations.is_empty());
    assert!(seen.logs.contains("dropped the standing allocation of uid 1"), "{}", seen.logs);
    assert!(world.unit(&slice(DAEMON)).is_none());
}

#[test]
fn a_share_of_an_earlier_boot_gets_its_slice_again() {
    let mut earlier = share(DAEMON, DEFAULTS);
    earlier.boot = BootId("earlier".to_owned());
    let (world, mut home) = world_with(&[], vec![earlier.clone()]);
    let seen = settle(&world, &mut home);
    assert_eq!(about(&seen, DAEMON), ["StartTransientUnit"]);
    assert_eq!(seen.shares.len(), 1);
    assert_eq!(world.unit(&slice(DAEMON)).unwrap().figure("MemoryMax"), Some(64 << 20));
    let now = home.state().allocations;
    assert_eq!((&now[0].boot, now[0].granted), (&share(DAEMON, DEFAULTS).boot, earlier.granted));
}

#[test]
fn an_intent_without_outcome_is_finished_where_there_is_a_slice() {
    let to = Amount { mem: Bytes(128 << 20), ..DEFAULTS };
    for (phase, mem) in [
        (Phase::Granting { job: None }, 64 << 20),
        (Phase::Resizing { to }, 128 << 20),
        (Phase::Releasing, 0),
        (Phase::Stopping { job: JobId(3) }, 0),
    ] {
        let intent = Allocation { phase, ..share(DAEMON, DEFAULTS) };
        let (world, mut home) = world_with(&[(DAEMON, &FIGURES)], vec![intent]);
        let seen = settle(&world, &mut home);
        let unit = world.unit(&slice(DAEMON));
        match mem {
            0 => assert!(unit.is_none() && seen.shares.is_empty(), "{phase:?}"),
            mem => {
                assert_eq!(unit.unwrap().figure("MemoryMax"), Some(mem), "{phase:?}");
                assert_eq!(seen.shares[0].mem_bytes, mem, "{phase:?}");
            }
        }
        assert!(seen.healthy);
    }
}

/// Others have been promised what it does not keep.
#[test]
fn a_stop_under_way_of_an_ended_share_gives_it_nothing_back() {
    let keeps = Some(Keeps { mem: Bytes(32 << 20), tasks: Tasks(20) });
    let stage = Stage::Expired { since: Time(1), keeps, lower: None, evict: None };
    let lease = Some(Lease { ends: Time(1), length_ms: 60_000, stage });
    for phase in [Phase::Releasing, Phase::Stopping { job: JobId(3) }] {
        let (world, mut home) =
            world_with(&[(DAEMON, &FIGURES)], vec![Allocation { phase, lease, ..share(DAEMON, DEFAULTS) }]);
        world.pretend_processes(&slice(DAEMON), &[std::process::id()]);
        let seen = settle(&world, &mut home);
        let unit = world.unit(&slice(DAEMON)).unwrap();
        let held = ["MemoryMax", "TasksMax", "CPUWeight", "MemoryLow"].map(|name| unit.figure(name));
        assert_eq!(held, [Some(32 << 20), Some(20), Some(0), Some(0)], "{phase:?}");
        assert_eq!(seen.shares[0].mem_bytes, 32 << 20);
    }
}

#[test]
fn an_intent_without_outcome_is_dropped_where_there_is_no_slice() {
    let to = Amount { mem: Bytes(128 << 20), ..DEFAULTS };
    let stopping = Phase::Stopping { job: JobId(3) };
    for phase in [Phase::Granting { job: None }, Phase::Resizing { to }, Phase::Releasing, stopping] {
        let intent = Allocation { phase, ..share(DAEMON, DEFAULTS) };
        let (world, mut home) = world_with(&[], vec![intent]);
        let seen = settle(&world, &mut home);
        assert!(seen.shares.is_empty() && home.state().allocations.is_empty(), "{phase:?}");
        assert!(world.unit(&slice(DAEMON)).is_none(), "{phase:?}");
    }
}

/// Nothing is killed by a start: a release whose share is busy is not finished.
#[test]
fn a_release_under_way_of_a_busy_share_leaves_the_share() {
    for phase in [Phase::Releasing, Phase::Stopping { job: JobId(3) }] {
        let intent = Allocation { phase, ..share(DAEMON, DEFAULTS) };
        let (world, mut home) = world_with(&[(DAEMON, &FIGURES)], vec![intent]);
        world.pretend_processes(&slice(DAEMON), &[std::process::id()]);
        let seen = settle(&world, &mut home);
        assert_eq!(seen.shares.len(), 1, "{phase:?}");
        assert!(!world.unit(&slice(DAEMON)).unwrap().pids.is_empty());
    }
}

#[test]
fn a_shrinking_under_what_is_in_use_is_undone() {
    let to = Amount { mem: Bytes(16 << 20), ..DEFAULTS };
    let intent = Allocation { phase: Phase::Resizing { to }, ..share(DAEMON, DEFAULTS) };
    let (world, mut home) = world_with(&[(DAEMON, &FIGURES)], vec![intent]);
    world.pretend_processes(&slice(DAEMON), &[std::process::id()]);
    world.write_cgroup_file(&slice(DAEMON), "memory.current", "33554432");
    let seen = settle(&world, &mut home);
    assert_eq!(seen.shares[0].mem_bytes, 64 << 20);
    assert_eq!(world.unit(&slice(DAEMON)).unwrap().figure("MemoryMax"), Some(64 << 20));
}

#[test]
fn a_slice_nobody_remembers_is_adopted_with_its_limits() {
    let figures =
        [("CPUQuotaPerSecUSec", 500_000), ("MemoryMax", 1 << 30), ("MemorySwapMax", 0), ("TasksMax", 77)];
    let (world, mut home) = world_with(&[(DAEMON, &figures)], Vec::new());
    let seen = settle(&world, &mut home);
    assert_eq!(seen.shares.len(), 1);
    let adopted = home.state().allocations.remove(0);
    assert_eq!(adopted.amount.cpu, MilliCpu(500));
    assert_eq!((adopted.amount.mem, adopted.amount.tasks.0), (Bytes(1 << 30), 77));
    assert_eq!(adopted.user.as_deref(), Some("daemon"));
    assert_eq!(world.unit(&slice(DAEMON)).unwrap().figure("MemoryMax"), Some(1 << 30));
}

#[test]
fn a_slice_of_nobody_is_stopped_when_empty_and_kept_and_reported_when_busy() {
    let (world, mut home) = world_with(&[(NOBODY_KNOWS, &FIGURES)], Vec::new());
    let seen = settle(&world, &mut home);
    assert!(seen.shares.is_empty() && seen.healthy);
    assert_eq!(about(&seen, NOBODY_KNOWS), ["StopUnit"]);
    assert!(world.unit(&slice(NOBODY_KNOWS)).is_none());

    world.make_slice(&slice(NOBODY_KNOWS), &FIGURES);
    world.pretend_processes(&slice(NOBODY_KNOWS), &[std::process::id()]);
    let seen = settle(&world, &mut home);
    assert_eq!(about(&seen, NOBODY_KNOWS), [] as [&str; 0]);
    assert!(seen.shares.is_empty() && !seen.healthy);
    assert!(world.unit(&slice(NOBODY_KNOWS)).is_some());
    let daemon = home.activate();
    let check = daemon.client().check("strays");
    assert!(!check.ok && check.detail.unwrap().contains(&slice(NOBODY_KNOWS)));
}

/// Whose user cannot be looked up for now is not nobody's.
#[test]
fn a_slice_whose_user_the_database_does_not_tell_is_adopted() {
    if !is_root() {
        return; // the database that fails would turn this test away
    }
    let (world, mut home) = world_with(&[(DAEMON, &FIGURES)], Vec::new());
    fs::remove_file(home.accounts().join("passwd")).unwrap();
    let seen = settle(&world, &mut home);
    assert!(!about(&seen, DAEMON).contains(&"StopUnit"), "{:?}", seen.calls);
    assert_eq!(seen.shares.iter().map(|share| share.uid).collect::<Vec<_>>(), [DAEMON]);
    assert!(world.unit(&slice(DAEMON)).is_some());
}

#[test]
fn a_stray_that_a_share_is_no_name_of_is_left_alone() {
    let (world, mut home) = world_with(&[], Vec::new());
    world.make_slice("fairshare-007-own.slice", &FIGURES);
    world.make_slice("fairshare-x.slice", &FIGURES);
    let seen = settle(&world, &mut home);
    assert!(seen.shares.is_empty() && world.unit("fairshare-007-own.slice").is_some());
    assert!(seen.logs.contains("ignoring fairshare-007-own.slice"), "{}", seen.logs);
}

/// Everything at once, and a thing that goes wrong with one does not keep the others from being settled.
#[test]
fn many_rows_at_once() {
    let mut earlier = share(2, DEFAULTS);
    earlier.boot = BootId("earlier".to_owned());
    let granting = Allocation { phase: Phase::Granting { job: None }, ..share(3, DEFAULTS) };
    let (world, mut home) =
        world_with(&[(1, &FIGURES), (4, &FIGURES)], vec![share(1, DEFAULTS), earlier, granting]);
    let seen = settle(&world, &mut home);
    let held: Vec<u64> = seen.shares.iter().map(|share| share.uid).collect();
    assert_eq!(held, [1, 2, 4]);
    assert!(fs::metadata(home.state_file()).is_ok());
}

/// Until 0.2 a share was its member's slice itself, with everything that they ran in it.
#[test]
fn a_share_of_0_1_goes_on_in_its_members_slice_until_it_is_given_back() {
    let world = World::start();
    let mut home = Home::new(&world);
    let own = u64::from(rustix::process::getuid().as_raw());
    let (slice, scope) = (format!("fairshare-{own}.slice"), format!("fairshare-{own}-run3.scope"));
    world.make_slice(&slice, &FIGURES);
    world.make_scope(&scope, &slice);
    world.pretend_processes(&scope, &[4_000_000]);
    home.set_state(vec![Allocation { in_share: true, ..share(own, DEFAULTS) }]);
    let before = world.unit(&slice);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let held = raw.status().0.unwrap();
    assert_eq!(held.standing().map(|standing| standing.unit.clone()), Some(slice.clone()));
    assert!(raw.healthy());
    assert_eq!(world.unit(&slice), before, "what was in order was touched");
    assert_eq!(world.unit(&self::slice(own)), None);
    // What is submitted runs in it, figures or not, as it did.
    let job = raw.started(&Call::Submit(Submit { cpu_milli: Some(500), ..submission() }));
    let service = format!("fairshare-{own}-job{job}.service");
    crate::poll::until("it to run", PATIENCE, || {
        world.unit(&service).filter(|unit| unit.active == "active").map(drop)
    });
    assert_eq!(raw.status().0.unwrap().allocations.unwrap().len(), 1);
    raw.granted(&resize_mem(128 << 20));
    assert_eq!(world.unit(&slice).unwrap().figure("MemoryMax"), Some(128 << 20));
    // Given back and taken anew it has a slice of its own.
    world.end_service(&service, 0);
    super::works::over(&mut raw, job);
    world.pretend_processes(&scope, &[]);
    crate::poll::until("it to be given back", PATIENCE, || {
        matches!(raw.ask(&release()), Ok(Answer::Released(_))).then_some(())
    });
    assert_eq!(world.unit(&slice), None);
    raw.granted(&request());
    assert!(world.unit(&self::slice(own)).is_some());
}

/// Without a state too: nobody else had scopes there.
#[test]
fn a_slice_with_scopes_of_0_1_is_adopted_as_it_is() {
    let world = World::start();
    let mut home = Home::new(&world);
    let slice = format!("fairshare-{DAEMON}.slice");
    let scope = format!("fairshare-{DAEMON}-run3.scope");
    world.make_slice(&slice, &FIGURES);
    world.make_scope(&scope, &slice);
    world.pretend_processes(&scope, &[4_000_000]);
    let seen = settle(&world, &mut home);
    let standing = seen.shares[0].standing().unwrap();
    assert_eq!((standing.unit.as_str(), standing.mem_bytes), (slice.as_str(), 64 << 20));
    assert!(seen.healthy);
}

/// What nobody holds anything in any more has no slice.
#[test]
fn a_members_slice_with_nothing_in_it_goes() {
    let world = World::start();
    let mut home = Home::new(&world);
    let slice = format!("fairshare-{DAEMON}.slice");
    world.make_slice(&slice, &FIGURES);
    let seen = settle(&world, &mut home);
    assert!(seen.shares.is_empty());
    assert_eq!(world.unit(&slice), None);
}
