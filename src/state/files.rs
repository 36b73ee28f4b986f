//! How a file of the state's folder is written, and what can go wrong.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};

use super::whole::STATE_VERSION;

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
    pub fn is_full(&self) -> bool {
        let full =
            [rustix::io::Errno::NOSPC, rustix::io::Errno::DQUOT].map(|errno| Some(errno.raw_os_error()));
        matches!(self, Self::Io { source, .. } if full.contains(&source.raw_os_error()))
    }
}

/// Writes a file of a folder whole or not at all, under the name `new` until it is on the disk: after this returns it survives a
/// crash; after an error there is what there was, or this.
///
/// # Errors
/// Any of the system calls failed.
pub fn write_whole(
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

/// Has what was made, renamed or removed in a folder survive a crash.
///
/// # Errors
/// The kernel cannot.
pub fn sync_folder(folder: &OwnedFd, path: &Path) -> Result<(), StateFault> {
    rustix::fs::fsync(folder).map_err(fault(path, "sync the folder"))
}

/// The fault that something with this file or folder failed.
pub fn fault(path: &Path, action: &'static str) -> impl FnOnce(rustix::io::Errno) -> StateFault + use<> {
    let path = path.to_owned();
    move |errno| StateFault::Io { path, action, source: errno.into() }
}
