//! One's own disk quota, as `fairshare status` shows it: asked of the kernel, by the member, where a file system has one.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use super::render;
use crate::host::mounts::{self, MOUNTINFO, Mount};
use crate::quantity::Bytes;
use crate::sys::quota::{self, Space};

/// How long a file system may take to answer. One that takes longer is not told of, and the command ends while it still waits.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// What is used of what may be, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Disk {
    /// The number of the file system.
    device: u64,
    /// Where it is mounted.
    point: String,
    used: Bytes,
    most: Bytes,
}

/// Questions that are on their way to file systems.
pub struct Asked(Vec<mpsc::Receiver<Option<Disk>>>, Instant);

/// Asks for the quota of the caller on the file systems of the home and of the working folder. Each by a thread of its own, that
/// may wait for a file system that does not answer.
pub fn ask() -> Asked {
    let home = || std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    let here = || std::env::current_dir().ok();
    let folders: [fn() -> Option<PathBuf>; 2] = [home, here];
    let answers = folders.into_iter().filter_map(|folder| {
        let (sender, answer) = mpsc::channel();
        let look = move || drop(sender.send(folder().and_then(|folder| look(&folder))));
        thread::Builder::new().spawn(look).ok().map(|_| answer)
    });
    Asked(answers.collect(), Instant::now() + ANSWER_TIMEOUT)
}

impl Asked {
    /// A line for each file system that has a quota for the caller and has answered.
    pub fn lines(self) -> Vec<String> {
        let Self(answers, deadline) = self;
        let mut disks: Vec<Disk> = Vec::new();
        for answer in answers {
            let left = deadline.saturating_duration_since(Instant::now());
            let disk = answer.recv_timeout(left).ok().flatten();
            disks.extend(disk.filter(|disk| disks.iter().all(|known| known.device != disk.device)));
        }
        disks.iter().map(line).collect()
    }
}

fn line(disk: &Disk) -> String {
    let used = render::space_of(disk.used, disk.most);
    format!("Disk        {used} on {}", render::safe(&disk.point))
}

/// The quota on a folder's file system; nothing where there is none, or the kernel does not say.
///
/// A server or a program that serves a file system has no quota that the kernel knows, and is not asked: where it does not answer,
/// a thread of ours may wait for it after the end of the command, and whoever started that with it.
fn look(folder: &Path) -> Option<Disk> {
    let mounts = mounts::parse(&fs::read_to_string(MOUNTINFO).ok()?);
    mounts::of_path(&mounts, folder.to_str()?).filter(|mount| mount.has_disk() || mount.kind == "tmpfs")?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, Mode::empty()).ok()?;
    let Space { used, most } = quota::of_user(&folder, rustix::process::getuid().as_raw()).ok()?;
    let device = rustix::fs::fstat(&folder).ok()?.st_dev;
    Some(Disk { device, point: point(&folder, mounts)?, used: Bytes(used), most: Bytes(most?) })
}

/// Where the file system of an open folder is mounted.
fn point(folder: &OwnedFd, mounts: Vec<Mount>) -> Option<String> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", folder.as_raw_fd())).ok()?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse::<u64>().ok()?;
    mounts.into_iter().find(|mount| mount.id == id).map(|mount| mount.point)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_of_what_may_be_is_a_line() {
        let disk = |used: u64, most: u64| {
            line(&Disk { device: 1, point: "/home\n".to_owned(), used: Bytes(used), most: Bytes(most) })
        };
        assert_eq!(disk(41 << 30, 50 << 30), "Disk        41 of 50 GiB on /home\\u{a}");
        assert_eq!(disk(512 << 20, 3 << 29), "Disk        512 MiB of 1.5 GiB on /home\\u{a}");
        assert_eq!(disk(0, 50 << 30), "Disk        0 of 50 GiB on /home\\u{a}");
    }

    #[test]
    fn a_file_system_that_does_not_answer_is_not_waited_for() {
        let (_kept, never) = mpsc::channel();
        let (sender, answered) = mpsc::channel();
        let disk = Disk { device: 1, point: "/a".to_owned(), used: Bytes(0), most: Bytes(1 << 30) };
        sender.send(Some(disk.clone())).unwrap();
        let (again, second) = mpsc::channel();
        again.send(Some(Disk { point: "/b".to_owned(), ..disk })).unwrap();
        let asked = Asked(vec![never, answered, second], Instant::now());
        assert_eq!(asked.lines(), ["Disk        0 of 1 GiB on /a"], "a file system is told of once");
    }

    #[test]
    fn where_an_open_folder_is_mounted_is_found() {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = rustix::fs::open("/proc", flags, Mode::empty()).unwrap();
        let mounts = mounts::parse(&fs::read_to_string(MOUNTINFO).unwrap());
        assert_eq!(point(&proc, mounts), Some("/proc".to_owned()));
    }
}
