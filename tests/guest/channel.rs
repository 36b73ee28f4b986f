//! Lines of JSON over a Unix socket that QEMU connects to, with deadlines: QMP and the guest agent both.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::Value;

/// One connected socket.
pub struct Channel {
    stream: UnixStream,
    pending: Vec<u8>,
}

/// Why no line came.
#[derive(Debug)]
pub enum Silence {
    /// The deadline passed.
    Timeout,
    /// The other side closed: QEMU ended.
    Closed,
}

impl Channel {
    /// Accepts QEMU's connection. Fails when QEMU ends, or after a few seconds.
    pub fn accept(listener: &UnixListener, qemu: &Child) -> Result<Channel, String> {
        let pid = Pid::from_child(qemu);
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| format!("pidfd_open: {error}"))?;
        let mut fds = [PollFd::new(listener, PollFlags::IN), PollFd::new(&pidfd, PollFlags::IN)];
        let timeout = Timespec { tv_sec: 20, tv_nsec: 0 };
        poll(&mut fds, Some(&timeout)).map_err(|error| format!("poll: {error}"))?;
        if fds[0].revents().is_empty() {
            return Err("QEMU did not start".into());
        }
        let (stream, _) = listener.accept().map_err(|error| format!("accept: {error}"))?;
        Ok(Channel { stream, pending: Vec::new() })
    }

    /// Sends one value as a line.
    pub fn send(&mut self, value: &Value) -> Result<(), Silence> {
        let line = format!("{value}\n");
        self.stream.write_all(line.as_bytes()).map_err(|_| Silence::Closed)
    }

    /// Waits for the next line that is JSON.
    pub fn receive(&mut self, deadline: Instant) -> Result<Value, Silence> {
        loop {
            if let Some(end) = self.pending.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                // The agent marks the start of an answer to `guest-sync-delimited` with 0xFF.
                let line = line.strip_prefix(b"\xff").unwrap_or(&line);
                match serde_json::from_slice(line) {
                    Ok(value) => return Ok(value),
                    Err(_) => continue,
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Silence::Timeout);
            }
            let left = left.max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(left)).map_err(|_| Silence::Closed)?;
            let mut chunk = [0; 64 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(Silence::Closed),
                Ok(count) => self.pending.extend_from_slice(&chunk[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Silence::Closed),
            }
        }
    }
}

/// Waits until a child ends, at most so long. True: it ended.
pub fn wait_for_exit(child: &mut Child, timeout: Duration) -> bool {
    let Ok(pidfd) = pidfd_open(Pid::from_child(child), PidfdFlags::empty()) else { return false };
    let timeout = Timespec::try_from(timeout).expect("a timeout of seconds");
    let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout));
    matches!(child.try_wait(), Ok(Some(_)))
}

/// Listens on a path for QEMU.
pub fn listen(path: &Path) -> UnixListener {
    // A machine that booted before in this folder left its socket's name.
    let _ = std::fs::remove_file(path);
    UnixListener::bind(path).unwrap_or_else(|error| panic!("cannot listen on {}: {error}", path.display()))
}
