//! Whose a process is, and whether it is still the one that was checked.
//!
//! Numbers of processes are used again. A pidfd means one process for ever; where there is none, the number together with
//! the start time does (`proc_pid_stat(5)`, field 22: clock ticks since boot).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::identity::Uid;

pub mod inherited;
pub mod rlimits;
pub mod seen;
mod text;

use text::{number, only_line};

/// How much of a file of a process is read. The path in `cgroup` is at most `PATH_MAX` (4096) long. In `status` the process's
/// groups come before what we look for: of ten digits each there is room for 2900.
const FILE_BYTES_MAX: usize = 32 << 10;

/// In how many parts of a second `/proc` tells times: `USER_HZ` of the kernel's `asm-generic/param.h`.
const TICKS_PER_SECOND: u64 = 100;

/// A process of a member, checked.
#[derive(Debug)]
pub struct ProcessId {
    pid: u32,
    uid: Uid,
    start_time: u64,
    pidfd: Option<OwnedFd>,
}

/// Why a process is not to be touched.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It is not there, or not any more, or what is there is no process but a thread of one.
    #[error("there is no process {pid}")]
    Gone {
        /// The number of the process.
        pid: u32,
    },
    /// One of its user ids is somebody else's.
    #[error("process {pid} is not a process of uid {uid}")]
    NotYours {
        /// The number of the process.
        pid: u32,
        /// Whose it should be.
        uid: Uid,
    },
    /// The kernel would not say.
    #[error("reading {path}")]
    Unreadable {
        /// What was read.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl ProcessError {
    /// The error of a system call on `path`, a file of the process.
    fn of(pid: u32, path: String, errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::SRCH => Self::Gone { pid },
            errno => Self::Unreadable { path, source: errno.into() },
        }
    }
}

impl ProcessId {
    /// The process with this number, where it is `uid`'s own.
    ///
    /// # Errors
    /// Any [`ProcessError`].
    pub fn open(pid: u32, uid: Uid) -> Result<Self, ProcessError> {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(ProcessError::Gone { pid })?;
        let pidfd = match pidfd_open(raw, PidfdFlags::empty()) {
            Ok(pidfd) => Some(pidfd),
            // EINVAL, since 6.9 ENOENT: the number is that of a thread.
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => return Err(ProcessError::Gone { pid }),
            // No such call here, no descriptor left: uid and start time must do.
            Err(_) => None,
        };
        Self::check(pid, uid, pidfd)
    }

    fn check(pid: u32, uid: Uid, pidfd: Option<OwnedFd>) -> Result<Self, ProcessError> {
        let start_time = start_time(pid)?;
        let process = Self { pid, uid, start_time, pidfd };
        process.recheck()?;
        Ok(process)
    }

    /// Whether the process is still there, still the same, and still its owner's own.
    ///
    /// # Errors
    /// Any [`ProcessError`].
    pub fn recheck(&self) -> Result<(), ProcessError> {
        let Self { pid, uid, .. } = *self;
        let ids = ids(pid)?;
        // After the reading: as long as the process was there, its number meant nothing else.
        if ids.tgid != pid || start_time(pid)? != self.start_time || self.has_ended() {
            return Err(ProcessError::Gone { pid });
        }
        ids.are(pid, uid)
    }

    /// A pidfd is readable from when its process ended (`pidfd_open(2)`).
    fn has_ended(&self) -> bool {
        let Some(pidfd) = &self.pidfd else { return false };
        let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
        !matches!(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(0))
    }

    /// When it was started, in milliseconds since boot.
    pub fn started_boot_ms(&self) -> u64 {
        boot_ms(self.start_time)
    }

    /// The number of the process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The descriptor, where the kernel gave one.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }
}

/// In which cgroup a process is, from the cgroup root: `/fairshare.slice/…`.
///
/// # Errors
/// The process is gone, or the kernel would not say.
pub fn cgroup_of(pid: u32) -> Result<String, ProcessError> {
    read(pid, "cgroup", |bytes| parse_cgroup(bytes).map(str::to_owned))
}

/// The number of the process that started a process, or that it was left to.
///
/// # Errors
/// The process is gone, or the kernel would not say.
pub fn parent(pid: u32) -> Result<u32, ProcessError> {
    read(pid, "status", |bytes| number(only_line(bytes, b"PPid:")?.trim()))
}

/// What a process runs, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// The name of its program as the kernel keeps it, which the program may have chosen: any text.
    pub command: String,
    /// When it was started, in milliseconds since boot.
    pub started_boot_ms: u64,
}

