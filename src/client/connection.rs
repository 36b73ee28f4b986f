//! One connection: a socket with deadlines, cut into frames.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, recvmsg, sendmsg,
};

use super::error::ClientError;
use crate::contract::handover::HANDED_MAX;
use crate::wire::error::{Code, WireError};
use crate::wire::frame::FrameBuffer;

/// Descriptors that go with a frame at most.
pub(super) use crate::contract::DESCRIPTORS_MAX;

/// When to give up, and what to say then. A deadline too far away to be told is none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    at: Option<Instant>,
    after: Duration,
}

impl Deadline {
    /// This long from now.
    pub(super) fn after(after: Duration) -> Self {
        Self { at: Instant::now().checked_add(after), after }
    }

    /// Never.
    pub(super) fn never() -> Self {
        Self { at: None, after: Duration::MAX }
    }

    /// This long from now, or this deadline when it is sooner.
    pub(super) fn within(self, after: Duration) -> Self {
        let other = Self::after(after);
        match (self.at, other.at) {
            (Some(at), Some(sooner)) if sooner < at => other,
            (None, Some(_)) => other,
            _ => self,
        }
    }

    /// Waits as long as a daemon without a place says, where that ends before the deadline.
    ///
    /// # Errors
    /// The refusal, where it is another one or waiting is in vain.
    pub(super) fn wait_as_told(self, refusal: WireError) -> Result<(), ClientError> {
        let passes = refusal.is(Code::Busy) || refusal.is(Code::RateLimited);
        let wait = refusal.retry_after_ms.filter(|_| passes).map(Duration::from_millis);
        let ends = wait.and_then(|wait| Instant::now().checked_add(wait));
        match (wait, ends) {
            (Some(wait), Some(ends)) if self.at.is_none_or(|at| ends <= at) => {
                std::thread::sleep(wait);
                Ok(())
            }
            _ => Err(ClientError::Refused(refusal)),
        }
    }

    /// What the kernel is to wait for at most.
    fn remaining(self) -> Result<Option<Duration>, ClientError> {
        let Some(at) = self.at else { return Ok(None) };
        match at.checked_duration_since(Instant::now()) {
            // The kernel takes 0 for no limit, and counts in microseconds.
            Some(left) if !left.is_zero() => Ok(Some(left.max(Duration::from_millis(1)))),
            _ => Err(self.passed()),
        }
    }

    fn passed(self) -> ClientError {
        ClientError::Timeout { after: self.after }
    }

    /// What an error of a system call under this deadline means.
    fn meaning(self, errno: Errno) -> ClientError {
        match errno {
            Errno::AGAIN => self.passed(),
            Errno::PIPE | Errno::CONNRESET => ClientError::Closed,
            _ => ClientError::Io(errno.into()),
        }
    }
}

/// A connected socket, and the frame that is being read from it.
#[derive(Debug)]
pub(super) struct Connection {
    socket: OwnedFd,
    incoming: FrameBuffer,
    /// What came with the frames that were read, and nobody has taken.
    descriptors: Vec<OwnedFd>,
}

impl Connection {
    /// Connects, waiting for room among those who wait to be accepted until the deadline.
    pub(super) fn open(path: &Path, deadline: Deadline) -> Result<Self, ClientError> {
        let failed = |errno: Errno| cannot_connect(path, errno.into());
        let address = SocketAddrUnix::new(path).map_err(failed)?;
        let flags = SocketFlags::CLOEXEC;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(failed)?;
        loop {
            set_socket_timeout(&socket, Timeout::Send, deadline.remaining()?).map_err(failed)?;
            match rustix::net::connect(&socket, &address) {
                Ok(()) => return Ok(Self { socket, incoming: FrameBuffer::new(), descriptors: Vec::new() }),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(deadline.passed()),
                Err(errno) => return Err(failed(errno)),
            }
        }
    }

    /// Sends all of `frame`, with `descriptors` at its first byte.
    pub(super) fn send(
        &mut self,
        frame: &[u8],
        descriptors: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), ClientError> {
        let mut rest = frame;
        let mut with = descriptors;
        while !rest.is_empty() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !with.is_empty() && !control.push(SendAncillaryMessage::ScmRights(with)) {
                return Err(ClientError::TooManyDescriptors(with.len()));
            }
            set_socket_timeout(&self.socket, Timeout::Send, deadline.remaining()?)
                .map_err(|errno| deadline.meaning(errno))?;
            // A program that did not ask for SIGPIPE to be ignored must not die of a daemon that is restarted.
            match sendmsg(&self.socket, &[IoSlice::new(rest)], &mut control, SendFlags::NOSIGNAL) {
                Ok(sent) => {
                    rest = rest.get(sent..).unwrap_or_default();
                    with = &[];
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(deadline.meaning(errno)),
            }
        }
        Ok(())
    }

    /// The descriptors that came with what was read.
    pub(super) fn take_descriptors(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.descriptors)
    }

    /// Reads the next frame. After a deadline has passed it can be asked for again.
    pub(super) fn receive(&mut self, deadline: Deadline) -> Result<Vec<u8>, ClientError> {
        loop {
            set_socket_timeout(&self.socket, Timeout::Recv, deadline.remaining()?)
                .map_err(|errno| deadline.meaning(errno))?;
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(HANDED_MAX))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let bytes = &mut [IoSliceMut::new(self.incoming.space()?)];
            let received = recvmsg(&self.socket, bytes, &mut control, RecvFlags::CMSG_CLOEXEC);
            self.descriptors.extend(control.drain().flat_map(|message| match message {
                RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
                _ => Vec::new(),
            }));
            match received.map(|received| received.bytes) {
                Ok(0) => return Err(ClientError::Closed),
                Ok(count) => {
                    if let Some(payload) = self.incoming.filled(count) {
                        return Ok(payload);
                    }
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(deadline.meaning(errno)),
            }
        }
    }
}

fn cannot_connect(path: &Path, source: io::Error) -> ClientError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => ClientError::NoSocket { path, source },
        io::ErrorKind::PermissionDenied => ClientError::PermissionDenied { path, source },
        io::ErrorKind::ConnectionRefused => ClientError::NobodyListens { path, source },
        _ => ClientError::Connect { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_may_not_be_opened_is_told_from_one_that_is_not_there() {
        // Root, as whom the tests may run, is never refused by the kernel.
        for errno in [Errno::ACCESS, Errno::PERM] {
            let error = cannot_connect(Path::new("/s"), errno.into());
            assert!(matches!(error, ClientError::PermissionDenied { .. }), "{error:?}");
        }
    }
}
