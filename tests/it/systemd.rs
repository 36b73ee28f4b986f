//! `fairshare::testing::systemd` against the stand-in: what happens when systemd or the bus does not do its part.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::time::{Duration, Instant};

use fairshare::testing::enforced::{Enforced, EnforcedOfAll};
use fairshare::testing::identity::{FAIRSHARE_SLICE, Uid, UnitName, Within};
use fairshare::testing::quantity::{Amount, Bytes, MilliCpu, PartialAmount, Tasks};
use fairshare::testing::systemd::property::{self, Property};
use fairshare::testing::systemd::{
    ActiveState, BusAddress, CALL_TIMEOUT, Fault, Process, START_TIMEOUT, Signal, Signals, Started,
    StopResult, Systemd,
};

mod processes;

use crate::poll;
use crate::stand_in::{Verb, World};
use processes::Sleep;

const SHARE: &str = "fairshare-1001.slice";

/// Longer than anything that ends at once, and far under every deadline.
const PROMPT: Duration = Duration::from_secs(4);

fn uid() -> Uid {
    Uid::new(1001).unwrap()
}

fn share() -> UnitName {
    UnitName::Share(uid())
}

fn properties() -> Vec<Property> {
    of(Amount { cpu: MilliCpu(2000), mem: Bytes(8 << 30), tasks: Tasks(4096) })
}

fn of(amount: Amount) -> Vec<Property> {
    property::share(share(), "alice", &Enforced::promised(amount, Bytes(0)), MilliCpu(4000))
}

async fn connect(world: &World) -> (Systemd, Signals) {
    Systemd::connect(&BusAddress::At(world.bus_address().to_owned())).await.unwrap()
}

/// The next signal, at once.
async fn next(signals: &mut Signals) -> Signal {
    tokio::time::timeout(PROMPT, signals.next()).await.unwrap()
}

/// Lets every other task have its turn, many times over.
async fn turns() {
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
}

/// Waits until systemd has been asked for this.
async fn called(world: &World, method: &str) {
    poll::holds(method, || world.take_calls().iter().any(|(called, _)| called == method)).await;
}

#[tokio::test]
async fn a_share_is_made_once_and_then_set() {
    let world = World::start();
    let (systemd, _signals) = connect(&world).await;
    assert_eq!(systemd.start_slice(share(), &properties()).await.unwrap(), Started::New);
    assert_eq!(world.unit(SHARE).unwrap().active, "active");
    assert_eq!(world.cgroup_file(SHARE, "cpu.max").unwrap(), "200000 100000\n");
    world.take_calls();
    let amount = Amount { cpu: MilliCpu(500), mem: Bytes(1 << 30), tasks: Tasks(10) };
    let smaller = of(amount);
    assert_eq!(systemd.start_slice(share(), &smaller).await.unwrap(), Started::Existed);
    assert_eq!(world.cgroup_file(SHARE, "memory.max").unwrap(), "1073741824\n");
    let calls: Vec<String> = world.take_calls().into_iter().map(|(method, _)| method).collect();
    assert_eq!(calls, ["StartTransientUnit", "SetUnitProperties"]);
}

#[tokio::test]
async fn a_failed_unit_gives_its_name_back() {
    let world = World::start();
    let (systemd, _signals) = connect(&world).await;
    world.faults.fail_job(Verb::Start, "failed");
    let fault = systemd.start_slice(share(), &properties()).await.unwrap_err();
    assert!(matches!(&fault, Fault::JobFailed { result, .. } if result == "failed"), "{fault:?}");
    assert_eq!(
        fault.to_string(),
        "StartTransientUnit fairshare-1001.slice: the job ended with result \"failed\""
    );
    assert_eq!(world.unit(SHARE).unwrap().active, "failed");
    world.faults.clear();
    assert_eq!(systemd.start_slice(share(), &properties()).await.unwrap(), Started::New);
}

