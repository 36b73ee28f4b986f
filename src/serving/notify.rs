//! What systemd is told (`sd_notify(3)`): READY, STATUS, WATCHDOG, RELOADING, STOPPING. Nothing where nobody asked.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;
use tracing::warn;

/// Half of `WATCHDOG_USEC`: how often `WATCHDOG=1` is due; `None` where systemd does not watch.
pub fn period() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|timeout| timeout / 2)
}

/// All clients can be served now.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The line that `systemctl status` shows.
pub fn status(status: &str) {
    offer(&NotifyState::Status(status));
}

/// The loop turns.
pub fn alive() {
    offer(&NotifyState::Watchdog);
}

/// The policy is being read again. systemd wants to know when, on the monotonic clock.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(when) => send(&[NotifyState::Reloading, when]),
        Err(error) => warn!("the monotonic clock cannot be read, proceeding: {error}"),
    }
}

/// No more clients will be served.
pub fn stopping() {
    send(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Says what may be lost. The loop must not wait for a PID 1 that is busy: there is another status after the next
/// change, and another ping before the watchdog bites.
fn offer(state: &NotifyState<'_>) {
    match try_send(&format!("{state}\n")) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
            warn!("systemd cannot be told {state:?}, proceeding: {error}");
        }
        _ => {}
    }
}

fn try_send(message: &str) -> io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(message.as_bytes(), &address).map(drop)
}

fn send(states: &[NotifyState<'_>]) {
    // Without NOTIFY_SOCKET this does nothing.
    if let Err(error) = sd_notify::notify(states) {
        warn!("systemd cannot be told {states:?}, proceeding: {error}");
    }
}
