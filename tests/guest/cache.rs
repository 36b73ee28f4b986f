//! What is built once and used by every run: images and snapshots, in the user's cache.

use std::fs::{self, File, FileTimes};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

/// How many entries of one kind are kept.
const KEPT_ENTRIES: usize = 3;
/// An entry used more recently than this may be about to be opened: it is never pruned.
const PRUNE_AGE_MIN: Duration = Duration::from_secs(15 * 60);

/// The cache's folder: `$FAIRSHARE_GUEST_CACHE`, else `fairshare/guest` in the user's cache.
pub fn root() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let path = set("FAIRSHARE_GUEST_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("fairshare/guest")))
        .or_else(|| Some(set("HOME")?.join(".cache/fairshare/guest")))
        .expect("no place for the guests' images: set FAIRSHARE_GUEST_CACHE or HOME");
    fs::create_dir_all(&path).unwrap_or_else(|error| panic!("cannot create {}: {error}", path.display()));
    path
}

/// A short name for these bytes: the start of their SHA-256.
pub fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("cannot start sha256sum (coreutils)");
    let mut input = child.stdin.take().expect("stdin is piped");
    for part in parts {
        // The length keeps ("ab", "c") apart from ("a", "bc").
        input.write_all(&(part.len() as u64).to_le_bytes()).expect("sha256sum reads its input");
        input.write_all(part).expect("sha256sum reads its input");
    }
    drop(input);
    let output = child.wait_with_output().expect("sha256sum ends");
    String::from_utf8_lossy(&output.stdout).chars().take(16).collect()
}

/// The folder `<kind>-<key>` of the cache, made by `build` when it is not there yet.
///
/// `build` fills an empty folder beside it, which is renamed when complete: a folder that is there is
/// whole. A lock on a file keeps two tests or two processes from building the same thing.
pub fn entry(kind: &str, key: &str, build: impl FnOnce(&Path)) -> PathBuf {
    let root = root();
    let path = root.join(format!("{kind}-{key}"));
    if !path.exists() {
        let lock_path = root.join(format!("{kind}.lock"));
        let lock = lock_file(&lock_path);
        lock.lock().unwrap_or_else(|error| panic!("cannot lock {}: {error}", lock_path.display()));
        if !path.exists() {
            remove_abandoned(&root, kind);
            let partial = tempfile::Builder::new()
                .prefix(&format!(".{kind}-"))
                .tempdir_in(&root)
                .unwrap_or_else(|error| panic!("cannot create a folder in {}: {error}", root.display()));
            build(partial.path());
            fs::rename(partial.keep(), &path)
                .unwrap_or_else(|error| panic!("cannot put {} in place: {error}", path.display()));
            prune(&root, kind);
        }
    }
    mark_used(&path);
    path
}

/// Opens a lock file, creating it.
pub fn lock_file(path: &Path) -> File {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()))
}

/// Sets an entry's time of use, by which `prune` decides. Another user's cache may refuse: no harm.
fn mark_used(path: &Path) {
    if let Ok(folder) = File::open(path) {
        let _ = folder.set_times(FileTimes::new().set_modified(SystemTime::now()));
    }
}

/// Removes what a killed build left: we hold the lock, so nobody else is building this kind.
fn remove_abandoned(root: &Path, kind: &str) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&format!(".{kind}-")) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Removes all but the most recently used entries of one kind.
fn prune(root: &Path, kind: &str) {
    let prefix = format!("{kind}-");
    let mut entries: Vec<(SystemTime, PathBuf)> = fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    entries.sort();
    entries.reverse();
    for (used, path) in entries.into_iter().skip(KEPT_ENTRIES) {
        if used.elapsed().is_ok_and(|age| age > PRUNE_AGE_MIN) {
            let _ = fs::remove_dir_all(path);
        }
    }
}
