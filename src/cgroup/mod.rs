//! What the kernel says of our cgroups: limits and use. Nothing is changed in them, and all is read from a directory handle.
//!
//! Source: the kernel's `Documentation/admin-guide/cgroup-v2.rst`. A cgroup can go away at any time; then the answer is
//! `None`, and it is never an error.

mod controllers;
mod figures;
mod freezer;
mod outside;
pub mod parse;
mod read;
pub mod trigger;
mod walk;
pub mod watch;

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::enforced::KernelLimits;
use crate::enforced::io::IoMost;
use crate::identity::{FAIRSHARE_SLICE, UnitName};
use crate::quantity::{Bytes, Tasks};
use parse::{
    parse_clean_cache, parse_cpu_max, parse_io_max, parse_key, parse_limit, parse_needed, parse_number,
    parse_pressure,
};
use read::{FILE_BYTES_MAX, read_at};

pub use figures::{MARGIN_BYTES_MIN, Memory, Outside, Pressures, Spent, Usage, with_margin};

/// How many slices below `fairshare.slice` are looked at: there are no more user ids of people on any machine.
const SLICES_MAX: usize = 1 << 16;

/// How much of a file that does not parse goes into an error, in bytes.
const SHOWN_BYTES_MAX: usize = 80;

/// A handle on the cgroup tree.
#[derive(Debug)]
pub struct Cgroups {
    root: OwnedFd,
    path: PathBuf,
}

/// A cgroup of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// `fairshare.slice`, above all shares.
    All,
    /// A unit.
    Unit(UnitName),
}

impl From<UnitName> for Group {
    fn from(unit: UnitName) -> Self {
        Self::Unit(unit)
    }
}

impl Group {
    fn path(self) -> String {
        match self {
            Self::All => FAIRSHARE_SLICE.to_owned(),
            Self::Unit(unit) => unit.cgroup_path(),
        }
    }
}

/// A file of a cgroup that could not be read or understood.
#[derive(Debug, thiserror::Error)]
pub enum CgroupFault {
    /// The kernel would not let us.
    #[error("reading {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file is there and holds something else than documented.
    #[error("{path} holds {content:?}, which is not understood")]
    Content {
        /// The file.
        path: PathBuf,
        /// The beginning of what it holds.
        content: String,
    },
}

