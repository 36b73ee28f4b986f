//! Submitted commands whose start a restart of the daemon does not prevent: what they are to run is on disk, and not in memory.

use tokio::sync::mpsc;
use tracing::error;

use super::EventLoop;
use crate::daemon::asking::spec::Spec;
use crate::daemon::doing::job::{self, FETCHES_WAITING_MAX};
use crate::identity::JobId;
use crate::ledger::job::{Job, JobKind};
use crate::serving::logging::chain;
use crate::state::commands::Commands;

impl EventLoop {
    /// Takes what was found on disk. What is of no job that is not over goes.
    pub(crate) fn take_commands(&mut self, found: Commands) {
        let over = |job: &JobId| self.ledger.jobs().get(job).is_none_or(|job| job.ended());
        let all = found.unstarted.union(&found.started);
        let left: Vec<JobId> = all.copied().filter(over).collect();
        self.commands = found;
        left.into_iter().for_each(|job| self.forget_command(job));
    }

    /// What a command is to run is on disk. Where it waits still, memory is not needed for it.
    pub(crate) fn command_kept(&mut self, job: JobId) {
        let found = self.ledger.jobs().get(&job);
        let (waits, over) = (found.is_some_and(|job| job.queued()), found.is_none_or(|job| job.ended()));
        if waits {
            self.specs.remove(&job);
            self.commands.unstarted.insert(job);
        } else {
            self.commands.started.insert(job);
        }
        if over {
            self.forget_command(job);
        }
    }

    /// Whether it is known what a command is to run, that nobody was asked to start.
    pub(crate) fn knows_command(&self, job: JobId) -> bool {
        self.specs.contains_key(&job) || self.commands.unstarted.contains(&job)
    }

    /// A command that is to be kept on disk, as it is in memory: one that a share is taken for, where that can be.
    pub(crate) fn spec_to_keep(&self, job: JobId) -> Option<&Spec> {
        let taken_for = |job: &Job| matches!(&job.kind, JobKind::Submit(work) if work.ask.is_some());
        self.ledger.jobs().get(&job).filter(|job| taken_for(job))?;
        self.specs.get(&job).map(|spec| &**spec).filter(|spec| spec.can_be_kept())
    }

    /// What is to be kept of it.
    pub(crate) fn command_to_keep(&self, job: JobId) -> Option<Vec<u8>> {
        self.spec_to_keep(job)?.kept()
    }

    /// Has what is kept of a command offered to its process, which a daemon before this one has had started.
    pub(crate) fn offer_again(&mut self, job: JobId) {
        let (Some(found), Some(running)) = (self.ledger.jobs().get(&job), self.running(job)) else { return };
        let (JobKind::Submit(work), Some(home)) = (&found.kind, found.home()) else { return };
        let (limits, Some(cx)) = (work.limits, self.context.clone()) else { return };
        let amount = limits.or(self.amount_of(home));
        let (offer, fetches) = mpsc::channel(FETCHES_WAITING_MAX);
        self.offers.insert(job, offer);
        tokio::spawn(job::offer_again(cx, (running, amount), limits, fetches));
    }

    /// Takes away what is kept of a command that is over.
    pub(crate) fn forget_command(&mut self, job: JobId) {
        self.specs.remove(&job);
        let kept = self.commands.unstarted.remove(&job) | self.commands.started.remove(&job);
        let Some(persist) = self.persist.clone().filter(|_| kept) else { return };
        tokio::spawn(async move {
            if let Err(fault) = persist.forget_command(job).await {
                error!("{}, proceeding: the next fairshared tries again", chain(&fault));
            }
        });
    }
}
