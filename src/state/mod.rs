//! The state: what must be known after a crash. A change of it is written whole or not at all.
//!
//! The state file is [`framed`], with one CBOR item. The header is the same in every version, so that a file of a newer version
//! is told from a torn one. Where it is large, what [`changes`] is written beside it, until that is as large. Beside it are also
//! the [`commands`] that wait.

pub mod changes;
pub mod commands;
mod files;
mod framed;
mod record;
mod whole;

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FallocateFlags, FlockOperation, Mode, OFlags};

use crate::ledger::Image;
use changes::Changes;
use files::{fault, sync_folder, write_whole};

pub use files::StateFault;
pub use framed::checksum_of;
pub use whole::{STATE_VERSION, Unusable, encode, parse};

/// The largest state file that is read, in bytes: a million shares would be smaller.
pub const STATE_BYTES_MAX: u64 = 256 << 20;

const NAME: &str = "state";
const NAME_NEW: &str = "state.new";
const NAME_RESERVE: &str = "state.reserve";

/// Up to which size a state file is written anew with each change, in bytes: that takes no longer than to append to another one
/// (`make bench` prints both), and one file is simpler than two.
const WHOLE_BYTES_MAX: u64 = 64 << 10;

/// The least disk space that is kept for what gives something back, in bytes: the state of some hundred shares.
const RESERVE_BYTES_MIN: u64 = 64 << 10;

/// What was found at start.
#[derive(Debug)]
pub enum Loaded {
    /// There was no file: nothing was ever granted here.
    Fresh,
    /// The files held this.
    Image {
        /// All of it, with what changed since the state file was written.
        image: Image,
        /// How many bytes at the end of the changes are no whole one: what was being written when daemon or machine ended, or
        /// what was damaged later.
        torn: u64,
    },
    /// What there was is torn or damaged. It has been moved aside.
    Corrupt {
        /// Where it is now.
        moved_to: Vec<PathBuf>,
        /// What was wrong with it.
        why: String,
    },
}

/// The folder that the state is in, locked against a second daemon.
#[derive(Debug)]
pub struct StateFile {
    dir: OwnedFd,
    path: PathBuf,
    /// How large the file is that keeps disk space, in bytes; 0 where there is none.
    reserve: u64,
    /// What is in the files, where this daemon wrote all of it.
    written: Option<Written>,
}

/// What is in the state file and the changes beside it.
#[derive(Debug)]
struct Written {
    image: Image,
    /// The device and the number of the state file.
    file: (u64, u64),
    /// How long the state file is, in bytes.
    length: u64,
    changes: Changes,
}

