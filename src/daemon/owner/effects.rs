//! Effects on their way: each in a task of its own, one at a time for each member; events to the feed and the journal.

use std::sync::Arc;

use tracing::{error, info, warn};

use super::EventLoop;
use crate::contract::{Answer, JobStarted, ShareInfo};
use crate::daemon::asking::authorize::Authorised;
use crate::daemon::asking::deed::{Saying, Whom};
use crate::daemon::clock;
use crate::daemon::doing::enter::{self, Entering};
use crate::daemon::doing::job;
use crate::daemon::doing::lower;
use crate::daemon::doing::occupants::Naming;
use crate::daemon::doing::resize;
use crate::daemon::doing::share::{self, Context};
use crate::daemon::telling::answer;
use crate::daemon::telling::reply::Reply;
use crate::identity::{JobId, Uid, UnitName};
use crate::ledger::job::JobEnd;
use crate::ledger::refusal::Refusal;
use crate::ledger::share::{Phase, Share};
use crate::ledger::{Command, Decided, Effect, Event};
use crate::policy::{Role, Visibility};
use crate::wire::error::{Code, WireError};

/// How many of those who hold the room a refusal names, the largest first.
const HOLDERS_NAMED_MAX: usize = 8;

impl EventLoop {
    /// Says to the ledger what a call has it do, and carries out what that comes to.
    pub(crate) fn say(&mut self, authorised: &Authorised, saying: Saying, reply: Reply) {
        let Saying { command, spec, at_once } = saying;
        let Some((cx, mut decided, reply)) = self.decide(authorised, command, reply) else { return };
        let job = decided.own.as_ref().and_then(|effect| self.work_of(effect));
        self.specs.extend(job.zip(spec));
        match decided.own.take() {
            Some(effect) => self.start(&cx, effect, reply),
            None => match at_once(&self.shown(), &decided) {
                Ok(answer) => drop(tokio::spawn(share::stored(cx, self.ledger.image(), reply, answer))),
                Err(error) => reply.send(Err(error)),
            },
        }
        self.carry_out_others(decided.others);
        self.tell_status();
    }

    /// Has processes put into a member's share.
    pub(crate) fn let_in(&mut self, authorised: &Authorised, whom: Whom, reply: Reply) {
        let internal = |what| WireError::new(Code::Internal, what);
        let Some(uid) = authorised.turn() else {
            return reply.send(Err(internal("Processes go into a share at its member's turn only")));
        };
        let Some((cx, decided, reply)) = self.decide(authorised, Command::Enter { uid }, reply) else {
            return;
        };
        match decided.own {
            Some(Effect::Enter { uid, run }) => {
                let amount = self.amount_of(uid);
                let from_sandboxes = self.policy.as_ref().is_some_and(|policy| policy.from_sandboxes);
                let entering = Entering { uid, run, amount, whom, from_sandboxes };
                self.busy.entry(uid).or_default();
                tokio::spawn(enter::enter(cx, entering, reply));
            }
            _ => reply.send(Err(internal("There was nothing to enter, and should have been"))),
        }
        self.carry_out_others(decided.others);
        self.tell_status();
    }

    /// What the ledger makes of a call's command, and with what it is carried out. A refusal is answered here.
    fn decide(
        &mut self,
        authorised: &Authorised,
        command: Command,
        reply: Reply,
    ) -> Option<(Context, Decided, Reply)> {
        let Some(cx) = self.context.clone() else {
            reply.send(Err(self.condition.refusal()));
            return None;
        };
        match self.ledger.decide(clock::now(), command) {
            Ok(decided) => return Some((cx, decided, reply)),
            Err(Refusal::Occupied) => {
                let uid = authorised.target();
                let naming = if authorised.peer().uid == uid { Naming::Command } else { Naming::Number };
                tokio::spawn(share::occupied(Arc::clone(&cx.cgroups), uid, naming, reply));
            }
            Err(refusal) => reply.send(Err(self.refusal(&refusal, authorised))),
        }
        None
    }

