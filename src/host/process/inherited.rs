//! What a process hands on to all that it starts, and what it could not hand on to a command that PID 1 starts for it.

use super::rlimits::Rlimits;
use super::{ProcessError, ProcessId, parse_no_new_privs, parse_seccomp, parse_umask, read};
use crate::identity::Uid;

/// What a process hands on to all that it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inherited {
    /// The `umask(2)` with which it creates files.
    pub umask: u32,
    /// Whether no program can give it more power than it has (`PR_SET_NO_NEW_PRIVS`).
    pub no_new_privs: bool,
    /// Its resource limits.
    pub rlimits: Rlimits,
    /// Whether its system calls are filtered (`seccomp(2)`): a command that PID 1 starts for it would be outside of the filter.
    pub filtered: bool,
}

/// What a process of `uid`'s hands on to all that it starts. `connected_boot_ms` is when it is known to have been there, in
/// milliseconds since boot: one of this number that was started later is another one.
///
/// # Errors
/// Any [`ProcessError`].
pub fn inherited_from(pid: u32, uid: Uid, connected_boot_ms: u64) -> Result<Inherited, ProcessError> {
    let process = ProcessId::open(pid, uid)?;
    if process.started_boot_ms() > connected_boot_ms {
        return Err(ProcessError::Gone { pid });
    }
    let status =
        |status: &[u8]| Some((parse_umask(status)?, parse_no_new_privs(status)?, parse_seccomp(status)?));
    let (umask, no_new_privs, filtered) = read(pid, "status", status)?;
    let rlimits = read(pid, "limits", Rlimits::parse)?;
    // Until here the number meant one process.
    process.recheck()?;
    Ok(Inherited { umask, no_new_privs, rlimits, filtered })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_process_that_came_later_is_another() {
        let uid = Uid::new(u64::from(rustix::process::getuid().as_raw())).unwrap();
        let pid = std::process::id();
        let started = super::super::running(pid).unwrap().started_boot_ms;
        inherited_from(pid, uid, started).unwrap();
        let later = inherited_from(pid, uid, started - 1);
        assert!(matches!(later, Err(ProcessError::Gone { .. })), "{later:?}");
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd_to_parse(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Rlimits::parse(&bytes);
        }
    }
}
