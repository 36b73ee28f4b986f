//! One thing at a time for each member: what is under way, and what waits for its end.

use std::sync::Arc;

use super::EventLoop;
use crate::daemon::asking::authorize::Act;
use crate::daemon::asking::submission::Submission;
use crate::daemon::clock;
use crate::daemon::doing::job::Fetch;
use crate::daemon::doing::occupants::Shown;
use crate::daemon::doing::share;
use crate::daemon::telling::reply::Reply;
use crate::identity::Uid;
use crate::ledger::Effect;
use crate::ledger::refusal::Refusal;
use crate::serving::places::PLACES_PER_UID_MAX;
use crate::wire::error::{Code, WireError};

/// Calls on one member's share that wait for an earlier one. A connection has one call here at a time, so that it is admins
/// together with the member who can pass it.
const CALLS_WAITING_MAX: usize = PLACES_PER_UID_MAX;

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
        }
        let Some(uid) = submission.authorised.turn() else {
            let Submission { authorised, reply, outlet, taker } = submission;
            if let (Act::JobFetch { job }, Some(taker)) = (authorised.act(), taker) {
                return self.fetch(*job, Fetch { peer: Arc::clone(authorised.peer()), taker, reply });
            }
            // From before the answer, so that nothing is missed after it.
            if let (Act::Subscribe { interest }, Some(outlet)) = (authorised.act(), outlet) {
                self.feed.add(*interest, Arc::clone(authorised.peer()), outlet);
            }
            return self.query(&authorised, reply);
        };
        match self.busy.get_mut(&uid) {
            None => self.change(uid, submission),
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
        if let Some((effect, reply)) = self.next_deferred(uid) {
            return self.spawn(&cx, uid, effect, reply);
        }
        self.free_for_calls(uid);
    }

    /// What was decided cannot be carried out: the intents stand, and are looked at when systemd is back.
    fn free_without_systemd(&mut self, uid: Uid) {
        for (_, reply) in self.deferred.remove(&uid).unwrap_or_default() {
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
        self.change(uid, next);
        // A call that was refused left nothing under way: then the one after it has its turn.
        let refused = !self.busy.contains_key(&uid);
        self.busy.entry(uid).or_default().append(&mut waiting);
        if refused {
            self.free(uid);
        }
    }

    /// What was decided for a member while something else was under way.
    fn next_deferred(&mut self, uid: Uid) -> Option<(Effect, Reply)> {
        let deferred = self.deferred.get_mut(&uid)?;
        let next = deferred.pop_front();
        if deferred.is_empty() {
            self.deferred.remove(&uid);
        }
        next
    }

    /// A call that changes a share: the ledger's word, and the effect on its way.
    fn change(&mut self, uid: Uid, submission: Submission) {
        let Submission { mut authorised, reply, .. } = submission;
        // It may have waited, and another policy have come meanwhile.
        if let Err(error) = authorised.judge(self.policy.as_deref()) {
            return reply.send(Err(error));
        }
        let Some(cx) = self.context.clone() else {
            return reply.send(Err(self.condition.refusal()));
        };
        let command = match self.command(uid, authorised.act(), &cx) {
            Ok(command) => command,
            Err(error) => return reply.send(Err(error)),
        };
        match self.ledger.apply(clock::now(), command) {
            Err(Refusal::Occupied) => {
                let shown = if authorised.peer().uid == uid { Shown::Command } else { Shown::Number };
                tokio::spawn(share::occupied(Arc::clone(&cx.cgroups), uid, shown, reply));
            }
            Err(refusal) => {
                let error = self.refusal(&refusal, &authorised);
                reply.send(Err(error));
            }
            Ok(effects) => self.carry_out(&cx, uid, &authorised, effects, reply),
        }
    }
}
