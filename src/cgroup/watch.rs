//! Files of cgroups that the kernel tells the change of, so that nobody has to look at them again and again.
//!
//! Source: `cgroup-v2.rst`, "cgroup.events": "a file modified event is generated" when a value changes. That is
//! `IN_MODIFY` of `inotify(7)`, which needs no more than leave to read the file.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use super::Cgroups;
use crate::identity::UnitName;

/// Says whether there are processes in a cgroup or below it.
pub const CGROUP_EVENTS: &str = "cgroup.events";

/// Counts what the limit of memory did to a cgroup and all below it.
pub const MEMORY_EVENTS: &str = "memory.events";

/// What is taken from the kernel at a time: 256 changes, for a change of a file comes without a name.
const CHANGES_BYTES: usize = 4096;

/// One file of one cgroup.
type Watched = (UnitName, &'static str);

/// Files that are watched.
#[derive(Debug)]
pub struct Watches {
    inotify: Arc<OwnedFd>,
    by_number: BTreeMap<i32, Watched>,
    numbers: BTreeMap<Watched, i32>,
}

/// Files that may have changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Changes {
    /// The files of these units.
    Of(BTreeSet<(UnitName, &'static str)>),
    /// Any: more has changed than the kernel keeps.
    OfAny,
}

impl Watches {
    /// Nothing is watched yet.
    ///
    /// # Errors
    /// The user has as many of these as the kernel allows (`fs.inotify.max_user_instances`).
    pub fn open() -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Ok(Self { inotify: Arc::new(inotify), by_number: BTreeMap::new(), numbers: BTreeMap::new() })
    }

    /// Watches a file of a unit's cgroup from now on, also where the cgroup was removed and made again. Whether there is
    /// such a file. What it holds is to be read after this, never before: a change in between would not be told.
    ///
    /// # Errors
    /// The user watches as many files as the kernel allows (`fs.inotify.max_user_watches`), or may not read this one.
    pub fn add(&mut self, cgroups: &Cgroups, unit: UnitName, file: &'static str) -> io::Result<bool> {
        let path = cgroups.path.join(unit.cgroup_path()).join(file);
        let flags = WatchFlags::MODIFY | WatchFlags::DONT_FOLLOW;
        let number = match inotify::add_watch(&self.inotify, &path, flags) {
            Ok(number) => number,
            Err(Errno::NOENT) => {
                self.remove(unit, file);
                return Ok(false);
            }
            Err(errno) => return Err(errno.into()),
        };
        if self.numbers.get(&(unit, file)) != Some(&number) {
            self.remove(unit, file);
            self.numbers.insert((unit, file), number);
            self.by_number.insert(number, (unit, file));
        }
        Ok(true)
    }

    /// Watches a file no longer.
    pub fn remove(&mut self, unit: UnitName, file: &'static str) {
        if let Some(number) = self.numbers.remove(&(unit, file)) {
            self.by_number.remove(&number);
            // EINVAL: the kernel has dropped it by itself, with the cgroup.
            let _ = inotify::remove_watch(&self.inotify, number);
        }
    }

    /// Whether a file is watched.
    pub fn holds(&self, unit: UnitName, file: &'static str) -> bool {
        self.numbers.contains_key(&(unit, file))
    }

    /// What there is something to read from when something has changed.
    pub fn descriptor(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.inotify)
    }

    /// The next changes. A file that is gone is not among them, and not watched any more.
    ///
    /// # Errors
    /// `WouldBlock` where nothing has changed.
    pub fn take(&mut self) -> io::Result<Changes> {
        let mut buffer = [MaybeUninit::uninit(); CHANGES_BYTES];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut changed = BTreeSet::new();
        let mut gone = Vec::new();
        let mut any = false;
        loop {
            let event = reader.next()?;
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                any = true;
            } else if event.events().contains(ReadFlags::IGNORED) {
                gone.push(event.wd());
            } else {
                changed.extend(self.by_number.get(&event.wd()));
            }
            if reader.is_buffer_empty() {
                break;
            }
        }
        for number in gone {
            if let Some(watched) = self.by_number.remove(&number) {
                self.numbers.remove(&watched);
            }
        }
        Ok(if any { Changes::OfAny } else { Changes::Of(changed) })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::identity::Uid;

    fn unit(uid: u64) -> UnitName {
        UnitName::Share(Uid::new(uid).unwrap())
    }

    fn nothing(watches: &mut Watches) -> bool {
        watches.take().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    #[test]
    fn changes_of_watched_files_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = |uid| dir.path().join(unit(uid).cgroup_path());
        let write = |uid| fs::write(path(uid).join(CGROUP_EVENTS), "populated 0\n").unwrap();
        for uid in [1, 2] {
            fs::create_dir_all(path(uid)).unwrap();
            write(uid);
        }
        let cgroups = Cgroups::open(dir.path()).unwrap();
        let mut watches = Watches::open().unwrap();
        assert!(watches.add(&cgroups, unit(1), CGROUP_EVENTS).unwrap());
        assert!(!watches.add(&cgroups, unit(3), CGROUP_EVENTS).unwrap(), "there is no such cgroup");
        assert!(nothing(&mut watches));
        write(2);
        assert!(nothing(&mut watches), "nobody wanted to know of it");
        write(1);
        assert_eq!(watches.take().unwrap(), Changes::Of([(unit(1), CGROUP_EVENTS)].into()));
        assert!(nothing(&mut watches));

        // Made again behind our back: it is another file then, which is watched when that is asked for again.
        fs::remove_dir_all(path(1)).unwrap();
        assert_eq!(watches.take().unwrap(), Changes::Of(BTreeSet::new()));
        assert!(!watches.holds(unit(1), CGROUP_EVENTS));
        fs::create_dir_all(path(1)).unwrap();
        write(1);
        for _ in 0..2 {
            assert!(watches.add(&cgroups, unit(1), CGROUP_EVENTS).unwrap());
        }
        write(1);
        assert_eq!(watches.take().unwrap(), Changes::Of([(unit(1), CGROUP_EVENTS)].into()));
        watches.remove(unit(1), CGROUP_EVENTS);
        write(1);
        assert_eq!(watches.take().unwrap(), Changes::Of(BTreeSet::new()), "only that the watch is gone");
        assert!(nothing(&mut watches));
    }
}