#[tokio::test]
async fn every_other_result_than_done_is_a_failure() {
    let world = World::start();
    let (systemd, _signals) = connect(&world).await;
    for result in ["canceled", "timeout", "failed", "dependency", "skipped"] {
        world.faults.fail_job(Verb::Start, result);
        let fault = systemd.start_slice(share(), &properties()).await.unwrap_err();
        assert!(matches!(&fault, Fault::JobFailed { result: said, .. } if said == result), "{fault:?}");
    }
}

#[tokio::test]
async fn a_share_that_is_being_stopped_is_not_started_again() {
    let world = World::start();
    let (systemd, _signals) = connect(&world).await;
    systemd.start_slice(share(), &properties()).await.unwrap();
    world.faults.never_end_job(Verb::Stop);
    let stopped = systemd.stop(share(), Duration::from_millis(50)).await;
    assert!(matches!(stopped, Err(Fault::Timeout { .. })), "{stopped:?}");
    let fault = systemd.start_slice(share(), &properties()).await.unwrap_err();
    assert!(fault.is_unit_exists(), "{fault:?}");
}

#[tokio::test]
async fn a_job_may_end_before_its_call_is_answered() {
    let world = World::start();
    let (systemd, _signals) = connect(&world).await;
    world.faults.end_job_before_reply(Verb::Start);
    assert_eq!(systemd.start_slice(share(), &properties()).await.unwrap(), Started::New);
}

#[tokio::test]
async fn a_slow_job_is_waited_for() {
    let world = World::start();
    let (systemd, _signals) = connect(&world).await;
    world.faults.delay_job(Verb::Start, Duration::from_millis(100));
    systemd.start_slice(share(), &properties()).await.unwrap();
    assert_eq!(world.unit(SHARE).unwrap().active, "active");
}

#[tokio::test]
async fn many_shares_at_once_do_not_mix_up_their_jobs() {
    let world = World::start();
    let (systemd, _signals) = connect(&world).await;
    let properties = properties();
    let starts = (1..=40).map(|uid| {
        let unit = UnitName::Share(Uid::new(uid).unwrap());
        systemd.start_slice(unit, &properties)
    });
    for started in futures_util::future::join_all(starts).await {
        assert_eq!(started.unwrap(), Started::New);
    }
    assert_eq!(systemd.list().await.unwrap().ours.len(), 40);
}

#[tokio::test]
async fn a_refusal_has_systemds_own_words() {
    let world = World::start();
    let (systemd, _signals) = connect(&world).await;
    world.faults.error("StartTransientUnit", "org.freedesktop.DBus.Error.AccessDenied", "No.");
    let fault = systemd.start_slice(share(), &properties()).await.unwrap_err();
    assert_eq!(
        fault.to_string(),
        "StartTransientUnit fairshare-1001.slice: systemd says \"No.\" (org.freedesktop.DBus.Error.AccessDenied)"
    );
}

/// Waits until nothing but a deadline can end the call, and then lets the clock jump there.
async fn at_the_deadline<T>(call: impl Future<Output = T>) -> T {
    // Long enough for the stand-in to have done all that it is going to do.
    let settled = Duration::from_millis(300);
    tokio::pin!(call);
    if let Ok(done) = tokio::time::timeout(settled, &mut call).await {
        return done;
    }
    tokio::time::pause();
    let done = call.await;
    tokio::time::resume();
    done
}

#[tokio::test]
async fn a_job_that_never_ends_is_given_up() {
    let world = World::start();
    let (systemd, _signals) = connect(&world).await;
    world.faults.never_end_job(Verb::Start);
    let fault = at_the_deadline(systemd.start_slice(share(), &properties())).await.unwrap_err();
    assert!(matches!(&fault, Fault::Timeout { after, .. } if *after == START_TIMEOUT), "{fault:?}");
    assert_eq!(fault.to_string(), "StartTransientUnit fairshare-1001.slice: no outcome after 15s");
}

