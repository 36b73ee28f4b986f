//! How jobs and allocations ended: a database in the folder `history` beside the state, readable by root alone.
//!
//! What is in it is told and counted, and decides nothing. So a file that is damaged is put aside, and another one begun; and
//! on a disk that is nearly full nothing is written, nor given back to it: who takes room there, the state and the members, is
//! served as if there were no history.

mod tables;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::{io, thread};

use redb::{Builder, Database, ReadableDatabase as _};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::contract::HistoryAnswer;
use tables::{Bounds, Read, Tables, VERSION};

pub use tables::{Asked, Ended};

/// The name of the one thread that may use a history: on it a panic is a fault of the file, see [`guarded`].
pub const THREAD: &str = "history";

/// How many ends of one member are remembered: the oldest is forgotten for one more.
pub const ENDS_PER_UID_MAX: u64 = 100_000;

/// How many ends of all members together are remembered. Each takes some 500 bytes.
pub const ENDS_MAX: u64 = 1_000_000;

/// What the file system must have free, for root too, for anything to be written, in bytes: many times what one write takes.
pub const ROOM_BYTES_MIN: u64 = 4 << 20;

/// How much of the file is kept in memory, in bytes.
const CACHE_BYTES: usize = 128 << 10;

const FOLDER: &str = "history";
const NAME: &str = "history.redb";

/// Why the history could not be read or written. Every message names the path.
#[derive(Debug, thiserror::Error)]
pub enum HistoryFault {
    /// A system call failed.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The disk is nearly full.
    #[error("{}: the disk has less than {} MiB free, which are left to others", path.display(), ROOM_BYTES_MIN >> 20)]
    Full {
        /// The folder.
        path: PathBuf,
    },
    /// Another process has the file.
    #[error("{}: another process uses it", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a newer fairshared.
    #[error("{}: of version {version}, and this fairshared knows up to {VERSION}: install the newer fairshared again, or move the file away", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version that the file names.
        version: u64,
    },
    /// What the file says makes no sense.
    #[error("{}: it is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// How it stands with a history that is written by the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// Why nothing is written now.
    pub why: Option<String>,
    /// How many ends wait to be written since.
    pub waiting: usize,
    /// How many ends of this daemon's time will never be in it.
    pub lost: u64,
    /// What became of a damaged file.
    pub aside: Option<String>,
}

/// A history that is open.
#[derive(Debug)]
pub struct History {
    folder: OwnedFd,
    path: PathBuf,
    database: Database,
    bounds: Bounds,
    /// What the file system must have free for anything to be written, in bytes.
    room_min: u64,
}

impl History {
    /// Opens the history beside the state in `state`, or begins one, and checks it whole. A damaged one is renamed
    /// `history.damaged-{wall_ms}`, and that is said.
    ///
    /// # Errors
    /// It cannot be opened, or there is no room for another; then all is as it was.
    pub fn open(state: &Path, wall_ms: u64) -> Result<(Self, Option<String>), HistoryFault> {
        let path = state.join(FOLDER);
        let folder = folder(&path)?;
        has_room(&folder, &path, ROOM_BYTES_MIN)?;
        let bounds = Bounds { per_uid: ENDS_PER_UID_MAX, all: ENDS_MAX };
        let file = path.join(NAME);
        match checked(&folder, &file) {
            Ok(database) => Ok((Self { folder, path, database, bounds, room_min: ROOM_BYTES_MIN }, None)),
            Err(fault @ HistoryFault::Damaged { .. }) => {
                let said = put_aside(&folder, &file, wall_ms)?;
                let database = checked(&folder, &file)?;
                let history = Self { folder, path, database, bounds, room_min: ROOM_BYTES_MIN };
                Ok((history, Some(format!("{fault}; {said}"))))
            }
            Err(fault) => Err(fault),
        }
    }

