//! What the kernel says of our cgroups: limits and use. Nothing is changed in them, and all is read from a directory handle.
//!
//! Source: the kernel's `Documentation/admin-guide/cgroup-v2.rst`. A cgroup can go away at any time; then the answer is
//! `None`, and it is never an error.

mod controllers;
pub mod parse;
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

use crate::identity::{FAIRSHARE_SLICE, Uid, UnitName};
use crate::quantity::{Amount, Bytes, MilliCpu, PartialAmount, Tasks};
use parse::{parse_cpu_max, parse_key, parse_limit, parse_number, parse_pressure};

/// The largest file that is read whole: all of those here are under one page.
const FILE_BYTES_MAX: usize = 4096;

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
pub enum Place {
    /// `fairshare.slice`, above all shares.
    All,
    /// A unit.
    Unit(UnitName),
}

impl From<UnitName> for Place {
    fn from(unit: UnitName) -> Self {
        Self::Unit(unit)
    }
}

impl Place {
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

/// One limit that the kernel holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit<T> {
    /// None: the file says `max`.
    Max,
    /// At this figure.
    At(T),
}

/// The limits of one cgroup. `None` where there is no such file: the controller is not on for this cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelLimits {
    /// `cpu.max`
    pub cpu: Option<Limit<MilliCpu>>,
    /// `memory.max`
    pub mem: Option<Limit<Bytes>>,
    /// `memory.swap.max`; not there in kernels that do not count swap.
    pub swap: Option<Limit<Bytes>>,
    /// `pids.max`
    pub tasks: Option<Limit<Tasks>>,
    /// `cpu.idle`: whether the CPU weight is lower than any figure
    pub idle: Option<bool>,
}

/// The kernel holds another limit than it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file} is {is}, not {wanted}")]
pub struct Difference {
    /// The file that says something else.
    pub file: &'static str,
    /// What it holds, `max` for no limit, `missing` where it is not there.
    pub is: String,
    /// What it should hold.
    pub wanted: String,
}

/// What the processes of one cgroup, and of all below it, use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// CPU time since the cgroup was made, in microseconds.
    pub cpu_usec: u64,
    /// Memory now.
    pub mem: Bytes,
    /// Tasks now.
    pub tasks: Tasks,
    /// Processes killed for want of memory since the cgroup was made.
    pub oom_kills: u64,
    /// How long tasks waited.
    pub pressures: Pressures,
}

/// For how much of the last ten seconds some task of a cgroup waited, in hundredths of a percent; `None` where the kernel
/// does not measure it (`psi=0`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pressures {
    /// For a CPU.
    pub cpu: Option<u32>,
    /// For memory.
    pub mem: Option<u32>,
}

/// What is left to be told of a cgroup whose processes have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// CPU time since the cgroup was made, in microseconds.
    pub cpu_usec: u64,
    /// The most memory that was ever used; `None` where the kernel is older than 5.19.
    pub mem_peak: Option<Bytes>,
    /// Processes killed for want of memory since the cgroup was made.
    pub oom_kills: u64,
}

impl KernelLimits {
    /// Whether the kernel holds exactly a share's figures.
    ///
    /// Memory is held in whole pages. Without `memory.swap.max` the kernel counts no swap, and nothing can be held.
    ///
    /// # Errors
    /// The first difference.
    pub fn holds(&self, amount: &Amount, swap: Bytes) -> Result<(), Difference> {
        let Amount { cpu, mem, tasks } = *amount;
        self.holds_named(PartialAmount { cpu: Some(cpu), mem: Some(mem), tasks: Some(tasks) })?;
        let swap = self.swap.map(|_| swap.whole_pages());
        same("memory.swap.max", self.swap, swap, |bytes| bytes.0.to_string())
    }

    /// Whether the CPU weight is lower than any figure, or is a figure; a kernel without `cpu.idle` says nothing of it.
    ///
    /// # Errors
    /// It is the other.
    pub fn holds_idle(&self, idle: bool) -> Result<(), Difference> {
        let is = self.idle.map(Limit::At);
        same("cpu.idle", is, self.idle.map(|_| idle), |idle| u8::from(idle).to_string())
    }

