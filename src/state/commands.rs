//! What submitted commands are to run: a file each in the folder `jobs` beside the state, readable by root alone. It is written
//! before the command waits or is started, and goes with the command's end.
//!
//! Its name is the job's number, until the process that systemd starts for it is given what it becomes: then it says so ([`STARTED`]).
//! Where a daemon ends in between, the next one knows that nobody has begun with a command of the plain name, and of any other only
//! systemd can tell.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

use super::StateFile;
use super::files::{StateFault, sync_folder, write_whole};
use super::framed::{Magic, framed, unframed};
use crate::identity::JobId;

/// The version that this code writes.
pub const COMMAND_VERSION: u32 = 1;

/// The largest file that is read, in bytes: what is submitted came in one frame of a mebibyte.
const COMMAND_BYTES_MAX: u64 = 2 << 20;

const MAGIC: &Magic = b"fairjob\n";
const FOLDER: &str = "jobs";
/// What the name of a file ends with whose command has begun.
const STARTED: &str = ".started";
const NEW: &str = ".new";

/// The commands whose files are there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Commands {
    /// Nobody has begun with these.
    pub unstarted: BTreeSet<JobId>,
    /// Somebody has, or may have.
    pub started: BTreeSet<JobId>,
}

impl StateFile {
    /// The commands whose files are there. What a write left half done goes.
    ///
    /// # Errors
    /// The folder cannot be read, or made.
    pub fn commands(&self) -> Result<Commands, StateFault> {
        let folder = self.folder()?;
        let mut commands = Commands::default();
        let entries = Dir::read_from(&folder).map_err(self.fault("", "read the folder"))?;
        for entry in entries {
            let entry = entry.map_err(self.fault("", "read the folder"))?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name.ends_with(NEW) {
                let _ = rustix::fs::unlinkat(&folder, name, AtFlags::empty());
            }
            let number = |name: &str| name.parse().ok().map(JobId).filter(|job| job.to_string() == name);
            match name.strip_suffix(STARTED) {
                Some(name) => commands.started.extend(number(name)),
                None => commands.unstarted.extend(number(name)),
            }
        }
        // Whatever it lies beside, somebody may have begun with it.
        commands.unstarted.retain(|job| !commands.started.contains(job));
        Ok(commands)
    }

    /// Whether it is certain that nobody has begun with a command, which is kept under the number of this `file`.
    ///
    /// # Errors
    /// It cannot be looked for.
    pub fn is_unbegun(&self, job: JobId, file: JobId) -> Result<bool, StateFault> {
        let folder = self.folder()?;
        let there = |name: String| match rustix::fs::statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(self.fault(&name, "look for")(errno)),
        };
        Ok(!there(started(job))? && there(file.to_string())?)
    }

    /// Writes what a command is to run: after this returns it survives a crash. Where it has begun meanwhile nothing is written.
    ///
    /// # Errors
    /// Any of the system calls failed.
    pub fn keep_command(&self, job: JobId, payload: &[u8]) -> Result<(), StateFault> {
        let (folder, name, new) = (self.folder()?, job.to_string(), format!("{job}{NEW}"));
        if rustix::fs::statat(&folder, started(job), AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return Ok(());
        }
        let encode = |why| StateFault::Encode { path: self.path_of(&new), why };
        let bytes = framed(MAGIC, COMMAND_VERSION, payload).map_err(encode)?;
        write_whole(&folder, &self.path.join(FOLDER), (&new, &name), &bytes)
    }

    /// What a command is to run.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn command(&self, job: JobId) -> Result<Vec<u8>, StateFault> {
        let (folder, mut name) = (self.folder()?, job.to_string());
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut opened = rustix::fs::openat(&folder, &name, flags, Mode::empty());
        if let Err(Errno::NOENT) = opened {
            name = started(job);
            opened = rustix::fs::openat(&folder, &name, flags, Mode::empty());
        }
        let file = opened.map_err(self.fault(&name, "open"))?;
        let mut bytes = Vec::new();
        let io = |source| StateFault::Io { path: self.path_of(&name), action: "read", source };
        File::from(file).take(COMMAND_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io)?;
        let damaged = |why: String| StateFault::Damaged { path: self.path_of(&name), why };
        match unframed(MAGIC, &bytes).map_err(|why| damaged(why.to_owned()))? {
            (COMMAND_VERSION, payload) => Ok(payload.to_owned()),
            (version, _) => {
                Err(damaged(format!("of version {version}, which this fairshared does not know")))
            }
        }
    }

    /// Says in a command's name that it begins.
    ///
    /// # Errors
    /// Any of the system calls failed: then its process must not be given what it becomes.
    pub fn begin_command(&self, job: JobId) -> Result<(), StateFault> {
        let (folder, name, started) = (self.folder()?, job.to_string(), started(job));
        match rustix::fs::renameat(&folder, &name, &folder, &started) {
            Ok(()) => {}
            // It is on its way to the disk, and must not come there with its plain name.
            Err(Errno::NOENT) => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                rustix::fs::openat(&folder, &started, flags, Mode::RUSR | Mode::WUSR)
                    .map_err(self.fault(&started, "create"))?;
            }
            Err(errno) => return Err(self.fault(&name, "rename")(errno)),
        }
        sync_folder(&folder, &self.path.join(FOLDER))
    }

    /// Says in a command's name that it has not begun: it is to be run again. Of a `task` nothing is kept but that it had.
    ///
    /// # Errors
    /// Any of the system calls failed.
    pub fn command_not_begun(&self, job: JobId, task: bool) -> Result<(), StateFault> {
        let (folder, name, started) = (self.folder()?, job.to_string(), started(job));
        let done = match task {
            true => rustix::fs::unlinkat(&folder, &started, AtFlags::empty()),
            false => rustix::fs::renameat(&folder, &started, &folder, &name),
        };
        match done {
            Ok(()) => sync_folder(&folder, &self.path.join(FOLDER)),
            // Somebody has called it back meanwhile, or it never began.
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.fault(&started, "rename")(errno)),
        }
    }

    /// Takes a command's file away, where there is one. That need not survive a crash: the next daemon takes away what is
    /// of no job.
    ///
    /// # Errors
    /// It cannot be taken away.
    pub fn forget_command(&self, job: JobId) -> Result<(), StateFault> {
        let folder = self.folder()?;
        for name in [job.to_string(), started(job)] {
            match rustix::fs::unlinkat(&folder, &name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(self.fault(&name, "remove")(errno)),
            }
        }
        Ok(())
    }

    /// The folder, made where it is not there.
    fn folder(&self) -> Result<OwnedFd, StateFault> {
        match rustix::fs::mkdirat(&self.dir, FOLDER, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(self.fault("", "make the folder")(errno)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.dir, FOLDER, flags, Mode::empty()).map_err(self.fault("", "open the folder"))
    }

    fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(FOLDER).join(name)
    }

    fn fault(&self, name: &str, action: &'static str) -> impl FnOnce(Errno) -> StateFault + use<> {
        let path = self.path_of(name);
        super::fault(&path, action)
    }
}

