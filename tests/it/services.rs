//! Services of `fairshare::systemd` against the stand-in.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use fairshare::identity::{JobId, Uid, UnitName};
use fairshare::systemd::{BusAddress, ServiceState, Systemd};

use futures_util::FutureExt as _;

use crate::stand_in::World;

/// More than the rules that dbus-daemon lets one connection have (`max_match_rules_per_connection`, 512).
const MANY: u64 = 600;

#[tokio::test]
async fn more_services_are_followed_than_one_connection_may_have_rules() {
    let world = World::start();
    let (systemd, _signals) =
        Systemd::connect(&BusAddress::At(world.bus_address().to_owned())).await.unwrap();
    let service = |job| UnitName::JobService(Uid::new(1001).unwrap(), JobId(job));
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
    let [one, other] = [1, 2].map(|job| UnitName::JobService(Uid::new(1001).unwrap(), JobId(job)));
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

#[tokio::test]
async fn a_service_whose_start_is_queued_is_not_gone() {
    let world = World::start();
    let (systemd, _signals) =
        Systemd::connect(&BusAddress::At(world.bus_address().to_owned())).await.unwrap();
    let service = UnitName::JobService(Uid::new(1001).unwrap(), JobId(1));
    assert_eq!(systemd.service_state(service).await.unwrap(), ServiceState::Gone);
    world.make_queued_service(&service.to_string());
    assert_eq!(systemd.service_state(service).await.unwrap(), ServiceState::Running);
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(4), what).await.unwrap()
}
