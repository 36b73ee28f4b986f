//! A connection on which nothing but events follows.

use std::io;

use tokio::io::AsyncWriteExt as _;

use super::{End, Session};
use crate::serving::incoming::peek;
use crate::serving::service::{Service, Standing, Stream};
use crate::wire::envelope::Body;
use crate::wire::error::WireError;

impl<S: Service> Session<S> {
    /// Sends events for as long as both ends live. A client that says something more has misunderstood.
    pub(super) async fn follow(&mut self, request_id: u64, mut follower: S::Stream) -> Result<(), End> {
        self.flush().await?;
        if !self.input.is_empty() {
            return Err(End::SpokeWhileFollowing);
        }
        loop {
            let event = tokio::select! {
                event = follower.next() => match event {
                    Some(event) => event,
                    None => return self.revoked(),
                },
                _ = self.stopping.changed() => return Err(End::Closed),
                error = lost(&mut self.standing) => return Err(self.refuse(0, error)),
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

    /// The stream has ended by itself: the follower may not follow any more.
    fn revoked(&mut self) -> Result<(), End> {
        let error = self.service.revoked(&self.peer);
        self.push(0, Body::Err(error));
        Err(End::Closed)
    }
}

/// Ends when who follows is not served any more.
async fn lost(standing: &mut Option<impl Standing>) -> WireError {
    match standing {
        Some(standing) => standing.lost().await,
        None => std::future::pending().await,
    }
}
