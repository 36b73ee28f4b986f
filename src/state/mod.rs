//! The state file: what must be known after a crash. Written whole or not at all.
//!
//! It is [`framed`], with one CBOR item. The header is the same in every version, so that a file of a newer version is told from
//! a torn one. Beside it are the [`commands`] that wait.

pub mod commands;
mod framed;
mod record;

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FallocateFlags, FlockOperation, Mode, OFlags};

use crate::ledger::Image;
use framed::{Magic, framed, unframed};

/// The version that this code writes. A field that is added, taken away or means something else raises it, and the
/// versions before stay readable: `tests/data/state/` has a file of each.
pub const STATE_VERSION: u32 = 8;

/// The largest state file that is read, in bytes: a million shares would be smaller.
pub const STATE_BYTES_MAX: u64 = 256 << 20;

const MAGIC: &Magic = b"fairshr\n";
const NAME: &str = "state";
const NAME_NEW: &str = "state.new";
const NAME_RESERVE: &str = "state.reserve";

/// The least disk space that is kept for what gives something back, in bytes: the state of some hundred shares.
const RESERVE_BYTES_MIN: u64 = 64 << 10;

/// Why the state could not be read or written. Every message names the path.
#[derive(Debug, thiserror::Error)]
pub enum StateFault {
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
    /// Another daemon has the folder.
    #[error("{}: another fairshared is using this state: stop it first", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The file was written by a newer fairshared.
    #[error(
        "{}: state of version {version}, and this fairshared knows up to {STATE_VERSION}: install the newer fairshared again, or move the file away",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version that the file names.
        version: u32,
    },
    /// What a command is to run was torn, or is of a newer fairshared's.
    #[error("{}: it is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The image is too large to be written, or cannot be.
    #[error("{}: cannot encode the state: {why}", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl StateFault {
    /// Whether there is no room left where the state is: on the disk, or in the quota of who owns it.
    fn is_full(&self) -> bool {
        let full =
            [rustix::io::Errno::NOSPC, rustix::io::Errno::DQUOT].map(|errno| Some(errno.raw_os_error()));
        matches!(self, Self::Io { source, .. } if full.contains(&source.raw_os_error()))
    }
}

/// What was found at start.
#[derive(Debug)]
pub enum Loaded {
    /// There was no file: nothing was ever granted here.
    Fresh,
    /// The file held this.
    Image(Image),
    /// The file was torn or damaged. It has been moved aside.
    Corrupt {
        /// Where it is now.
        moved_to: PathBuf,
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
    reserve: Cell<u64>,
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
                let file = Self { dir, path: path.to_owned(), reserve: Cell::new(0) };
                file.keep_reserve(0);
                Ok(file)
            }
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StateFault::Locked { path: path.to_owned() }),
            Err(errno) => Err(fault(path, "lock the folder")(errno)),
        }
    }

    /// Reads the state; a damaged file is moved aside as `state.corrupt-{wall_ms}`.
    ///
    /// # Errors
    /// The file cannot be read or moved, or is of a newer version: then it is left as it is.
    pub fn load(&self, wall_ms: u64) -> Result<Loaded, StateFault> {
        let Some(bytes) = self.read()? else {
            return Ok(Loaded::Fresh);
        };
        match parse(&bytes) {
            Ok(image) => Ok(Loaded::Image(image)),
            Err(Unusable::Newer(version)) => Err(StateFault::Newer { path: self.path.join(NAME), version }),
            Err(Unusable::Damaged(why)) => {
                let name = format!("state.corrupt-{wall_ms}");
                self.rename(NAME, &name)?;
                self.sync_folder()?;
                Ok(Loaded::Corrupt { moved_to: self.path.join(name), why })
            }
        }
    }

    /// Writes the image: after this returns it survives a crash; after an error the file holds what it held, or
    /// this image.
    ///
    /// # Errors
    /// Any of the system calls failed.
    pub fn save(&self, image: &Image) -> Result<(), StateFault> {
        let bytes = self.encoded(image)?;
        self.write(&bytes)?;
        self.keep_reserve(bytes.len() as u64);
        Ok(())
    }

    /// Writes the image as [`Self::save`] does. On a full disk the space that was kept for this is given up: with it a
    /// member can give back what they hold, and what has ended is remembered as ended.
    ///
    /// # Errors
    /// Any of the system calls failed, and with more space too.
    pub fn save_what_gives_back(&self, image: &Image) -> Result<(), StateFault> {
        let bytes = self.encoded(image)?;
        match self.write(&bytes) {
            Err(fault) if fault.is_full() && self.spend_reserve() => self.write(&bytes)?,
            written => written?,
        }
        self.keep_reserve(bytes.len() as u64);
        Ok(())
    }

    fn encoded(&self, image: &Image) -> Result<Vec<u8>, StateFault> {
        encode(image).map_err(|why| StateFault::Encode { path: self.path.join(NAME_NEW), why })
    }

    /// Gives up the disk space that is kept; whether there was any.
    fn spend_reserve(&self) -> bool {
        self.reserve.set(0);
        rustix::fs::unlinkat(&self.dir, NAME_RESERVE, AtFlags::empty()).is_ok()
    }

    /// Keeps disk space for two states of this length, where it is not kept already: the next may be larger. Without it
    /// everything works until the disk is full, so that a fault is no news: the next write tries again.
    fn keep_reserve(&self, length: u64) {
        let wanted = length.saturating_mul(2).next_power_of_two().max(RESERVE_BYTES_MIN);
        if self.reserve.get() >= wanted {
            return;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let kept = rustix::fs::openat(&self.dir, NAME_RESERVE, flags, Mode::RUSR | Mode::WUSR)
            .and_then(|file| rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, wanted));
        match kept {
            Ok(()) => self.reserve.set(wanted),
            // A part of it would be taken for the whole by the next daemon.
            Err(_) => drop(self.spend_reserve()),
        }
    }

    fn write(&self, bytes: &[u8]) -> Result<(), StateFault> {
        write_whole(&self.dir, &self.path, (NAME_NEW, NAME), bytes)
    }

    fn read(&self) -> Result<Option<Vec<u8>>, StateFault> {
        let path = self.path.join(NAME);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.dir, NAME, flags, Mode::empty()) {
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

/// Writes a file of a folder whole or not at all, under the name `new` until it is on the disk: after this returns it survives a
/// crash; after an error there is what there was, or this.
fn write_whole(
    folder: &OwnedFd,
    path: &Path,
    (new, name): (&str, &str),
    bytes: &[u8],
) -> Result<(), StateFault> {
    let new_path = path.join(new);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, new, flags, Mode::RUSR | Mode::WUSR)
        .map_err(fault(&new_path, "create"))?;
    let mut file = File::from(file);
    let written = file
        .write_all(bytes)
        .map_err(|source| StateFault::Io { path: new_path.clone(), action: "write", source })
        .and_then(|()| rustix::fs::fsync(&file).map_err(fault(&new_path, "sync")))
        .and_then(|()| rustix::fs::renameat(folder, new, folder, name).map_err(fault(&new_path, "rename")));
    if let Err(error) = written {
        // What is left of the new file is of no use; the next attempt truncates it anyway.
        let _ = rustix::fs::unlinkat(folder, new, AtFlags::empty());
        return Err(error);
    }
    sync_folder(folder, path)
}

