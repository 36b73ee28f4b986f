//! What a machine has to give: times overcommit, less what is kept for the system.

use fairshare::testing::policy::Machine;
use fairshare::testing::quantity::{Bytes, MilliCpu};

use super::{SIMPLE, policy};

#[test]
fn capacity_is_the_machine_times_overcommit_less_the_reserve() {
    let machine = |cpu: u64, mem: u64| Machine { cpu: MilliCpu(cpu), mem: Bytes(mem) };
    let simple = policy(SIMPLE).unwrap();
    assert_eq!(simple.capacity(machine(16000, 64 << 30)), Some((MilliCpu(15200), Bytes(62 << 30))), "5 %");
    assert_eq!(simple.capacity(machine(10_000, 64 << 30)), Some((MilliCpu(9500), Bytes(62 << 30))));
    // 5 % of 10.3 CPUs is between two steps; what is left is rounded down to one.
    assert_eq!(simple.capacity(machine(10_300, 64 << 30)), Some((MilliCpu(9780), Bytes(62 << 30))));
    assert_eq!(simple.capacity(machine(2000, 10 << 30)), Some((MilliCpu(1500), Bytes(9 << 30))), "a tenth");
    // 1001 bytes over: not a whole page. 0.505 of a CPU: not a whole step.
    assert_eq!(simple.capacity(machine(1005, (10 << 30) + 1001)), Some((MilliCpu(500), Bytes(9 << 30))));
    assert_eq!(simple.capacity(machine(500, 64 << 30)), None, "all of the CPU is kept");
    assert_eq!(simple.capacity(machine(0, 0)), None);
    let none = policy(&format!("{SIMPLE}reserve: {{cpu: 0, mem: 0}}\n")).unwrap();
    assert_eq!(none.capacity(machine(16000, 64 << 30)), Some((MilliCpu(16000), Bytes(64 << 30))));
    assert_eq!(none.capacity(machine(10, 4096)), Some((MilliCpu(10), Bytes(4096))), "the least there is");
    let twice = policy(&format!("{SIMPLE}overcommit: {{cpu: 2}}\nreserve: {{cpu: 0, mem: 0G}}\n")).unwrap();
    assert_eq!(twice.capacity(machine(2000, 1 << 30)), Some((MilliCpu(4000), Bytes(1 << 30))));
    let over =
        policy(&format!("{SIMPLE}overcommit: {{cpu: 1.5, mem: 2}}\nreserve: {{cpu: 1, mem: 1G}}\n")).unwrap();
    assert_eq!(over.capacity(machine(3000, 4 << 30)), Some((MilliCpu(3500), Bytes(7 << 30))));
    assert_eq!(over.capacity(machine(4000, 1 << 29)), None, "all of the memory is kept");
    assert!(over.capacity(machine(u64::MAX, u64::MAX)).is_some());
}
