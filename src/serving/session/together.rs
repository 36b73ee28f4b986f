//! Calls that have come in the same breath, whose answers are short and at hand: answered together.

use tokio::time::Instant;

use super::{Called, End, REQUESTS_OUTSTANDING_MAX, Session, Together};
use crate::serving::service::Service;
use crate::wire::envelope::Body;

impl<S: Service> Session<S> {
    /// Has a call wait for those that have come with it; the last that can be unanswered has them all answered.
    pub(super) async fn put_together(&mut self, called: Called, asked: S::Asked) -> Result<(), End> {
        self.together.called.push(called);
        self.together.asked.push(asked);
        if self.unanswered.saturating_add(self.together.asked.len()) < REQUESTS_OUTSTANDING_MAX {
            return Ok(());
        }
        self.answer_together().await
    }

    /// Has the calls answered that wait for those that came with them: whatever the connection does next comes after.
    pub(super) async fn answer_together(&mut self) -> Result<(), End> {
        if self.together.asked.is_empty() {
            return Ok(());
        }
        let Some(standing) = &self.standing else { return Err(End::NoHello) };
        let Together { called, asked } = std::mem::take(&mut self.together);
        let answers = self.service.answer_together(&self.peer, standing, asked).await;
        let answered = Instant::now();
        for (called, answer) in called.into_iter().zip(answers) {
            self.log(&called, answered, answer.as_ref());
            self.push(called.request_id, answer.map_or_else(Body::Err, Body::Ok));
            self.flush_full().await?;
        }
        Ok(())
    }
}