fn sync_folder(folder: &OwnedFd, path: &Path) -> Result<(), StateFault> {
    rustix::fs::fsync(folder).map_err(fault(path, "sync the folder"))
}

fn fault(path: &Path, action: &'static str) -> impl FnOnce(rustix::io::Errno) -> StateFault + use<> {
    let path = path.to_owned();
    move |errno| StateFault::Io { path, action, source: errno.into() }
}

/// Why the bytes of a state file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// Whole, and of this newer version.
    Newer(u32),
    /// Torn, or not a state file.
    Damaged(String),
}

/// The bytes of a state file that holds `image`.
///
/// # Errors
/// The image is larger than a state file can be.
pub fn encode(image: &Image) -> Result<Vec<u8>, String> {
    let mut payload = Vec::new();
    ciborium::into_writer(&record::State::from(image), &mut payload).map_err(|error| error.to_string())?;
    framed(MAGIC, STATE_VERSION, &payload)
}

/// The image in the bytes of a state file.
///
/// # Errors
/// The bytes are damaged, or whole and of a newer version.
pub fn parse(bytes: &[u8]) -> Result<Image, Unusable> {
    let damaged = |why: &str| Unusable::Damaged(why.to_owned());
    let (version, payload) = unframed(MAGIC, bytes).map_err(damaged)?;
    let state: record::State = match version {
        1 => record::v5::State::from(record::v4::State::from(item::<record::v1::State>(payload)?)).into(),
        2..=4 => record::v5::State::from(item::<record::v4::State>(payload)?).into(),
        5 => item::<record::v5::State>(payload)?.into(),
        6..=STATE_VERSION => item(payload)?,
        newer if newer > STATE_VERSION => return Err(Unusable::Newer(newer)),
        _ => return Err(damaged("of a version that never was")),
    };
    Image::try_from(state).map_err(Unusable::Damaged)
}

/// The one CBOR item that `payload` is.
fn item<State: serde::de::DeserializeOwned>(payload: &[u8]) -> Result<State, Unusable> {
    let mut rest = payload;
    let state = ciborium::from_reader(&mut rest).map_err(|error| Unusable::Damaged(error.to_string()))?;
    if rest.is_empty() { Ok(state) } else { Err(Unusable::Damaged("bytes after its end".to_owned())) }
}
