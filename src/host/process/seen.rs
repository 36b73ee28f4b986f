//! The processes of people, wherever they are: for people to look at, not to act on.

use std::io;
use std::path::Path;

use super::text::number;
use super::{FILE_BYTES_MAX, parse_cgroup, parse_ids, parse_memory, read_start};

/// Where the kernel shows processes.
pub const PROC: &str = "/proc";

/// How many processes are looked at.
const SEEN_MAX: usize = 1 << 14;

/// A process of a person's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The number of the process.
    pub pid: u32,
    /// The user id of the one it belongs to: its real one; where that is the system's, that of the login it was started from
    /// (`pam_loginuid(8)`, which sshd, cron and atd have).
    pub whose: u32,
    /// Whether all its user ids are that one.
    pub own: bool,
    /// Its cgroup, from the root.
    pub cgroup: String,
    /// Its memory that is in no file, in bytes.
    pub mem_bytes: u64,
}

/// All processes in `proc` of people: of user ids from `least` on. Those that end meanwhile are left out, and so is what the
/// kernel does not show.
///
/// # Errors
/// The folder cannot be read.
pub fn seen(proc: &Path, least: u32) -> io::Result<Vec<Seen>> {
    let (mut seen, mut buffer) = (Vec::new(), vec![0; FILE_BYTES_MAX]);
    for entry in std::fs::read_dir(proc)? {
        let entry = entry?;
        let pid = entry.file_name().to_str().and_then(number);
        seen.extend(pid.and_then(|pid| look(&entry.path(), pid, least, &mut buffer)));
        if seen.len() >= SEEN_MAX {
            break;
        }
    }
    Ok(seen)
}

fn look(folder: &Path, pid: u32, least: u32, buffer: &mut [u8]) -> Option<Seen> {
    let folder = folder.to_str()?;
    let status = read_start(&format!("{folder}/status"), buffer).ok()?;
    let [uid, rest @ ..] = parse_ids(status)?.uids;
    let own = uid >= least && rest.iter().all(|id| *id == uid);
    // One that has ended and was not waited for has none.
    let mem_bytes = parse_memory(status).unwrap_or_default();
    let whose = match uid >= least {
        true => uid,
        false => read_start(&format!("{folder}/loginuid"), buffer).ok().and_then(parse_login)?,
    };
    if whose < least {
        return None;
    }
    let cgroup = read_start(&format!("{folder}/cgroup"), buffer).ok().and_then(parse_cgroup)?.to_owned();
    Some(Seen { pid, whose, own, cgroup, mem_bytes })
}

/// The user id in `/proc/PID/loginuid`; `None` for the one that stands for nobody, and for what is no number.
fn parse_login(bytes: &[u8]) -> Option<u32> {
    number(std::str::from_utf8(bytes).ok()?.trim()).filter(|login| *login != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_seen_by_their_own_id_and_by_who_logged_in() {
        let proc = tempfile::tempdir().unwrap();
        let process = |pid: &str, uids: &str, login: &str, cgroup: &str| {
            let folder = proc.path().join(pid);
            std::fs::create_dir(&folder).unwrap();
            let status = format!("Name:\tx\nTgid:\t{pid}\nUid:\t{uids}\nRssAnon:\t 8 kB\nRssShmem:\t 4 kB\n");
            std::fs::write(folder.join("status"), status).unwrap();
            std::fs::write(folder.join("loginuid"), login).unwrap();
            std::fs::write(folder.join("cgroup"), format!("0::{cgroup}\n")).unwrap();
        };
        process("1", "0\t0\t0\t0", "4294967295", "/init.scope");
        process("20", "1001\t1001\t1001\t1001", "1001", "/user.slice/user-1001.slice/session-1.scope");
        process("21", "0\t0\t0\t0", "1001", "/system.slice/cron.service");
        process("22", "1002\t0\t0\t0", "4294967295", "/");
        process("self", "1001\t1001\t1001\t1001", "1001", "/");
        std::fs::create_dir(proc.path().join("23")).unwrap();
        let mut found = seen(proc.path(), 1000).unwrap();
        found.sort_by_key(|seen| seen.pid);
        let told: Vec<_> = found.iter().map(|seen| (seen.pid, seen.whose, seen.own)).collect();
        assert_eq!(told, [(20, 1001, true), (21, 1001, false), (22, 1002, false)]);
        assert_eq!((found[0].mem_bytes, found[1].cgroup.as_str()), (12 << 10, "/system.slice/cron.service"));
        assert!(seen(&proc.path().join("none"), 0).is_err());
    }

    #[test]
    fn this_process_is_seen() {
        let found = seen(Path::new(PROC), 0).unwrap();
        assert!(found.iter().any(|seen| seen.pid == std::process::id() && seen.mem_bytes > 0), "{found:?}");
    }
}
