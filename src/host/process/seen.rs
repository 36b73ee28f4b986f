//! The processes of people, wherever they are: for people to look at, not to act on.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use rustix::io::Errno;

use super::text::{number, only_line};
use super::{FILE_BYTES_MAX, parse_ids, parse_memory, read_start};

/// Where the kernel shows processes.
pub const PROC: &str = "/proc";

/// How many processes are looked at. What the kernel gives so many takes a second or two.
const LOOKED_AT_MAX: usize = 1 << 17;

/// A process of a person's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen<'a> {
    /// The number of the process.
    pub pid: u32,
    /// The user id of the one it belongs to: its real one; where that is root's, that of the login it was started from
    /// (`pam_loginuid(8)`, which sshd, cron and atd have). Others than root could give themselves any login.
    pub whose: u32,
    /// Whether all its user ids are that one.
    pub own: bool,
    /// Its cgroup, from the root. What is no text in it is replaced.
    pub cgroup: Cow<'a, str>,
    /// Its memory that is in no file, in bytes.
    pub mem_bytes: u64,
}

/// Tells `tell` of all processes in `proc` that are people's: of user ids from `least` on. Those that end meanwhile or have
/// ended are left out. The value is how many could not be looked at.
///
/// # Errors
/// The folder cannot be read.
pub fn look(proc: &Path, least: u32, mut tell: impl FnMut(&Seen<'_>)) -> io::Result<u64> {
    let (mut unseen, mut buffer) = (0, vec![0; FILE_BYTES_MAX]);
    for (at, entry) in std::fs::read_dir(proc)?.enumerate() {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(number) else { continue };
        if at >= LOOKED_AT_MAX {
            unseen += 1;
            continue;
        }
        match look_at(&entry.path(), pid, least, &mut buffer, &mut tell) {
            // It has ended.
            Ok(()) | Err(Errno::NOENT | Errno::SRCH) => {}
            Err(_) => unseen += 1,
        }
    }
    Ok(unseen)
}

fn look_at(
    folder: &Path,
    pid: u32,
    least: u32,
    buffer: &mut [u8],
    tell: &mut impl FnMut(&Seen<'_>),
) -> rustix::io::Result<()> {
    let folder = folder.display();
    let status = read_start(&format!("{folder}/status"), buffer)?;
    let [uid, rest @ ..] = parse_ids(status).ok_or(Errno::INVAL)?.uids;
    let own = uid >= least && rest.iter().all(|id| *id == uid);
    let mem_bytes = parse_memory(status).unwrap_or_default();
    // Nobody waited for it: it holds nothing, and is nowhere.
    if only_line(status, b"State:").is_some_and(|state| state.trim_start().starts_with('Z')) {
        return Ok(());
    }
    let whose = match uid {
        0 => parse_login(read_start(&format!("{folder}/loginuid"), buffer)?),
        uid => Some(uid),
    };
    let Some(whose) = whose.filter(|whose| *whose >= least) else { return Ok(()) };
    let cgroup = parse_path(read_start(&format!("{folder}/cgroup"), buffer)?).ok_or(Errno::INVAL)?;
    tell(&Seen { pid, whose, own, cgroup, mem_bytes });
    Ok(())
}

/// The user id in `/proc/PID/loginuid`; `None` for the one that stands for nobody, and for what is no number.
fn parse_login(bytes: &[u8]) -> Option<u32> {
    number(std::str::from_utf8(bytes).ok()?.trim()).filter(|login| *login != u32::MAX)
}

/// The path in `/proc/PID/cgroup` in the unified hierarchy, whatever bytes it is of.
fn parse_path(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let line = bytes.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    Some(String::from_utf8_lossy(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_seen_by_their_own_id_and_roots_processes_by_who_logged_in() {
        let proc = tempfile::tempdir().unwrap();
        let process = |pid: &str, state: &str, uids: &str, login: &str, cgroup: &[u8]| {
            let folder = proc.path().join(pid);
            std::fs::create_dir(&folder).unwrap();
            let memory = "RssAnon:\t 8 kB\nRssShmem:\t 4 kB";
            let status = format!("Name:\tx\nState:\t{state} (x)\nTgid:\t{pid}\nUid:\t{uids}\n{memory}\n");
            std::fs::write(folder.join("status"), status).unwrap();
            std::fs::write(folder.join("loginuid"), login).unwrap();
            std::fs::write(folder.join("cgroup"), [b"0::", cgroup, b"\n"].concat()).unwrap();
        };
        let (alice, root) = ("1001\t1001\t1001\t1001", "0\t0\t0\t0");
        process("1", "S", root, "4294967295", b"/init.scope");
        process("20", "S", alice, "1001", b"/user.slice/user-1001.slice/session-1.scope");
        process("21", "S", root, "1001", b"/system.slice/cron.service");
        process("22", "S", "1002\t0\t0\t0", "4294967295", b"/\xff");
        process("23", "Z", alice, "1001", b"/system.slice/cron.service");
        // A system's user can say what it likes of a login that nobody has set.
        process("24", "S", "33\t33\t33\t33", "1001", b"/system.slice/apache2.service");
        process("self", "S", alice, "1001", b"/");
        // One that ends meanwhile, and one of which the kernel says nothing that is understood.
        std::fs::create_dir(proc.path().join("25")).unwrap();
        process("26", "S", "1001", "1001", b"/");
        let mut found = Vec::new();
        let unseen = look(proc.path(), 1000, |seen| {
            found.push((seen.pid, seen.whose, seen.own, seen.mem_bytes, seen.cgroup.clone().into_owned()));
        });
        assert_eq!(unseen.unwrap(), 1);
        found.sort();
        let told: Vec<_> = found.iter().map(|(pid, whose, own, ..)| (*pid, *whose, *own)).collect();
        assert_eq!(told, [(20, 1001, true), (21, 1001, false), (22, 1002, false)]);
        assert_eq!(
            (found[0].3, found[1].4.as_str(), found[2].4.as_str()),
            (12 << 10, "/system.slice/cron.service", "/\u{fffd}")
        );
        assert!(look(&proc.path().join("none"), 0, |_| ()).is_err());
    }

    #[test]
    fn what_the_kernel_shows_is_understood() {
        let unseen = look(Path::new(PROC), 0, |_| ()).unwrap();
        assert_eq!(unseen, 0);
    }
}
