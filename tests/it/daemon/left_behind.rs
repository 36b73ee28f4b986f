//! What work leaves in memory when its share goes is nobody's, and not free.

use fairshare::contract::Amounts;
use fairshare::wire::error::Code;

use super::harness::{Home, PATIENCE};
use super::raw::request;
use super::systemd_faults::{own_slice, share_slice};
use super::works::{over, service, submitted};
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
    kept(&share_slice(), mib);
    kept("fairshare.slice", mib);
    assert_eq!(raw.status().1.left_behind_bytes, None, "an allocation has it");
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

/// What is charged to a member's slice around their allocations, and to none of these, was left by one that is over.
#[test]
fn what_one_command_leaves_behind_is_not_free_while_its_member_goes_on() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let id = submitted(&world, &mut raw, Amounts::default());
    let kept = |slice: &str, mib: u64| {
        world.write_cgroup_file(slice, "memory.stat", &format!("anon 0\nshmem {}\n", mib << 20));
    };
    kept(&own_slice(), 10);
    for around in [share_slice().as_str(), "fairshare.slice"] {
        kept(around, 110);
    }
    world.end_service(&service(id), 0);
    over(&mut raw, id);
    until("it to be found", PATIENCE * 2, || {
        (raw.status().1.left_behind_bytes == Some(100 << 20)).then_some(())
    });
}
