//! What a process hands on to all that it starts, and what it could not hand on to a command that PID 1 starts for it.

use std::fmt;

use rustix::fs::AtFlags;

use super::rlimits::Rlimits;
use super::text::only_line;
use super::{ProcessError, ProcessId, parse_no_new_privs, parse_seccomp, parse_umask, read, read_up_to};
use crate::identity::Uid;

/// How much is read of the mounts of a process. The root is among the first: each line is some hundred bytes, and what is
/// mounted before it are `/proc`, `/sys`, `/dev` and what is in them.
const MOUNTS_BYTES_MAX: usize = 64 << 10;

/// The process whose namespaces are the machine's.
const INIT: u32 = 1;

/// What a process hands on to all that it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inherited {
    /// The `umask(2)` with which it creates files.
    pub umask: u32,
    /// Whether no program can give it more power than it has (`PR_SET_NO_NEW_PRIVS`).
    pub no_new_privs: bool,
    /// Its resource limits.
    pub rlimits: Rlimits,
    /// What shuts it in, of several the first that is found.
    pub wall: Option<Wall>,
}

/// What shuts a process in. A command that PID 1 starts for the process is outside of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wall {
    /// A filter of its system calls (`seccomp(2)`).
    Seccomp,
    /// Another root folder than the machine's, or mounts of its own (`mount_namespaces(7)`).
    Mounts,
    /// A network of its own (`network_namespaces(7)`).
    Network,
    /// Numbers of processes of its own (`pid_namespaces(7)`).
    Processes,
    /// User ids of its own (`user_namespaces(7)`).
    Users,
}

impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seccomp => "its system calls are filtered (seccomp)",
            Self::Mounts => "it has file systems of its own (a mount namespace or another root)",
            Self::Network => "it has a network of its own (a network namespace)",
            Self::Processes => "it has process ids of its own (a pid namespace)",
            Self::Users => "it has user ids of its own (a user namespace)",
        })
    }
}

/// What a process of `uid`'s hands on to all that it starts. `connected_boot_ms` is when it is known to have been there, in
/// milliseconds since boot: one of this number that was started later is another one.
///
/// What is looked at here is what the kernel says of a process without the power to trace it: of the namespaces for IPC, host
/// name, time and cgroups it says nothing.
///
/// # Errors
/// Any [`ProcessError`].
pub fn inherited_from(pid: u32, uid: Uid, connected_boot_ms: u64) -> Result<Inherited, ProcessError> {
    let process = ProcessId::open(pid, uid)?;
    if super::running(pid)?.started_boot_ms > connected_boot_ms {
        return Err(ProcessError::Gone { pid });
    }
    let status = |status: &[u8]| {
        let filtered = parse_seccomp(status)?.then_some(Wall::Seccomp);
        let wall = filtered.or(has_own_numbers(status)?.then_some(Wall::Processes));
        Some((parse_umask(status)?, parse_no_new_privs(status)?, wall))
    };
    let (umask, no_new_privs, wall) = read(pid, "status", status)?;
    let rlimits = read(pid, "limits", Rlimits::parse)?;
    let wall = if wall.is_some() { wall } else { namespaces(pid)? };
    // Until here the number meant one process.
    process.recheck()?;
    Ok(Inherited { umask, no_new_privs, rlimits, wall })
}

/// The first namespace of the process's that is not the machine's.
fn namespaces(pid: u32) -> Result<Option<Wall>, ProcessError> {
    let root = mounts(pid)?;
    Ok(if root.is_none() || root != mounts(INIT)? {
        Some(Wall::Mounts)
    } else if network(pid)? != network(INIT)? {
        Some(Wall::Network)
    } else if users(pid)? != users(INIT)? {
        Some(Wall::Users)
    } else {
        None
    })
}

/// The number of the mount that the process has as its root. Each mount of each mount namespace has one of its own.
fn mounts(pid: u32) -> Result<Option<u32>, ProcessError> {
    read_up_to(MOUNTS_BYTES_MAX, pid, "mountinfo", |bytes| Some(parse_root_mount(bytes)))
}

/// The number of the file in which the kernel lists the process's network devices: each network namespace has its own.
fn network(pid: u32) -> Result<u64, ProcessError> {
    let path = format!("/proc/{pid}/net/dev");
    match rustix::fs::statat(rustix::fs::CWD, &path, AtFlags::empty()) {
        Ok(file) => Ok(file.st_ino),
        Err(errno) => Err(ProcessError::of(pid, path, errno)),
    }
}

fn users(pid: u32) -> Result<Vec<u8>, ProcessError> {
    read(pid, "uid_map", |bytes| Some(bytes.to_vec()))
}

/// Whether `/proc/PID/status` says that the process has further numbers in namespaces of its own (`NSpid`); `None` where the
/// line is missing or there twice.
pub fn has_own_numbers(status: &[u8]) -> Option<bool> {
    Some(only_line(status, b"NSpid:")?.split_ascii_whitespace().count() > 1)
}

/// The number of the mount on `/` in `/proc/PID/mountinfo`, of several the last, which is on top.
pub fn parse_root_mount(mounts: &[u8]) -> Option<u32> {
    // A line that was cut off has no end.
    let lines = mounts.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let root = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ');
        let number = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        (fields.nth(3)? == b"/").then_some(number)
    };
    lines.filter_map(root).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_mount_on_the_root_is_found() {
        let text = b"22 27 0:21 / /proc rw - proc proc rw\n27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
            30 27 0:9 /x / rw - tmpfs x rw\n31 27 0:9 / /cut";
        assert_eq!(parse_root_mount(text), Some(30));
        for none in
            ["", "\n", "x 1 2 / / rw\n", "27 1 254:0 / /a rw\n", "27 1 254:0 / / rw - no end", "27 1\n"]
        {
            assert_eq!(parse_root_mount(none.as_bytes()), None, "{none:?}");
        }
    }

    #[test]
    fn a_process_that_came_later_is_another() {
        let uid = Uid::new(u64::from(rustix::process::getuid().as_raw())).unwrap();
        let pid = std::process::id();
        let started = super::super::running(pid).unwrap().started_boot_ms;
        inherited_from(pid, uid, started).unwrap();
        let later = inherited_from(pid, uid, started - 1);
        assert!(matches!(later, Err(ProcessError::Gone { .. })), "{later:?}");
    }

    #[test]
    fn numbers_of_ones_own_are_more_than_one() {
        assert_eq!(has_own_numbers(b"NSpid:\t10\n"), Some(false));
        assert_eq!(has_own_numbers(b"NSpid:\t10\t1\n"), Some(true));
        assert_eq!(has_own_numbers(b"Pid:\t10\n"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd_to_parse(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = (parse_root_mount(&bytes), has_own_numbers(&bytes), Rlimits::parse(&bytes));
        }
    }
}
