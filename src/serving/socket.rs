//! The listening socket: from systemd, or bound by ourselves when started by hand.

use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::fchownat;

use crate::identity::Gid;

/// The socket that systemd passed (`sd_listen_fds(3)`), if it passed one.
///
/// # Errors
/// What was passed is not a Unix stream socket.
pub fn passed() -> io::Result<Option<UnixListener>> {
    let mut passed = listenfd::ListenFd::from_env();
    let socket = passed.take_unix_listener(0)?;
    if let Some(socket) = &socket {
        socket.set_nonblocking(true)?;
    }
    Ok(socket)
}

/// The path of a socket as an argument of a program that systemd starts, in whose words `$` and `%` mean something
/// (systemd.service(5)); `None` where it has one that might. A socket without a path stands for the `usual` one.
pub fn argument(socket: &UnixListener, usual: &Path) -> Option<Arc<str>> {
    let address = socket.local_addr().ok()?;
    let path = match address.as_pathname() {
        Some(path) => std::path::absolute(path).ok()?,
        None => usual.to_owned(),
    };
    let harmless = |c: char| c.is_ascii_alphanumeric() || "/._+-".contains(c);
    path.to_str().filter(|path| path.chars().all(harmless)).map(Arc::from)
}

/// A socket that was bound by hand, and is removed in the end.
#[derive(Debug)]
pub struct Bound {
    path: PathBuf,
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Binds `path` with mode 0660, for root and this group, or for root alone.
///
/// # Errors
/// Another daemon listens there, something else is there, or the path cannot be bound.
pub fn bind(path: &Path, group: Option<Gid>) -> io::Result<(UnixListener, Bound)> {
    if let Ok(metadata) = std::fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
        }
        if UnixStream::connect(path).is_ok() {
            let why = "another daemon listens there: stop fairshared.socket and fairshared.service first";
            return Err(io::Error::new(io::ErrorKind::AddrInUse, why));
        }
        std::fs::remove_file(path)?;
    }
    // The socket has its mode from the start: a path may have come to lead elsewhere when it is looked up again.
    let mask = rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o117));
    let bound = UnixListener::bind(path);
    rustix::process::umask(mask);
    let socket = bound?;
    let bound = Bound { path: path.to_owned() };
    if let Some(group) = group {
        let group = Some(nix::unistd::Gid::from_raw(group.get()));
        fchownat(AT_FDCWD, path, None, group, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    }
    socket.set_nonblocking(true)?;
    Ok((socket, bound))
}
