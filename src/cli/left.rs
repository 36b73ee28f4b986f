//! What a member leaves in memory: files of theirs in file systems that are in memory, which stay when the share goes.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::render::safe;
use crate::host::mounts::{self, MOUNTINFO, Mount};
use crate::quantity::Bytes;

/// Where everybody may leave files in memory: POSIX shared memory (`shm_overview(7)`), and since Debian 13 what is temporary.
const FOLDERS: [&str; 2] = ["/dev/shm", "/tmp"];

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
    let mounts = mounts::parse(&fs::read_to_string(MOUNTINFO).ok()?);
    let in_memory =
        |folder: &&str| mounts::of_path(&mounts, folder).is_some_and(|mount| mount.kind == "tmpfs");
    let folders = FOLDERS.into_iter().filter(in_memory).map(PathBuf::from).collect();
    Left::of(folders, &mounts, rustix::process::getuid().as_raw()).words()
}

impl Left {
    /// What one user has in these folders and below, on the same file systems. What is mounted there is not asked: it is somebody
    /// else's, and may not answer.
    fn of(mut to_see: Vec<PathBuf>, mounts: &[Mount], uid: u32) -> Self {
        let mut left = Self::default();
        let mut seen = 0;
        while let Some(folder) = to_see.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                seen += 1;
                if seen > ENTRIES_MAX {
                    return left;
                }
                let path = entry.path();
                if mounts.iter().any(|mount| Path::new(&mount.point) == path) {
                    continue;
                }
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_dir() {
                    to_see.push(path);
                } else if metadata.uid() == uid {
                    left.add(metadata.blocks().saturating_mul(512), path);
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
        let of = |uid| Left::of(vec![folder.path().to_owned()], &[], uid);
        assert_eq!(of(uid).words(), None);
        fs::create_dir(folder.path().join("below")).expect("made");
        let file = |name: &str, mib: usize| {
            let path = folder.path().join(name);
            fs::write(&path, vec![1; mib << 20]).expect("written");
            path
        };
        let large = file("below/large\x1b", 17);
        let words = of(uid).words().expect("worth a word");
        assert!(words.contains(r"below/large\u{1b} (17.0 MiB) is yours"), "{words}");
        file("small", 3);
        let words = of(uid).words().expect("worth a word");
        assert!(words.starts_with("20.0 MiB of files of yours stay"), "{words}");
        assert!(words.contains(r"the largest") && words.ends_with("(17.0 MiB)"), "{words}");
        assert_eq!(of(uid + 1), Left::default(), "others' files are theirs");
        let point = folder.path().join("below").to_str().expect("UTF-8").to_owned();
        let mounted = [Mount { id: 1, major: 0, point, kind: "nfs4".to_owned() }];
        let here = Left::of(vec![folder.path().to_owned()], &mounted, uid);
        assert_eq!(here.bytes, 3 << 20, "what is mounted there is on another file system");
        fs::remove_file(large).expect("removed");
        assert_eq!(of(uid).words(), None, "too little");
    }
}
