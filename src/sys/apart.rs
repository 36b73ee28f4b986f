//! A thread with a table of descriptors of its own.

use std::io;
use std::sync::mpsc;
use std::thread;

/// The first descriptor that is no standard input, output or error.
const FIRST: libc::c_uint = 3;

/// Starts a thread whose descriptors are its own, beside standard input, output and error (`close_range(2)`,
/// `CLOSE_RANGE_UNSHARE`): what it opens nobody else in this process has, and SIGKILL closes it with the thread, however long
/// another thread of the process takes to end. Returns when it is so.
///
/// `body` must bring no descriptor along: its number is free in there.
///
/// # Errors
/// The thread cannot be started, or the kernel gives it no table of its own: then `body` has not begun.
pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let (sender, told) = mpsc::sync_channel(1);
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let unshared = unshare();
        let begins = unshared.is_ok();
        if sender.send(unshared).is_ok() && begins {
            body();
        }
    })?;
    told.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
}

fn unshare() -> io::Result<()> {
    let flags = libc::CLOSE_RANGE_UNSHARE.cast_signed();
    // SAFETY: no memory is passed. The descriptors are left out of the copy that this thread gets, and stay in the table that
    // the owners of their numbers use, all of which are on other threads.
    if unsafe { libc::close_range(FIRST, libc::c_uint::MAX, flags) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn what_one_side_has_open_the_other_has_not() {
        let names = |table: &str| -> Vec<String> {
            let entries = fs::read_dir(table).unwrap();
            entries
                .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
                .map(|path| path.to_string_lossy().into_owned())
                .collect()
        };
        let dir = tempfile::tempdir().unwrap();
        let [inside, outside] = ["inside", "outside"].map(|name| dir.path().join(name));
        let _kept = File::create(&outside).unwrap();
        let (sender, seen) = mpsc::channel();
        let (done, wait) = mpsc::channel::<()>();
        let path = inside.clone();
        spawn("apart", move || {
            let _file = File::create(path).unwrap();
            sender.send(names("/proc/thread-self/fd")).unwrap();
            let _ = wait.recv();
        })
        .unwrap();
        let (theirs, ours) = (seen.recv().unwrap(), names("/proc/thread-self/fd"));
        drop(done);
        let [inside, outside] = [inside, outside].map(|path| path.to_string_lossy().into_owned());
        assert!(theirs.contains(&inside) && !theirs.contains(&outside), "{theirs:?}");
        assert!(ours.contains(&outside) && !ours.contains(&inside), "{ours:?}");
    }
}
