//! What the machine has, as the kernel counts it now.

use std::fs;
use std::io;
use std::path::Path;

use crate::policy::Machine;
use crate::quantity::{Bytes, MilliCpu, Tasks};

/// Where the kernel lists the CPUs that are online.
pub const ONLINE: &str = "/sys/devices/system/cpu/online";

/// How many tasks the kernel lets there be.
pub const THREADS_MAX: &str = "/proc/sys/kernel/threads-max";

/// From where on the kernel gives out no numbers of tasks.
pub const PID_MAX: &str = "/proc/sys/kernel/pid_max";

/// The CPUs that the file `online` lists, and the memory that the kernel manages.
///
/// # Errors
/// The file cannot be read, or says something else than documented.
pub fn read(online: &Path) -> io::Result<Machine> {
    let fault = |why: String| io::Error::other(format!("{}: {why}", online.display()));
    let text = fs::read_to_string(online).map_err(|error| fault(error.to_string()))?;
    let cpus = count(&text).ok_or_else(|| fault(format!("{text:?} is no list of CPUs")))?;
    let memory = rustix::system::sysinfo();
    let mem = u64::from(memory.mem_unit).saturating_mul(memory.totalram);
    Ok(Machine { cpu: MilliCpu(cpus.saturating_mul(1000)), mem: Bytes(mem) })
}

/// The tasks that all shares together may have: 75 % of what the kernel lets the whole machine have, so that root and the
/// system's services can always fork. The least of `kernel.threads-max` and `kernel.pid_max` (`proc_sys_kernel(5)`) bounds
/// that.
///
/// # Errors
/// A file cannot be read, or says something else than documented.
pub fn tasks() -> io::Result<Tasks> {
    let read = |path: &str| {
        let fault = |why: String| io::Error::other(format!("{path}: {why}"));
        let text = fs::read_to_string(path).map_err(|error| fault(error.to_string()))?;
        text.trim().parse::<u64>().map_err(|_| fault(format!("{text:?} is no number")))
    };
    let most = read(THREADS_MAX)?.min(read(PID_MAX)?);
    Ok(Tasks((most - most / 4).max(1)))
}

/// The length of a list like `0-3,8` (`cpu lists` in the kernel's `admin-guide/cputopology.rst`).
fn count(list: &str) -> Option<u64> {
    list.trim().split(',').try_fold(0u64, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        sum.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_are_counted() {
        assert_eq!(count("0\n"), Some(1));
        assert_eq!(count("0-3,8,10-11\n"), Some(7));
        assert_eq!(count(""), None);
        assert_eq!(count("3-1"), None);
        assert_eq!(count("0-x"), None);
    }

    #[test]
    fn this_machine_has_something() {
        let machine = read(Path::new(ONLINE)).unwrap();
        assert!(machine.cpu >= MilliCpu(1000) && machine.mem > Bytes(1 << 20));
        let pids: u64 = fs::read_to_string(PID_MAX).unwrap().trim().parse().unwrap();
        assert!((1..=pids - pids / 4).contains(&tasks().unwrap().0));
    }
}