/// What a process runs, and since when.
///
/// # Errors
/// The process is gone, or the kernel would not say.
pub fn running(pid: u32) -> Result<Running, ProcessError> {
    read(pid, "stat", |bytes| {
        let command = String::from_utf8_lossy(parse_command(bytes)?).into_owned();
        Some(Running { command, started_boot_ms: boot_ms(parse_start_time(bytes)?) })
    })
}

/// A start time in ticks, in milliseconds.
fn boot_ms(ticks: u64) -> u64 {
    ticks.saturating_mul(1000 / TICKS_PER_SECOND)
}

/// Whether a process of `uid`'s is held by what it cannot take off again: `no_new_privs` (`PR_SET_NO_NEW_PRIVS`) or a filter of
/// its system calls (`seccomp(2)`).
///
/// # Errors
/// Any [`ProcessError`].
pub fn is_sandboxed(pid: u32, uid: Uid) -> Result<bool, ProcessError> {
    let sandboxed = |status: &[u8]| Some(parse_no_new_privs(status)? || parse_seccomp(status)?);
    let (ids, sandboxed) = read(pid, "status", |status| Some((parse_ids(status)?, sandboxed(status)?)))?;
    ids.are(pid, uid)?;
    Ok(sandboxed)
}

/// The memory of a process that only it can give back: what is in no file (`VmRSS` less `RssFile` of `proc_pid_status(5)`), in
/// bytes.
///
/// # Errors
/// The process is gone, or the kernel would not say.
pub fn memory(pid: u32) -> Result<u64, ProcessError> {
    read(pid, "status", parse_memory)
}

fn start_time(pid: u32) -> Result<u64, ProcessError> {
    read(pid, "stat", parse_start_time)
}

fn ids(pid: u32) -> Result<Ids, ProcessError> {
    read(pid, "status", parse_ids)
}

fn read<T>(pid: u32, file: &str, parse: impl FnOnce(&[u8]) -> Option<T>) -> Result<T, ProcessError> {
    let path = format!("/proc/{pid}/{file}");
    let mut buffer = vec![0; FILE_BYTES_MAX];
    match read_start(&path, &mut buffer) {
        Ok(bytes) => parse(bytes).ok_or_else(|| {
            let source = io::Error::new(io::ErrorKind::InvalidData, "not in the form of proc(5)");
            ProcessError::Unreadable { path, source }
        }),
        Err(errno) => Err(ProcessError::of(pid, path, errno)),
    }
}

fn read_start<'b>(path: &str, buffer: &'b mut [u8]) -> rustix::io::Result<&'b [u8]> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match rustix::io::read(&file, rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(Errno::INTR) => (),
            Err(errno) => return Err(errno),
        }
    }
    Ok(buffer.get(..filled).unwrap_or_default())
}

/// What `/proc/PID/status` says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// The number of the process; another than the thread's for all threads but the first.
    pub tgid: u32,
    /// Real, effective, saved and file system user id.
    pub uids: [u32; 4],
}

impl Ids {
    /// Whether all of them are this user's.
    fn are(&self, pid: u32, uid: Uid) -> Result<(), ProcessError> {
        let own = self.uids.iter().all(|id| *id == uid.get());
        if own { Ok(()) } else { Err(ProcessError::NotYours { pid, uid }) }
    }
}

/// The start time in `/proc/PID/stat`. The name of the program, in parentheses, may hold spaces and parentheses itself.
pub fn parse_start_time(stat: &[u8]) -> Option<u64> {
    let after_name = stat.iter().rposition(|byte| *byte == b')')?;
    // The state, field 3, is the first after the name; the start time is field 22.
    let fields = std::str::from_utf8(stat.get(after_name + 1..)?).ok()?;
    fields.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

/// The name of the program in `/proc/PID/stat`, in parentheses, which it may hold itself.
pub fn parse_command(stat: &[u8]) -> Option<&[u8]> {
    let first = stat.iter().position(|byte| *byte == b'(')?;
    let last = stat.iter().rposition(|byte| *byte == b')')?;
    stat.get(first + 1..last)
}

/// The ids in the beginning of `/proc/PID/status`; `None` where a line of them is missing or there twice.
pub fn parse_ids(status: &[u8]) -> Option<Ids> {
    let tgid = number(only_line(status, b"Tgid:")?.trim())?;
    let mut uids = only_line(status, b"Uid:")?.split_ascii_whitespace().map(number);
    let ids = Ids { tgid, uids: [uids.next()??, uids.next()??, uids.next()??, uids.next()??] };
    uids.next().is_none().then_some(ids)
}

/// What `/proc/PID/status` says of memory that is in no file, in bytes; `None` where it says nothing of it.
fn parse_memory(status: &[u8]) -> Option<u64> {
    let kib = |key| number(only_line(status, key)?.trim().strip_suffix(" kB")?).map(u64::from);
    Some(kib(b"RssAnon:")?.saturating_add(kib(b"RssShmem:")?).saturating_mul(1024))
}

/// The mask in `/proc/PID/status`, which is in octal; `None` where its line is missing, there twice, or no mask.
pub fn parse_umask(status: &[u8]) -> Option<u32> {
    let digits = only_line(status, b"Umask:")?.trim();
    let octal = digits.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    octal.then(|| u32::from_str_radix(digits, 8).ok()).flatten().filter(|mask| *mask <= 0o777)
}

/// Whether `/proc/PID/status` says `NoNewPrivs`; `None` where the line is missing, there twice, or no number.
pub fn parse_no_new_privs(status: &[u8]) -> Option<bool> {
    Some(number(only_line(status, b"NoNewPrivs:")?.trim())? != 0)
}

/// Whether `/proc/PID/status` says `Seccomp`; `None` where the line is there twice, or no number. A kernel without `seccomp`
/// has no line of it.
pub fn parse_seccomp(status: &[u8]) -> Option<bool> {
    let measured = status.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"Seccomp:"));
    let mode = if measured { number(only_line(status, b"Seccomp:")?.trim())? } else { 0 };
    Some(mode != 0)
}