    /// Effects that nobody who could be answered called for, and events.
    pub(crate) fn carry_out_others(&mut self, effects: Vec<Effect>) {
        let (effects, events) = apart(effects);
        // A promise, with which no change of a share goes that would be stored: five minutes from now, and not anew.
        if events.iter().any(|event| matches!(event, Event::Evicting { .. })) {
            drop(self.store_in_background());
        }
        events.into_iter().for_each(|event| self.publish(event));
        for effect in effects {
            match self.context.clone() {
                Some(cx) => self.start(&cx, effect, Reply::nobody()),
                // The intent stands, and is looked at when systemd is back.
                None => effect.uid().into_iter().for_each(|uid| self.condition.doubt(uid)),
            }
        }
    }

    /// Tells the ledger something that nobody called for.
    pub(crate) fn tell(&mut self, command: Command) {
        match self.ledger.apply(clock::now(), command) {
            Ok(effects) => self.carry_out_others(effects),
            Err(refusal) => error!("the ledger refused: {refusal:?}"),
        }
    }

    /// Has an effect carried out, after what is under way for its member.
    pub(crate) fn start(&mut self, cx: &Context, effect: Effect, reply: Reply) {
        let Some(uid) = effect.uid() else { return };
        if let Effect::Queued { job, .. } = effect {
            let kept = self.command_to_keep(job);
            tokio::spawn(share::queued(cx.clone(), (job, kept), self.ledger.image(), reply));
            return;
        }
        if self.busy.contains_key(&uid) {
            self.deferred.entry(uid).or_default().push_back((effect, reply));
            return;
        }
        self.busy.entry(uid).or_default();
        self.spawn(cx, uid, effect, reply);
    }

    fn is_called_back(&self, job: JobId) -> bool {
        self.ledger.jobs().get(&job).is_some_and(|job| job.called_back())
    }

    /// Carries out an effect for a member who is marked busy.
    pub(crate) fn spawn(&mut self, cx: &Context, uid: Uid, effect: Effect, reply: Reply) {
        let (cx, image) = (cx.clone(), self.ledger.image());
        let share = self.ledger.share(uid).cloned().map(|share| (self.shown().share(&share), share));
        match (effect, share) {
            (effect @ Effect::Grant(_), Some((_, share))) if self.work_of(&effect).is_some() => {
                let work = self.work_of(&effect).map(|job| (job, self.command_to_keep(job)));
                tokio::spawn(share::grant_for_work(cx, share, work, image, reply));
            }
            (Effect::Start { job, .. }, Some(_)) if !self.is_called_back(job) && self.knows_command(job) => {
                self.run_work(cx, uid, job, image, reply);
            }
            (Effect::Start { job, .. }, share) => {
                let end = match share {
                    Some(_) if self.is_called_back(job) => JobEnd::Cancelled,
                    // What was to be run went with the daemon that knew it.
                    Some(_) => JobEnd::Interrupted,
                    None => JobEnd::Failed("its share went away".to_owned()),
                };
                reply.send(Ok(Answer::JobStarted(JobStarted { job_started: job.0 })));
                self.tell(Command::WorkEnded { job, end });
                drop(cx.turn(uid));
            }
            (Effect::CallBack { job, .. }, _) => {
                drop(tokio::spawn(job::call_back(cx, uid, job, image, reply)))
            }
            (Effect::Grant(_), Some((shown, share))) => {
                tokio::spawn(share::grant(cx, share, shown, image, reply));
            }
            (Effect::Resize { to, .. }, Some((shown, share))) => {
                let resized = self.shown().share(&Share { amount: to, ..share.clone() });
                let shown = ShareInfo { usage: shown.usage, ..resized };
                tokio::spawn(resize::resize(cx, share, to, shown, image, reply));
            }
            (Effect::Lower(_), Some((_, share))) => drop(tokio::spawn(lower::lower(cx, share, image))),
            (Effect::Renew(_), Some((_, share))) => {
                let lease =
                    if let Phase::Renewing { lease } = share.phase { Some(lease) } else { share.lease };
                let shown = self.shown().share(&Share { lease, ..share.clone() });
                tokio::spawn(lower::renew(cx, share, shown, image, reply));
            }
            (Effect::Withdraw(_), _) => drop(tokio::spawn(share::release(cx, uid, image, reply))),
            (Effect::Stop { job, .. } | Effect::Evict { job, .. }, _) => {
                tokio::spawn(share::stop(cx, uid, job, image, reply));
            }
            // The share has gone since: then there is nothing to be done for it.
            _ => {
                drop(cx.turn(uid));
            }
        }
    }

