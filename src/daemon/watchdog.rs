//! What systemd is told (`sd_notify(3)`): READY, STATUS, WATCHDOG, RELOADING, STOPPING. Nothing where nobody asked.

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
    send(&[NotifyState::Status(status)]);
}

/// The loop turns.
pub fn alive() {
    send(&[NotifyState::Watchdog]);
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

fn send(states: &[NotifyState<'_>]) {
    // Without NOTIFY_SOCKET this does nothing.
    if let Err(error) = sd_notify::notify(states) {
        warn!("systemd cannot be told {states:?}, proceeding: {error}");
    }
}
