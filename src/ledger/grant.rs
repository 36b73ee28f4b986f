//! Who asks for a share, for more, for longer, or gives it back.

use std::sync::Arc;
use std::time::Duration;

use super::job::{Ask, JobKind, JobState};
use super::lease::{checked, of_share, of_work};
use super::refusal::{Bound, Over, Refusal, Shortage};
use super::room::Room;
use super::share::{Lease, Phase, Share, Terms};
use super::{Canceller, Effect, Event, JobEnd, Ledger, Member, Now, Wait, milliseconds};
use crate::identity::{JobId, Uid};
use crate::policy::{LEASE_MIN, Role};
use crate::quantity::{Amount, Bytes, MilliCpu, PartialAmount, Tasks};

impl Ledger {
    pub(super) fn request(
        &mut self,
        now: Now,
        member: Member,
        amount: PartialAmount,
        lease: Option<Duration>,
        wait: Wait,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let uid = member.uid;
        self.may_ask(uid)?;
        let since = self.clock.last;
        let ask = self.ask(&member, amount, of_share(&member.policy, lease)?, lease)?;
        if self.has_room(uid, &ask, wait) {
            self.begin(now, uid, &ask, None);
            effects.push(Effect::Grant(uid));
            return Ok(());
        }
        if wait == Wait::No {
            return Err(self.shortage(now, Room::of(ask.amount), ask.lease_ms));
        }
        let job = self.new_job(now, uid, JobKind::Request(Box::new(ask)), JobState::Queued { since });
        effects.push(Effect::Queued { uid, job });
        Ok(())
    }

    /// Whether a member can ask for a share at all.
    pub(super) fn may_ask(&self, uid: Uid) -> Result<(), Refusal> {
        if let Some(share) = self.shares.get(&uid) {
            if matches!(share.phase, Phase::Granting { .. }) {
                return Err(Refusal::Unsettled);
            }
            return Err(Refusal::AlreadyAllocated { held: share.amount });
        }
        if let Some(job) = self.queue.job_of(uid) {
            return Err(Refusal::AlreadyWaiting { job });
        }
        if self.draining { Err(Refusal::Draining) } else { Ok(()) }
    }

    /// Whether a share can be given now, before all who wait or beside them.
    pub(super) fn has_room(&self, uid: Uid, ask: &Ask, wait: Wait) -> bool {
        let need = Room::of(ask.amount);
        let first = wait != Wait::No && self.goes_first(self.books.fairness.key(uid, ask.weight));
        need.fits(self.books.capacity.free()) && (first || self.may_pass(need, ask.lease_ms))
    }

    /// What is asked for, complete and within every bound; the lease, and the one that the member named.
    pub(super) fn ask(
        &self,
        member: &Member,
        amount: PartialAmount,
        lease: Option<Duration>,
        named_lease: Option<Duration>,
    ) -> Result<Ask, Refusal> {
        let ask = self.complete(member, amount, lease, named_lease)?;
        match Over::machine(ask.amount, self.books.capacity.whole()) {
            Some(over) => Err(Refusal::OverLimit(over)),
            None => Ok(ask),
        }
    }

    /// What is asked for, complete and within what the policy says; the machine may be too small for it.
    fn complete(
        &self,
        member: &Member,
        amount: PartialAmount,
        lease: Option<Duration>,
        named_lease: Option<Duration>,
    ) -> Result<Ask, Refusal> {
        let (policy, whole) = (&member.policy, self.books.capacity.whole());
        let defaults = Amount {
            cpu: policy.defaults.cpu.min(whole.cpu()),
            mem: policy.defaults.mem.min(whole.mem()),
            tasks: policy.defaults.tasks,
        };
        let mut full = amount.or(defaults);
        // Of nothing that can be handed out the defaults are nothing: say what was wanted.
        if full.cpu.0 == 0 || full.mem.0 == 0 {
            full = amount.or(policy.defaults);
        }
        if let Some(over) = Over::first(full, policy.max, Bound::Policy) {
            return Err(Refusal::OverLimit(over));
        }
        Ok(Ask {
            lease_ms: lease.map(milliseconds),
            asked: self.clock.last,
            named: amount,
            named_lease_ms: named_lease.map(milliseconds),
            amount: full,
            swap: member.swap,
            weight: policy.weight,
            terms: Terms { idle_ms: policy.idle.map(milliseconds), for_work: false },
            user: member.user.clone(),
        })
    }

