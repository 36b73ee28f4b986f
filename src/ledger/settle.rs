//! How the effects went, and what follows.

use std::sync::Arc;

use super::allocation::{Allocation, Keeps, Phase};
use super::expire::RETRY_MS;
use super::job::{JobEnd, JobState, SLICE_WENT};
use super::{Effect, Event, Ledger, Now, Outcome, one_less};
use crate::identity::{AllocationId, Purpose};

impl Ledger {
    pub(super) fn settle(&mut self, now: Now, id: AllocationId, outcome: Outcome, effects: &mut Vec<Effect>) {
        let Some(allocation) = self.allocations.get(&id) else { return };
        let phase = allocation.phase;
        let why = match outcome {
            Outcome::Unknown => return,
            Outcome::Withdrawn(why) => return self.slice_gone(now, id, &why, effects),
            Outcome::Lowered(keeps) => return self.lowered(id, keeps, effects),
            Outcome::Done => return self.settled(now, id, phase, effects),
            Outcome::Undone(why) => why,
        };
        match phase {
            Phase::Granting { job } => {
                self.close(id);
                if let Some(job) = job {
                    self.end_try(now, (job, false), JobEnd::Failed(why), effects);
                }
                return;
            }
            Phase::Stopping { job } => {
                self.end_job(now, job, JobEnd::Failed(why), effects);
                // What could not be carried out would be tried again at once, and again.
                if self.allocations.get(&id).is_some_and(|allocation| allocation.eviction().is_some()) {
                    self.set_eviction(id, Some(self.clock.last.after(RETRY_MS)));
                }
            }
            Phase::Lowering => self.set_keeps(id, None),
            Phase::Active | Phase::Resizing { .. } | Phase::Renewing { .. } | Phase::Releasing => {}
        }
        // Whether it is empty is to be said anew: else what could not be withdrawn would be tried at once again.
        self.alter(id, |allocation| (allocation.phase, allocation.empty_since) = (Phase::Active, None));
        self.follow_up(id, effects);
    }

    fn settled(&mut self, now: Now, id: AllocationId, phase: Phase, effects: &mut Vec<Effect>) {
        match phase {
            // How far the limits have come down is an outcome of its own.
            Phase::Active | Phase::Lowering => return,
            Phase::Releasing | Phase::Stopping { .. } => {
                return self.slice_gone(now, id, SLICE_WENT, effects);
            }
            Phase::Granting { job } => {
                let time = self.clock.last;
                self.alter(id, |allocation| {
                    (allocation.phase, allocation.empty_since) = (Phase::Active, Some(time))
                });
                effects.push(Effect::Notify(Event::Granted { id, job }));
                if let Some(job) = job {
                    self.allocation_is_there(now, job, effects);
                }
            }
            Phase::Resizing { to } => {
                self.alter(id, |allocation| (allocation.phase, allocation.amount) = (Phase::Active, to));
                effects.push(Effect::Notify(Event::Resized { id }));
            }
            Phase::Renewing { lease } => {
                self.alter(id, |allocation| {
                    (allocation.phase, allocation.lease) = (Phase::Active, Some(lease))
                });
                effects.push(Effect::Notify(Event::Renewed { id }));
            }
        }
        self.follow_up(id, effects);
    }

    /// The limits of an expired allocation have come down: the rest of its room is free.
    fn lowered(&mut self, id: AllocationId, keeps: Keeps, effects: &mut Vec<Effect>) {
        let Some(allocation) =
            self.allocations.get(&id).filter(|allocation| allocation.phase == Phase::Lowering)
        else {
            return;
        };
        // No more than was granted is ever held, whatever is said to be used.
        let keeps = Keeps {
            mem: keeps.mem.min(allocation.amount.mem),
            tasks: keeps.tasks.min(allocation.amount.tasks),
        };
        self.set_keeps(id, Some(keeps));
        self.alter(id, |allocation| allocation.phase = Phase::Active);
        effects.push(Effect::Notify(Event::Resized { id }));
        self.follow_up(id, effects);
    }

    /// There is no slice any more, and so no allocation: `why`, for who waited for it.
    pub(super) fn slice_gone(&mut self, now: Now, id: AllocationId, why: &str, effects: &mut Vec<Effect>) {
        let Some(allocation) = self.close(id) else { return };
        if let Purpose::Run(job) = id.purpose {
            let of_this_boot = allocation.boot == *self.boot();
            let end = match allocation.phase {
                Phase::Stopping { .. } => JobEnd::Cancelled,
                Phase::Releasing => JobEnd::Done,
                // Its command ended with the machine.
                _ if !of_this_boot => JobEnd::Interrupted,
                _ => JobEnd::Failed(why.to_owned()),
            };
            self.end_job(now, job, end, effects);
        }
        match allocation.phase {
            Phase::Stopping { job } => self.end_job(now, job, JobEnd::Done, effects),
            Phase::Granting { job } => {
                if let Some(job) = job {
                    self.end_try(now, (job, false), JobEnd::Failed(why.to_owned()), effects);
                }
                return;
            }
            Phase::Active
            | Phase::Resizing { .. }
            | Phase::Lowering
            | Phase::Renewing { .. }
            | Phase::Releasing => {}
        }
        effects.push(Effect::Notify(Event::Released { id, was: Box::new(allocation) }));
    }

    /// A grant that a crash ended before anything was done: who waited for it waits in the same place again.
    pub(super) fn wait_again(&mut self, now: Now, allocation: &Allocation, events: &mut Vec<Effect>) {
        let Phase::Granting { job: Some(id) } = allocation.phase else { return };
        let Some(mut job) = self.jobs.remove(&id) else { return };
        let asked = job.kind.ask().map(|ask| ask.asked);
        if let (JobState::Running { .. }, Some(since)) = (&job.state, asked) {
            Arc::make_mut(&mut job).state = JobState::Queued { since };
            self.warnings.remove(id);
            job.works_in().into_iter().for_each(|home| one_less(&mut self.inside, home));
            if job.called_back() {
                self.jobs.insert(id, job);
                return self.end_job(now, id, JobEnd::Cancelled, events);
            }
            self.line_up(&job);
            // It was served before who is first by now.
            self.reserved = self.reserved.filter(|first| *first < id).or(Some(id));
        }
        self.jobs.insert(id, job);
    }
}