#[tokio::test]
async fn a_lost_reply_is_a_timeout_and_the_work_was_done() {
    let world = World::start();
    let (systemd, _signals) = connect(&world).await;
    world.faults.lose_reply("StartTransientUnit");
    let fault = at_the_deadline(systemd.start_slice(share(), &properties())).await.unwrap_err();
    assert!(matches!(&fault, Fault::Timeout { after, .. } if *after == CALL_TIMEOUT), "{fault:?}");
    // The caller finds out by asking.
    assert_eq!(systemd.active_state(SHARE).await.unwrap(), ActiveState::Active);
}

#[tokio::test]
async fn a_slow_call_holds_up_no_other() {
    let world = World::start();
    let (systemd, _signals) = connect(&world).await;
    world.faults.delay("StartTransientUnit", Duration::from_secs(3600));
    let properties = properties();
    let slow = systemd.start_slice(share(), &properties);
    tokio::pin!(slow);
    tokio::select! {
        _ = &mut slow => panic!("it is slow"),
        listed = systemd.list() => assert!(listed.unwrap().ours.is_empty()),
    }
    let fault = at_the_deadline(slow).await.unwrap_err();
    assert!(matches!(fault, Fault::Timeout { .. }));
}

#[tokio::test]
async fn whoever_waits_when_the_bus_dies_is_told_at_once() {
    let mut world = World::start();
    let (systemd, mut signals) = connect(&world).await;
    world.faults.never_end_job(Verb::Start);
    world.faults.lose_reply("ListUnitsByPatterns");
    let began = Instant::now();
    let properties = properties();
    let (job, call, closed, ()) = tokio::join!(
        systemd.start_slice(share(), &properties),
        systemd.list(),
        tokio::time::timeout(PROMPT, systemd.closed()),
        async {
            called(&world, "ListUnitsByPatterns").await;
            world.kill_bus();
        }
    );
    assert!(began.elapsed() < PROMPT);
    assert!(matches!(job, Err(Fault::Bus { .. })), "{job:?}");
    assert!(matches!(call, Err(Fault::Bus { .. })), "{call:?}");
    assert!(closed.is_ok());
    assert_eq!(next(&mut signals).await, Signal::BusLost);
    assert!(tokio::time::timeout(Duration::from_millis(20), signals.next()).await.is_err());
    assert!(matches!(systemd.list().await, Err(Fault::Bus { .. })));
    assert!(began.elapsed() < PROMPT);

    world.restart_bus();
    let (systemd, _signals) = connect(&world).await;
    world.faults.clear();
    assert_eq!(systemd.list().await.unwrap().ours.len(), 1);
}

#[tokio::test]
async fn no_bus_and_no_systemd_are_faults_of_the_bus() {
    let mut world = World::start_without_systemd();
    let address = BusAddress::At(world.bus_address().to_owned());
    let absent = Systemd::connect(&address).await.map(drop);
    assert!(matches!(absent, Err(Fault::Bus { .. })), "{absent:?}");
    world.kill_bus();
    let dead = Systemd::connect(&address).await.map(drop);
    assert!(matches!(dead, Err(Fault::Bus { .. })), "{dead:?}");
    let nonsense = Systemd::connect(&BusAddress::At("nonsense".to_owned())).await.map(drop);
    assert!(matches!(nonsense, Err(Fault::Bus { .. })), "{nonsense:?}");
}

#[tokio::test]
async fn when_systemd_re_executes_calls_wait_and_signals_come_again() {
    let world = World::start();
    let (systemd, mut signals) = connect(&world).await;
    systemd.start_slice(share(), &properties()).await.unwrap();
    world.vanish();
    assert_eq!(next(&mut signals).await, Signal::Reloading(true));
    let (listed, ()) = tokio::join!(systemd.list(), async {
        // The call is on its way by now: both futures are polled in turn, this one last.
        tokio::task::yield_now().await;
        world.come_back();
    });
    assert_eq!(listed.unwrap().ours.len(), 1);
    assert_eq!(next(&mut signals).await, Signal::Reloading(false));
    // Without a new subscription neither of these would end well.
    assert_eq!(systemd.stop(share(), PROMPT).await.unwrap(), StopResult::Stopped);
    assert_eq!(next(&mut signals).await, Signal::UnitRemoved(share()));
}

