//! A connection on which descriptors are handed over, and nothing after them.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::timeout;
use tracing::warn;

use super::{DESCRIPTORS_SENT_MAX, End, FRAME_TIMEOUT, Session};
use crate::serving::incoming::peek;
use crate::serving::service::{Handed, Service};
use crate::wire::envelope::Body;
use crate::wire::error::{Code, WireError};

/// How soon a peer to whom descriptors could not be sent should ask again, in milliseconds.
pub const HAND_RETRY_AFTER_MS: u64 = 1000;

impl<S: Service> Session<S> {
    /// Sends an answer with descriptors, and stays until the peer has read them: it closes the connection then.
    ///
    /// That has no deadline. What was sent and not read is in flight in the kernel (`unix(7)`, `ETOOMANYREFS`), and these
    /// connections count as their member's: so what is in flight is bounded by how many connections there can be.
    pub(super) async fn hand(
        &mut self,
        request_id: u64,
        answer: S::Answer,
        handed: S::Handed,
    ) -> Result<(), End> {
        // Descriptors go with the first byte of their own frame.
        self.flush().await?;
        self.push(request_id, Body::Ok(answer));
        let writable = timeout(FRAME_TIMEOUT, self.stream.writable()).await;
        writable.map_err(|_| End::TimedOut("Answers were not read in time"))??;
        match send(&self.stream, &self.output, &handed.descriptors()) {
            Ok(sent) => drop(self.output.drain(..sent.min(self.output.len()))),
            Err(error) => {
                warn!(
                    peer_uid = self.peer.uid.get(),
                    "descriptors could not be handed over: {error}, proceeding"
                );
                self.output.clear();
                let refusal = WireError::new(Code::Busy, "The descriptors cannot be sent now");
                let refusal = refusal.detail(error.to_string()).retry_after_ms(HAND_RETRY_AFTER_MS);
                self.push(request_id, Body::Err(refusal));
                return Ok(());
            }
        }
        let kept = handed.given();
        self.flush().await?;
        let end = self.closed_by_the_peer().await;
        // A daemon that stops leaves what was sent to the peer, which may not have read it.
        if !*self.stopping.borrow() {
            S::Handed::read(kept);
        }
        Err(end)
    }

    async fn closed_by_the_peer(&mut self) -> End {
        if !self.input.is_empty() {
            return End::SpokeWhileFollowing;
        }
        loop {
            let ready = tokio::select! {
                _ = self.stopping.changed() => return End::Closed,
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
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_SENT_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("no room for so many descriptors"));
    }
    stream.try_io(Interest::WRITABLE, || {
        Ok(sendmsg(stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
    })
}
