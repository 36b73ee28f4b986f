//! `fairshare::testing::cgroup` on a made-up tree: what the kernel would have to be very wrong to show.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use fairshare::testing::cgroup::{CgroupFault, Cgroups, Group, Pressures, Spent, Usage};
use fairshare::testing::enforced::{Enforced, Limit};
use fairshare::testing::identity::{JobId, Uid, UnitName, Within};
use fairshare::testing::quantity::{Amount, Bytes, MilliCpu, PartialAmount, Tasks};
use fairshare::testing::systemd::{BusAddress, Systemd, property};
use tempfile::TempDir;

use crate::poll;
use crate::stand_in::World;

const FILES: [(&str, &str); 15] = [
    ("cgroup.events", "populated 1\nfrozen 0\n"),
    ("cgroup.procs", ""),
    ("cpu.max", "150000 100000\n"),
    ("cpu.stat", "usage_usec 1234567\nuser_usec 1000000\nsystem_usec 234567\n"),
    ("cpu.pressure", "some avg10=1.50 avg60=0.00 avg300=0.00 total=7\n"),
    ("cpu.weight", "150\n"),
    ("memory.current", "409600\n"),
    ("memory.events", "low 0\nhigh 0\nmax 9\noom 1\noom_kill 2\noom_group_kill 0\n"),
    ("memory.low", "4294967296\n"),
    ("memory.max", "8589934592\n"),
    ("memory.peak", "819200\n"),
    ("memory.stat", "anon 100000\nfile 250000\nkernel 50000\nkernel_stack 9\nsock 1000\nshmem 7000\n"),
    ("memory.swap.max", "0\n"),
    ("pids.current", "3\n"),
    ("pids.max", "4096\n"),
];

struct Tree {
    root: TempDir,
    cgroups: Cgroups,
}

fn share(uid: u64) -> UnitName {
    UnitName::Share(Uid::new(uid).unwrap())
}

impl Tree {
    fn new() -> Self {
        let root = TempDir::new().unwrap();
        let cgroups = Cgroups::open(root.path()).unwrap();
        Self { root, cgroups }
    }

    fn with(unit: UnitName) -> Self {
        let tree = Self::new();
        tree.make(unit);
        tree
    }

    fn path(&self, unit: UnitName) -> PathBuf {
        self.root.path().join(unit.cgroup_path())
    }

    fn make(&self, unit: UnitName) {
        std::fs::create_dir_all(self.path(unit)).unwrap();
        for (file, content) in FILES {
            self.write(unit, file, content);
        }
    }

    fn write(&self, unit: UnitName, file: &str, content: &str) {
        std::fs::write(self.path(unit).join(file), content).unwrap();
    }

    fn remove(&self, unit: UnitName, file: &str) {
        std::fs::remove_file(self.path(unit).join(file)).unwrap();
    }
}

#[test]
fn limits_and_use_as_the_kernel_writes_them() {
    let tree = Tree::with(share(7));
    let limits = tree.cgroups.limits(share(7)).unwrap().unwrap();
    assert_eq!(limits.cpu, Some(Limit::At(MilliCpu(1500))));
    assert_eq!(limits.mem, Some(Limit::At(Bytes(8 << 30))));
    assert_eq!(limits.swap, Some(Limit::At(Bytes(0))));
    assert_eq!(limits.tasks, Some(Limit::At(Tasks(4096))));
    assert_eq!((limits.weight, limits.low), (Some(150), Some(Limit::At(Bytes(4 << 30)))));
    let usage = Usage {
        cpu_usec: 1_234_567,
        mem: Bytes(409_600),
        needed: Some(Bytes(158_000)),
        tasks: Tasks(3),
        oom_kills: 2,
        pressures: Pressures { cpu: Some(150), mem: None },
    };
    assert_eq!(tree.cgroups.usage(share(7)).unwrap(), Some(usage));
    // Before Linux 5.18, and without the controller.
    let untold = Some(Usage { needed: None, ..usage });
    tree.write(share(7), "memory.stat", "anon 100000\nfile 250000\nkernel_stack 9\nsock 1000\nshmem 7000\n");
    assert_eq!(tree.cgroups.usage(share(7)).unwrap(), untold);
    tree.remove(share(7), "memory.stat");
    assert_eq!(tree.cgroups.usage(share(7)).unwrap(), untold);
    assert_eq!(tree.cgroups.populated(share(7)).unwrap(), Some(true));
    assert_eq!(tree.cgroups.pressures(share(7)).unwrap(), Some(usage.pressures));
    let spent = Spent { cpu_usec: usage.cpu_usec, mem_peak: Some(Bytes(819_200)), oom_kills: 2 };
    assert_eq!(tree.cgroups.spent(share(7)).unwrap(), Some(spent));
    tree.remove(share(7), "memory.peak");
    let spent = Spent { mem_peak: None, ..spent };
    assert_eq!(tree.cgroups.spent(share(7)).unwrap(), Some(spent), "before Linux 5.19");
    assert_eq!(tree.cgroups.memory(share(7)).unwrap(), Some(usage.mem));
    assert_eq!(tree.cgroups.tasks(share(7)).unwrap(), Some(usage.tasks));
    assert_eq!(tree.cgroups.oom_kills(share(7)).unwrap(), Some(usage.oom_kills));
}