impl StateFile {
    /// Opens and locks the folder.
    ///
    /// # Errors
    /// The folder cannot be opened, or another daemon has it.
    pub fn open(path: &Path) -> Result<Self, StateFault> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(path, flags, Mode::empty()).map_err(fault(path, "open the folder"))?;
        match rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                let mut file = Self { dir, path: path.to_owned(), reserve: 0, written: None };
                file.keep_reserve(0);
                Ok(file)
            }
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StateFault::Locked { path: path.to_owned() }),
            Err(errno) => Err(fault(path, "lock the folder")(errno)),
        }
    }

    /// Reads the state. What is damaged is moved aside as `state.corrupt-{wall_ms}`, and changes as
    /// `state.changes.corrupt-{wall_ms}`.
    ///
    /// # Errors
    /// A file cannot be read or moved, or is of a newer version: then it is left as it is.
    pub fn load(&self, wall_ms: u64) -> Result<Loaded, StateFault> {
        let (state, changes) = (self.read(NAME)?, self.read(changes::NAME)?);
        let read = match (&state, &changes) {
            (None, None) => return Ok(Loaded::Fresh),
            (None, Some(_)) => Err(Unusable::Damaged(format!("there is {} and no {NAME}", changes::NAME))),
            (Some(bytes), changes) => parse_both(bytes, changes.as_deref().unwrap_or_default()),
        };
        match read {
            Ok((image, torn)) => Ok(Loaded::Image { image, torn }),
            Err(Unusable::Newer(version)) => Err(StateFault::Newer { path: self.path.join(NAME), version }),
            Err(Unusable::Damaged(why)) => {
                let aside = |name: &str| format!("{name}.corrupt-{wall_ms}");
                // The changes last: without them the state would be an older one, and nobody could tell.
                let files = [state.map(|_| NAME), changes.map(|_| changes::NAME)].into_iter().flatten();
                let mut moved_to = Vec::new();
                for name in files {
                    self.rename(name, &aside(name))?;
                    moved_to.push(self.path.join(aside(name)));
                }
                self.sync_folder()?;
                Ok(Loaded::Corrupt { moved_to, why })
            }
        }
    }

    /// Writes the image: after this returns it survives a crash; after an error the files hold what they held, or
    /// this image.
    ///
    /// # Errors
    /// Any of the system calls failed.
    pub fn save(&mut self, image: Image) -> Result<(), StateFault> {
        self.write(image, false)
    }

    /// Writes the image as [`Self::save`] does. On a full disk the space that was kept for this is given up: with it a
    /// member can give back what they hold, and what has ended is remembered as ended.
    ///
    /// # Errors
    /// Any of the system calls failed, and with more space too.
    pub fn save_what_gives_back(&mut self, image: Image) -> Result<(), StateFault> {
        self.write(image, true)
    }

    fn write(&mut self, image: Image, gives_back: bool) -> Result<(), StateFault> {
        match self.append(&image) {
            Ok(true) => {
                if let Some(written) = &mut self.written {
                    written.image = image;
                }
            }
            Ok(false) => self.write_anew(image, gives_back)?,
            // Where it is written anew what was written before is free after that, and the reserve can be made again.
            Err(full) if !gives_back => return Err(full),
            Err(_) => self.write_anew(image, gives_back)?,
        }
        let length = self.written.as_ref().map_or(0, |written| written.length);
        self.keep_reserve(length);
        Ok(())
    }

    /// Writes what changed beside a state file that is large; `false` where it is to be written anew.
    ///
    /// # Errors
    /// The disk is full, and the files are as they were.
    fn append(&mut self, image: &Image) -> Result<bool, StateFault> {
        let large = self.written.as_mut().filter(|written| written.length > WHOLE_BYTES_MAX);
        let there = large.filter(|written| identity(&self.dir) == Some(written.file));
        let Some(written) = there else { return Ok(false) };
        let encoded = written.changes.encoded(&image.since(&written.image));
        let bytes = encoded.map_err(|why| StateFault::Encode { path: self.path.join(changes::NAME), why })?;
        if written.changes.length() + bytes.len() as u64 > written.length {
            return Ok(false);
        }
        match written.changes.append(&self.dir, &self.path, &bytes) {
            Ok(()) => Ok(true),
            Err((fault, true)) if fault.is_full() => Err(fault),
            // What may be in the file, or not, is left behind with it.
            Err(_) => Ok(false),
        }
    }

    /// Writes the state file anew. What changed since the one before has nothing more to go on from.
    fn write_anew(&mut self, image: Image, gives_back: bool) -> Result<(), StateFault> {
        let encoded = encode(&image);
        let bytes = encoded.map_err(|why| StateFault::Encode { path: self.path.join(NAME_NEW), why })?;
        self.written = None;
        let write = |to: &Self| write_whole(&to.dir, &to.path, (NAME_NEW, NAME), &bytes);
        match write(self) {
            Err(fault) if gives_back && fault.is_full() && self.spend_reserve() => write(self)?,
            written => written?,
        }
        changes::forget(&self.dir);
        let (changes, length) = (Changes::none(checksum_of(&bytes)), bytes.len() as u64);
        self.written = identity(&self.dir).map(|file| Written { image, file, length, changes });
        Ok(())
    }

    /// Gives up the disk space that is kept; whether there was any.
    fn spend_reserve(&mut self) -> bool {
        self.reserve = 0;
        rustix::fs::unlinkat(&self.dir, NAME_RESERVE, AtFlags::empty()).is_ok()
    }

    /// Keeps disk space for two states of this length, where it is not kept already: the next may be larger. Without it
    /// everything works until the disk is full, so that a fault is no news: the next write tries again.
    fn keep_reserve(&mut self, length: u64) {
        let wanted = length.saturating_mul(2).next_power_of_two().max(RESERVE_BYTES_MIN);
        if self.reserve >= wanted {
            return;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let kept = rustix::fs::openat(&self.dir, NAME_RESERVE, flags, Mode::RUSR | Mode::WUSR)
            .and_then(|file| rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, wanted));
        match kept {
            Ok(()) => self.reserve = wanted,
            // A part of it would be taken for the whole by the next daemon.
            Err(_) => drop(self.spend_reserve()),
        }
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StateFault> {
        let path = self.path.join(name);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.dir, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(fault(&path, "open")(errno)),
        };
        let mut bytes = Vec::new();
        file.take(STATE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|source| StateFault::Io {
            path,
            action: "read",
            source,
        })?;
        Ok(Some(bytes))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StateFault> {
        rustix::fs::renameat(&self.dir, from, &self.dir, to).map_err(fault(&self.path.join(from), "rename"))
    }

    fn sync_folder(&self) -> Result<(), StateFault> {
        sync_folder(&self.dir, &self.path)
    }
}

/// Which file the state file of a folder is: root may have put another one there.
fn identity(dir: &OwnedFd) -> Option<(u64, u64)> {
    let found = rustix::fs::statat(dir, NAME, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some((found.st_dev, found.st_ino))
}

/// The image that a state file and the changes beside it hold, from their bytes; of changes that go on from another one nothing
/// is taken.
///
/// # Errors
/// Of either the bytes are damaged, or whole and of a newer version.
pub fn parse_with(bytes: &[u8], changes: &[u8]) -> Result<Image, Unusable> {
    parse_both(bytes, changes).map(|(image, _)| image)
}

/// The same, and how many bytes at the end of the changes are no whole one.
fn parse_both(bytes: &[u8], changes: &[u8]) -> Result<(Image, u64), Unusable> {
    changes::followed(parse(bytes)?, checksum_of(bytes), changes)
}
