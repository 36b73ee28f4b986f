//! Who asks for a share, for more, for longer, or gives it back.

use std::time::Duration;

use super::job::{Ask, JobKind, JobState};
use super::refusal::{Bound, Over, Refusal, Shortage, Timed};
use super::room::Room;
use super::share::{Lease, Phase, Share, Stage, Terms};
use super::time::Time;
use super::{Canceller, Effect, Event, JobEnd, Ledger, Member, Now, Wait, milliseconds};
use crate::identity::{JobId, Uid};
use crate::policy::MemberPolicy;
use crate::quantity::{Amount, Bytes, PartialAmount};

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
        let until = self.may_ask(uid, wait)?;
        let asked = self.clock.last;
        let ask = Ask { until, ..self.ask(member, amount, lease)? };
        if self.has_room(uid, &ask, wait) {
            self.begin(now, uid, &ask, None);
            effects.push(Effect::Grant(uid));
            return Ok(());
        }
        if wait == Wait::No {
            return Err(self.shortage(now, Room::of(ask.amount), ask.lease_ms));
        }
        let state = JobState::Queued { since: asked, deadline: until };
        let job = self.new_job(now, uid, JobKind::Request(Box::new(ask)), state);
        effects.push(Effect::Queued { uid, job });
        Ok(())
    }

    /// Whether a member can ask for a share at all, and until when the request would wait.
    pub(super) fn may_ask(&self, uid: Uid, wait: Wait) -> Result<Option<Time>, Refusal> {
        if let Some(share) = self.shares.get(&uid) {
            if matches!(share.phase, Phase::Granting { .. }) {
                return Err(Refusal::Unsettled);
            }
            return Err(Refusal::AlreadyAllocated { held: share.amount });
        }
        if let Some(job) = self.queue.job_of(uid) {
            return Err(Refusal::AlreadyWaiting { job });
        }
        if self.draining {
            return Err(Refusal::Draining);
        }
        match wait {
            Wait::No | Wait::Granted => Ok(None),
            Wait::AtMost(time) if time.is_zero() => Err(Refusal::NoTime(Timed::Wait)),
            Wait::AtMost(time) => Ok(Some(self.clock.last.after(milliseconds(time)))),
        }
    }

    /// Whether a share can be given now, before all who wait or beside them.
    pub(super) fn has_room(&self, uid: Uid, ask: &Ask, wait: Wait) -> bool {
        let need = Room::of(ask.amount);
        let first = wait != Wait::No && self.goes_first(self.books.fairness.key(uid, ask.weight));
        need.fits(self.books.capacity.free()) && (first || self.may_pass(need, ask.lease_ms))
    }

    /// What is asked for, complete and within every bound.
    pub(super) fn ask(
        &self,
        member: Member,
        amount: PartialAmount,
        lease: Option<Duration>,
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
        let over = Over::first(full, policy.max, Bound::Policy).or_else(|| Over::machine(full, whole));
        if let Some(over) = over {
            return Err(Refusal::OverLimit(over));
        }
        Ok(Ask {
            lease_ms: lease_ms(policy, lease)?,
            asked: self.clock.last,
            until: None,
            amount: full,
            swap: member.swap,
            weight: policy.weight,
            terms: Terms {
                expired_cpu: policy.defaults.cpu.min(full.cpu),
                idle_ms: policy.idle.map(milliseconds),
                for_work: false,
            },
            user: member.user,
        })
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
        let (from, expired, lease) = (share.amount, share.expired(), share.lease);
        let to = amount.or(from);
        // Figures that are held already may be over a maximum that was lowered since: nothing is taken.
        let within = |max: Amount| Amount {
            cpu: max.cpu.max(from.cpu),
            mem: max.mem.max(from.mem),
            tasks: max.tasks.max(from.tasks),
        };
        if Over::first(to, within(member.policy.max), Bound::Policy).is_some() {
            let over = Over::first(to, member.policy.max, Bound::Policy);
            return over.map_or(Ok(()), |over| Err(Refusal::OverLimit(over)));
        }
        let whole = self.books.capacity.whole();
        if let Some(over) = Over::machine(to, whole).filter(|_| !Room::of(to).fits(Room::of(from))) {
            return Err(Refusal::OverLimit(over));
        }
        if to.mem < from.mem && to.mem < in_use {
            return Err(Refusal::MemoryInUse { in_use, asked: to.mem });
        }
        let more = Room::of(to).less(Room::of(from));
        if more != Room::NONE {
            if expired {
                return Err(Refusal::Expired);
            }
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
    pub(super) fn renew(
        &mut self,
        now: Now,
        member: &Member,
        lease: Duration,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let time = self.clock.last;
        let share = self.active(member.uid)?;
        let (need, expired, ends) = (Room::of(share.amount), share.expired(), share.gives_at());
        let length = lease_ms(&member.policy, Some(lease))?.unwrap_or(u64::MAX);
        let granted = match ends {
            _ if expired => need.fits(self.books.capacity.free()) && self.may_pass(need, Some(length)),
            Some(ends) if time.after(length) > ends => self.may_stay(need, ends, time.after(length)),
            _ => true,
        };
        if !granted {
            return Err(self.shortage(now, need, Some(length)));
        }
        let (terms, uid) = (
            Terms { idle_ms: member.policy.idle.map(milliseconds), ..share_terms(self, member) },
            member.uid,
        );
        self.alter(uid, |share| {
            (share.lease, share.terms) = (Some(Lease::new(time, length)), terms);
        });
        effects.push(Effect::Notify(Event::Renewed { uid }));
        Ok(())
    }

    pub(super) fn release(
        &mut self,
        now: Now,
        uid: Uid,
        pids: Vec<u32>,
        count: usize,
        stop: bool,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        if !self.shares.contains_key(&uid) {
            return Ok(());
        }
        self.active(uid)?;
        // A submitted command may be on its way in.
        let works = self.works(uid);
        if count == 0 && works && !stop {
            return Err(Refusal::Unsettled);
        }
        if count == 0 && !works {
            self.alter(uid, |share| share.phase = Phase::Releasing);
            effects.push(Effect::Withdraw(uid));
            return Ok(());
        }
        if !stop {
            return Err(Refusal::Occupied { pids, count });
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
        self.next_run += 1;
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
            Phase::Granting { .. } | Phase::Resizing { .. } => Err(Refusal::Unsettled),
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

/// The terms that a renewal keeps.
fn share_terms(ledger: &Ledger, member: &Member) -> Terms {
    ledger.share(member.uid).map(|share| share.terms).unwrap_or_default()
}

/// How long a lease is, in milliseconds: as asked, within the policy's bound; else the policy's own.
fn lease_ms(policy: &MemberPolicy, asked: Option<Duration>) -> Result<Option<u64>, Refusal> {
    let Some(asked) = asked else { return Ok(policy.lease_default.map(milliseconds)) };
    if milliseconds(asked) == 0 {
        return Err(Refusal::NoTime(Timed::Lease));
    }
    match policy.lease_max {
        Some(max) if asked > max => Err(Refusal::LeaseTooLong { asked, max }),
        _ => Ok(Some(milliseconds(asked))),
    }
}

impl Lease {
    /// Whether it still runs.
    pub fn runs(&self) -> bool {
        matches!(self.stage, Stage::Running { .. })
    }
}