#[tokio::test]
async fn a_reload_removes_nothing() {
    let world = World::start();
    let (systemd, mut signals) = connect(&world).await;
    systemd.start_slice(share(), &properties()).await.unwrap();
    world.reload();
    assert_eq!(next(&mut signals).await, Signal::Reloading(true));
    assert_eq!(next(&mut signals).await, Signal::Reloading(false));
    world.remove_unit(SHARE);
    assert_eq!(next(&mut signals).await, Signal::UnitRemoved(share()));
}

#[tokio::test]
async fn nobody_else_on_the_bus_can_pass_for_systemd() {
    let world = World::start();
    let (systemd, mut signals) = connect(&world).await;
    world.faults.never_end_job(Verb::Start);
    let somebody = zbus::connection::Builder::address(world.bus_address()).build().await.unwrap();
    let properties = properties();
    let forged = async {
        let (path, manager) = ("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager");
        let job = zbus::OwnedObjectPath::try_from(format!("{path}/job/1")).unwrap();
        called(&world, "StartTransientUnit").await;
        for number in 1..20 {
            // To whoever is on the bus: our own connection is one of these.
            let to = format!(":1.{number}");
            let removed = &(1u32, job.clone(), SHARE, "done");
            let gone = &(SHARE, job.clone());
            let _ = somebody.emit_signal(Some(to.as_str()), path, manager, "JobRemoved", removed).await;
            let _ = somebody.emit_signal(Some(to.as_str()), path, manager, "UnitRemoved", gone).await;
        }
    };
    let seen = async {
        forged.await;
        // The bus keeps the order: what it answers after this came to us after everything forged.
        somebody
            .call_method(Some("org.freedesktop.DBus"), "/", Some("org.freedesktop.DBus"), "GetId", &())
            .await
            .unwrap();
        systemd.list().await.unwrap();
        turns().await;
    };
    tokio::select! {
        started = systemd.start_slice(share(), &properties) => panic!("believed it: {started:?}"),
        signal = signals.next() => panic!("believed it: {signal:?}"),
        () = seen => (),
    }
}

#[tokio::test]
async fn signals_that_are_not_taken_are_said_to_be_lost() {
    let world = World::start();
    let (systemd, mut signals) = connect(&world).await;
    let mut told = 0;
    for uid in 0..1100 {
        world.say_removed(&format!("fairshare-{uid}.slice"));
    }
    systemd.list().await.unwrap();
    // The list was answered after all the signals were sent; the reader has them as soon as it had its turn.
    turns().await;
    while let Ok(Signal::UnitRemoved(_)) =
        tokio::time::timeout(Duration::from_millis(100), signals.next()).await
    {
        told += 1;
    }
    assert_eq!(told, 1024);
    world.say_removed(SHARE);
    assert_eq!(next(&mut signals).await, Signal::Lagged);
    assert_eq!(next(&mut signals).await, Signal::UnitRemoved(share()));
}

#[tokio::test]
async fn stopping_what_is_not_there_is_done_already() {
    let world = World::start();
    let (systemd, _signals) = connect(&world).await;
    assert_eq!(systemd.stop(share(), PROMPT).await.unwrap(), StopResult::NotThere);
    systemd.reset_failed(share()).await.unwrap();
}