impl Cgroups {
    /// The tree at `root`, which is `/sys/fs/cgroup` but for tests.
    ///
    /// # Errors
    /// It is not there, or no directory.
    pub fn open(root: &Path) -> Result<Self, CgroupFault> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(root, flags, Mode::empty()) {
            Ok(handle) => Ok(Self { root: handle, path: root.to_owned() }),
            Err(errno) => Err(CgroupFault::Io { path: root.to_owned(), source: errno.into() }),
        }
    }

    /// The limits of a cgroup; `None` where there is no such cgroup.
    ///
    /// # Errors
    /// Any [`CgroupFault`].
    pub fn limits(&self, group: impl Into<Group>) -> Result<Option<KernelLimits>, CgroupFault> {
        self.at(group.into(), |cgroup| cgroup.limits())
    }

    /// The bounds of a cgroup's I/O, one for each disk with a bound; none where the kernel does not control I/O for it, and `None`
    /// where there is no such cgroup.
    ///
    /// # Errors
    /// Any [`CgroupFault`].
    pub fn io(&self, group: impl Into<Group>) -> Result<Option<Vec<IoMost>>, CgroupFault> {
        let io = self.at(group.into(), |cgroup| cgroup.optional("io.max", parse_io_max))?;
        Ok(io.map(Option::unwrap_or_default))
    }

    /// What a cgroup uses; `None` where there is no such cgroup.
    ///
    /// # Errors
    /// Any [`CgroupFault`].
    pub fn usage(&self, group: impl Into<Group>) -> Result<Option<Usage>, CgroupFault> {
        self.at(group.into(), |cgroup| {
            Ok(Usage {
                cpu_usec: cgroup.cpu_usec()?,
                mem: cgroup.required("memory.current", |bytes| parse_number(bytes).map(Bytes))?,
                needed: cgroup.needed()?,
                tasks: cgroup.required("pids.current", |bytes| parse_number(bytes).map(Tasks))?,
                oom_kills: cgroup.oom_kills()?,
                pressures: cgroup.pressures()?,
            })
        })
    }

    /// What the processes of a cgroup have used that have ended; `None` where there is no such cgroup.
    ///
    /// # Errors
    /// Any [`CgroupFault`].
    pub fn spent(&self, group: impl Into<Group>) -> Result<Option<Spent>, CgroupFault> {
        self.at(group.into(), |cgroup| {
            Ok(Spent {
                cpu_usec: cgroup.cpu_usec()?,
                mem_peak: cgroup.optional("memory.peak", |bytes| parse_number(bytes).map(Bytes))?,
                oom_kills: cgroup.oom_kills()?,
            })
        })
    }

    /// The memory that a cgroup uses now; `None` where there is no such cgroup.
    ///
    /// # Errors
    /// Any [`CgroupFault`].
    pub fn memory(&self, group: impl Into<Group>) -> Result<Option<Bytes>, CgroupFault> {
        let current = |bytes: &[u8]| parse_number(bytes).map(Bytes);
        self.at(group.into(), |cgroup| cgroup.required("memory.current", current))
    }

    /// The memory that a cgroup needs now: all but page cache. `None` where there is no such cgroup, or the kernel does not say
    /// it.
    ///
    /// # Errors
    /// Any [`CgroupFault`].
    pub fn needed(&self, group: impl Into<Group>) -> Result<Option<Bytes>, CgroupFault> {
        self.at(group.into(), |cgroup| cgroup.needed()).map(Option::flatten)
    }

    /// The memory that a cgroup uses now, and what of it the kernel takes back at once; `None` where there is no such cgroup.
    ///
    /// # Errors
    /// Any [`CgroupFault`].
    pub fn memory_by_kind(&self, group: impl Into<Group>) -> Result<Option<Memory>, CgroupFault> {
        self.at(group.into(), |cgroup| {
            Ok(Memory {
                current: cgroup.required("memory.current", |bytes| parse_number(bytes).map(Bytes))?,
                reclaimable: cgroup.required("memory.stat", parse_clean_cache)?,
            })
        })
    }

    /// How many tasks are in a cgroup and below it; `None` where there is no such cgroup.
    ///
    /// # Errors
    /// Any [`CgroupFault`].
    pub fn tasks(&self, group: impl Into<Group>) -> Result<Option<Tasks>, CgroupFault> {
        let current = |bytes: &[u8]| parse_number(bytes).map(Tasks);
        self.at(group.into(), |cgroup| cgroup.required("pids.current", current))
    }

    /// How many processes were killed for want of memory since a cgroup was made; `None` where there is no such cgroup.
    ///
    /// # Errors
    /// Any [`CgroupFault`].
    pub fn oom_kills(&self, group: impl Into<Group>) -> Result<Option<u64>, CgroupFault> {
        self.at(group.into(), |cgroup| cgroup.oom_kills())
    }

    /// How long tasks of a cgroup waited; `None` where there is no such cgroup.
    ///
    /// # Errors
    /// Any [`CgroupFault`].
    pub fn pressures(&self, group: impl Into<Group>) -> Result<Option<Pressures>, CgroupFault> {
        self.at(group.into(), |cgroup| cgroup.pressures())
    }

    /// Whether a process is in a cgroup or below it; `None` where there is no such cgroup.
    ///
    /// # Errors
    /// Any [`CgroupFault`].
    pub fn populated(&self, group: impl Into<Group>) -> Result<Option<bool>, CgroupFault> {
        self.at(group.into(), |cgroup| cgroup.is_populated())
    }

    /// How many scopes there are in the slice that this unit is in, counted up to `limit`; 0 where there is no such slice.
    ///
    /// # Errors
    /// Any [`CgroupFault`].
    pub fn scopes(&self, unit: UnitName, limit: usize) -> Result<usize, CgroupFault> {
        let scope = |name: &CStr| matches!(name.to_str().map(UnitName::from_str), Ok(Ok(UnitName::Run(..))));
        let scopes = self.at(unit.slice().unwrap_or(unit).into(), |cgroup| {
            walk::count(cgroup.handle, limit, scope).map_err(|errno| cgroup.unreadable(".", errno))
        })?;
        Ok(scopes.unwrap_or_default())
    }

    /// The sum of the CPU weights of all cgroups beside `fairshare.slice`: logins, services, containers, PID 1 itself. Empty
    /// ones too, for they may fill at any moment.
    ///
    /// # Errors
    /// The top of the tree cannot be listed.
    pub fn weights_beside(&self) -> Result<u64, CgroupFault> {
        let weight = |below: BorrowedFd<'_>| {
            Cgroup { handle: below }.optional("cpu.weight", parse_number).ok().flatten()
        };
        let beside = |name: &CStr| name.to_bytes() != FAIRSHARE_SLICE.as_bytes();
        walk::sum(self.root.as_fd(), walk::CGROUPS_MAX, beside, weight)
            .map_err(|errno| self.fault("", None, Reason::Errno(errno)))
    }

    /// The memory of files that are charged to `fairshare.slice` and to no allocation: what work has left in `tmpfs` and in
    /// shared memory that outlives it, also where its member has other allocations and it is charged to their slice around them.
    /// Shares take and give back meanwhile: more is never said than was there throughout.
    ///
    /// # Errors
    /// Any [`CgroupFault`].
    pub fn left_behind(&self) -> Result<Bytes, CgroupFault> {
        let slice = |name: &CStr| name.to_bytes().ends_with(b".slice");
        let scope = |name: &CStr| name.to_bytes().ends_with(b".scope");
        let kept = |below: BorrowedFd<'_>| Cgroup { handle: below }.files_in_memory().ok().map(|kept| kept.0);
        // The work of 0.1 is in its member's slice itself, in scopes.
        let of_member = |below: BorrowedFd<'_>| match walk::count(below, 1, scope) {
            Ok(0) => walk::sum(below, SLICES_MAX, slice, kept).ok(),
            _ => kept(below),
        };
        let left = self.at(Group::All, |cgroup| {
            let before = cgroup.files_in_memory()?;
            let of_slices = walk::sum(cgroup.handle, SLICES_MAX, slice, of_member)
                .map_err(|errno| cgroup.unreadable(".", errno))?;
            Ok(Bytes(before.min(cgroup.files_in_memory()?).0.saturating_sub(of_slices)))
        })?;
        Ok(left.unwrap_or_default())
    }

    /// The memory of files of `tmpfs`, and shared memory, that is charged to a cgroup; 0 where there is no such cgroup.
    ///
    /// # Errors
    /// Any [`CgroupFault`].
    pub fn files_in_memory(&self, group: impl Into<Group>) -> Result<Bytes, CgroupFault> {
        self.at(group.into(), |cgroup| cgroup.files_in_memory()).map(Option::unwrap_or_default)
    }

    /// The processes in a cgroup and below it, at most `limit` of them; empty where there is no such cgroup.
    ///
    /// Processes come and go meanwhile: for people to look at, not to act on.
    ///
    /// # Errors
    /// Any [`CgroupFault`].
    pub fn pids(&self, group: impl Into<Group>, limit: usize) -> Result<Vec<u32>, CgroupFault> {
        let pids = self.at(group.into(), |cgroup| {
            walk::pids(cgroup.handle, limit).map_err(|errno| cgroup.unreadable("cgroup.procs", errno))
        })?;
        Ok(pids.unwrap_or_default())
    }

    fn at<T>(
        &self,
        group: Group,
        read: impl FnOnce(&Cgroup<'_>) -> Result<T, Unreadable>,
    ) -> Result<Option<T>, CgroupFault> {
        self.at_path(&group.path(), read)
    }

    fn at_path<T>(
        &self,
        path: &str,
        read: impl FnOnce(&Cgroup<'_>) -> Result<T, Unreadable>,
    ) -> Result<Option<T>, CgroupFault> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = match rustix::fs::openat(&self.root, path, flags, Mode::empty()) {
            Ok(handle) => handle,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(self.fault(path, None, Reason::Errno(errno))),
        };
        let cgroup = Cgroup { handle: handle.as_fd() };
        match read(&cgroup) {
            Ok(read) => Ok(Some(read)),
            Err(_) if cgroup.is_gone() => Ok(None),
            Err(Unreadable { file, reason }) => Err(self.fault(path, Some(file), reason)),
        }
    }

    fn fault(&self, cgroup: &str, file: Option<&str>, reason: Reason) -> CgroupFault {
        let mut path = self.path.join(cgroup);
        path.extend(file);
        match reason {
            Reason::Errno(errno) => CgroupFault::Io { path, source: errno.into() },
            Reason::Content(content) => CgroupFault::Content { path, content },
        }
    }
}