fn started(job: JobId) -> String {
    format!("{job}{STARTED}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(job: u64) -> BTreeSet<JobId> {
        [JobId(job)].into()
    }

    #[test]
    fn a_command_is_there_until_it_is_forgotten_and_says_whether_it_was_started() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::open(dir.path()).unwrap();
        assert_eq!(file.commands().unwrap(), Commands::default());
        file.keep_command(JobId(7), b"runs").unwrap();
        std::fs::write(dir.path().join("jobs/8.new"), "half").unwrap();
        std::fs::write(dir.path().join("jobs/09"), "no number").unwrap();
        assert_eq!(file.commands().unwrap(), Commands { unstarted: job(7), started: BTreeSet::new() });
        assert!(!dir.path().join("jobs/8.new").exists());
        assert_eq!(file.command(JobId(7)).unwrap(), b"runs");
        file.begin_command(JobId(7)).unwrap();
        let started = Commands { unstarted: BTreeSet::new(), started: job(7) };
        assert_eq!(
            (file.commands().unwrap(), file.command(JobId(7)).unwrap()),
            (started.clone(), b"runs".to_vec())
        );
        // What comes to the disk late does not look as if it had never been started.
        file.keep_command(JobId(7), b"runs").unwrap();
        assert_eq!(file.commands().unwrap(), started);
        file.forget_command(JobId(7)).unwrap();
        file.begin_command(JobId(9)).unwrap();
        file.keep_command(JobId(9), b"late").unwrap();
        assert_eq!(file.commands().unwrap(), Commands { unstarted: BTreeSet::new(), started: job(9) });
    }

    #[test]
    fn what_is_not_whole_is_not_run() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::open(dir.path()).unwrap();
        file.keep_command(JobId(7), b"rm -r build").unwrap();
        let path = dir.path().join("jobs/7");
        let whole = std::fs::read(&path).unwrap();
        let said = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            file.command(JobId(7)).unwrap_err().to_string()
        };
        for length in 0..whole.len() {
            assert!(said(&whole[..length]).contains("it is damaged"));
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            let said = said(&bytes);
            assert!(said.contains("jobs/7: it is damaged"), "{said}");
        }
        let newer = framed(MAGIC, COMMAND_VERSION + 1, b"").unwrap();
        assert!(said(&newer).contains("of version 2"));
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
}
