//! What changed since the state file was written, where that is large: a file of changes beside it, each [`framed`].
//!
//! A change names the state file that it goes on from, by the checksum of that, and which one it is since. So a file of changes
//! that a crash left beside a newer state file is told from the one that belongs to it. What is torn before another change was
//! damaged; the last one may be torn because it was being written, and nobody was told that it is stored. One that is damaged
//! after it was stored, with none after it, looks the same: how much that is, is told. As `SQLite`'s write-ahead log, this trusts a
//! disk that what is written after something leaves that as it is.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};

use super::files::{StateFault, fault, sync_folder};
use super::framed::{HEADER_BYTES, Magic, first, framed};
use super::record::change::Change;
use super::whole::{STATE_VERSION, Unusable, item};
use crate::ledger::Image;
use crate::ledger::difference::Difference;

/// The file's name.
pub const NAME: &str = "state.changes";

const MAGIC: &Magic = b"fairchg\n";
/// The first version that has changes.
const FIRST_VERSION: u32 = 9;
/// What is in front of the CBOR item: the state file's checksum and the number of the change.
const HEAD_BYTES: usize = 12;

/// The file of changes, from the first one on that goes on from a state file.
#[derive(Debug)]
pub struct Changes {
    /// The checksum of the state file.
    base: u32,
    /// How many there are.
    count: u64,
    /// How long they are, in bytes.
    length: u64,
    /// The file, once it is begun.
    file: Option<File>,
}

impl Changes {
    /// None yet, of the state file with this checksum.
    pub fn none(base: u32) -> Self {
        Self { base, count: 0, length: 0, file: None }
    }

    /// How long they are, in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The next change, as bytes.
    ///
    /// # Errors
    /// It cannot be encoded.
    pub fn encoded(&self, difference: &Difference) -> Result<Vec<u8>, String> {
        encoded(self.base, self.count, difference)
    }

    /// Appends the next change: after this returns it survives a crash. After an error nothing may be appended any more, unless the
    /// file is as before.
    ///
    /// # Errors
    /// Any of the system calls failed, or the file is not what was written; and whether it is as before.
    pub fn append(&mut self, dir: &OwnedFd, path: &Path, bytes: &[u8]) -> Result<(), (StateFault, bool)> {
        let failed = |action| {
            let path = path.join(NAME);
            move |source: io::Error| StateFault::Io { path, action, source }
        };
        let file = match self.file.take() {
            Some(file) => self.if_there(dir, file).map_err(|source| (failed("append to")(source), false))?,
            None => begin(dir, path).map_err(|fault| (fault, true))?,
        };
        let written = file.write_all_at(bytes, self.length).map_err(failed("write"));
        let stored = match written {
            Ok(()) => rustix::fs::fdatasync(file.as_fd())
                .map_err(io::Error::from)
                .map_err(failed("sync"))
                .map_err(|fault| (fault, false)),
            // What the kernel has of it must not be taken for the next one's.
            Err(fault) => Err((fault, file.set_len(self.length).is_ok())),
        };
        self.file = Some(file);
        stored?;
        self.count += 1;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// The file, where it is the one of that name, and as long as what was written: root may have put another one there, or
    /// none.
    fn if_there(&self, dir: &OwnedFd, file: File) -> io::Result<File> {
        let (named, open) = (rustix::fs::statat(dir, NAME, AtFlags::SYMLINK_NOFOLLOW)?, file.metadata()?);
        let same = (named.st_dev, named.st_ino) == (open.dev(), open.ino()) && open.len() == self.length;
        if same { Ok(file) } else { Err(io::Error::other("it is not what was written")) }
    }
}

/// The file, empty, where there is one or not.
fn begin(dir: &OwnedFd, path: &Path) -> Result<File, StateFault> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, NAME, flags, Mode::RUSR | Mode::WUSR)
        .map_err(fault(&path.join(NAME), "create"))?;
    sync_folder(dir, path)?;
    Ok(file.into())
}

/// Takes the file away: it goes on from no state file that there is. Where it stays it is not believed.
pub fn forget(dir: &OwnedFd) {
    let _ = rustix::fs::unlinkat(dir, NAME, AtFlags::empty());
}

/// A change as it is in the file.
///
/// # Errors
/// It is larger than a file can say.
pub fn encoded(base: u32, count: u64, difference: &Difference) -> Result<Vec<u8>, String> {
    let mut payload = Vec::new();
    payload.extend_from_slice(&head(base, count));
    ciborium::into_writer(&Change::from(difference), &mut payload).map_err(|error| error.to_string())?;
    framed(MAGIC, STATE_VERSION, &payload)
}

/// The image that the changes in these bytes come to, of the state file with that checksum; and how many bytes at the end are no
/// whole change of it, where others are.
///
/// # Errors
/// A change is of a newer version, or damaged.
pub fn followed(image: Image, base: u32, bytes: &[u8]) -> Result<(Image, u64), Unusable> {
    let (mut count, mut rest, mut unusable) = (0, bytes, None);
    // One after the other: all of them at once would be several times as much as the image.
    let image = image.followed_by(std::iter::from_fn(|| match next(base, count, rest).transpose()? {
        Ok((difference, after)) => {
            (count, rest) = (count + 1, after);
            Some(difference)
        }
        Err(why) => {
            unusable = Some(why);
            None
        }
    }));
    match unusable {
        Some(why) => Err(why),
        None if is_of(base, rest) => {
            Err(Unusable::Damaged(format!("a change after change {count} cannot be read")))
        }
        None => Ok((image, if count == 0 { 0 } else { rest.len() as u64 })),
    }
}

/// The change with this number, where these bytes begin with it, and what is after it.
fn next(base: u32, count: u64, bytes: &[u8]) -> Result<Option<(Difference, &[u8])>, Unusable> {
    let Ok((version, payload, rest)) = first(MAGIC, bytes) else { return Ok(None) };
    let Some((_, change)) = payload.split_at_checked(HEAD_BYTES).filter(|(at, _)| *at == head(base, count))
    else {
        return Ok(None);
    };
    let change = match version {
        FIRST_VERSION..=STATE_VERSION => item::<Change>(change)?,
        newer if newer > STATE_VERSION => return Err(Unusable::Newer(newer)),
        _ => return Err(Unusable::Damaged("a change of a version that had none".to_owned())),
    };
    Ok(Some((change.try_into().map_err(Unusable::Damaged)?, rest)))
}

/// What a change begins with.
fn head(base: u32, count: u64) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    let (of, number) = head.split_at_mut(4);
    of.copy_from_slice(&base.to_be_bytes());
    number.copy_from_slice(&count.to_be_bytes());
    head
}

/// Whether somewhere in these bytes there is a whole change of the state file with that checksum. What members can write is
/// looked into no further than to that, which they do not know.
fn is_of(base: u32, bytes: &[u8]) -> bool {
    let named = |rest: &[u8]| {
        rest.starts_with(MAGIC)
            && rest.get(HEADER_BYTES..).is_some_and(|payload| payload.starts_with(&base.to_be_bytes()))
    };
    let mut rests = (0..bytes.len()).filter_map(|at| bytes.get(at..));
    rests.any(|rest| named(rest) && first(MAGIC, rest).is_ok())
}
