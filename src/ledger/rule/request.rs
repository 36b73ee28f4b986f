//! Who asks for a share, or waits for one.

use std::sync::Arc;
use std::time::Duration;

use super::lease::{of_share, of_work};
use crate::identity::{JobId, Uid};
use crate::ledger::counted::room::Room;
use crate::ledger::job::{Ask, JobEnd, JobKind, JobState};
use crate::ledger::refusal::{Bound, Over, Refusal, Shortage};
use crate::ledger::share::{Lease, Phase, Share, Terms};
use crate::ledger::{Effect, Ledger, Member, Now, Wait};
use crate::policy::Role;
use crate::quantity::{Amount, PartialAmount};
use crate::time::milliseconds;

impl Ledger {
    pub(in crate::ledger) fn request(
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
    pub(in crate::ledger) fn may_ask(&self, uid: Uid) -> Result<(), Refusal> {
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
    pub(in crate::ledger) fn has_room(&self, uid: Uid, ask: &Ask, wait: Wait) -> bool {
        let need = Room::of(ask.amount);
        let first = wait != Wait::No && self.goes_first(self.books.fairness.key(uid, ask.weight));
        need.fits(self.books.capacity.free()) && (first || self.may_pass(need, ask.lease_ms))
    }

    /// What is asked for, complete and within every bound; the lease, and the one that the member named.
    pub(in crate::ledger) fn ask(
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
            terms: Terms { idle_ms: policy.idle.map(milliseconds), for_work: false, burst: policy.burst },
            user: member.user.clone(),
        })
    }

    /// Judges the requests of members who wait by the policy that is in force now. What the policy no longer lets them
    /// have ends as a job that failed; figures that nobody named follow the policy. Their places stay.
    pub(in crate::ledger) fn reconsider(
        &mut self,
        now: Now,
        members: Vec<Member>,
        effects: &mut Vec<Effect>,
    ) {
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
    pub(in crate::ledger) fn begin(&mut self, now: Now, uid: Uid, ask: &Ask, job: Option<JobId>) {
        let mut share = Share::active(uid, ask.amount, ask.swap, now, self.clock.boot.clone());
        share.user.clone_from(&ask.user);
        share.phase = Phase::Granting { job };
        share.terms = ask.terms;
        share.lease = ask.lease_ms.map(|length| Lease::new(self.clock.last, length));
        self.open(share);
    }

    /// Why there is no room for `asked` now.
    pub(in crate::ledger) fn shortage(&self, now: Now, asked: Room, lease_ms: Option<u64>) -> Refusal {
        let by = self.room_for_all_and(asked).map(|time| self.clock.wall_ms(now, time));
        Refusal::NoCapacity(Box::new(Shortage {
            asked,
            free: self.books.capacity.free(),
            largest: self.largest(lease_ms),
            waiting: self.queue.len(),
            by_wall_ms: by,
        }))
    }
}
