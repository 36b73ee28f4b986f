//! Commands that are to be warned before their time is over.

use super::EventLoop;
use crate::daemon::doing::allocation::Context;
use crate::daemon::doing::warn;
use crate::identity::{JobId, Uid};
use crate::ledger::Command;

impl EventLoop {
    /// Has a command warned. Its member is marked busy.
    pub(crate) fn warn(&mut self, cx: Context, uid: Uid, job: JobId) {
        let warning = self.ledger.jobs().get(&job).and_then(|job| job.work()?.care.warning);
        let (Some(warning), Some(running)) = (warning, self.running(job)) else {
            return drop(cx.turn(uid));
        };
        // Until it has what it becomes its process is ours, which the signal would end.
        if self.offers.get(&job).is_some_and(|offer| !offer.is_closed()) {
            self.warned(job, false);
            return drop(cx.turn(uid));
        }
        tokio::spawn(warn::warn(cx, (job, running.units.service), warning.signal));
    }

    /// A command has its signal, or is to be sent it a moment later.
    pub(crate) fn warned(&mut self, job: JobId, sent: bool) {
        self.tell(Command::Warned { job, sent });
        if sent {
            drop(self.store_in_background());
        }
    }
}
