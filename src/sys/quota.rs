//! Disk quotas: what the kernel has for the user who asks (`quotactl(2)`).

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// `QCMD(Q_GETQUOTA, USRQUOTA)` (`linux/quota.h`).
const GET_OF_USER: libc::c_uint = 0x80_0007 << 8;

/// In how many bytes the kernel counts limits (`QIF_DQBLKSIZE`, `linux/quota.h`).
const LIMIT_UNIT_BYTES: u64 = 1024;

/// The space of one user on one file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What is used.
    pub used: u64,
    /// What may be used at most: the hard limit, else the soft one; `None` where there is none.
    pub most: Option<u64>,
}

/// What the kernel has for the user `uid` on the file system of an open file, which may be open as a path only. Anybody may ask for
/// themselves.
///
/// # Errors
/// `ESRCH` and `ENOSYS` where the file system has no quotas, or the kernel is older than 5.14; what else the kernel said.
pub fn of_user(file: impl AsFd, uid: u32) -> io::Result<Space> {
    let mut quota = std::mem::MaybeUninit::<libc::dqblk>::zeroed();
    // SAFETY: the command writes one `struct if_dqblk`, which is libc's `dqblk`, to the address that it is given, and that is of
    // one on the stack.
    let result = unsafe {
        libc::syscall(
            libc::SYS_quotactl_fd,
            file.as_fd().as_raw_fd(),
            GET_OF_USER,
            libc::c_long::from(uid),
            quota.as_mut_ptr(),
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is of plain integers, was zeroed, and the kernel has filled it.
    let quota = unsafe { quota.assume_init() };
    let limits = [quota.dqb_bhardlimit, quota.dqb_bsoftlimit];
    let most =
        limits.into_iter().find(|limit| *limit > 0).map(|limit| limit.saturating_mul(LIMIT_UNIT_BYTES));
    Ok(Space { used: quota.dqb_curspace, most })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_quotas_says_so() {
        let proc = std::fs::File::open("/proc").unwrap();
        let error = of_user(&proc, 1).unwrap_err().raw_os_error();
        // EPERM: where system calls are filtered, as in containers.
        assert!(
            [libc::ESRCH, libc::ENOSYS, libc::EPERM, libc::EINVAL].map(Some).contains(&error),
            "{error:?}"
        );
    }
}