#[test]
fn what_is_in_no_allocation_is_left_behind() {
    let uid = |raw| share(raw).uid();
    let (own, job) = (UnitName::Own(uid(7)), UnitName::JobSlice(uid(7), Within::Share, JobId(1)));
    let tree = Tree::with(own);
    tree.make(job);
    // What is charged to a member's slice and to none of these is nobody's either; the work of 0.1 was there, in scopes.
    tree.make(share(7));
    std::fs::write(tree.path(share(7)).join("memory.stat"), "anon 9\nshmem 99000\n").unwrap();
    let all = tree.path(share(7)).parent().unwrap().to_owned();
    let has = |bytes: u64| {
        for (file, content) in FILES {
            std::fs::write(all.join(file), content).unwrap();
        }
        std::fs::write(all.join("memory.stat"), format!("anon 9\nshmem {bytes}\n")).unwrap();
    };
    has(20_000);
    assert_eq!(tree.cgroups.files_in_memory(own).unwrap(), Bytes(7000));
    assert_eq!(tree.cgroups.left_behind().unwrap(), Bytes(6000));
    tree.make(share(9));
    std::fs::create_dir(tree.path(share(9)).join("fairshare-9-run1.scope")).unwrap();
    has(30_000);
    assert_eq!(tree.cgroups.left_behind().unwrap(), Bytes(9000));
    // Read one after the other: never less than nothing.
    has(13_000);
    assert_eq!(tree.cgroups.left_behind().unwrap(), Bytes(0));
}

#[test]
fn no_such_cgroup_is_no_error() {
    let tree = Tree::new();
    assert_eq!(tree.cgroups.limits(share(7)).unwrap(), None);
    assert_eq!(tree.cgroups.limits(Group::All).unwrap(), None);
    assert_eq!(tree.cgroups.usage(share(7)).unwrap(), None);
    assert_eq!(tree.cgroups.memory(share(7)).unwrap(), None);
    assert_eq!(tree.cgroups.tasks(share(7)).unwrap(), None);
    assert_eq!(tree.cgroups.oom_kills(share(7)).unwrap(), None);
    assert_eq!(tree.cgroups.populated(share(7)).unwrap(), None);
    assert_eq!(tree.cgroups.files_in_memory(share(7)).unwrap(), Bytes(0));
    assert_eq!(tree.cgroups.left_behind().unwrap(), Bytes(0));
    assert_eq!(tree.cgroups.pressures(share(7)).unwrap(), None);
    assert_eq!(tree.cgroups.spent(share(7)).unwrap(), None);
    assert_eq!(tree.cgroups.pids(share(7), 10).unwrap(), Vec::<u32>::new());
}

#[test]
fn a_cgroup_that_goes_away_while_it_is_read_is_gone() {
    let tree = Tree::with(share(7));
    // What is left to see of a removed cgroup through a handle: nothing, not even the file that all have.
    for (file, _) in FILES {
        tree.remove(share(7), file);
    }
    assert_eq!(tree.cgroups.usage(share(7)).unwrap(), None);
    assert_eq!(tree.cgroups.limits(share(7)).unwrap(), None);
}