    /// Judges the requests of members who wait by the policy that is in force now. What the policy no longer lets them
    /// have ends as a job that failed; figures that nobody named follow the policy. Their places stay.
    pub(super) fn reconsider(&mut self, now: Now, members: Vec<Member>, effects: &mut Vec<Effect>) {
        for member in members {
            let waiting = self.queue.job_of(member.uid).and_then(|id| self.jobs.get(&id));
            let Some((id, kind)) = waiting.map(|job| (job.id, job.kind.clone())) else { continue };
            let Some(ask) = kind.ask() else { continue };
            let ask = match self.ask_anew(&member, ask) {
                Ok(new) if new == *ask => continue,
                Ok(new) => new,
                Err(refusal) => {
                    self.end_job(now, id, JobEnd::Refused(refusal.to_string()), effects);
                    continue;
                }
            };
            self.queue.remove(id);
            let Some(mut job) = self.jobs.remove(&id) else { continue };
            if let Some(old) = Arc::make_mut(&mut job).kind.ask_mut() {
                *old = ask;
            }
            self.line_up(&job);
            self.jobs.insert(id, job);
        }
    }

    /// The request of a member who waits, as it would be made now.
    fn ask_anew(&self, member: &Member, old: &Ask) -> Result<Ask, Refusal> {
        if member.policy.role < Role::Operator {
            return Err(Refusal::ReadOnly);
        }
        let named_lease = old.named_lease_ms.map(Duration::from_millis);
        let lease = match old.terms.for_work {
            true => of_work(&member.policy, named_lease)?,
            false => of_share(&member.policy, named_lease)?,
        };
        let new = self.complete(member, old.named, lease, named_lease)?;
        let terms = Terms { for_work: old.terms.for_work, ..new.terms };
        // The name is looked up again for the figures only.
        Ok(Ask { asked: old.asked, user: old.user.clone(), terms, ..new })
    }

    /// The share of an ask, on its way.
    pub(super) fn begin(&mut self, now: Now, uid: Uid, ask: &Ask, job: Option<JobId>) {
        let mut share = Share::active(uid, ask.amount, ask.swap, now, self.clock.boot.clone());
        share.user.clone_from(&ask.user);
        share.phase = Phase::Granting { job };
        share.terms = ask.terms;
        share.lease = ask.lease_ms.map(|length| Lease::new(self.clock.last, length));
        self.open(share);
    }

    pub(super) fn resize(
        &mut self,
        now: Now,
        member: &Member,
        amount: PartialAmount,
        in_use: Bytes,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let share = self.active(member.uid)?;
        if share.expired() {
            return Err(Refusal::Expired);
        }
        let (from, lease) = (share.amount, share.lease);
        let to = amount.or(from);
        // What is held already may be over a maximum that was lowered since: nothing is taken, and only what grows is judged.
        let grows = Amount {
            cpu: if to.cpu > from.cpu { to.cpu } else { MilliCpu(0) },
            mem: if to.mem > from.mem { to.mem } else { Bytes(0) },
            tasks: if to.tasks > from.tasks { to.tasks } else { Tasks(0) },
        };
        let over = Over::first(grows, member.policy.max, Bound::Policy);
        let over = over.or_else(|| Over::machine(grows, self.books.capacity.whole()));
        if let Some(over) = over {
            return Err(Refusal::OverLimit(over));
        }
        if to.mem < from.mem && to.mem < in_use {
            return Err(Refusal::MemoryInUse { in_use, asked: to.mem });
        }
        let more = Room::of(to).less(Room::of(from));
        if more != Room::NONE {
            let left = lease.map(|lease| lease.ends.since(self.clock.last));
            if !more.fits(self.books.capacity.free()) || !self.may_pass(more, left) {
                return Err(self.shortage(now, more, left));
            }
        }
        let uid = member.uid;
        self.alter(uid, |share| share.phase = Phase::Resizing { to });
        effects.push(Effect::Resize { uid, from, to });
        Ok(())
    }

