//! Commands are [warned](super::care) before their time is over: once, from the moment on at which they are started.

use std::sync::Arc;

use super::allocation::Phase;
use super::job::{Job, JobState};
use super::time::Time;
use super::{Effect, Ledger, Now};
use crate::identity::JobId;

/// After how long a command is to be warned that could not be, for it has not begun or systemd did not do it, in milliseconds.
pub const WARN_AGAIN_MS: u64 = 1000;

/// The longest such time, in milliseconds.
const WARN_AGAIN_MS_MAX: u64 = 60_000;

impl Ledger {
    /// A command is started: it is warned when its moment comes, which is now where it has less time than that.
    pub(super) fn warn_later(&mut self, id: JobId) {
        let job = self.jobs.get(&id).filter(|job| is_to_be_warned(job));
        let at = job.and_then(|job| self.warned_at(job));
        at.into_iter().for_each(|at| self.warnings.set(id, at));
    }

    /// When a command that runs is to be warned.
    fn warned_at(&self, job: &Job) -> Option<Time> {
        let (work, JobState::Running { started }) = (job.work()?, &job.state) else { return None };
        let due_ms = work.time_limit_ms?.saturating_sub(work.care.warning?.before_ms);
        let at = Now { boot_ms: started.boot_ms.saturating_add(due_ms), ..*started };
        Some(self.clock.time_of(at))
    }

    /// Those whose moment has come are warned.
    pub(super) fn warn_due(&mut self, effects: &mut Vec<Effect>) {
        for id in self.warnings.take_due(self.clock.last) {
            let Some(job) = self.jobs.get(&id).filter(|job| is_to_be_warned(job)) else { continue };
            // After a start its allocation may be still to come.
            let home = job.home().and_then(|home| self.allocations.get(&home));
            if home.is_none_or(|home| matches!(home.phase, Phase::Granting { .. })) {
                self.warn_again(id);
                continue;
            }
            effects.push(Effect::Warn { uid: job.uid, job: id });
        }
    }

    /// A command was sent its signal, or has nobody any more who could be sent it; or that is tried again.
    pub(super) fn warned(&mut self, id: JobId, sent: bool) {
        if !self.jobs.get(&id).is_some_and(is_to_be_warned) {
            return;
        }
        if !sent {
            return self.warn_again(id);
        }
        self.warnings.remove(id);
        let work = self.jobs.get_mut(&id).map(Arc::make_mut).and_then(Job::work_mut);
        if let Some(warning) = work.and_then(|work| work.care.warning.as_mut()) {
            warning.sent = true;
        }
    }

    /// It is tried again after as long as it has been due, but for the bounds: with twice the pause each time.
    fn warn_again(&mut self, id: JobId) {
        let due = self.jobs.get(&id).and_then(|job| self.warned_at(job));
        let late = due.map_or(0, |due| self.clock.last.since(due));
        self.warnings.set(id, self.clock.last.after(late.clamp(WARN_AGAIN_MS, WARN_AGAIN_MS_MAX)));
    }

    /// After a start: those that run, and were not warned.
    pub(super) fn warn_those_that_run(&mut self) {
        let running: Vec<JobId> =
            self.jobs.values().filter(|job| is_to_be_warned(job)).map(|job| job.id).collect();
        running.into_iter().for_each(|job| self.warn_later(job));
    }

    /// Each warning that is to come is of a command that is to be warned.
    pub(super) fn audit_warnings(&self) {
        let to_be = |id: &JobId| self.jobs.get(id).is_some_and(is_to_be_warned);
        assert!(self.warnings.jobs().all(|id| to_be(&id)), "somebody is to be warned who cannot be");
    }
}

/// Whether a job is a command that runs in this boot, is wanted, and was not warned. An array is none: its tasks are.
fn is_to_be_warned(job: &Arc<Job>) -> bool {
    let unsent = job.work().and_then(|work| work.care.warning).is_some_and(|warning| !warning.sent);
    let here = matches!(job.state, JobState::Running { started } if started.is_of_this_boot());
    unsent && here && job.works_in().is_some() && !job.called_back()
}
