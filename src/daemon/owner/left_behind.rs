//! Memory that work has left behind: files in `tmpfs` and shared memory that are there when their share is not. Nobody can be
//! given it, and it is free as soon as somebody removes them, of which the kernel tells nobody.

use std::sync::Arc;

use tracing::error;

use super::EventLoop;
use super::event::Event;
use crate::ledger::Command;
use crate::quantity::Bytes;
use crate::serving::logging::chain;

/// Less than a whole one of these is not counted: what is kept for a moment only would be stored with each look.
const STEP_BYTES: u64 = 1 << 20;

impl EventLoop {
    /// Has read whether what was left behind is there still, where something was: whoever removes it looks at what is free next.
    pub(crate) fn look_whether_it_is_still_left(&mut self) {
        if self.ledger.left_behind() > Bytes(0) {
            self.look_at_left_behind();
        }
    }

    /// Has read how much there is, one reading at a time.
    pub(crate) fn look_at_left_behind(&mut self) {
        if self.looks_at_left.as_ref().is_some_and(|look| !look.is_finished()) {
            return;
        }
        let (cgroups, events) = (Arc::clone(&self.parts.cgroups), self.events.clone());
        self.looks_at_left = Some(tokio::spawn(async move {
            match tokio::task::spawn_blocking(move || cgroups.left_behind()).await {
                Ok(Ok(left)) => drop(events.send(Event::LeftBehind(left)).await),
                Ok(Err(fault)) => error!("{}, proceeding with what was known", chain(&fault)),
                Err(_) => {}
            }
        }));
    }

    /// Takes how much there is.
    pub(crate) fn left_behind(&mut self, left: Bytes) {
        let left = Bytes(left.0 - left.0 % STEP_BYTES);
        if left != self.ledger.left_behind() {
            self.tell(Command::LeftBehind(left));
        }
    }
}
