//! A daemon that holds many shares.

use fairshare::testing::quantity::{Amount, Bytes, MilliCpu, Tasks};

use crate::harness::{Daemon, Home, share};
use crate::stand_in::World;

/// Whose the first of the shares is; the others' ids follow.
pub const FIRST_UID: u64 = 20_000;

/// A daemon with that many small shares in its state, and their slices in the world.
pub fn held(world: &World, count: u64) -> (Home, Daemon) {
    let mut home = Home::new(world);
    let amount = Amount { cpu: MilliCpu(10), mem: Bytes(4 << 20), tasks: Tasks(10) };
    let uids = FIRST_UID..FIRST_UID + count;
    let figures = [
        ("CPUQuotaPerSecUSec", 10_000),
        ("CPUWeight", 1),
        ("MemoryLow", 4 << 20),
        ("MemoryMax", 4 << 20),
        ("MemorySwapMax", 0),
        ("TasksMax", 10),
    ];
    for uid in uids.clone() {
        world.make_slice(&format!("fairshare-{uid}.slice"), &figures);
        world.make_slice(&format!("fairshare-{uid}-own.slice"), &figures);
    }
    home.set_state(uids.map(|uid| share(uid, amount)).collect());
    // As the unit has it.
    let daemon = home.activate_with(&[("WATCHDOG_USEC", "20000000")]);
    (home, daemon)
}
