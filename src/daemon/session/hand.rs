//! A connection on which the process of a submitted command fetches what it becomes.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::warn;

use super::{End, FRAME_TIMEOUT, Session, internal};
use crate::contract::Body;
use crate::contract::handover::HANDED_MAX;
use crate::daemon::asking::handover::{Delivery, FETCH_RETRY_AFTER_MS};
use crate::daemon::incoming::peek;
use crate::wire::error::{Code, WireError};

impl Session {
    /// Sends what a command is, and stays until the process has read it: it closes the connection then.
    ///
    /// That has no deadline. What was sent and not read is in flight in the kernel (`unix(7)`, `ETOOMANYREFS`), and these
    /// connections count as their member's: so what is in flight is bounded by how many connections there can be.
    pub(super) async fn hand(
        &mut self,
        request_id: u64,
        body: Body,
        mut delivery: oneshot::Receiver<Delivery>,
    ) -> Result<(), End> {
        // Descriptors go with the first byte of their own frame.
        self.flush().await?;
        let Ok(delivery) = delivery.try_recv() else {
            self.push(request_id, Body::Err(internal("nothing was handed with the answer")));
            return Ok(());
        };
        self.push(request_id, body);
        let writable = timeout(FRAME_TIMEOUT, self.stream.writable()).await;
        writable.map_err(|_| End::TimedOut("Answers were not read in time"))??;
        match send(&self.stream, &self.output, &delivery.descriptors()) {
            Ok(sent) => drop(self.output.drain(..sent.min(self.output.len()))),
            Err(error) => {
                warn!(
                    peer_uid = self.peer.uid.get(),
                    "a command's process could not be served: {error}, proceeding"
                );
                self.output.clear();
                let refusal = WireError::new(Code::Busy, "The descriptors cannot be sent now");
                let refusal = refusal.detail(error.to_string()).retry_after_ms(FETCH_RETRY_AFTER_MS);
                self.push(request_id, Body::Err(refusal));
                return Ok(());
            }
        }
        let file = delivery.given();
        self.flush().await?;
        let end = self.closed_by_the_process().await;
        // A daemon that stops leaves the file to the process, which may not have read it.
        if !*self.daemon.stopping.borrow() {
            file.emptied();
        }
        Err(end)
    }

    async fn closed_by_the_process(&mut self) -> End {
        loop {
            let ready = tokio::select! {
                _ = self.daemon.stopping.changed() => return End::Closed,
                ready = self.stream.readable() => ready,
            };
            match ready.and_then(|()| peek(&self.stream)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return End::Closed,
                Ok(0) => return End::Closed,
                Ok(_) => return End::SpokeWhileFollowing,
                Err(error) => return End::Io(error),
            }
        }
    }
}

/// Sends bytes with descriptors at the first of them, and does not wait: how many bytes were sent.
fn send(stream: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(HANDED_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("no room for so many descriptors"));
    }
    stream.try_io(Interest::WRITABLE, || {
        Ok(sendmsg(stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
    })
}
