//! Who asks for an allocation, or waits for one.

use std::sync::Arc;
use std::time::Duration;

use super::lease::{of_allocation, of_work};
use crate::identity::{AllocationId, JobId, Uid};
use crate::ledger::allocation::{Allocation, Goes, Lease, Phase, Terms};
use crate::ledger::counted::room::Room;
use crate::ledger::job::{Ask, JobEnd, JobKind, JobState, Precedence};
use crate::ledger::queue::Waiting;
use crate::ledger::refusal::{Bound, Over, Refusal, Shortage};
use crate::ledger::share::Share;
use crate::ledger::{Effect, Ledger, Member, Now, Wait};
use crate::policy::{QueueRule, Role};
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
        let ask = self.ask(&member, amount, of_allocation(&member.policy, lease)?, lease)?;
        if self.has_room(uid, &ask) {
            let id = AllocationId::standing(uid);
            self.begin(now, id, &ask, None);
            effects.push(Effect::Grant(id));
            return Ok(());
        }
        self.may_wait(now, uid, &ask, wait)?;
        self.wait_as(now, uid, JobKind::Request(Box::new(ask)), effects);
        Ok(())
    }

    /// A member waits from now on, with this.
    pub(in crate::ledger) fn wait_as(
        &mut self,
        now: Now,
        uid: Uid,
        kind: JobKind,
        effects: &mut Vec<Effect>,
    ) -> JobId {
        let since = self.clock.last;
        let job = self.new_job(now, uid, kind, JobState::Queued { since });
        effects.push(Effect::Queued { uid, job });
        job
    }

    /// Whether a member can ask for the standing allocation at all.
    fn may_ask(&self, uid: Uid) -> Result<(), Refusal> {
        if let Some(allocation) = self.allocations.get(&AllocationId::standing(uid)) {
            if matches!(allocation.phase, Phase::Granting { .. }) {
                return Err(Refusal::Unsettled);
            }
            return Err(Refusal::AlreadyAllocated { held: allocation.amount });
        }
        if let Some(job) = self.standing_awaited(uid) {
            return Err(Refusal::AlreadyWaiting { job });
        }
        if self.draining { Err(Refusal::Draining) } else { Ok(()) }
    }

    /// The request for the standing allocation that a member waits with.
    pub(in crate::ledger) fn standing_awaited(&self, uid: Uid) -> Option<JobId> {
        let is_request =
            |job: &JobId| self.jobs.get(job).is_some_and(|job| matches!(job.kind, JobKind::Request(_)));
        self.queue.of(uid).find(is_request)
    }

    /// What one member holds; nothing where they hold nothing.
    pub(in crate::ledger) fn share_of(&self, uid: Uid) -> Share {
        self.share(uid).copied().unwrap_or_default()
    }

    /// Whether an allocation can be given now, beside all who wait. What its member waits for themselves goes
    /// first where that only waits for the rest of what they may hold.
    pub(in crate::ledger) fn has_room(&self, uid: Uid, ask: &Ask) -> bool {
        let (need, share) = (Room::of(ask.amount), self.share_of(uid));
        if !need.fits(self.books.capacity.free()) || self.too_much(uid, ask, &share).is_some() {
            return false;
        }
        let own = self.queue.first_of(uid);
        if own.is_some_and(|own| self.is_held_back(own, &share)) {
            return false;
        }
        let Some(kept) = self.reservation() else { return true };
        let held_ms = match ask.lease_ms {
            // Work without a limit is likely to end too.
            None if ask.terms.goes == Goes::WithWork => self.passes_ms(uid, &kept.first),
            known => known,
        };
        kept.lets_pass(need, held_ms, self.clock.last)
    }

    /// What a member holds already with which this would be more than they may hold, or have at work.
    fn too_much(&self, uid: Uid, ask: &Ask, share: &Share) -> Option<Refusal> {
        let over = share.over(ask.amount, ask.terms.max);
        let over = over.map(|over| Refusal::MaxHeld { over, held: share.held() });
        let full = || self.commands_full(uid, share).filter(|_| ask.terms.goes != Goes::Released);
        over.or_else(|| full().map(|most| Refusal::TooManyWorks { most }))
    }

    /// Whether a request for which there is no room now is to wait.
    pub(in crate::ledger) fn may_wait(
        &self,
        now: Now,
        uid: Uid,
        ask: &Ask,
        wait: Wait,
    ) -> Result<(), Refusal> {
        if wait == Wait::No {
            let too_much = self.too_much(uid, ask, &self.share_of(uid));
            return Err(too_much.unwrap_or_else(|| self.shortage(now, Room::of(ask.amount), ask.lease_ms)));
        }
        self.may_be_one_more(uid)
    }

    /// Whether one more of a member's may wait, for room or for something else.
    pub(in crate::ledger) fn may_be_one_more(&self, uid: Uid) -> Result<(), Refusal> {
        let QueueRule { member, all, .. } = self.rules.map(|rules| rules.queue).unwrap_or_default();
        let own = self.queue.len_of(uid) + self.aside.len_of(uid);
        match (own >= member, self.queue.len() + self.aside.len() >= all) {
            (true, _) => Err(Refusal::QueueFull { most: member, own: true }),
            (_, true) => Err(Refusal::QueueFull { most: all, own: false }),
            (false, false) => Ok(()),
        }
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
            terms: Terms {
                idle_ms: policy.idle.map(milliseconds),
                goes: Goes::Released,
                burst: policy.burst,
                max: policy.max,
            },
            user: member.user.clone(),
            precedence: Precedence::default(),
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
            let waiting: Vec<JobId> = self.queue.of(member.uid).chain(self.aside.of(member.uid)).collect();
            waiting.into_iter().for_each(|id| self.judge_anew(now, id, &member, effects));
        }
    }

    fn judge_anew(&mut self, now: Now, id: JobId, member: &Member, effects: &mut Vec<Effect>) {
        let waits = self.jobs.get(&id).filter(|job| job.queued());
        let Some(old) = waits.and_then(|job| job.kind.ask()) else { return };
        let new = match self.ask_anew(member, old) {
            Ok(new) if new == *old => return,
            Ok(new) => new,
            Err(refusal) => return self.end_job(now, id, JobEnd::Refused(refusal.to_string()), effects),
        };
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if let Some(old) = Arc::make_mut(job).kind.ask_mut() {
            *old = new;
        }
        if let Some(waiting) = Waiting::of(job) {
            self.queue.change(&waiting);
            self.recount(member.uid);
        }
    }

    /// The request of a member who waits, as it would be made now.
    fn ask_anew(&self, member: &Member, old: &Ask) -> Result<Ask, Refusal> {
        if member.policy.role < Role::Operator {
            return Err(Refusal::ReadOnly);
        }
        let named_lease = old.named_lease_ms.map(Duration::from_millis);
        let lease = match old.terms.goes {
            Goes::WithWork => of_work(&member.policy, named_lease)?,
            Goes::Released | Goes::WithProcesses { .. } => of_allocation(&member.policy, named_lease)?,
        };
        let new = self.complete(member, old.named, lease, named_lease)?;
        let terms = Terms { goes: old.terms.goes, ..new.terms };
        // The name is looked up again for the figures only.
        let (asked, precedence) = (old.asked, old.precedence);
        Ok(Ask { asked, precedence, user: old.user.clone(), terms, ..new })
    }

    /// The allocation of an ask, on its way.
    pub(in crate::ledger) fn begin(&mut self, now: Now, id: AllocationId, ask: &Ask, job: Option<JobId>) {
        let mut allocation = Allocation::active(id, ask.amount, ask.swap, now, self.clock.boot.clone());
        allocation.user.clone_from(&ask.user);
        allocation.phase = Phase::Granting { job };
        allocation.terms = ask.terms;
        allocation.lease = ask.lease_ms.map(|length| Lease::new(self.clock.last, length));
        self.books.fairness.weigh(id.uid, ask.weight);
        self.open(allocation);
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