    /// Whether the kernel holds exactly the figures that are named, and anything for the others.
    ///
    /// # Errors
    /// The first difference.
    pub fn holds_named(&self, amount: PartialAmount) -> Result<(), Difference> {
        same("cpu.max", self.cpu, amount.cpu, |cpu| format!("{cpu} CPU"))?;
        same("memory.max", self.mem, amount.mem.map(Bytes::whole_pages), |bytes| bytes.0.to_string())?;
        same("pids.max", self.tasks, amount.tasks, |tasks| tasks.to_string())
    }
}

fn same<T: PartialEq + Copy>(
    file: &'static str,
    is: Option<Limit<T>>,
    wanted: Option<T>,
    show: impl Fn(T) -> String,
) -> Result<(), Difference> {
    let Some(wanted) = wanted else { return Ok(()) };
    let is = match is {
        Some(Limit::At(is)) if is == wanted => return Ok(()),
        Some(Limit::At(is)) => show(is),
        Some(Limit::Max) => "max".to_owned(),
        None => "missing".to_owned(),
    };
    Err(Difference { file, is, wanted: show(wanted) })
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
    pub fn limits(&self, place: impl Into<Place>) -> Result<Option<KernelLimits>, CgroupFault> {
        self.at(place.into(), |cgroup| {
            Ok(KernelLimits {
                cpu: cgroup.optional("cpu.max", parse_cpu_max)?,
                mem: cgroup.optional("memory.max", |bytes| parse_limit(bytes, Bytes))?,
                swap: cgroup.optional("memory.swap.max", |bytes| parse_limit(bytes, Bytes))?,
                tasks: cgroup.optional("pids.max", |bytes| parse_limit(bytes, Tasks))?,
                idle: cgroup.optional("cpu.idle", |bytes| parse_number(bytes).map(|idle| idle != 0))?,
            })
        })
    }

    /// What a cgroup uses; `None` where there is no such cgroup.
    ///
    /// # Errors
    /// Any [`CgroupFault`].
    pub fn usage(&self, place: impl Into<Place>) -> Result<Option<Usage>, CgroupFault> {
        self.at(place.into(), |cgroup| {
            Ok(Usage {
                cpu_usec: cgroup.cpu_usec()?,
                mem: cgroup.required("memory.current", |bytes| parse_number(bytes).map(Bytes))?,
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
    pub fn spent(&self, place: impl Into<Place>) -> Result<Option<Spent>, CgroupFault> {
        self.at(place.into(), |cgroup| {
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
    pub fn memory(&self, place: impl Into<Place>) -> Result<Option<Bytes>, CgroupFault> {
        let current = |bytes: &[u8]| parse_number(bytes).map(Bytes);
        self.at(place.into(), |cgroup| cgroup.required("memory.current", current))
    }

    /// How many tasks are in a cgroup and below it; `None` where there is no such cgroup.
    ///
    /// # Errors
    /// Any [`CgroupFault`].
    pub fn tasks(&self, place: impl Into<Place>) -> Result<Option<Tasks>, CgroupFault> {
        let current = |bytes: &[u8]| parse_number(bytes).map(Tasks);
        self.at(place.into(), |cgroup| cgroup.required("pids.current", current))
    }

    /// How many processes were killed for want of memory since a cgroup was made; `None` where there is no such cgroup.
    ///
    /// # Errors
    /// Any [`CgroupFault`].
    pub fn oom_kills(&self, place: impl Into<Place>) -> Result<Option<u64>, CgroupFault> {
        self.at(place.into(), |cgroup| cgroup.oom_kills())
    }

    /// How long tasks of a cgroup waited; `None` where there is no such cgroup.
    ///
    /// # Errors
    /// Any [`CgroupFault`].
    pub fn pressures(&self, place: impl Into<Place>) -> Result<Option<Pressures>, CgroupFault> {
        self.at(place.into(), |cgroup| cgroup.pressures())
    }

    /// Whether a process is in a cgroup or below it; `None` where there is no such cgroup.
    ///
    /// # Errors
    /// Any [`CgroupFault`].
    pub fn populated(&self, place: impl Into<Place>) -> Result<Option<bool>, CgroupFault> {
        let populated = |bytes: &[u8]| match parse_key(bytes, "populated")? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        };
        self.at(place.into(), |cgroup| cgroup.required("cgroup.events", populated))
    }

    /// How many scopes there are in a share, counted up to `limit`; 0 where there is no such share.
    ///
    /// # Errors
    /// Any [`CgroupFault`].
    pub fn scopes(&self, uid: Uid, limit: usize) -> Result<usize, CgroupFault> {
        let scope = |name: &CStr| matches!(name.to_str().map(UnitName::from_str), Ok(Ok(UnitName::Run(..))));
        let scopes = self.at(UnitName::Share(uid).into(), |cgroup| {
            walk::count(cgroup.handle, limit, scope).map_err(|errno| cgroup.unreadable(".", errno))
        })?;
        Ok(scopes.unwrap_or_default())
    }

    /// The processes in a cgroup and below it, at most `limit` of them; empty where there is no such cgroup.
    ///
    /// Processes come and go meanwhile: for people to look at, not to act on.
    ///
    /// # Errors
    /// Any [`CgroupFault`].
    pub fn pids(&self, place: impl Into<Place>, limit: usize) -> Result<Vec<u32>, CgroupFault> {
        let pids = self.at(place.into(), |cgroup| {
            walk::pids(cgroup.handle, limit).map_err(|errno| cgroup.unreadable("cgroup.procs", errno))
        })?;
        Ok(pids.unwrap_or_default())
    }

    fn at<T>(
        &self,
        place: Place,
        read: impl FnOnce(&Cgroup<'_>) -> Result<T, Unreadable>,
    ) -> Result<Option<T>, CgroupFault> {
        let path = place.path();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = match rustix::fs::openat(&self.root, path.as_str(), flags, Mode::empty()) {
            Ok(handle) => handle,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(self.fault(&path, None, Reason::Errno(errno))),
        };
        let cgroup = Cgroup { handle: handle.as_fd() };
        match read(&cgroup) {
            Ok(read) => Ok(Some(read)),
            Err(_) if cgroup.is_gone() => Ok(None),
            Err(Unreadable { file, reason }) => Err(self.fault(&path, Some(file), reason)),
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
            // EOPNOTSUPP: how a kernel with psi=0 answers.
            Err(Unreadable { reason: Reason::Errno(Errno::NOENT | Errno::OPNOTSUPP), .. })
                if !self.is_gone() =>
            {
                Ok(None)
            }
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

fn open_at(cgroup: BorrowedFd<'_>, file: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(cgroup, file, flags, Mode::empty())
}

/// The file whole; EFBIG where it is longer than the buffer.
fn read_at<'b>(cgroup: BorrowedFd<'_>, file: &str, buffer: &'b mut [u8]) -> rustix::io::Result<&'b [u8]> {
    let file = open_at(cgroup, file)?;
    let mut filled = 0;
    loop {
        let rest = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()).ok_or(Errno::FBIG)?;
        let rest_bytes = rest.len();
        match rustix::io::read(&file, rest) {
            Ok(0) => break,
            // The kernel makes the whole of such a small file at once: less than there was room for is all there is.
            Ok(read) if read < rest_bytes => {
                filled += read;
                break;
            }
            Ok(read) => filled += read,
            Err(Errno::INTR) => (),
            Err(errno) => return Err(errno),
        }
    }
    Ok(buffer.get(..filled).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_says_what_is_and_what_should_be() {
        let amount = Amount { cpu: MilliCpu(2000), mem: Bytes((8 << 30) + 5), tasks: Tasks(4096) };
        let held = KernelLimits {
            cpu: Some(Limit::At(MilliCpu(2000))),
            mem: Some(Limit::At(Bytes(8 << 30))),
            swap: Some(Limit::At(Bytes(0))),
            tasks: Some(Limit::At(Tasks(4096))),
            idle: Some(false),
        };
        assert_eq!(held.holds(&amount, Bytes(0)), Ok(()));
        assert_eq!(held.holds(&amount, Bytes(4095)), Ok(()));
        assert_eq!(KernelLimits { swap: None, ..held }.holds(&amount, Bytes(0)), Ok(()));
        let says = |limits: KernelLimits| limits.holds(&amount, Bytes(0)).unwrap_err().to_string();
        assert_eq!(
            says(KernelLimits { mem: Some(Limit::At(Bytes(4096))), ..held }),
            "memory.max is 4096, not 8589934592"
        );
        assert_eq!(says(KernelLimits { cpu: None, ..held }), "cpu.max is missing, not 2 CPU");
        assert_eq!(says(KernelLimits { tasks: Some(Limit::Max), ..held }), "pids.max is max, not 4096");
        assert_eq!(says(KernelLimits { swap: Some(Limit::Max), ..held }), "memory.swap.max is max, not 0");
    }
}
