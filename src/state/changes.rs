//! What changed since the state file was written, where that is large: a file of changes beside it, each [`framed`].
//!
//! A change names the state file that it goes on from, by the checksum of that, and which one it is since. So a file of changes
//! that a crash left beside a newer state file is told from the one that belongs to it. The last change may be torn: nobody was
//! told that it is stored. What is torn before another one was damaged later.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};

use super::files::{StateFault, fault, sync_folder};
use super::framed::{Magic, first, framed};
use super::record::change::Change;
use super::whole::{STATE_VERSION, Unusable, item};
use crate::ledger::Image;
use crate::ledger::difference::Difference;

/// The file's name.
pub const NAME: &str = "state.changes";

const MAGIC: &Magic = b"fairchg\n";
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
    /// The file, where there are some.
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

    /// Appends the next change: after this returns it survives a crash; after an error the file holds what it held, or this.
    ///
    /// # Errors
    /// Any of the system calls failed; and whether the file is as before.
    pub fn append(&mut self, dir: &OwnedFd, path: &Path, bytes: &[u8]) -> Result<(), (StateFault, bool)> {
        let file = match self.file.take() {
            Some(file) => file,
            None => begin(dir, path).map_err(|fault| (fault, true))?,
        };
        let failed = |action| {
            let path = path.join(NAME);
            move |source: io::Error| StateFault::Io { path, action, source }
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
}

/// The file, empty.
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

/// The image that the changes in these bytes come to, of the state file with that checksum.
///
/// # Errors
/// A change is of a newer version, or damaged.
pub fn followed(image: Image, base: u32, bytes: &[u8]) -> Result<Image, Unusable> {
    let (mut differences, mut rest) = (Vec::new(), bytes);
    while let Ok((version, payload, after)) = first(MAGIC, rest) {
        let Some((head, change)) = payload.split_at_checked(HEAD_BYTES) else { break };
        if head != self::head(base, differences.len() as u64) {
            break;
        }
        if version > STATE_VERSION {
            return Err(Unusable::Newer(version));
        }
        let difference = item::<Change>(change)?.try_into().map_err(Unusable::Damaged)?;
        differences.push(difference);
        rest = after;
    }
    match is_of(base, rest) {
        true => Err(Unusable::Damaged(format!("a change after change {} cannot be read", differences.len()))),
        false => Ok(image.followed_by(differences)),
    }
}

/// What a change begins with.
fn head(base: u32, count: u64) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    let (of, number) = head.split_at_mut(4);
    of.copy_from_slice(&base.to_be_bytes());
    number.copy_from_slice(&count.to_be_bytes());
    head
}

/// Whether somewhere in these bytes there is a whole change of the state file with that checksum.
fn is_of(base: u32, bytes: &[u8]) -> bool {
    let whole = |rest: &[u8]| {
        first(MAGIC, rest).is_ok_and(|(_, payload, _)| payload.starts_with(&base.to_be_bytes()))
    };
    (0..bytes.len()).filter_map(|at| bytes.get(at..)).any(|rest| rest.starts_with(MAGIC) && whole(rest))
}
