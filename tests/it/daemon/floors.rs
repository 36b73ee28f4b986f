//! What is promised is held against everybody: shares together against logins and services, and each against the others.

use fairshare::contract::{Amounts, Call, Reload, RequestResources, Resize};

use super::degraded::FIGURES;
use super::harness::{DEFAULTS, Daemon, Home, PATIENCE, share};
use super::raw::request;
use super::systemd_faults::own_slice;
use crate::poll::until;
use crate::stand_in::World;

/// Two CPUs of which one and a half are handed out.
const SITE: &str = "defaults: {cpu: 1, mem: 64M, tasks: 100}\nmax: {cpu: 2, mem: 256M, tasks: 1000}\n\
    reserve: {cpu: 0.5}\n";

const ALL: &str = "fairshare.slice";

/// A machine with logins and services, and the daemon on it.
fn beside_others() -> (World, Home, Daemon) {
    let world = World::start();
    for slice in ["system.slice", "user.slice"] {
        world.make_slice(slice, &[("CPUWeight", 100)]);
    }
    let mut home = Home::new(&world);
    home.set_policy(SITE);
    home.set_cpus("0-1");
    let daemon = home.activate();
    (world, home, daemon)
}

fn weighs(world: &World, weight: &str) {
    until("the weight of all shares", PATIENCE, || {
        (world.cgroup_file(ALL, "cpu.weight")?.trim_end() == weight).then_some(())
    });
}

#[test]
fn all_shares_together_weigh_what_the_capacity_takes_beside_the_others() {
    let (world, home, daemon) = beside_others();
    let mut raw = daemon.client();
    raw.granted(&request());
    // 200 beside: three quarters of the machine are theirs with three times as much.
    weighs(&world, "600");
    let unit = world.unit(ALL).unwrap();
    assert_eq!(unit.figure("MemoryLow"), Some(raw.status().1.mem_bytes));
    assert_eq!(unit.figure("CPUQuotaPeriodUSec"), Some(20_000));
    let own = world.unit(&own_slice()).unwrap();
    let promised = [own.figure("CPUWeight"), own.figure("MemoryLow"), own.figure("IOWeight")];
    assert_eq!(promised, [Some(100), Some(64 << 20), Some(67)]);

    // An admin gives the services more: the next grant has all shares weigh more too.
    world.write_cgroup_file("system.slice", "cpu.weight", "500");
    let quarter = Amounts { cpu_milli: Some(250), ..Amounts::default() };
    raw.granted(&Call::RequestResources(RequestResources {
        for_uid: Some(1),
        ..RequestResources::of(quarter)
    }));
    weighs(&world, "1800");
    // Of one CPU less, half a CPU is left: as much as the others have.
    home.set_cpus("0");
    raw.status();
    weighs(&world, "600");
}

#[test]
fn what_somebody_took_from_a_promise_is_given_back() {
    for (file, instead, promised) in [("cpu.weight", "1", "100"), ("memory.low", "0", "67108864")] {
        let world = World::start();
        let mut home = Home::new(&world);
        world.make_slice(&own_slice(), &FIGURES);
        let uid = u64::from(rustix::process::getuid().as_raw());
        home.set_state(vec![share(uid, DEFAULTS)]);
        world.write_cgroup_file(&own_slice(), file, instead);
        let daemon = home.activate();
        assert!(daemon.client().healthy());
        assert_eq!(world.cgroup_file(&own_slice(), file).unwrap().trim_end(), promised, "{file}");
    }
}

/// The reserve is kept however many times the rest is handed out, and so is the memory that the system runs on.
#[test]
fn what_is_handed_out_twice_starves_nobody() {
    let (world, home, daemon) = beside_others();
    let mut raw = daemon.client();
    raw.granted(&request());
    let site = SITE.replace("{cpu: 0.5}", "{cpu: 0.5, mem: 0}");
    home.set_policy(&format!("{site}overcommit: {{cpu: 2, mem: 2}}\n"));
    raw.ask(&Call::Reload(Reload {})).unwrap();
    let status = raw.status().1;
    assert_eq!(status.cpu_milli, 3500);
    until("the bound of all shares", PATIENCE, || {
        let unit = world.unit(ALL)?;
        let low = unit.figure("MemoryLow")?;
        (unit.figure("CPUQuotaPerSecUSec") == Some(1_500_000) && low < status.mem_bytes / 2).then_some(())
    });
    weighs(&world, "600");
}

#[test]
fn what_is_lent_is_told_and_follows_a_resize() {
    let (_world, home, daemon) = beside_others();
    let mut raw = daemon.client();
    home.set_policy(&format!("{SITE}burst: {{cpu: 1.25}}\n"));
    raw.ask(&Call::Reload(Reload {})).unwrap();
    assert_eq!(raw.granted(&request()).burst_cpu_milli, Some(1250));
    for (cpu, burst) in [(1500, None), (500, Some(1250))] {
        let to = Amounts { cpu_milli: Some(cpu), ..Amounts::default() };
        let answered = raw.granted(&Call::Resize(Resize { for_uid: None, ..Resize::of(to) }));
        assert_eq!((answered.cpu_milli, answered.burst_cpu_milli), (cpu, burst));
        assert_eq!(raw.status().0.unwrap().burst_cpu_milli, burst);
    }
}