    /// Remembers these ends, but those that it has already, and forgets what there are too many of, and what was over before
    /// `oldest_ms`. After this returns that survives a crash; after an error none of it was done.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add(&self, ends: &[Ended], oldest_ms: u64) -> Result<(), HistoryFault> {
        has_room(&self.folder, &self.path, self.room_min)?;
        self.guarded(|| {
            if ends.is_empty() && !Read::of(&self.database.begin_read()?)?.has_before(oldest_ms)? {
                return Ok(());
            }
            let write = self.database.begin_write()?;
            let mut tables = Tables::of(&write)?;
            for ended in ends.iter().filter(|ended| ended.end.ended_ms >= oldest_ms) {
                tables.add(ended, self.bounds)?;
            }
            tables.forget_before(oldest_ms)?;
            drop(tables);
            Ok(write.commit()?)
        })
    }

    /// What is remembered, the oldest first.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn ends(&self, asked: &Asked) -> Result<HistoryAnswer, HistoryFault> {
        self.guarded(|| {
            let read = self.database.begin_read()?;
            Read::of(&read)?.ends(asked)
        })
    }

    /// Lets it go: the file is cut to what it needs.
    pub fn close(self) {
        let Self { path, database, .. } = self;
        let _ = guarded(&path, || {
            drop(database);
            Ok(())
        });
    }

    /// Leaves it, where this process ends. On a disk that is nearly full the file stays as long as it is: else who had been refused
    /// for want of room would find some.
    pub fn leave(self) {
        match has_room(&self.folder, &self.path, self.room_min) {
            Ok(()) => self.close(),
            Err(_) => std::mem::forget(self.database),
        }
    }

    /// Puts the file aside, which turned out to be damaged; what became of it.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub fn put_aside(self, wall_ms: u64) -> Result<String, HistoryFault> {
        let Self { folder, path, database, .. } = self;
        // What cannot be read is not written either, as it would be where it is let go.
        std::mem::forget(database);
        let file = path.join(NAME);
        put_aside(&folder, &file, wall_ms).map(|said| format!("{}: it is damaged; {said}", file.display()))
    }

    fn guarded<T>(&self, act: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, HistoryFault> {
        guarded(&self.path.join(NAME), act)
    }
}

/// Does something with a database. What its file says is taken for true here and there: where that cannot be, the library panics,
/// and on the history's own thread that is caught.
fn guarded<T>(path: &Path, act: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, HistoryFault> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(done) => done.map_err(|error| fault(path, error)),
        Err(_) => {
            let path = path.to_owned();
            Err(HistoryFault::Damaged { path, why: "it contradicts itself".to_owned() })
        }
    }
}

/// Whether what panics on this thread is to end the whole process: on all but the history's own.
pub fn ends_all() -> bool {
    thread::current().name() != Some(THREAD)
}

/// The database, which has been read whole and makes sense.
fn checked(folder: &OwnedFd, path: &Path) -> Result<Database, HistoryFault> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file =
        rustix::fs::openat(folder, NAME, flags, Mode::RUSR | Mode::WUSR).map_err(io_fault(path, "open"))?;
    let damaged = |why: &str| HistoryFault::Damaged { path: path.to_owned(), why: why.to_owned() };
    let mut database =
        guarded(path, || Ok(Builder::new().set_cache_size(CACHE_BYTES).create_file(File::from(file))?))?;
    let whole = guarded(path, || tables::version(&database)).and_then(|version| match version {
        // It is false too where what is free was noted down another way than it would be now: mended, that is whole.
        VERSION => guarded(path, || Ok(database.check_integrity()? || database.check_integrity()?)),
        version => Err(HistoryFault::Newer { path: path.to_owned(), version }),
    });
    match whole.and_then(|whole| if whole { Ok(()) } else { Err(damaged("its checksums are wrong")) }) {
        Ok(()) => Ok(database),
        Err(fault) => {
            if matches!(fault, HistoryFault::Damaged { .. }) {
                // What cannot be read is not written either, as it would be where it is let go.
                std::mem::forget(database);
            }
            Err(fault)
        }
    }
}

/// Renames the file; what is said of that.
fn put_aside(folder: &OwnedFd, file: &Path, wall_ms: u64) -> Result<String, HistoryFault> {
    let aside = format!("history.damaged-{wall_ms}");
    rustix::fs::renameat(folder, NAME, folder, &aside).map_err(io_fault(file, "rename"))?;
    Ok(format!("it is kept as {aside}, and another one is begun"))
}

/// The folder, made where it is not there.
fn folder(path: &Path) -> Result<OwnedFd, HistoryFault> {
    match rustix::fs::mkdir(path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(io_fault(path, "make the folder")(errno)),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(io_fault(path, "open the folder"))
}

/// Whether anything may be written.
fn has_room(folder: &OwnedFd, path: &Path, least: u64) -> Result<(), HistoryFault> {
    let disk = rustix::fs::fstatvfs(folder).map_err(io_fault(path, "look at the disk of"))?;
    let free = disk.f_bfree.saturating_mul(disk.f_frsize);
    if free >= least { Ok(()) } else { Err(HistoryFault::Full { path: path.to_owned() }) }
}

fn io_fault(path: &Path, action: &'static str) -> impl FnOnce(Errno) -> HistoryFault + use<> {
    let path = path.to_owned();
    move |errno| HistoryFault::Io { path, action, source: errno.into() }
}

/// What the library says, sorted by what is to be done about it.
fn fault(path: &Path, error: redb::Error) -> HistoryFault {
    let path = path.to_owned();
    match error {
        redb::Error::DatabaseAlreadyOpen => HistoryFault::InUse { path },
        redb::Error::Io(source)
            if !matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            HistoryFault::Io { path, action: "use", source }
        }
        redb::Error::PreviousIo | redb::Error::DatabaseClosed => {
            HistoryFault::Io { path, action: "use", source: io::Error::other("an earlier fault of the disk") }
        }
        error => HistoryFault::Damaged { path, why: error.to_string() },
    }
}
