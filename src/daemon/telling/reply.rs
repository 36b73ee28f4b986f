//! Where one call is answered.

use tokio::sync::oneshot;

use crate::contract::Answer;
use crate::wire::error::WireError;

/// Where the answer to a call goes.
#[derive(Debug)]
pub struct Reply(oneshot::Sender<Result<Answer, WireError>>);

impl Reply {
    /// A place for one answer, and where to wait for it.
    pub fn pair() -> (Self, oneshot::Receiver<Result<Answer, WireError>>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }

    /// Whether somebody still waits for the answer.
    pub fn is_awaited(&self) -> bool {
        !self.0.is_closed()
    }

    /// Nobody waits for an answer.
    pub fn nobody() -> Self {
        Self::pair().0
    }

    /// Answers. Who asked may have gone; what was done stands all the same.
    pub fn send(self, result: Result<Answer, WireError>) {
        let _ = self.0.send(result);
    }
}
