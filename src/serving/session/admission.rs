//! Whether who has connected is served, at first and for as long as the connection lives.

use super::{End, Session};
use crate::serving::service::{Service, Standing as _};
use crate::wire::envelope::Body;
use crate::wire::error::WireError;

impl<S: Service> Session<S> {
    /// Has the service judge who has connected. Nothing of theirs is read before.
    pub(super) async fn admit(&mut self) -> Result<(), End> {
        let standing = tokio::select! {
            biased;
            standing = self.service.admit(&self.peer) => standing,
            _ = self.stopping.changed() => return Err(End::Closed),
        };
        match standing {
            Ok(standing) => self.standing = Some(standing),
            Err(error) => return Err(self.refuse(0, error)),
        }
        Ok(())
    }

    /// Whether who has connected is still served.
    ///
    /// # Errors
    /// The refusal.
    pub(super) fn still_admitted(&self) -> Result<(), WireError> {
        self.standing.as_ref().map_or(Ok(()), |standing| standing.holds())
    }

    /// The last word on the connection of who is not served.
    pub(super) fn refuse(&mut self, request_id: u64, error: WireError) -> End {
        self.push(request_id, Body::Err(error.clone()));
        End::Refused(error)
    }
}