    /// Moves the end of a lease. Longer only where that cannot delay who waits first: else one member could hold on for ever.
    /// A share whose lease is over gets back what was granted, where there is room.
    pub(super) fn renew(
        &mut self,
        now: Now,
        member: &Member,
        lease: Duration,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let time = self.clock.last;
        let share = self.active(member.uid)?;
        let (uid, length) = (member.uid, milliseconds(checked(&member.policy, lease, LEASE_MIN)?));
        let new = Lease::new(time, length);
        let expired = share.expired();
        let (need, granted) = match share.lease {
            Some(_) if share.keeps().is_some() => {
                let more = Room::of(share.amount).less(share.room());
                (more, more.fits(self.books.capacity.free()) && self.may_pass(more, Some(length)))
            }
            Some(old) if new.ends > old.ends => {
                (share.room(), self.may_stay(share.room(), old.ends, new.ends))
            }
            Some(_) | None => (share.room(), true),
        };
        if !granted {
            return Err(self.shortage(now, need, Some(length)));
        }
        let idle_ms = member.policy.idle.map(milliseconds);
        self.alter(uid, |share| {
            share.terms.idle_ms = idle_ms;
            match expired {
                true => share.phase = Phase::Renewing { lease: new },
                false => share.lease = Some(new),
            }
        });
        effects.push(if expired { Effect::Renew(uid) } else { Effect::Notify(Event::Renewed { uid }) });
        Ok(())
    }

    pub(super) fn release(
        &mut self,
        now: Now,
        uid: Uid,
        populated: bool,
        stop: bool,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        if !self.shares.contains_key(&uid) {
            return Ok(());
        }
        self.active(uid)?;
        // A submitted command may be on its way in.
        let works = self.works(uid);
        if !populated && works && !stop {
            return Err(Refusal::Unsettled);
        }
        if !populated && !works {
            self.alter(uid, |share| share.phase = Phase::Releasing);
            effects.push(Effect::Withdraw(uid));
            return Ok(());
        }
        if !stop {
            return Err(Refusal::Occupied);
        }
        let job = self.stopping(now, uid);
        effects.push(Effect::Stop { uid, job });
        Ok(())
    }

    /// The share is being stopped, watched by a new job.
    pub(super) fn stopping(&mut self, now: Now, uid: Uid) -> JobId {
        let job = self.new_job(now, uid, JobKind::Release, JobState::Running { started: now });
        self.alter(uid, |share| share.phase = Phase::Stopping { job });
        job
    }

    pub(super) fn go_in(&mut self, uid: Uid, effects: &mut Vec<Effect>) -> Result<(), Refusal> {
        self.active(uid)?;
        self.alter(uid, |share| share.empty_since = None);
        let run = self.next_run;
        self.next_run = self.next_run.saturating_add(1);
        effects.push(Effect::Enter { uid, run });
        Ok(())
    }

    pub(super) fn cancel(
        &mut self,
        now: Now,
        id: JobId,
        by: Canceller,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let job = self.jobs.get(&id).ok_or(Refusal::NoJob)?;
        if by != Canceller::Admin && by != Canceller::Member(job.uid) {
            return Err(Refusal::NotYours { job: id });
        }
        let work = matches!(job.kind, JobKind::Submit(_));
        match job.state {
            // As often as one likes: who did not hear the first answer asks again.
            JobState::Ended { .. } => Ok(()),
            JobState::Running { .. } if work => {
                self.call_back(id, effects);
                Ok(())
            }
            JobState::Running { .. } => Err(Refusal::JobAtWork { job: id }),
            JobState::Queued { .. } => {
                self.end_job(now, id, JobEnd::Cancelled, effects);
                Ok(())
            }
        }
    }

    pub(super) fn active(&self, uid: Uid) -> Result<&Share, Refusal> {
        let share = self.shares.get(&uid).ok_or(Refusal::NoShare)?;
        match share.phase {
            Phase::Active => Ok(share),
            Phase::Stopping { .. } | Phase::Releasing => Err(Refusal::Stopping),
            Phase::Granting { .. } | Phase::Resizing { .. } | Phase::Lowering | Phase::Renewing { .. } => {
                Err(Refusal::Unsettled)
            }
        }
    }

    /// Why there is no room for `asked` now.
    pub(super) fn shortage(&self, now: Now, asked: Room, lease_ms: Option<u64>) -> Refusal {
        let by = self.room_for_all_and(asked).map(|time| self.clock.wall_ms(now, time));
        Refusal::NoCapacity(Box::new(Shortage {
            asked,
            free: self.books.capacity.free(),
            largest: self.largest(lease_ms),
            waiting: self.queue.len(),
            by_wall_ms: by,
        }))
    }

    /// Who holds most, the first `limit` of them, with the largest part of the machine first. O(n).
    pub fn holders(&self, limit: usize) -> Vec<&Share> {
        let mut holders: Vec<&Share> = self.shares.values().filter(|share| !share.expired()).collect();
        holders.sort_by_key(|share| std::cmp::Reverse(share.meter.rate));
        holders.truncate(limit);
        holders
    }
}