/// The path in `/proc/PID/cgroup` in the unified hierarchy (`cgroups(7)`); `None` where there is none.
pub fn parse_cgroup(cgroup: &[u8]) -> Option<&str> {
    let path = only_line(cgroup, b"0::")?;
    path.starts_with('/').then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustix::process::{WaitId, WaitIdOptions, waitid};

    const TAIL: &str = " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 987654 20 21\n";

    #[test]
    fn start_times_behind_any_program_name() {
        for name in ["cat", "a b", ") R 1 2 (", "((", "))", "", "x) S 1"] {
            let stat = format!("42 ({name}){TAIL}");
            assert_eq!(parse_start_time(stat.as_bytes()), Some(987_654), "{name:?}");
            assert_eq!(parse_command(stat.as_bytes()), Some(name.as_bytes()));
        }
        for wrong in ["", "42", "42 (cat", "42 (cat)", "42 (cat) S 1 2", ")"] {
            assert_eq!(parse_start_time(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    #[test]
    fn ids_are_all_four_and_only_once() {
        let status = b"Name:\tcat\nTgid:\t42\nUid:\t1\t2\t3\t4\nGid:\t5\t5\t5\t5\nGroups:\t5 6";
        assert_eq!(parse_ids(status), Some(Ids { tgid: 42, uids: [1, 2, 3, 4] }));
        for wrong in [
            "",
            "Tgid:\t42\n",
            "Tgid:\t42\nUid:\t1\t2\t3\n",
            "Tgid:\t42\nUid:\t1\t2\t3\t4\t5\n",
            "Tgid:\t42\nUid:\t1\t2\t3\t4\nUid:\t0\t0\t0\t0\n",
            "Tgid:\t42\nUid:\t1\t2\t3\t+4\n",
            "Tgid:\t42\nUid:\t1\t2\t3\t4294967296\n",
            "Tgid:\t\nUid:\t1\t2\t3\t4\n",
        ] {
            assert_eq!(parse_ids(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    #[test]
    fn masks_are_octal_and_only_once() {
        for (status, mask) in [
            ("Name:\tcat\nUmask:\t0027\nState:\tS", Some(0o027)),
            ("Umask:\t0777\n", Some(0o777)),
            ("Umask:\t1000\n", None),
            ("Umask:\t0028\n", None),
            ("Umask:\t+027\n", None),
            ("Umask:\t\n", None),
            ("Umask:\t0027\nUmask:\t0\n", None),
            ("Name:\tcat\n", None),
        ] {
            assert_eq!(parse_umask(status.as_bytes()), mask, "{status:?}");
        }
    }

    #[test]
    fn a_sandbox_is_either_of_two() {
        for (status, no_new_privs, seccomp) in [
            ("NoNewPrivs:\t0\nSeccomp:\t0\nSeccomp_filters:\t0\n", Some(false), Some(false)),
            ("NoNewPrivs:\t1\nSeccomp:\t0\n", Some(true), Some(false)),
            ("NoNewPrivs:\t0\nSeccomp:\t2\nSeccomp_filters:\t7\n", Some(false), Some(true)),
            ("NoNewPrivs:\t0\n", Some(false), Some(false)),
            ("NoNewPrivs:\t0\nSeccomp:\tx\n", Some(false), None),
            ("NoNewPrivs:\t0\nNoNewPrivs:\t1\n", None, Some(false)),
            ("Seccomp:\t0\n", None, Some(false)),
        ] {
            let parsed = (parse_no_new_privs(status.as_bytes()), parse_seccomp(status.as_bytes()));
            assert_eq!(parsed, (no_new_privs, seccomp), "{status:?}");
        }
        let (pid, uid) = me();
        is_sandboxed(pid, uid).unwrap();
    }

    #[test]
    fn the_unified_cgroup_is_found_beside_old_ones() {
        let mixed = b"12:cpu:/a\n1:name=systemd:/b\n0::/fairshare.slice/fairshare-7.slice\n";
        assert_eq!(parse_cgroup(mixed), Some("/fairshare.slice/fairshare-7.slice"));
        assert_eq!(parse_cgroup(b"0::/\n"), Some("/"));
        for wrong in ["", "0::\n", "1::/\n", "0::x\n", "0::/a\n0::/b\n"] {
            assert_eq!(parse_cgroup(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd_to_parse(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = (parse_start_time(&bytes), parse_ids(&bytes), parse_cgroup(&bytes), parse_umask(&bytes));
            let _ = parse_command(&bytes);
        }

        #[test]
        fn no_program_name_fakes_a_start_time(name in prop::collection::vec(any::<u8>(), 0..40)) {
            let stat = [b"42 (", name.as_slice(), b")", TAIL.as_bytes()].concat();
            prop_assert_eq!(parse_start_time(&stat), Some(987_654));
        }
    }

    fn me() -> (u32, Uid) {
        (std::process::id(), Uid::new(u64::from(rustix::process::getuid().as_raw())).unwrap())
    }

    #[test]
    fn a_process_is_known_until_it_ends() {
        let (_, uid) = me();
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let process = ProcessId::open(child.id(), uid).unwrap();
        process.recheck().unwrap();
        child.kill().unwrap();
        // It stays as a zombie, and is gone all the same.
        let zombie = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(Pid::from_child(&child)), zombie).unwrap();
        assert!(matches!(process.recheck(), Err(ProcessError::Gone { .. })));
        child.wait().unwrap();
        assert!(matches!(process.recheck(), Err(ProcessError::Gone { .. })));
        assert!(matches!(ProcessId::open(child.id(), uid), Err(ProcessError::Gone { .. })));
    }

    #[test]
    fn without_a_pidfd_the_start_time_tells() {
        let (pid, uid) = me();
        let start_time = start_time(pid).unwrap();
        let without = |start_time| ProcessId { pid, uid, start_time, pidfd: None };
        without(start_time).recheck().unwrap();
        assert!(matches!(without(start_time + 1).recheck(), Err(ProcessError::Gone { .. })));
    }

    #[test]
    fn a_process_of_somebody_else_is_refused() {
        let (pid, uid) = me();
        let other = Uid::new(u64::from(uid.get()) + 1).unwrap();
        assert!(matches!(ProcessId::open(pid, other), Err(ProcessError::NotYours { .. })));
        assert!(matches!(
            inherited::inherited_from(pid, other, u64::MAX),
            Err(ProcessError::NotYours { .. })
        ));
    }

    /// A program that runs with the rights of somebody else has that one's id in one of the four.
    #[test]
    fn each_of_the_four_ids_must_be_the_owners() {
        let (own, uid) = ([7; 4], Uid::new(7).unwrap());
        Ids { tgid: 1, uids: own }.are(1, uid).unwrap();
        for at in 0..own.len() {
            let mut uids = own;
            uids[at] = 0;
            let refused = Ids { tgid: 1, uids }.are(1, uid);
            assert!(matches!(refused, Err(ProcessError::NotYours { pid: 1, .. })), "{uids:?}");
        }
    }

    #[test]
    fn numbers_that_are_no_process() {
        let (_, uid) = me();
        for pid in [0, u32::MAX, 1 << 31, 4_194_305] {
            assert!(matches!(ProcessId::open(pid, uid), Err(ProcessError::Gone { .. })), "{pid}");
        }
        let of_thread = std::thread::spawn(move || {
            let tid = u32::try_from(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            ProcessId::open(tid, uid)
        });
        assert!(matches!(of_thread.join().unwrap(), Err(ProcessError::Gone { .. })));
    }

    #[test]
    fn this_process_is_in_a_cgroup() {
        match cgroup_of(std::process::id()) {
            Ok(path) => assert!(path.starts_with('/')),
            // A machine with cgroup v1 alone.
            Err(ProcessError::Unreadable { .. }) => (),
            Err(error) => panic!("{error}"),
        }
    }
}
