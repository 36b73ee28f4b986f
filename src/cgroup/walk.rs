//! The processes in a cgroup and in all below it, and the cgroups right below one.

use std::ffi::CStr;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::{Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::read::{FILE_BYTES_MAX, open_at};

/// How deep below a unit processes are looked for: jobs may make cgroups in cgroups.
const DEPTH_MAX: usize = 16;

/// How many cgroups below a unit are looked into for processes.
pub const CGROUPS_MAX: usize = 1024;

/// How a cgroup below another is opened: as a place to read from, whatever its name leads to.
const BELOW_FLAGS: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The search for processes in a tree of cgroups.
struct Walk {
    pids: Vec<u32>,
    limit: usize,
    cgroups: usize,
}

/// The processes in a cgroup and below it, at most `limit` of them.
pub fn pids(cgroup: BorrowedFd<'_>, limit: usize) -> rustix::io::Result<Vec<u32>> {
    let mut walk = Walk { pids: Vec::new(), limit, cgroups: 0 };
    walk.visit(cgroup, 0)?;
    Ok(walk.pids)
}

/// How many cgroups right below one have a name that is `wanted`, counted up to `limit`.
pub fn count(
    cgroup: BorrowedFd<'_>,
    limit: usize,
    mut wanted: impl FnMut(&CStr) -> bool,
) -> rustix::io::Result<usize> {
    let mut count = 0;
    for entry in Dir::new(open_at(cgroup, ".")?)? {
        let entry = entry?;
        count += usize::from(entry.file_type() == FileType::Directory && wanted(entry.file_name()));
        if count >= limit {
            break;
        }
    }
    Ok(count)
}

/// The sum of what `read` says of each cgroup right below one whose name is `wanted`, of at most `limit` of them. One that
/// goes meanwhile, or has no such figure, counts nothing.
pub fn sum(
    cgroup: BorrowedFd<'_>,
    limit: usize,
    wanted: impl Fn(&CStr) -> bool,
    read: impl Fn(BorrowedFd<'_>) -> Option<u64>,
) -> rustix::io::Result<u64> {
    let mut sum = 0u64;
    let below = Dir::new(open_at(cgroup, ".")?)?.filter(|entry| {
        entry.as_ref().map_or(true, |entry| {
            let name = entry.file_name();
            entry.file_type() == FileType::Directory && name != c"." && name != c".." && wanted(name)
        })
    });
    for entry in below.take(limit) {
        match rustix::fs::openat(cgroup, entry?.file_name(), BELOW_FLAGS, Mode::empty()) {
            Ok(below) => sum = sum.saturating_add(read(below.as_fd()).unwrap_or_default()),
            Err(Errno::NOENT) => (),
            Err(errno) => return Err(errno),
        }
    }
    Ok(sum)
}

impl Walk {
    fn visit(&mut self, cgroup: BorrowedFd<'_>, depth: usize) -> rustix::io::Result<()> {
        if depth > DEPTH_MAX || self.cgroups == CGROUPS_MAX || self.pids.len() >= self.limit {
            return Ok(());
        }
        self.cgroups += 1;
        match self.processes(cgroup) {
            // ENODEV, ENOENT: removed. EOPNOTSUPP: a threaded cgroup, whose processes are listed above it.
            Ok(()) | Err(Errno::NODEV | Errno::NOENT | Errno::OPNOTSUPP) => (),
            Err(errno) => return Err(errno),
        }
        let directory = match open_at(cgroup, ".") {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        for entry in Dir::new(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if entry.file_type() != FileType::Directory || name == c"." || name == c".." {
                continue;
            }
            match rustix::fs::openat(cgroup, name, BELOW_FLAGS, Mode::empty()) {
                Ok(below) => self.visit(below.as_fd(), depth + 1)?,
                Err(Errno::NOENT) => (),
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    fn processes(&mut self, cgroup: BorrowedFd<'_>) -> rustix::io::Result<()> {
        let file = open_at(cgroup, "cgroup.procs")?;
        let mut buffer = [0; FILE_BYTES_MAX];
        let mut number: Option<u32> = None;
        while self.pids.len() < self.limit {
            let read = match rustix::io::read(&file, &mut buffer) {
                Ok(0) => break,
                Err(Errno::INTR) => continue,
                other => other?,
            };
            for byte in buffer.iter().take(read) {
                if byte.is_ascii_digit() {
                    let digit = u32::from(byte - b'0');
                    number = number.unwrap_or(0).checked_mul(10).and_then(|tens| tens.checked_add(digit));
                } else {
                    self.found(number.take());
                }
            }
        }
        self.found(number);
        Ok(())
    }

    fn found(&mut self, pid: Option<u32>) {
        // 0 is how the kernel shows a process of another pid namespace.
        if let Some(pid) = pid.filter(|pid| *pid != 0)
            && self.pids.len() < self.limit
        {
            self.pids.push(pid);
        }
    }
}
