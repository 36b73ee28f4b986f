//! Commands that are run again: what is left of a try is cleared away before the next.

use std::sync::Arc;

use super::EventLoop;
use crate::daemon::doing::allocation::Context;
use crate::daemon::doing::job;
use crate::daemon::doing::offer::Running;
use crate::identity::JobId;
use crate::ledger::Command;
use crate::ledger::job::Job;

/// Whether a command waits for what is left of its last try to go.
fn is_to_be_cleared(job: &Job) -> bool {
    job.apart().is_some_and(|apart| apart.left.units)
}

impl EventLoop {
    /// Whether a command waits to be run again, and something of its last try is left.
    pub(crate) fn waits_again(&self, job: JobId) -> bool {
        self.ledger.jobs().get(&job).is_some_and(|job| is_to_be_cleared(job))
    }

    /// Has cleared away what is left of the last tries of commands that are run again, where nobody does: whoever did was of another
    /// daemon, or lost the bus.
    pub(crate) fn clear_for_others(&mut self, cx: &Context) {
        let jobs = self.ledger.jobs().values();
        let left: Vec<JobId> =
            jobs.filter(|job: &&Arc<Job>| is_to_be_cleared(job)).map(|job| job.id).collect();
        for job in left {
            let Some(waits) = self.running(job).filter(|_| self.followed.insert(job)) else { continue };
            let last = Running { tries: waits.tries.map(|tries| tries.saturating_sub(1)), ..waits };
            let cx = cx.clone();
            tokio::spawn(async move { job::clear_for_another(&cx, last).await });
        }
    }

    /// Nothing is left of a command's try, before which there were so many.
    pub(crate) fn cleared(&mut self, id: JobId, tries: u64) {
        self.followed.remove(&id);
        let of_it = |job: &&Arc<Job>| job.queued() && job.tries() == tries.saturating_add(1);
        let job = self.ledger.jobs().get(&id).filter(of_it);
        if let Some(job) = job {
            self.commands.started.remove(&id);
            if job.task().is_none() {
                self.commands.unstarted.insert(id);
            }
        }
        self.tell(Command::Cleared { job: id, tries });
        self.tell_status();
    }
}
