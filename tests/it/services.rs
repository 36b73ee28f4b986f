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
    tokio::time::timeout(Duration::from_secs(4), followed.last_mut().unwrap().next()).await.unwrap().unwrap();
    assert!(matches!(systemd.service_state(service(MANY)).await.unwrap(), ServiceState::Ended(_)));
    assert!(followed.first_mut().unwrap().next().now_or_never().is_none());
}
