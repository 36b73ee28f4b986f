//! What a daemon keeps of what is over.

use fairshare::contract::Amounts;

use super::harness::{Home, PATIENCE};
use super::raw::request;
use super::works::{over, service, submitted};
use crate::poll::until;
use crate::stand_in::World;

/// What the daemon has open, and its own memory in KiB.
pub(super) fn held_by(pid: u32) -> (usize, u64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let kib = resident.trim().trim_end_matches(" kB").parse().unwrap();
    (std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count(), kib)
}

/// The first fill what is bounded, like the jobs that are kept, and have the state written anew with them; half a KiB lost with each of the others is too much.
#[test]
fn many_commands_leave_nothing_in_the_daemon() {
    const FIRST: usize = 1500;
    const MORE: usize = 600;
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let mut run = |count| {
        for _ in 0..count {
            let id = submitted(&world, &mut raw, Amounts::default());
            world.end_service(&service(id), 0);
            over(&mut raw, id);
            until("the units to go", PATIENCE, || world.unit(&service(id)).is_none().then_some(()));
        }
    };
    run(FIRST);
    let (descriptors, kib) = held_by(daemon.pid());
    let mut held = vec![kib];
    let mut grows = || {
        run(MORE);
        let gone = || Some(held_by(daemon.pid())).filter(|(now, _)| *now <= descriptors);
        held.push(until("the descriptors to be closed", PATIENCE, gone).1);
        held.last_chunk().is_some_and(|[before, now]| *now > before + 256)
    };
    // One more thread takes as much once: what is lost is lost each time.
    let lost = (0..3).all(|_| grows());
    assert!(!lost, "{held:?} KiB after {FIRST}, and after {MORE} more each");
}