#[test]
fn a_controller_that_is_off_has_no_limit_to_hold() {
    let tree = Tree::with(share(7));
    for file in ["memory.max", "memory.swap.max"] {
        tree.remove(share(7), file);
    }
    let limits = tree.cgroups.limits(share(7)).unwrap().unwrap();
    assert_eq!((limits.mem, limits.swap), (None, None));
    let capacity =
        PartialAmount { cpu: Some(MilliCpu(1500)), mem: Some(Bytes(4096)), ..PartialAmount::default() };
    let difference = limits.hold_most(capacity).unwrap_err();
    assert_eq!(difference.to_string(), "memory.max is missing, not 4096");
    let cpu = |milli| PartialAmount { cpu: Some(MilliCpu(milli)), ..PartialAmount::default() };
    assert_eq!(limits.hold_most(cpu(1500)), Ok(()));
    let difference = limits.hold_most(cpu(500)).unwrap_err();
    assert_eq!(difference.to_string(), "cpu.max is 1.5 CPU, not 0.5 CPU");
    tree.remove(share(7), "memory.current");
    let error = tree.cgroups.usage(share(7)).unwrap_err();
    assert!(matches!(&error, CgroupFault::Io { path, .. } if path.ends_with("memory.current")), "{error:?}");
}

#[test]
fn no_limit_is_max() {
    let tree = Tree::with(share(7));
    for (file, content) in [
        ("cpu.max", "max 100000\n"),
        ("memory.max", "max\n"),
        ("memory.swap.max", "max\n"),
        ("pids.max", "max\n"),
    ] {
        tree.write(share(7), file, content);
    }
    let limits = tree.cgroups.limits(share(7)).unwrap().unwrap();
    assert_eq!((limits.cpu, limits.mem), (Some(Limit::Max), Some(Limit::Max)));
    assert_eq!((limits.swap, limits.tasks), (Some(Limit::Max), Some(Limit::Max)));
}

#[test]
fn what_is_not_understood_is_named_with_its_path() {
    let huge = "9".repeat(5000);
    for content in
        ["", "\n", "garbage\n", "-1\n", "99999999999999999999999\n", "4096", "4096\n\n", huge.as_str()]
    {
        let tree = Tree::with(share(7));
        tree.write(share(7), "memory.max", content);
        let read = tree.cgroups.limits(share(7));
        if content == "4096" {
            assert_eq!(read.unwrap().unwrap().mem, Some(Limit::At(Bytes(4096))));
            continue;
        }
        let said = read.unwrap_err().to_string();
        assert!(said.contains("fairshare.slice/fairshare-7.slice/memory.max"), "{said}");
        assert!(said.len() < 400, "{said}");
    }
}

#[test]
fn bytes_that_are_no_text_are_not_understood() {
    let tree = Tree::with(share(7));
    for file in ["cpu.stat", "memory.events", "memory.current", "pids.current"] {
        std::fs::write(tree.path(share(7)).join(file), [0xff, 0xfe, 0]).unwrap();
        let error = tree.cgroups.usage(share(7)).unwrap_err();
        assert!(matches!(&error, CgroupFault::Content { path, .. } if path.ends_with(file)), "{error:?}");
        tree.make(share(7));
    }
}

#[test]
fn links_are_not_followed() {
    let tree = Tree::with(share(7));
    std::os::unix::fs::symlink(tree.path(share(7)), tree.path(share(8))).unwrap();
    assert!(tree.cgroups.limits(share(8)).is_err());
    tree.remove(share(7), "memory.max");
    std::os::unix::fs::symlink("/proc/self/limits", tree.path(share(7)).join("memory.max")).unwrap();
    assert!(tree.cgroups.limits(share(7)).is_err());
}

