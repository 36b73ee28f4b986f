//! Services of `fairshare::testing::systemd` against the stand-in.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use fairshare::testing::identity::{JobId, Uid, UnitName, Within};
use fairshare::testing::systemd::unit::CLEARED_AT_ONCE_MAX;
use fairshare::testing::systemd::{ActiveState, BusAddress, CALL_TIMEOUT, ServiceState, Systemd};

use futures_util::FutureExt as _;
use futures_util::future::join_all;

use crate::stand_in::{Verb, World};

/// More than the rules that dbus-daemon lets one connection have (`max_match_rules_per_connection`, 512).
const MANY: u64 = 600;

#[tokio::test]
async fn more_services_are_followed_than_one_connection_may_have_rules() {
    let world = World::start();
    let (systemd, _signals) =
        Systemd::connect(&BusAddress::At(world.bus_address().to_owned())).await.unwrap();
    let service = |job| UnitName::JobService(Uid::new(1001).unwrap(), Within::Share, JobId(job));
    let mut followed = Vec::new();
    for job in 1..=MANY {
        followed.push(systemd.follow(service(job)).await.unwrap());
    }
    world.make_service(&service(MANY).to_string());
    world.end_service(&service(MANY).to_string(), 0);
    // Each is told of its own only.
    soon(followed.last_mut().unwrap().next()).await.unwrap();
    assert!(matches!(systemd.service_state(service(MANY)).await.unwrap(), ServiceState::Ended(_)));
    assert!(followed.first_mut().unwrap().next().now_or_never().is_none());
}

#[tokio::test]
async fn who_follows_a_service_looks_at_it_when_it_may_have_ended() {
    let world = World::start();
    let (systemd, _signals) =
        Systemd::connect(&BusAddress::At(world.bus_address().to_owned())).await.unwrap();
    let [one, other] =
        [1, 2].map(|job| UnitName::JobService(Uid::new(1001).unwrap(), Within::Share, JobId(job)));
    let [mut of_one, mut of_other] =
        [systemd.follow(one).await.unwrap(), systemd.follow(other).await.unwrap()];
    [one, other].iter().for_each(|unit| world.make_service(&unit.to_string()));

    // That it goes on is no reason, and comes before what is a reason for another.
    world.say_changed(&one.to_string());
    world.end_service(&other.to_string(), 3);
    soon(of_other.next()).await.unwrap();
    let ServiceState::Ended(ended) = systemd.service_state(other).await.unwrap() else { panic!("it runs") };
    assert_eq!((ended.exit, ended.stopped), (Ok(3), false));
    assert!(of_one.next().now_or_never().is_none());

    // Of what ended while systemd read its configuration nobody may have been told.
    world.reload();
    soon(of_one.next()).await.unwrap();
    assert_eq!(systemd.service_state(one).await.unwrap(), ServiceState::Running);
}

/// dbus-daemon lets one connection wait for 128 answers (`max_replies_per_connection`), and refuses a call beyond that.
#[tokio::test]
async fn whoever_asks_while_many_do_is_answered() {
    let world = World::start();
    let (systemd, _signals) =
        Systemd::connect(&BusAddress::At(world.bus_address().to_owned())).await.unwrap();
    world.faults.delay("Get", Duration::from_millis(20));
    let answers = join_all((0..MANY).map(|_| systemd.active_state("fairshare-1001.slice"))).await;
    answers.into_iter().for_each(|answer| assert_eq!(answer.unwrap(), ActiveState::Inactive));
}

#[tokio::test]
async fn few_are_cleared_away_at_once_however_many_there_are() {
    let world = World::start();
    let (systemd, _signals) =
        Systemd::connect(&BusAddress::At(world.bus_address().to_owned())).await.unwrap();
    let services: Vec<UnitName> = (1..=20)
        .map(|job| UnitName::JobService(Uid::new(1001).unwrap(), Within::Share, JobId(job)))
        .collect();
    services.iter().for_each(|unit| world.make_service(&unit.to_string()));
    let held = world.faults.hold_job(Verb::Stop);
    let stops = || world.take_calls().iter().filter(|(method, _)| method == "StopUnit").count();
    let cleared = join_all(services.iter().map(|unit| systemd.clear(*unit, CALL_TIMEOUT)));
    let asked = async {
        let mut asked = 0;
        while asked < CLEARED_AT_ONCE_MAX {
            asked += stops();
            tokio::task::yield_now().await;
        }
        // What is answered now was asked after any further stop would have been.
        systemd.list().await.unwrap();
        assert_eq!(asked + stops(), CLEARED_AT_ONCE_MAX);
        world.faults.clear();
        drop(held);
    };
    let (cleared, ()) = tokio::join!(cleared, asked);
    cleared.into_iter().for_each(|cleared| cleared.unwrap());
    assert!(services.iter().all(|unit| world.unit(&unit.to_string()).is_none()));
}

#[tokio::test]
async fn a_service_whose_start_is_queued_is_not_gone() {
    let world = World::start();
    let (systemd, _signals) =
        Systemd::connect(&BusAddress::At(world.bus_address().to_owned())).await.unwrap();
    let service = UnitName::JobService(Uid::new(1001).unwrap(), Within::Share, JobId(1));
    assert_eq!(systemd.service_state(service).await.unwrap(), ServiceState::Gone);
    world.make_queued_service(&service.to_string());
    assert_eq!(systemd.service_state(service).await.unwrap(), ServiceState::Running);
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(4), what).await.unwrap()
}
