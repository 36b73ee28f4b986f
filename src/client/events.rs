//! Following what happens.

use std::time::Duration;

use super::connection::{Connection, Deadline};
use super::error::{ClientError, Violation};
use crate::contract::EventInfo;
use crate::wire::cbor::Item;
use crate::wire::envelope::{Body, Response, decode_response};

/// The events of a subscription, for as long as the daemon lives.
///
/// As an iterator it waits without a deadline, and ends after the first error.
#[derive(Debug)]
pub struct Events {
    connection: Connection,
    ended: bool,
}

impl Events {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, ended: false }
    }

    /// The next event, or `None` when there is none within `wait`. It can be asked again after that.
    ///
    /// # Errors
    /// [`ClientError::Closed`] when the daemon closed the connection, [`ClientError::Refused`] when it said why.
    pub fn next_within(&mut self, wait: Duration) -> Result<Option<EventInfo>, ClientError> {
        match self.receive(Deadline::after(wait)) {
            Ok(event) => Ok(Some(event)),
            Err(ClientError::Timeout { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn receive(&mut self, deadline: Deadline) -> Result<EventInfo, ClientError> {
        let payload = self.connection.receive(deadline)?;
        let response: Response<Item<'_>, EventInfo> = decode_response(&payload)?;
        match response.body {
            Body::Event(event) => Ok(*event),
            Body::Err(refusal) => Err(ClientError::Refused(refusal)),
            Body::Ok(_) => Err(Violation::Unasked.into()),
        }
    }
}

impl Iterator for Events {
    type Item = Result<EventInfo, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let event = self.receive(Deadline::never());
        self.ended = event.is_err();
        Some(event)
    }
}
