//! Reading the small files of a cgroup by its handle.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// The largest file that is read whole, in bytes: all of those here are under one page. The longest is `memory.stat`, some
/// 3000 bytes in Linux 6.12, which the kernel formats within 4096 (`SEQ_BUF_SIZE` in its mm/memcontrol.c).
pub const FILE_BYTES_MAX: usize = 4096;

/// A file of a cgroup, open to be read.
pub fn open_at(cgroup: BorrowedFd<'_>, file: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(cgroup, file, flags, Mode::empty())
}

/// The file whole; EFBIG where it is longer than the buffer.
pub fn read_at<'b>(cgroup: BorrowedFd<'_>, file: &str, buffer: &'b mut [u8]) -> rustix::io::Result<&'b [u8]> {
    let file = open_at(cgroup, file)?;
    let mut filled = 0;
    loop {
        let rest = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()).ok_or(Errno::FBIG)?;
        let rest_bytes = rest.len();
        match rustix::io::read(&file, rest) {
            Ok(0) => break,
            // The kernel makes the whole of such a small file at once: less than there was room for is all there is.
            Ok(read) if read < rest_bytes => {
                filled += read;
                break;
            }
            Ok(read) => filled += read,
            Err(Errno::INTR) => (),
            Err(errno) => return Err(errno),
        }
    }
    Ok(buffer.get(..filled).unwrap_or_default())
}
