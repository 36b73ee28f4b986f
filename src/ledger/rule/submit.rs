//! Submitted commands: each brings an allocation, which goes with it, or runs in its member's standing one.

use std::sync::Arc;

use super::lease::{limited, of_work};
use crate::identity::{AllocationId, JobId, Uid};
use crate::ledger::allocation::{Goes, Lease, Phase, Terms};
use crate::ledger::command::{Asked, Where};
use crate::ledger::job::{
    Ask, Job, JobEnd, JobKind, JobState, KEPT_MAX, KEPT_PER_UID_MAX, Precedence, WORKS_PER_UID_MAX, Work,
};
use crate::ledger::refusal::{Bound, Over, Refusal};
use crate::ledger::{Effect, Event, Ledger, Member, Now, Wait};
use crate::quantity::{Bytes, PartialAmount};
use crate::time::milliseconds;

impl Ledger {
    pub(in crate::ledger) fn submit(
        &mut self,
        now: Now,
        member: Member,
        asked: Asked,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let Asked { amount, place, time_limit, name, output, kept, wait, when, array, again, care } = asked;
        let uid = member.uid;
        limited(time_limit, &care)?;
        let conditions = when.has_conditions().then(|| self.conditions(now, uid, &when)).transpose()?;
        let in_line = conditions.is_some() || array.is_some();
        let own_room = in_line || again.is_some() || care.notifies;
        match (place, wait) {
            (Where::InShare, _) if own_room => return Err(Refusal::WaitsInShare),
            (_, Wait::No) if in_line => return Err(Refusal::WaitsNot),
            _ => {}
        }
        let standing = AllocationId::standing(uid);
        let time_limit_ms = time_limit.map(milliseconds);
        let limits = amount;
        let work = Work { name, output, limits, time_limit_ms, again, care, ..Work::default() };
        if !own_room && self.joins(uid, place, amount) {
            let held = self.active(standing)?.enforced().most;
            if let Some(over) = Over::first(amount.or(held), held, Bound::Share) {
                return Err(Refusal::OverLimit(over));
            }
            if self.inside.get(&standing).is_some_and(|works| *works >= WORKS_PER_UID_MAX) {
                return Err(Refusal::TooManyWorks { most: WORKS_PER_UID_MAX });
            }
            self.may_be_kept(uid, kept)?;
            let job = self.begin_work(now, uid, Work { kept, ..work });
            effects.extend([Effect::Start { uid, job }, Effect::Notify(Event::Job(job))]);
            self.warn_later(job);
            return Ok(());
        }
        if self.draining {
            return Err(Refusal::Draining);
        }
        let ask = self.ask(&member, amount, of_work(&member.policy, time_limit)?, time_limit)?;
        let precedence = Precedence { priority: when.priority, ..Precedence::default() };
        let ask = Ask { terms: Terms { goes: Goes::WithWork, ..ask.terms }, precedence, ..ask };
        let (apart, unreached) = conditions.unzip();
        let apart = apart.filter(|apart| !apart.is_over()).map(Box::new);
        if apart.is_some() || array.is_some() {
            self.may_be_one_more(uid)?;
            self.may_be_kept(uid, kept)?;
            let work = Work { ask: Some(ask), limits: PartialAmount::default(), kept, apart, array, ..work };
            let job = self.wait_as(now, uid, JobKind::Submit(Box::new(work)), effects);
            unreached.flatten().into_iter().for_each(|end| self.end_job(now, job, end, effects));
            return Ok(());
        }
        let room = self.has_room(uid, &ask);
        if !room {
            self.may_wait(now, uid, &ask, wait)?;
        }
        // The allocation is as large as the command may be: it needs no limits of its own.
        self.may_be_kept(uid, kept)?;
        let work = Work { ask: Some(ask.clone()), limits: PartialAmount::default(), kept, ..work };
        if room {
            let job = self.begin_work(now, uid, work);
            let id = AllocationId::of_job(uid, job);
            self.begin(now, id, &ask, Some(job));
            effects.extend([Effect::Grant(id), Effect::Notify(Event::Job(job))]);
        } else {
            self.wait_as(now, uid, JobKind::Submit(Box::new(work)), effects);
        }
        Ok(())
    }

    /// Whether what a member starts goes into their standing allocation, and brings none.
    pub(in crate::ledger) fn joins(&self, uid: Uid, place: Where, amount: PartialAmount) -> bool {
        match place {
            // The work of 0.1 has its member's slice for itself.
            _ if self.is_as_in_0_1(uid) => true,
            Where::InShare => true,
            Where::Own => false,
            Where::ByFigures => {
                let standing = AllocationId::standing(uid);
                amount == PartialAmount::default() && self.allocations.contains_key(&standing)
            }
        }
    }

