//! A connection on which nothing but events follows.

use std::io;

use tokio::io::AsyncWriteExt as _;

use super::{End, Session};
use crate::daemon::feed::Follower;
use crate::daemon::incoming::peek;
use crate::wire::message::Body;

impl Session {
    /// Sends events for as long as both ends live. A client that says something more has misunderstood.
    pub(super) async fn follow(&mut self, request_id: u64, mut follower: Follower) -> Result<(), End> {
        self.flush().await?;
        loop {
            let event = tokio::select! {
                event = follower.next() => event.ok_or(End::Closed)?,
                _ = self.stopping.changed() => return Err(End::Closed),
                ready = self.stream.readable() => {
                    ready?;
                    match peek(&self.stream) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                        Ok(0) => return Err(End::Closed),
                        Ok(_) => return Err(End::SpokeWhileFollowing),
                        Err(error) => return Err(End::Io(error)),
                    }
                }
            };
            self.push(request_id, Body::Event(Box::new(event)));
            // However long the client takes to read: the feed goes on without it, and so does who stops the daemon.
            tokio::select! {
                written = self.stream.write_all(&self.output) => written?,
                _ = self.stopping.changed() => return Err(End::Closed),
            }
            self.output.clear();
        }
    }
}
