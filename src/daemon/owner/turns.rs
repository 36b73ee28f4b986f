//! One thing at a time for each member: what is under way, and what waits for its end.

use std::collections::BTreeSet;
use std::sync::Arc;

use tracing::warn;

use super::EventLoop;
use crate::contract::{Answer, Changed, Subscribed};
use crate::daemon::asking::deed::Deed;
use crate::daemon::asking::present::Present;
use crate::daemon::asking::submission::Submission;
use crate::daemon::doing::fetch::Fetch;
use crate::daemon::telling::reply::Reply;
use crate::daemon::telling::shown::Shown;
use crate::identity::{AllocationId, Purpose, Uid};
use crate::ledger::Effect;
use crate::serving::account::CONNECTIONS_PER_UID_MAX;
use crate::wire::error::{Code, WireError};

/// Calls on one member's share that wait for an earlier one. A connection has one call here at a time, so that it is admins
/// together with the member who can pass it.
const CALLS_WAITING_MAX: usize = CONNECTIONS_PER_UID_MAX;

impl EventLoop {
    /// Takes a call: what changes nothing is answered, and what changes a share has its turn.
    pub(crate) fn call(&mut self, mut submission: Submission) {
        if let Err(error) = submission.authorised.judge(self.policy.as_deref()) {
            return submission.reply.send(Err(error));
        }
        let kind = submission.authorised.kind();
        if self.condition.is_degraded() && !kind.when_degraded {
            return submission.reply.send(Err(self.condition.refusal()));
        }
        if kind.needs.capacity {
            self.look_at_machine();
            self.look_whether_it_is_still_left();
        }
        let Some(uid) = submission.authorised.turn() else { return self.take_turn(submission) };
        match self.busy.get_mut(&uid) {
            None => self.take_turn(submission),
            Some(waiting) if waiting.len() < CALLS_WAITING_MAX => waiting.push_back(submission),
            Some(_) => {
                let error = WireError::new(Code::Busy, "Too many calls are waiting for an earlier one");
                submission.reply.send(Err(error));
            }
        }
    }

    /// The next call that waited for what was under way for this member.
    pub(crate) fn free(&mut self, uid: Uid) {
        let Some(cx) = self.context.clone() else { return self.free_without_systemd(uid) };
        let called = self.busy.get(&uid).is_some_and(|waiting| !waiting.is_empty());
        let call_is_next = called && self.calls_next.remove(&uid);
        if !call_is_next && let Some((effect, reply)) = self.next_deferred(uid) {
            // Commands that begin and end by themselves, as one task of an array after the other, may have no end: who calls has
            // every other turn.
            self.calls_next.extend((called && self.only_jobs_are_deferred(uid)).then_some(uid));
            return self.spawn(&cx, uid, effect, reply);
        }
        self.free_for_calls(uid);
    }

    /// What was decided cannot be carried out: the intents stand, and are looked at when systemd is back.
    fn free_without_systemd(&mut self, uid: Uid) {
        for (effect, reply) in self.deferred.remove(&uid).unwrap_or_default() {
            if let Effect::Enter { run, .. } = effect {
                self.entering.remove(&run);
            }
            if let Effect::Pause { .. } = effect {
                self.pausing.remove(&uid);
            }
            reply.send(Err(self.condition.refusal()));
            self.condition.doubt(uid);
        }
        self.free_for_calls(uid);
    }

    fn free_for_calls(&mut self, uid: Uid) {
        let Some(mut waiting) = self.busy.remove(&uid) else { return };
        let Some(next) = waiting.pop_front() else { return self.settle_doubts() };
        if self.condition.is_degraded() {
            next.reply.send(Err(self.condition.refusal()));
            self.busy.insert(uid, waiting);
            return self.free(uid);
        }
        self.take_turn_late(next);
        // A call that was refused left nothing under way: then the one after it has its turn.
        let refused = !self.busy.contains_key(&uid);
        self.busy.entry(uid).or_default().append(&mut waiting);
        if refused {
            self.free(uid);
        }
    }

    /// Whether all that is still to be done for a member is on allocations of commands: a call about another would be refused where
    /// something is to be done about that one.
    fn only_jobs_are_deferred(&self, uid: Uid) -> bool {
        let is_jobs = |id: Option<AllocationId>| id.is_some_and(|id| matches!(id.purpose, Purpose::Job(_)));
        let mut deferred = self.deferred.get(&uid).into_iter().flatten();
        deferred.all(|(effect, _)| is_jobs(self.allocation_of(effect)))
    }

