//! How the effects went, and what follows.

use std::sync::Arc;

use super::expire::RETRY_MS;
use super::job::{JobEnd, JobState, SLICE_WENT};
use super::share::{Keeps, Phase, Share};
use super::{Effect, Event, Ledger, Now, Outcome};
use crate::identity::Uid;

impl Ledger {
    pub(super) fn settle(&mut self, now: Now, uid: Uid, outcome: Outcome, effects: &mut Vec<Effect>) {
        let Some(share) = self.shares.get(&uid) else { return };
        let phase = share.phase;
        let why = match outcome {
            Outcome::Unknown => return,
            Outcome::Withdrawn(why) => return self.slice_gone(now, uid, &why, effects),
            Outcome::Lowered(keeps) => return self.lowered(uid, keeps, effects),
            Outcome::Done => return self.settled(now, uid, phase, effects),
            Outcome::Undone(why) => why,
        };
        match phase {
            Phase::Granting { job } => {
                self.close(uid);
                if let Some(job) = job {
                    self.end_job(now, job, JobEnd::Failed(why), effects);
                }
                return;
            }
            Phase::Stopping { job } => {
                self.end_job(now, job, JobEnd::Failed(why), effects);
                // What could not be carried out would be tried again at once, and again.
                if self.shares.get(&uid).is_some_and(|share| share.eviction().is_some()) {
                    self.set_eviction(uid, Some(self.clock.last.after(RETRY_MS)));
                }
            }
            Phase::Lowering => self.set_keeps(uid, None),
            Phase::Active | Phase::Resizing { .. } | Phase::Renewing { .. } | Phase::Releasing => {}
        }
        // Whether it is empty is to be said anew: else what could not be withdrawn would be tried at once again.
        self.alter(uid, |share| (share.phase, share.empty_since) = (Phase::Active, None));
        self.follow_up(uid, effects);
    }

    fn settled(&mut self, now: Now, uid: Uid, phase: Phase, effects: &mut Vec<Effect>) {
        match phase {
            // How far the limits have come down is an outcome of its own.
            Phase::Active | Phase::Lowering => return,
            Phase::Releasing | Phase::Stopping { .. } => {
                return self.slice_gone(now, uid, SLICE_WENT, effects);
            }
            Phase::Granting { job } => {
                let time = self.clock.last;
                self.alter(uid, |share| (share.phase, share.empty_since) = (Phase::Active, Some(time)));
                effects.push(Effect::Notify(Event::Granted { uid, job }));
                if let Some(job) = job {
                    self.share_is_there(now, uid, job, effects);
                }
            }
            Phase::Resizing { to } => {
                self.alter(uid, |share| (share.phase, share.amount) = (Phase::Active, to));
                effects.push(Effect::Notify(Event::Resized { uid }));
            }
            Phase::Renewing { lease } => {
                self.alter(uid, |share| (share.phase, share.lease) = (Phase::Active, Some(lease)));
                effects.push(Effect::Notify(Event::Renewed { uid }));
            }
        }
        self.follow_up(uid, effects);
    }

    /// The limits of an expired share have come down: the rest of its room is free.
    fn lowered(&mut self, uid: Uid, keeps: Keeps, effects: &mut Vec<Effect>) {
        let Some(share) = self.shares.get(&uid).filter(|share| share.phase == Phase::Lowering) else {
            return;
        };
        // No more than was granted is ever held, whatever is said to be used.
        let keeps =
            Keeps { mem: keeps.mem.min(share.amount.mem), tasks: keeps.tasks.min(share.amount.tasks) };
        self.set_keeps(uid, Some(keeps));
        self.alter(uid, |share| share.phase = Phase::Active);
        effects.push(Effect::Notify(Event::Resized { uid }));
        self.follow_up(uid, effects);
    }

    /// There is no slice any more, and so no share: `why`, for who waited for it.
    pub(super) fn slice_gone(&mut self, now: Now, uid: Uid, why: &str, effects: &mut Vec<Effect>) {
        let Some(share) = self.close(uid) else { return };
        match share.phase {
            Phase::Stopping { job } => self.end_job(now, job, JobEnd::Done, effects),
            Phase::Granting { job } => {
                if let Some(job) = job {
                    self.end_job(now, job, JobEnd::Failed(why.to_owned()), effects);
                }
                return;
            }
            Phase::Active
            | Phase::Resizing { .. }
            | Phase::Lowering
            | Phase::Renewing { .. }
            | Phase::Releasing => {}
        }
        effects.push(Effect::Notify(Event::Released { uid }));
    }

    /// A grant that a crash ended before anything was done: who waited for it waits in the same place again.
    pub(super) fn wait_again(&mut self, share: &Share) {
        let Phase::Granting { job: Some(id) } = share.phase else { return };
        let Some(mut job) = self.jobs.remove(&id) else { return };
        if let JobState::Running { .. } = job.state {
            if let Some(since) = job.kind.ask().map(|ask| ask.asked) {
                Arc::make_mut(&mut job).state = JobState::Queued { since };
            }
            self.line_up(&job);
        }
        self.jobs.insert(id, job);
    }
}