    /// A refusal as it is answered to this caller: who holds the room is said as far as the policy lets them see it.
    pub(crate) fn refusal(&self, refusal: &Refusal, authorised: &Authorised) -> WireError {
        let mut error = answer::refusal(refusal);
        let names = self.policy.as_ref().is_some_and(|policy| policy.visibility == Visibility::Names);
        let sees = names || authorised.role() == Role::Admin;
        if let (Refusal::NoCapacity(_), Some(detail)) = (refusal, &mut error.detail)
            && sees
        {
            let holders = self.ledger.holders(HOLDERS_NAMED_MAX).into_iter().map(answer::holder);
            detail.held_by = Some(holders.collect()).filter(|holders: &Vec<_>| !holders.is_empty());
        }
        error
    }

    /// Tells followers of something that happened to a member's share, with the share as it is now, if there still is one.
    pub(crate) fn tell_of_share(&mut self, kind: &str, uid: Uid, message: Option<String>) {
        let shown = self.ledger.share(uid).map(|share| self.shown().share(share));
        self.feed.share(kind, uid, shown, message);
    }

    /// Tells followers, and the journal what an administrator should see without following.
    fn publish(&mut self, event: Event) {
        let minutes = |ms: u64| ms.div_ceil(60_000);
        match event {
            Event::Granted { uid, job } => {
                if let Some(job) =
                    job.filter(|job| self.ledger.jobs().get(job).is_some_and(|job| !job.is_work()))
                {
                    info!(job_id = job.0, unit = %UnitName::Share(uid), "uid {uid} waited, and holds a share now");
                }
                self.tell_of_share("granted", uid, None);
            }
            Event::Resized { uid } => self.tell_of_share("resized", uid, None),
            Event::Renewed { uid } => self.tell_of_share("renewed", uid, None),
            Event::Released { uid } => self.tell_of_share("released", uid, None),
            Event::Expiring { uid, left_ms } => {
                let left = minutes(left_ms);
                warn!(unit = %UnitName::Share(uid), "the lease of uid {uid} ends in {left} min");
                self.tell_of_share("expiring", uid, Some(format!("the lease ends in {left} min")));
            }
            Event::Expired { uid, stays } => {
                let what = if stays {
                    "work is inside: the share stays, with what it uses"
                } else {
                    "the share goes"
                };
                info!(unit = %UnitName::Share(uid), "the lease of uid {uid} is over: {what}");
                self.tell_of_share("expired", uid, Some(format!("the lease is over: {what}")));
            }
            Event::Evicting { uid, in_ms } => {
                let left = minutes(in_ms);
                warn!(unit = %UnitName::Share(uid), "the work of uid {uid} is stopped in {left} min: someone waits");
                self.tell_of_share(
                    "expired",
                    uid,
                    Some(format!("someone waits: what is inside is stopped in {left} min")),
                );
            }
            Event::Job(id) => {
                let Some(job) = self.ledger.jobs().get(&id) else { return };
                let (uid, over, shown) = (job.uid, job.ended(), self.shown().job(job));
                if over {
                    self.offers.remove(&id);
                    self.forget_command(id);
                }
                self.feed.job(uid, shown);
            }
            Event::Drained => self.feed.everybody("drained", None),
            Event::Undrained => self.feed.everybody("undrained", None),
        }
    }
}

/// What is to be done, and what is to be told.
fn apart(effects: Vec<Effect>) -> (Vec<Effect>, Vec<Event>) {
    let mut events = Vec::new();
    let mut rest = Vec::new();
    for effect in effects {
        match effect {
            Effect::Notify(event) => events.push(event),
            effect => rest.push(effect),
        }
    }
    (rest, events)
}
