//! Submitted commands: run in the share that is held, or in one that is taken for them and goes with the last of them.

use std::sync::Arc;

use super::lease::of_work;
use crate::identity::{JobId, Uid};
use crate::ledger::command::Asked;
use crate::ledger::counted::room::Room;
use crate::ledger::job::{Ask, Job, JobEnd, JobKind, JobState, WORKS_PER_UID_MAX, Work};
use crate::ledger::refusal::{Bound, Over, Refusal};
use crate::ledger::share::{Phase, Terms};
use crate::ledger::{Effect, Event, Ledger, Member, Now, Wait};
use crate::quantity::PartialAmount;
use crate::time::milliseconds;

impl Ledger {
    pub(in crate::ledger) fn submit(
        &mut self,
        now: Now,
        member: Member,
        asked: Asked,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let Asked { amount, time_limit, name, wait } = asked;
        let uid = member.uid;
        if time_limit.is_some_and(|limit| limit.is_zero()) {
            return Err(Refusal::NoTime);
        }
        if self.works.get(&uid).is_some_and(|works| *works >= WORKS_PER_UID_MAX) {
            return Err(Refusal::TooManyWorks { most: WORKS_PER_UID_MAX });
        }
        let time_limit_ms = time_limit.map(milliseconds);
        let work = Work { name, limits: amount, time_limit_ms, ask: None, cancelled: false };
        if self.shares.contains_key(&uid) {
            let held = self.active(uid)?.enforced().most;
            if let Some(over) = Over::first(amount.or(held), held, Bound::Share) {
                return Err(Refusal::OverLimit(over));
            }
            let job = self.begin_work(now, uid, work);
            effects.extend([Effect::Start { uid, job }, Effect::Notify(Event::Job(job))]);
            return Ok(());
        }
        self.may_ask(uid)?;
        let ask = self.ask(&member, amount, of_work(&member.policy, time_limit)?, time_limit)?;
        let ask = Ask { terms: Terms { for_work: true, ..ask.terms }, ..ask };
        let (room, since) = (self.has_room(uid, &ask, wait), self.clock.last);
        if !room && wait == Wait::No {
            return Err(self.shortage(now, Room::of(ask.amount), ask.lease_ms));
        }
        // The share is as large as the command may be: it needs no limits of its own.
        let work = Work { ask: Some(ask.clone()), limits: PartialAmount::default(), ..work };
        if room {
            let job = self.begin_work(now, uid, work);
            self.begin(now, uid, &ask, Some(job));
            effects.extend([Effect::Grant(uid), Effect::Notify(Event::Job(job))]);
        } else {
            let state = JobState::Queued { since };
            let job = self.new_job(now, uid, JobKind::Submit(Box::new(work)), state);
            effects.push(Effect::Queued { uid, job });
        }
        Ok(())
    }

    fn begin_work(&mut self, now: Now, uid: Uid, work: Work) -> JobId {
        // Something will be inside before anybody can see it there.
        self.alter(uid, |share| share.empty_since = None);
        self.new_job(now, uid, JobKind::Submit(Box::new(work)), JobState::Running { started: now })
    }

    /// The share that a job waited for is there.
    pub(in crate::ledger) fn share_is_there(
        &mut self,
        now: Now,
        uid: Uid,
        id: JobId,
        effects: &mut Vec<Effect>,
    ) {
        match self.jobs.get(&id).map(|job| &job.kind) {
            Some(JobKind::Submit(work)) if work.cancelled => {
                self.work_ended(now, id, JobEnd::Cancelled, effects);
            }
            Some(JobKind::Submit(_)) => {
                self.alter(uid, |share| share.empty_since = None);
                effects.push(Effect::Start { uid, job: id });
            }
            Some(JobKind::Request(_) | JobKind::Release) | None => {
                self.end_job(now, id, JobEnd::Done, effects);
            }
        }
    }

    /// A command that runs, or is about to, is not wanted any more.
    pub(in crate::ledger) fn call_back(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get_mut(&id).map(Arc::make_mut) else { return };
        let uid = job.uid;
        let JobKind::Submit(work) = &mut job.kind else { return };
        // That it was called back before says nothing of what came of it: stopping it again does no harm.
        work.cancelled = true;
        let granting =
            self.shares.get(&uid).is_some_and(|share| share.phase == Phase::Granting { job: Some(id) });
        if !granting {
            effects.push(Effect::CallBack { uid, job: id });
        }
    }

    pub(in crate::ledger) fn work_ended(
        &mut self,
        now: Now,
        id: JobId,
        end: JobEnd,
        effects: &mut Vec<Effect>,
    ) {
        let Some(uid) = self.jobs.get(&id).filter(|job| job.is_work()).map(|job| job.uid) else { return };
        self.end_job(now, id, end, effects);
        let Some(share) = self.shares.get(&uid) else { return };
        if share.terms.for_work && share.phase == Phase::Active && !self.works(uid) {
            // Where something else is inside it stays until that is gone.
            self.alter(uid, |share| share.phase = Phase::Releasing);
            return effects.push(Effect::Withdraw(uid));
        }
        self.follow_up(uid, effects);
    }

    /// A command was started by a daemon that went before the command's process had what it was to become.
    pub(in crate::ledger) fn never_began(&mut self, now: Now, id: JobId, effects: &mut Vec<Effect>) {
        if self.jobs.get(&id).is_none_or(|job| job.ended()) {
            return;
        }
        self.work_ended(now, id, JobEnd::Interrupted, effects);
        if let Some(job) = self.jobs.get_mut(&id)
            && let JobState::Ended { started, .. } = &mut Arc::make_mut(job).state
        {
            *started = None;
        }
    }

    /// Whether a submitted command of a member is not over.
    pub(in crate::ledger) fn works(&self, uid: Uid) -> bool {
        self.works.contains_key(&uid)
    }

    /// Ends the submitted commands that wait and of which nobody knows what they were to run: it is not in the state.
    pub(in crate::ledger) fn interrupt_waiting_work(
        &mut self,
        now: Now,
        known: impl Fn(JobId) -> bool,
        effects: &mut Vec<Effect>,
    ) {
        let lost = |job: &&Arc<Job>| job.is_work() && job.queued() && !known(job.id);
        let lost: Vec<JobId> = self.jobs.values().filter(lost).map(|job| job.id).collect();
        for job in lost {
            self.end_job(now, job, JobEnd::Interrupted, effects);
            self.revision = self.revision.saturating_add(1);
        }
    }
}
