//! What a member leaves in memory: files of theirs in file systems that are in memory, which stay when the share goes.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::statfs;

use super::render::safe;
use crate::quantity::Bytes;

/// Where everybody may leave files in memory: POSIX shared memory (`shm_overview(7)`), and since Debian 13 what is temporary.
const FOLDERS: [&str; 2] = ["/dev/shm", "/tmp"];

/// What `statfs(2)` says of a file system in memory (`TMPFS_MAGIC` in linux/magic.h).
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// How many files and folders are looked at, at most.
const ENTRIES_MAX: usize = 10_000;

/// From how much on it is worth a word.
const WORTH_A_WORD: Bytes = Bytes(16 << 20);

/// Files in memory.
#[derive(Debug, Default, PartialEq, Eq)]
struct Left {
    bytes: u64,
    /// The largest, with its size.
    largest: Option<(u64, PathBuf)>,
}

/// What the caller has in memory, where that is worth a word: how much, and where most of it is.
pub fn words() -> Option<String> {
    let uid = rustix::process::getuid().as_raw();
    let in_memory = |folder: &&Path| statfs(*folder).is_ok_and(|system| system.f_type == TMPFS_MAGIC);
    Left::of(FOLDERS.into_iter().map(Path::new).filter(in_memory), uid).words()
}

impl Left {
    /// What one user has in these folders and below, on the same file systems.
    fn of<'a>(folders: impl Iterator<Item = &'a Path>, uid: u32) -> Self {
        let mut left = Self::default();
        let mut to_see: Vec<(u64, PathBuf)> = folders
            .filter_map(|folder| Some((fs::symlink_metadata(folder).ok()?.dev(), folder.to_owned())))
            .collect();
        let mut seen = 0;
        while let Some((device, folder)) = to_see.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                seen += 1;
                if seen > ENTRIES_MAX {
                    return left;
                }
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.dev() != device {
                    continue;
                }
                if metadata.is_dir() {
                    to_see.push((device, entry.path()));
                } else if metadata.uid() == uid {
                    left.add(metadata.blocks().saturating_mul(512), entry.path());
                }
            }
        }
        left
    }

    fn add(&mut self, bytes: u64, path: PathBuf) {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.largest.as_ref().is_none_or(|(largest, _)| *largest < bytes) {
            self.largest = Some((bytes, path));
        }
    }

    fn words(&self) -> Option<String> {
        let (bytes, path) = self.largest.as_ref()?;
        let all = Bytes(self.bytes);
        let path = safe(&path.to_string_lossy());
        (all >= WORTH_A_WORD).then(|| match *bytes == self.bytes {
            true => format!("{path} ({all}) is yours and stays in memory until it is removed"),
            false => format!(
                "{all} of files of yours stay in memory until they are removed, the largest {path} ({})",
                Bytes(*bytes)
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ones_own_files_are_counted_and_the_largest_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let uid = rustix::process::getuid().as_raw();
        let here = || [folder.path()].into_iter();
        assert_eq!(Left::of(here(), uid).words(), None);
        fs::create_dir(folder.path().join("below")).expect("made");
        let file = |name: &str, mib: usize| {
            let path = folder.path().join(name);
            fs::write(&path, vec![1; mib << 20]).expect("written");
            path
        };
        let large = file("below/large\x1b", 17);
        let words = Left::of(here(), uid).words().expect("worth a word");
        assert!(words.contains(r"below/large\u{1b} (17.0 MiB) is yours"), "{words}");
        file("small", 3);
        let words = Left::of(here(), uid).words().expect("worth a word");
        assert!(words.starts_with("20.0 MiB of files of yours stay"), "{words}");
        assert!(words.contains(r"the largest") && words.ends_with("(17.0 MiB)"), "{words}");
        assert_eq!(Left::of(here(), uid + 1), Left::default(), "others' files are theirs");
        fs::remove_file(large).expect("removed");
        assert_eq!(Left::of(here(), uid).words(), None, "too little");
    }
}