    /// What was decided for a member while something else was under way: first what somebody waits for, but nothing before
    /// something else on the same allocation.
    fn next_deferred(&mut self, uid: Uid) -> Option<(Effect, Reply)> {
        let deferred = self.deferred.get(&uid)?;
        let mut before = BTreeSet::new();
        let first = deferred.iter().position(|(effect, reply)| {
            let free = before.insert(self.allocation_of(effect));
            free && reply.is_awaited()
        });
        let deferred = self.deferred.get_mut(&uid)?;
        let next = deferred.remove(first.unwrap_or(0));
        if deferred.is_empty() {
            self.deferred.remove(&uid);
        }
        next
    }

    /// The allocation that an effect is on.
    fn allocation_of(&self, effect: &Effect) -> Option<AllocationId> {
        match effect {
            Effect::Grant(id)
            | Effect::Resize { id, .. }
            | Effect::Lower(id)
            | Effect::Renew(id)
            | Effect::Withdraw(id)
            | Effect::Stop { id, .. }
            | Effect::Evict { id, .. }
            | Effect::Enter { id, .. } => Some(*id),
            Effect::Queued { job, .. }
            | Effect::Start { job, .. }
            | Effect::CallBack { job, .. }
            | Effect::Warn { job, .. }
            | Effect::Pause { job, .. } => self.ledger.jobs().get(job)?.home(),
            Effect::Notify(_) => None,
        }
    }

    /// A call that waited has its turn. Another policy may have come meanwhile.
    fn take_turn_late(&mut self, mut submission: Submission) {
        match submission.authorised.judge(self.policy.as_deref()) {
            Ok(()) => self.take_turn(submission),
            Err(error) => submission.reply.send(Err(error)),
        }
    }

    /// A call that has been judged by the policy in force has its turn.
    fn take_turn(&mut self, submission: Submission) {
        let Submission { authorised, reply, outlet, taker } = submission;
        match authorised.deed(&self.present()) {
            Err(error) => reply.send(Err(error)),
            Ok(Deed::Answer(answer)) => reply.send(Ok(answer)),
            Ok(Deed::Say(saying)) => self.say(&authorised, saying, reply),
            Ok(Deed::Enter(into, whom)) => self.let_in(&authorised, (into, whom), reply),
            Ok(Deed::Hand(job, at_end)) => {
                let peer = Arc::clone(authorised.peer());
                match taker {
                    Some(taker) => self.fetch((job, at_end), Fetch { peer, taker, reply }),
                    None => reply.send(Err(nowhere_to_go("descriptors"))),
                }
            }
            Ok(Deed::Follow(interest)) => match outlet {
                Some(outlet) => {
                    self.feed.add(interest, Arc::clone(authorised.peer()), outlet);
                    reply.send(Ok(Answer::Subscribed(Subscribed { subscribed: true })));
                }
                None => reply.send(Err(nowhere_to_go("events"))),
            },
            Ok(Deed::Look { names }) => reply.send(Ok(self.health(names))),
            Ok(Deed::Audit { only }) => self.audit(only, reply),
            Ok(Deed::List { only }) => self.list(only, reply),
            Ok(Deed::History(asked)) => self.history.tell(asked, reply),
            Ok(Deed::Reload) => self.reload(Some(reply)),
            Ok(Deed::Log(level)) => {
                let (peer_uid, level) = (authorised.peer().uid.get(), level.name());
                // Told before: what hides the rest would hide this too.
                warn!(peer_uid, "uid {peer_uid} has the journal told of what is {level} and above");
                let changed = self.parts.logging.set(level);
                reply.send(Ok(Answer::Changed(Changed { changed })));
            }
        }
    }

    /// What the ledger has, as it is shown.
    pub(crate) fn shown(&self) -> Shown<'_> {
        Shown::of(&self.ledger, &self.parts.cgroups, &self.needed, self.paused.jobs())
    }

    /// What is so at this moment.
    pub(crate) fn present(&self) -> Present<'_> {
        let policy = self.policy.as_deref().ok_or_else(|| self.condition.refusal());
        Present { shown: self.shown(), policy, tasks: self.bounds.and_then(|bounds| bounds.tasks) }
    }
}

/// The fault of an endpoint that has something come with its answer and does not say so in
/// [`Endpoint::BESIDE`](crate::daemon::asking::endpoint::Endpoint).
fn nowhere_to_go(what: &str) -> WireError {
    WireError::new(Code::Internal, format!("There is nowhere for {what} to go"))
}