#[tokio::test]
async fn stopping_a_share_ends_everything_in_it() {
    let world = World::start();
    let (systemd, _signals) = connect(&world).await;
    systemd.start_slice(share(), &properties()).await.unwrap();
    let mut sleep = Sleep::start();
    let unit = UnitName::Run(uid(), Within::Share, 1);
    let process = Process { pid: sleep.0.id(), pidfd: None };
    systemd.start_scope(unit, &property::scope(unit, "sleep"), &[process]).await.unwrap();
    assert_eq!(systemd.stop(share(), PROMPT).await.unwrap(), StopResult::Stopped);
    assert!(!sleep.0.wait().unwrap().success());
    assert_eq!(world.unit(SHARE), None);
    assert_eq!(world.cgroup_file(SHARE, "cgroup.events"), None);
}

#[tokio::test]
async fn the_list_has_ours_and_what_only_looks_like_it() {
    let world = World::start();
    let (systemd, _signals) = connect(&world).await;
    systemd.start_slice(share(), &properties()).await.unwrap();
    for name in ["fairshare-007.slice", "fairshare-1002-job3.slice", "system.slice"] {
        world.make_slice(name, &[("MemoryMax", 1 << 20)]);
    }
    let listing = systemd.list().await.unwrap();
    // The share of 1002 is there because its job's slice is below it.
    let units: Vec<String> = listing.ours.iter().map(|listed| listed.unit.to_string()).collect();
    assert_eq!(units, [SHARE, "fairshare-1002.slice", "fairshare-1002-job3.slice"]);
    assert_eq!(listing.ours[0].description, "fairshare: share of alice (1001)");
    assert!(listing.ours.iter().all(|listed| listed.active == ActiveState::Active));
    assert_eq!(listing.strangers, ["fairshare-007.slice"]);
}

#[tokio::test]
async fn declared_limits_are_of_units_that_exist() {
    let world = World::start();
    let (systemd, _signals) = connect(&world).await;
    assert_eq!(systemd.limits(SHARE).await.unwrap(), None);
    systemd.start_slice(share(), &properties()).await.unwrap();
    let limits = systemd.limits(SHARE).await.unwrap().unwrap();
    assert_eq!(limits.cpu, Some(MilliCpu(2000)));
    assert_eq!(limits.mem, Some(Bytes(8 << 30)));
    assert_eq!(limits.swap, Some(Bytes(0)));
    assert_eq!(limits.tasks, Some(Tasks(4096)));
    let top = systemd.limits(FAIRSHARE_SLICE).await.unwrap().unwrap();
    assert_eq!((top.cpu, top.mem), (None, None));
    let bounds =
        PartialAmount { cpu: Some(MilliCpu(15_000)), mem: Some(Bytes(62 << 30)), tasks: Some(Tasks(7)) };
    systemd
        .set_properties(
            FAIRSHARE_SLICE,
            &property::capacity(&EnforcedOfAll { most: bounds, ..EnforcedOfAll::default() }),
        )
        .await
        .unwrap();
    let top = systemd.limits(FAIRSHARE_SLICE).await.unwrap().unwrap();
    assert_eq!((top.cpu, top.mem, top.tasks), (bounds.cpu, bounds.mem, bounds.tasks));
}

#[tokio::test]
async fn an_unknown_property_is_refused() {
    let world = World::start();
    let (systemd, _signals) = connect(&world).await;
    systemd.start_slice(share(), &properties()).await.unwrap();
    let nonsense = [Property { name: "MemoryMaxx", value: property::Value::U64(1) }];
    let fault = systemd.set_properties(SHARE, &nonsense).await.unwrap_err();
    assert!(fault.is_unknown_property(), "{fault:?}");
}

/// That calls can be made from tasks is a promise to the daemon.
#[test]
fn calls_can_be_made_from_any_task() {
    fn sendable<T: Send>(_: T) {}
    #[allow(clippy::let_underscore_future, reason = "only its type is of interest")]
    fn of(systemd: &Systemd) {
        sendable(systemd.start_slice(share(), &[]));
        sendable(systemd.start_scope(share(), &[], &[]));
        sendable(systemd.stop(share(), PROMPT));
        sendable(systemd.list());
        sendable(systemd.limits(SHARE));
    }
    let _ = of;
}