    /// Whether a member holds a share of 0.1, beside which they hold nothing until they have given it back.
    pub(in crate::ledger) fn is_as_in_0_1(&self, uid: Uid) -> bool {
        self.allocations.get(&AllocationId::standing(uid)).is_some_and(|standing| standing.in_share)
    }

    /// Whether there is room on disk for what a command is to run.
    fn may_be_kept(&self, uid: Uid, kept: Bytes) -> Result<(), Refusal> {
        let of = self.on_disk.0.get(&uid).copied().unwrap_or_default();
        let over = |held: u64, most: Bytes| held.saturating_add(kept.0) > most.0;
        match (over(of, KEPT_PER_UID_MAX), over(self.on_disk.1, KEPT_MAX)) {
            (true, _) => Err(Refusal::TooMuchKept { most: KEPT_PER_UID_MAX, own: true }),
            (_, true) => Err(Refusal::TooMuchKept { most: KEPT_MAX, own: false }),
            (false, false) => Ok(()),
        }
    }

    /// Counts what is on disk of a job.
    pub(in crate::ledger) fn count_kept(&mut self, job: &Job) {
        let bytes = job.kept().0;
        if bytes > 0 {
            let of = self.on_disk.0.entry(job.uid).or_default();
            *of = of.saturating_add(bytes);
            self.on_disk.1 = self.on_disk.1.saturating_add(bytes);
        }
    }

    /// What is on disk of a job goes.
    pub(in crate::ledger) fn discount_kept(&mut self, uid: Uid, bytes: u64) {
        let left = self.on_disk.0.remove(&uid).unwrap_or_default().saturating_sub(bytes);
        self.on_disk.0.extend((left > 0).then_some((uid, left)));
        self.on_disk.1 = self.on_disk.1.saturating_sub(bytes);
    }

    fn begin_work(&mut self, now: Now, uid: Uid, work: Work) -> JobId {
        if work.ask.is_none() {
            // Something will be inside before anybody can see it there.
            self.alter(AllocationId::standing(uid), |standing| standing.empty_since = None);
        }
        self.new_job(now, uid, JobKind::Submit(Box::new(work)), JobState::Running { started: now })
    }

    /// The allocation that a job waited for is there.
    pub(in crate::ledger) fn allocation_is_there(&mut self, now: Now, id: JobId, effects: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get(&id) else { return };
        match (&job.kind, job.home()) {
            (JobKind::Submit(work), _) if work.cancelled => {
                self.work_ended(now, id, JobEnd::Cancelled, effects);
            }
            (JobKind::Submit(_), Some(home)) => {
                self.time_begins(home, id);
                effects.push(Effect::Start { uid: home.uid, job: id });
            }
            // It is kept for the command until that is over.
            (JobKind::Run(_), _) => {}
            (JobKind::Submit(_) | JobKind::Request(_) | JobKind::Release, _) => {
                self.end_job(now, id, JobEnd::Done, effects);
            }
        }
    }

    /// A command's time counts from here on, in the allocation that it runs in.
    pub(in crate::ledger) fn time_begins(&mut self, home: AllocationId, id: JobId) {
        let time = self.clock.last;
        self.alter(home, |allocation| {
            allocation.empty_since = None;
            // Its time limit counts from its start.
            if allocation.terms.goes == Goes::WithWork {
                allocation.lease = allocation.lease.map(|lease| Lease::new(time, lease.length_ms));
            }
        });
        self.guess(home);
        self.warn_later(id);
    }

    /// A command that runs, or is about to, is not wanted any more.
    pub(in crate::ledger) fn call_back(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get_mut(&id).map(Arc::make_mut) else { return };
        let (uid, home) = (job.uid, job.home());
        let JobKind::Submit(work) = &mut job.kind else { return };
        // That it was called back before says nothing of what came of it: stopping it again does no harm.
        work.cancelled = true;
        self.warnings.remove(id);
        let allocation = home.and_then(|home| self.allocations.get(&home));
        if allocation.is_none_or(|allocation| allocation.phase != Phase::Granting { job: Some(id) }) {
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
        // What waits to be run again was told of before.
        let job = self.jobs.get(&id).filter(|job| !job.queued());
        let Some(home) = job.and_then(|job| job.home()) else { return };
        self.end_try(now, (id, true), end, effects);
        let Some(allocation) = self.allocations.get(&home) else { return };
        if allocation.terms.goes == Goes::WithWork
            && allocation.phase == Phase::Active
            && !self.works_in(home)
        {
            // Where something else is inside it stays until that is gone.
            self.alter(home, |allocation| allocation.phase = Phase::Releasing);
            return effects.push(Effect::Withdraw(home));
        }
        self.follow_up(home, effects);
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

    /// Whether a submitted command runs in an allocation, or is about to.
    pub(in crate::ledger) fn works_in(&self, id: AllocationId) -> bool {
        self.inside.contains_key(&id)
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
