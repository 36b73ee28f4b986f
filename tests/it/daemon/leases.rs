//! Leases run on the clock, whatever else the daemon has to do.

use std::time::{Duration, Instant};

use fairshare::wire::call::{Amounts, Call};

use super::harness::{Home, PATIENCE};
use crate::stand_in::World;

#[test]
fn a_lease_ends_also_while_the_daemon_is_asked_without_a_pause() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let lease = Duration::from_millis(500);
    let began = Instant::now();
    raw.granted(&Call::RequestResources {
        amounts: Amounts::default(),
        lease_ms: Some(500),
        wait: None,
        for_uid: None,
    });
    // Each answer wakes the loop long before its next turn of its own.
    while raw.status().0.is_some() {
        assert!(began.elapsed() < PATIENCE, "the lease did not end");
    }
    assert!(began.elapsed() >= lease);
}