/// One cgroup, open.
struct Cgroup<'a> {
    handle: BorrowedFd<'a>,
}

/// A file that could not be read or understood.
struct Unreadable {
    file: &'static str,
    reason: Reason,
}

enum Reason {
    Errno(Errno),
    Content(String),
}

impl Cgroup<'_> {
    fn limits(&self) -> Result<KernelLimits, Unreadable> {
        Ok(KernelLimits {
            cpu: self.optional("cpu.max", parse_cpu_max)?,
            mem: self.optional("memory.max", |bytes| parse_limit(bytes, Bytes))?,
            swap: self.optional("memory.swap.max", |bytes| parse_limit(bytes, Bytes))?,
            tasks: self.optional("pids.max", |bytes| parse_limit(bytes, Tasks))?,
            weight: self.optional("cpu.weight", parse_number)?,
            low: self.optional("memory.low", |bytes| parse_limit(bytes, Bytes))?,
            idle: self.optional("cpu.idle", |bytes| parse_number(bytes).map(|idle| idle != 0))?,
        })
    }

    fn is_populated(&self) -> Result<bool, Unreadable> {
        self.required("cgroup.events", |bytes| match parse_key(bytes, "populated")? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        })
    }

    fn cpu_usec(&self) -> Result<u64, Unreadable> {
        self.required("cpu.stat", |bytes| parse_key(bytes, "usage_usec"))
    }

    fn oom_kills(&self) -> Result<u64, Unreadable> {
        self.required("memory.events", |bytes| parse_key(bytes, "oom_kill"))
    }

    fn pressures(&self) -> Result<Pressures, Unreadable> {
        Ok(Pressures {
            cpu: self.optional("cpu.pressure", parse_pressure)?,
            mem: self.optional("memory.pressure", parse_pressure)?,
        })
    }

    fn needed(&self) -> Result<Option<Bytes>, Unreadable> {
        let needed = self.optional("memory.stat", |bytes| Some(parse_needed(bytes)))?;
        Ok(needed.flatten())
    }

    fn files_in_memory(&self) -> Result<Bytes, Unreadable> {
        let kept = self.optional("memory.stat", |bytes| parse_key(bytes, "shmem"))?;
        Ok(Bytes(kept.unwrap_or_default()))
    }

    fn required<T>(
        &self,
        file: &'static str,
        parse: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<T, Unreadable> {
        let mut buffer = [0; FILE_BYTES_MAX];
        let bytes = read_at(self.handle, file, &mut buffer).map_err(|errno| self.unreadable(file, errno))?;
        parse(bytes).ok_or_else(|| {
            let shown = bytes.get(..SHOWN_BYTES_MAX).unwrap_or(bytes);
            let content = String::from_utf8_lossy(shown).into_owned();
            Unreadable { file, reason: Reason::Content(content) }
        })
    }

    fn optional<T>(
        &self,
        file: &'static str,
        parse: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Unreadable> {
        match self.required(file, parse) {
            Ok(value) => Ok(Some(value)),
            // ENODEV: the controller is being turned off for the cgroup. EOPNOTSUPP: how a kernel with psi=0 answers.
            Err(Unreadable {
                reason: Reason::Errno(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP), ..
            }) if !self.is_gone() => Ok(None),
            Err(unreadable) => Err(unreadable),
        }
    }

    fn unreadable(&self, file: &'static str, errno: Errno) -> Unreadable {
        Unreadable { file, reason: Reason::Errno(errno) }
    }

    /// Every cgroup but the root has `cgroup.events`, so one without it was removed while we held the handle.
    fn is_gone(&self) -> bool {
        matches!(
            read_at(self.handle, "cgroup.events", &mut [0; FILE_BYTES_MAX]),
            Err(Errno::NOENT | Errno::NODEV)
        )
    }
}
