//! Who is at the other end: the kernel's word, taken once when the connection is accepted.

use std::os::fd::AsFd;

use nix::sys::socket::{getsockopt, sockopt};

use crate::identity::{Gid, Uid};
use crate::policy::{Policy, Role};
use crate::wire::error::{Code, WireError};

/// A client, as the kernel saw it when it connected.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its user.
    pub uid: Uid,
    /// Its group.
    pub gid: Gid,
    /// Its process.
    pub pid: i32,
    /// All its groups, supplementary ones and `gid`.
    pub groups: Vec<Gid>,
    /// What it may do: fixed for this connection.
    pub role: Role,
}

/// The identity and role of the peer of `socket` (`SO_PEERCRED`, `SO_PEERGROUPS`).
///
/// Where there is no policy, root is admin and everyone else operator.
///
/// # Errors
/// Unauthorized, where the kernel does not say.
pub fn identify(socket: impl AsFd, policy: Option<&Policy>) -> Result<Peer, WireError> {
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
    let role = policy.map_or_else(
        || if uid == Uid::ROOT { Role::Admin } else { Role::Operator },
        |policy| policy.role(uid, &groups),
    );
    Ok(Peer { uid, gid, pid: credentials.pid(), groups, role })
}
