//! System calls that no safe library offers. The only place where unsafe code is allowed.
#![allow(unsafe_code)]

pub mod accounts;
pub mod apart;
pub mod local_time;
pub mod quota;
pub mod readable;
pub mod signals;

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use crate::identity::Gid;

/// The most groups that the kernel lets one process be in: `NGROUPS_MAX` (`limits.h`, `getgroups(2)`).
const GROUPS_MAX: usize = 65_536;

/// How many groups are asked for at first: nearly everybody is in fewer.
const GROUPS_FIRST: usize = 64;

/// The supplementary groups that the peer of a Unix socket had when it connected (`SO_PEERGROUPS`, `unix(7)`).
///
/// # Errors
/// What the kernel said; and `InvalidData` where it said something that cannot be.
pub fn peer_groups(socket: impl AsFd) -> io::Result<Vec<Gid>> {
    let mut groups = vec![0 as libc::gid_t; GROUPS_FIRST];
    loop {
        let room = groups.len().saturating_mul(size_of::<libc::gid_t>());
        let mut length = libc::socklen_t::try_from(room).map_err(|_| io::ErrorKind::InvalidData)?;
        // SAFETY: the pointer and the length are of one live vector of plain integers, and the kernel writes no
        // more than `length` bytes into it.
        let result = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let count = usize::try_from(length).unwrap_or(0) / size_of::<libc::gid_t>();
        if result == 0 {
            groups.truncate(count);
            return groups
                .into_iter()
                .map(|gid| Gid::new(gid.into()).ok_or_else(|| io::ErrorKind::InvalidData.into()))
                .collect();
        }
        let error = io::Error::last_os_error();
        // ERANGE: the kernel has put the length that it needs where ours was.
        if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() || count > GROUPS_MAX {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

/// `_IOR('s', 7, int)` in the socket's old numbering (`asm-generic/sockios.h`): every architecture that Debian has uses it,
/// but MIPS.
const SIOCATMARK: rustix::ioctl::Opcode = 0x8905;

/// Whether the next byte of a Unix socket was sent out of band (`SIOCATMARK`, `sockatmark(3)`), where reads stop once.
///
/// # Errors
/// What the kernel said; `ENOTTY` where it is built without out-of-band data on Unix sockets.
pub fn at_mark(socket: impl AsFd) -> io::Result<bool> {
    // SAFETY: the request writes one `int` to the address that it is given, and `Getter` gives it that of an `int`.
    let answer = unsafe {
        let request = rustix::ioctl::Getter::<SIOCATMARK, libc::c_int>::new();
        rustix::ioctl::ioctl(socket, request)
    };
    Ok(answer? != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_that_was_sent_out_of_band_is_at_the_mark() {
        use rustix::net::{RecvFlags, SendFlags, recv, send, sockopt::set_socket_oobinline};
        let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        set_socket_oobinline(&one, true).unwrap();
        assert!(!at_mark(&one).unwrap());
        send(&other, b"a", SendFlags::empty()).unwrap();
        send(&other, b"b", SendFlags::OOB).unwrap();
        assert!(!at_mark(&one).unwrap());
        let mut bytes = [0; 8];
        assert_eq!(recv(&one, &mut bytes[..], RecvFlags::empty()).unwrap().1, 1, "up to the mark");
        assert!(at_mark(&one).unwrap());
        assert_eq!(recv(&one, &mut bytes[..], RecvFlags::empty()).unwrap().1, 1);
        assert!(!at_mark(&one).unwrap());
    }

    #[test]
    fn the_peer_of_a_pair_has_our_own_groups() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let ours: Vec<u64> =
            nix::unistd::getgroups().unwrap().into_iter().map(|gid| gid.as_raw().into()).collect();
        let theirs: Vec<u64> = peer_groups(&one).unwrap().into_iter().map(|gid| gid.get().into()).collect();
        assert_eq!(theirs, ours);
    }
}
