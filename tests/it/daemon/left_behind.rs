//! What work leaves in memory when its share goes is nobody's, and not free.

use fairshare::wire::error::Code;

use super::harness::{Home, PATIENCE};
use super::raw::request;
use super::systemd_faults::own_slice;
use crate::poll::until;
use crate::stand_in::World;

#[test]
fn files_in_memory_of_a_share_that_is_gone_are_not_free_until_they_are_removed() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let whole = raw.status().1;
    assert_eq!((whole.free_mem_bytes, whole.left_behind_bytes), (whole.mem_bytes, None));
    raw.granted(&request());
    let kept = |slice: &str, mib: u64| {
        world.write_cgroup_file(slice, "memory.stat", &format!("anon 0\nshmem {}\n", (mib << 20) + 4096));
    };
    let mib = whole.mem_bytes >> 20;
    kept(&own_slice(), mib);
    kept("fairshare.slice", mib);
    assert_eq!(raw.status().1.left_behind_bytes, None, "a share has it");
    assert!(raw.released());
    let left = raw.status().1;
    let free = whole.mem_bytes - (mib << 20);
    assert_eq!((left.left_behind_bytes, left.free_mem_bytes), (Some(mib << 20), free));
    raw.refused(&request(), Code::NoCapacity);
    // Another daemon finds it too.
    drop(raw);
    drop(daemon);
    let daemon = home.activate();
    let mut raw = daemon.client();
    until("it to be found", PATIENCE, || (raw.status().1.left_behind_bytes == Some(mib << 20)).then_some(()));
    kept("fairshare.slice", 0);
    until("it to be seen gone", PATIENCE, || {
        let now = raw.status().1;
        (now.left_behind_bytes.is_none() && now.free_mem_bytes == whole.mem_bytes).then_some(())
    });
}
