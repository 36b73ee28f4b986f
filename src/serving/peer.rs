//! Who is at the other end: the kernel's word, taken once when the connection is accepted.

use std::os::fd::AsFd;

use nix::sys::socket::{getsockopt, sockopt};

use crate::identity::{Gid, Uid};
use crate::wire::error::{Code, WireError};

/// A client, as the kernel saw it when it connected.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The user that its process runs as.
    pub uid: Uid,
    /// The group that its process runs as.
    pub gid: Gid,
    /// The process that connected.
    pub pid: i32,
    /// All its groups, supplementary ones and `gid`.
    pub groups: Vec<Gid>,
    /// When it was there, in milliseconds since boot: a process of that number that was started later is another one.
    pub connected_boot_ms: u64,
}

/// The identity of the peer of `socket` (`SO_PEERCRED`, `SO_PEERGROUPS`).
///
/// # Errors
/// Unauthorized, where the kernel does not say.
pub fn identify(socket: impl AsFd) -> Result<Peer, WireError> {
    let unknown =
        |why: String| WireError::new(Code::Unauthorized, "The kernel does not say who you are").detail(why);
    let credentials = getsockopt(&socket, sockopt::PeerCredentials)
        .map_err(|errno| unknown(format!("SO_PEERCRED: {errno}")))?;
    let uid = Uid::new(credentials.uid().into()).ok_or_else(|| unknown("no user id".to_owned()))?;
    let gid = Gid::new(credentials.gid().into()).ok_or_else(|| unknown("no group id".to_owned()))?;
    let mut groups =
        crate::sys::peer_groups(&socket).map_err(|error| unknown(format!("SO_PEERGROUPS: {error}")))?;
    if !groups.contains(&gid) {
        groups.push(gid);
    }
    Ok(Peer { uid, gid, pid: credentials.pid(), groups, connected_boot_ms: since_boot_ms() })
}

/// `CLOCK_BOOTTIME`, on which the kernel tells when a process was started, in milliseconds.
fn since_boot_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1000).saturating_add(nanoseconds / 1_000_000)
}
