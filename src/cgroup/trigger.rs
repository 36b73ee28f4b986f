//! Pressure that the kernel tells of by itself.
//!
//! Source: the kernel's `Documentation/accounting/psi.rst`, "Monitoring for pressure thresholds". What is written to a
//! pressure file is how much waiting in how much time is to be told, for as long as the file is open. It is the one thing
//! that is ever written to a cgroup here, and changes nothing in it.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::Cgroups;
use crate::identity::UnitName;

/// `CGROUP2_SUPER_MAGIC` (`linux/magic.h`).
const CGROUP2_MAGIC: u32 = 0x6367_7270;

/// What tasks wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// A processor.
    Cpu,
    /// Memory that was taken back from them, or that they cannot have before other memory was.
    Memory,
}

impl Resource {
    fn file(self) -> &'static str {
        match self {
            Self::Cpu => "cpu.pressure",
            Self::Memory => "memory.pressure",
        }
    }
}

/// An open pressure file, of which the kernel says `POLLPRI` (`poll(2)`) when tasks have waited that much. At most once in
/// the time that was asked for.
#[derive(Debug)]
pub struct Trigger {
    file: Arc<OwnedFd>,
    number: u64,
}

impl Trigger {
    /// What the kernel tells on.
    pub fn descriptor(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.file)
    }
}

#[cfg(test)]
impl Trigger {
    /// A trigger on a file of which no kernel tells anything.
    pub fn on(file: OwnedFd) -> io::Result<Self> {
        let number = rustix::fs::fstat(&file)?.st_ino;
        Ok(Self { file: Arc::new(file), number })
    }
}

impl Cgroups {
    /// Has the kernel tell when some task of a cgroup has waited for `stall_usec` of `window_usec`. `None` where there is no
    /// such cgroup, where the kernel does not measure it (`psi=0`), and where this is no cgroup of the kernel's.
    ///
    /// Without privileges the window is a multiple of two seconds, of at most ten.
    ///
    /// # Errors
    /// The file may not be written, or the kernel does not take these figures.
    pub fn trigger(
        &self,
        unit: UnitName,
        resource: Resource,
        stall_usec: u64,
        window_usec: u64,
    ) -> io::Result<Option<Trigger>> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let path = format!("{}/{}", unit.cgroup_path(), resource.file());
        let file = match rustix::fs::openat(&self.root, path, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        // A file of any other kind would keep what is written.
        if rustix::fs::fstatfs(file.as_fd())?.f_type as u64 != u64::from(CGROUP2_MAGIC) {
            return Ok(None);
        }
        match rustix::io::write(&file, format!("some {stall_usec} {window_usec}\0").as_bytes()) {
            Ok(_) => {
                let number = rustix::fs::fstat(&file)?.st_ino;
                Ok(Some(Trigger { file: Arc::new(file), number }))
            }
            Err(Errno::NODEV | Errno::OPNOTSUPP) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether a trigger is of the cgroup that there is now: one that was made again is another.
    pub fn is_current(&self, trigger: &Trigger, unit: UnitName, resource: Resource) -> bool {
        let path = format!("{}/{}", unit.cgroup_path(), resource.file());
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::statat(&self.root, path, flags).is_ok_and(|stat| stat.st_ino == trigger.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Uid;

    #[test]
    fn nothing_is_written_to_what_is_no_cgroup() {
        let dir = tempfile::tempdir().unwrap();
        let unit = UnitName::Share(Uid::new(7).unwrap());
        let cgroup = dir.path().join(unit.cgroup_path());
        let cgroups = Cgroups::open(dir.path()).unwrap();
        let trigger = || cgroups.trigger(unit, Resource::Cpu, 6_000_000, 10_000_000).unwrap();
        assert!(trigger().is_none(), "there is no such cgroup");
        std::fs::create_dir_all(&cgroup).unwrap();
        std::fs::write(cgroup.join("cpu.pressure"), "as it was").unwrap();
        assert!(trigger().is_none());
        assert_eq!(std::fs::read_to_string(cgroup.join("cpu.pressure")).unwrap(), "as it was");
    }
}