#[test]
fn processes_are_found_below_and_no_more_than_asked_for() {
    let tree = Tree::with(share(7));
    let run = UnitName::Run(Uid::new(7).unwrap(), Within::Own, 1);
    tree.make(run);
    tree.write(run, "cgroup.procs", "10\n11\n");
    let deeper = tree.path(run).join("made/by/the/job");
    std::fs::create_dir_all(&deeper).unwrap();
    std::fs::write(deeper.join("cgroup.procs"), "12\n0\n13").unwrap();
    let mut pids = tree.cgroups.pids(share(7), 10).unwrap();
    pids.sort_unstable();
    assert_eq!(pids, [10, 11, 12, 13]);
    assert_eq!(tree.cgroups.pids(share(7), 3).unwrap().len(), 3);
    assert_eq!(tree.cgroups.pids(share(7), 0).unwrap().len(), 0);
    let many: String = (1..=5000).map(|pid| format!("{pid}\n")).collect();
    tree.write(run, "cgroup.procs", &many);
    assert_eq!(tree.cgroups.pids(run, 5000).unwrap(), (1..=5000).collect::<Vec<u32>>());
}

#[test]
fn only_a_directory_is_a_tree() {
    let tree = Tree::new();
    assert!(matches!(Cgroups::open(&tree.root.path().join("none")), Err(CgroupFault::Io { .. })));
    assert!(Cgroups::open(std::path::Path::new("/dev/null")).is_err());
}

#[test]
fn two_hundred_shares_are_read_in_no_time() {
    let tree = Tree::new();
    for uid in 0..200 {
        tree.make(share(uid));
    }
    let timed = |read: &dyn Fn(UnitName)| {
        let began = Instant::now();
        (0..200).for_each(|uid| read(share(uid)));
        began.elapsed()
    };
    // The quickest of five, each beside the same files read as plainly as they can be: a stall falls on either.
    let rounds = (0..5).map(|_| {
        let plain = timed(&|unit| {
            for (file, _) in FILES {
                std::fs::read_to_string(tree.path(unit).join(file)).unwrap();
            }
        });
        let ours = timed(&|unit| {
            tree.cgroups.limits(unit).unwrap().unwrap();
            tree.cgroups.usage(unit).unwrap().unwrap();
        });
        (ours, plain)
    });
    let (ours, plain): (Vec<_>, Vec<_>) = rounds.unzip();
    let (ours, plain) = (ours.into_iter().min().unwrap(), plain.into_iter().min().unwrap());
    println!("200 shares: {ours:?}, plainly read {plain:?}");
    // Five times what it is here: only a mistake of another order is caught, not a busy machine.
    assert!(ours < plain * 10, "{ours:?}, and {plain:?} where the files are only read");
}

#[tokio::test]
async fn what_the_kernel_holds_is_seen_whatever_systemd_says() {
    let world = World::start();
    let cgroups = Cgroups::open(&world.cgroup_root()).unwrap();
    let address = BusAddress::At(world.bus_address().to_owned());
    let (systemd, _signals) = Systemd::connect(&address).await.unwrap();
    let of = |gib: u64| {
        let most = Amount { cpu: MilliCpu(2000), mem: Bytes(gib << 30), tasks: Tasks(4096) };
        Enforced::promised(most, Bytes(0))
    };
    let limits_of = |gib: u64| property::limits(&of(gib), MilliCpu(4000));
    let limits = || cgroups.limits(share(7)).unwrap().unwrap();
    systemd.start_slice(share(7), &limits_of(8)).await.unwrap();
    limits().hold(&of(8)).unwrap();
    assert_eq!(cgroups.populated(share(7)).unwrap(), Some(false));
    let pressures = Pressures { cpu: Some(0), mem: Some(0) };
    let idle = Usage { needed: Some(Bytes(0)), pressures, ..Usage::default() };
    assert_eq!(cgroups.usage(share(7)).unwrap(), Some(idle));

    world.faults.kernel_holds("memory.max", "8589934592");
    let name = share(7).to_string();
    systemd.set_properties(&name, &limits_of(4)).await.unwrap();
    let difference = limits().hold(&of(4)).unwrap_err();
    assert_eq!(difference.to_string(), "memory.max is 8589934592, not 4294967296");

    world.faults.clear();
    world.faults.kernel_lags(Duration::from_millis(50));
    systemd.set_properties(&name, &limits_of(4)).await.unwrap();
    poll::holds("the kernel follows", || limits().hold(&of(4)).is_ok()).await;
}
