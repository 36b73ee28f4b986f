//! Effects on their way: each in a task of its own, one at a time for each member; events to the feed and the journal.

use std::sync::Arc;

use tracing::{error, info, warn};

use super::EventLoop;
use crate::contract::{Answer, JobStarted};
use crate::daemon::asking::authorize::Authorised;
use crate::daemon::asking::deed::Saying;
use crate::daemon::clock;
use crate::daemon::doing::allocation::{self, Context};
use crate::daemon::doing::job;
use crate::daemon::doing::lower;
use crate::daemon::doing::occupants::Naming;
use crate::daemon::doing::resize;
use crate::daemon::telling::answer;
use crate::daemon::telling::reply::Reply;
use crate::identity::{AllocationId, JobId, Uid, UnitName};
use crate::ledger::allocation::{Allocation, Phase};
use crate::ledger::job::{Job, JobEnd, JobKind};
use crate::ledger::refusal::Refusal;
use crate::ledger::{Command, Decided, Effect, Event, Image};
use crate::policy::{Role, Visibility};
use crate::wire::error::{Code, WireError};

/// How soon another job of a member's can be paused, in milliseconds: most stand still at once.
const PAUSING_RETRY_AFTER_MS: u64 = 100;

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
                Ok(answer) => drop(tokio::spawn(allocation::stored(cx, self.ledger.image(), reply, answer))),
                Err(error) => reply.send(Err(error)),
            },
        }
        self.carry_out_others(decided.others);
        self.tell_status();
    }

    /// What the ledger makes of a call's command, and with what it is carried out. A refusal is answered here.
    pub(crate) fn decide(
        &mut self,
        authorised: &Authorised,
        command: Command,
        reply: Reply,
    ) -> Option<(Context, Decided, Reply)> {
        let Some(cx) = self.context.clone() else {
            reply.send(Err(self.condition.refusal()));
            return None;
        };
        let released = match &command {
            Command::Release { id, .. } => self.ledger.allocation(*id).map(Allocation::unit),
            _ => None,
        };
        match self.ledger.decide(clock::now(), command) {
            Ok(decided) => return Some((cx, decided, reply)),
            Err(Refusal::Occupied) => {
                let uid = authorised.target();
                let naming = if authorised.peer().uid == uid { Naming::Command } else { Naming::Number };
                let unit = released.unwrap_or(UnitName::Share(uid));
                tokio::spawn(allocation::occupied(Arc::clone(&cx.cgroups), unit, naming, reply));
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
            tokio::spawn(allocation::queued(cx.clone(), (job, kept), self.ledger.image(), reply));
            return;
        }
        // What gives something back waits behind them, and each may take as long as a process keeps from standing still.
        if matches!(effect, Effect::Pause { .. }) && !self.pausing.insert(uid) {
            let error = WireError::new(Code::Busy, "A job of yours is being paused or resumed");
            return reply.send(Err(error.retry_after_ms(PAUSING_RETRY_AFTER_MS)));
        }
        if self.busy.contains_key(&uid) {
            self.deferred.entry(uid).or_default().push_back((effect, reply));
            return;
        }
        self.busy.entry(uid).or_default();
        self.spawn(cx, uid, effect, reply);
    }

    fn is_over(&self, job: JobId) -> bool {
        self.ledger.jobs().get(&job).is_none_or(|job| job.ended())
    }

    fn is_called_back(&self, job: JobId) -> bool {
        self.ledger.jobs().get(&job).is_some_and(|job| job.called_back())
    }

    /// Carries out an effect for a member who is marked busy.
    pub(crate) fn spawn(&mut self, cx: &Context, uid: Uid, effect: Effect, reply: Reply) {
        let (cx, image) = (cx.clone(), self.ledger.image());
        let of = |id: AllocationId| self.ledger.allocation(id).cloned();
        match effect {
            Effect::Grant(id) => match (of(id), self.work_of(&effect)) {
                (Some(allocation), Some(job)) => {
                    let work = Some((job, self.command_to_keep(job)));
                    tokio::spawn(allocation::grant_for_work(cx, allocation, work, image, reply));
                }
                (Some(allocation), None) => {
                    let shown = self.shown().share_with(&allocation);
                    tokio::spawn(allocation::grant(cx, allocation, shown, image, reply));
                }
                (None, _) => drop(cx.turn(uid)),
            },
            // It has ended while something else was under way for its member.
            Effect::CallBack { job, .. } | Effect::Start { job, .. } if self.is_over(job) => {
                self.called_back(job, reply);
                drop(cx.turn(uid));
            }
            Effect::CallBack { job, .. } => match self.running(job) {
                Some(running) => {
                    self.goes_on(job);
                    tokio::spawn(job::call_back(cx, running, image, reply));
                }
                None => drop(cx.turn(uid)),
            },
            Effect::Start { job, .. } => self.start_work(cx, uid, job, image, reply),
            Effect::Warn { job, .. } => self.warn(cx, uid, job),
            Effect::Pause { job, pause, .. } => self.pause(cx, uid, (job, pause), reply),
            Effect::Resize { id, to, .. } => match of(id) {
                Some(allocation) => {
                    let shown = self.shown().share_with(&Allocation { amount: to, ..allocation.clone() });
                    tokio::spawn(resize::resize(cx, allocation, to, shown, image, reply));
                }
                None => drop(cx.turn(uid)),
            },
            Effect::Renew(id) => match of(id) {
                Some(allocation) => {
                    let lease = match allocation.phase {
                        Phase::Renewing { lease } => Some(lease),
                        _ => allocation.lease,
                    };
                    let shown = self.shown().share_with(&Allocation { lease, ..allocation.clone() });
                    tokio::spawn(lower::renew(cx, allocation, shown, image, reply));
                }
                None => drop(cx.turn(uid)),
            },
            Effect::Lower(id) => match of(id) {
                Some(allocation) => drop(tokio::spawn(lower::lower(cx, allocation, image))),
                None => drop(cx.turn(uid)),
            },
            Effect::Withdraw(id) => match of(id) {
                Some(allocation) => drop(tokio::spawn(allocation::release(cx, allocation, image, reply))),
                None => drop(cx.turn(uid)),
            },
            Effect::Stop { id, job } | Effect::Evict { id, job } => match of(id) {
                Some(allocation) => {
                    self.all_go_on(id);
                    tokio::spawn(allocation::stop(cx, allocation, job, image, reply));
                }
                None => drop(cx.turn(uid)),
            },
            Effect::Enter { id, run } => self.enter(cx, id, run, reply),
            Effect::Queued { .. } | Effect::Notify(_) => drop(cx.turn(uid)),
        }
    }

    /// Starts a submitted command whose allocation is there, or says that it never began.
    fn start_work(&mut self, cx: Context, uid: Uid, job: JobId, image: Image, reply: Reply) {
        let home = self.ledger.jobs().get(&job).and_then(|job| job.home());
        let there = home.is_some_and(|home| self.ledger.allocation(home).is_some());
        // It may be on its way by more than one word, as after a start.
        if self.followed.contains(&job) {
            return drop(cx.turn(uid));
        }
        let end = match there {
            // A daemon before this one may have had it started.
            true if self.is_called_back(job) => {
                reply.send(Ok(Answer::JobStarted(JobStarted { job_started: job.0 })));
                self.follow_lost(&cx, job, true);
                return drop(cx.turn(uid));
            }
            true if self.knows_command(job) => return self.run_work(cx, uid, job, image, reply),
            // What was to be run went with the daemon that knew it.
            true => JobEnd::Interrupted,
            false => JobEnd::Failed("its share went away".to_owned()),
        };
        reply.send(Ok(Answer::JobStarted(JobStarted { job_started: job.0 })));
        self.tell(Command::WorkEnded { job, end });
        self.clear_for_others(&cx);
        drop(cx.turn(uid));
    }

    /// A refusal as it is answered to this caller: who holds the room is said as far as the policy lets them see it.
    pub(crate) fn refusal(&self, refusal: &Refusal, authorised: &Authorised) -> WireError {
        let mut error = answer::refusal(refusal);
        let names = self.policy.as_ref().is_some_and(|policy| policy.visibility == Visibility::Names);
        let sees = names || authorised.role() == Role::Admin;
        if let (Refusal::NoCapacity(_), Some(detail)) = (refusal, &mut error.detail)
            && sees
        {
            let holders = self
                .ledger
                .holders(HOLDERS_NAMED_MAX)
                .into_iter()
                .map(|(one, share)| answer::holder(one, share));
            detail.held_by = Some(holders.collect()).filter(|holders: &Vec<_>| !holders.is_empty());
        }
        error
    }

    /// Tells followers of something that happened to a member's share, with the share as it is now, if there still is one.
    pub(crate) fn tell_of_share(&mut self, kind: &str, uid: Uid, message: Option<String>) {
        let shown = self.shown().share(uid);
        self.feed.share(kind, uid, (shown, None), message);
    }

    /// Tells followers of something that happened to one of a member's allocations.
    fn tell_of(&mut self, kind: &str, id: AllocationId, message: Option<String>) {
        let shown = self.shown();
        let allocation = self.ledger.allocation(id).map(|allocation| shown.allocation(allocation));
        let share = shown.share(id.uid);
        self.feed.share(kind, id.uid, (share, allocation), message);
    }

    /// Tells followers, and the journal what an administrator should see without following.
    pub(crate) fn publish(&mut self, event: Event) {
        let minutes = |ms: u64| ms.div_ceil(60_000);
        match event {
            Event::Granted { id, job } => {
                let is_request = |job: &Arc<Job>| matches!(job.kind, JobKind::Request(_));
                let waited = |job: &JobId| self.ledger.jobs().get(job).is_some_and(is_request);
                if let Some(job) = job.filter(waited) {
                    info!(job_id = job.0, unit = %self.ledger.unit(id), "uid {} waited, and holds a share now", id.uid);
                }
                self.tell_of("granted", id, None);
            }
            Event::Resized { id } => self.tell_of("resized", id, None),
            Event::Renewed { id } => self.tell_of("renewed", id, None),
            Event::Released { id, was } => {
                self.allocation_over(&was);
                self.tell_of("released", id, None);
            }
            Event::Expiring { id, left_ms } => {
                let left = minutes(left_ms);
                warn!(unit = %self.ledger.unit(id), "the lease of {id} ends in {left} min");
                self.tell_of("expiring", id, Some(format!("the lease ends in {left} min")));
            }
            Event::Expired { id, stays } => {
                let what = if stays {
                    "work is inside: the share stays, with what it uses"
                } else {
                    "the share goes"
                };
                info!(unit = %self.ledger.unit(id), "the lease of {id} is over: {what}");
                self.tell_of("expired", id, Some(format!("the lease is over: {what}")));
            }
            Event::Evicting { id, in_ms } => {
                let left = minutes(in_ms);
                warn!(unit = %self.ledger.unit(id), "the work in {id} is stopped in {left} min: someone waits");
                let message = format!("someone waits: what is inside is stopped in {left} min");
                self.tell_of("expired", id, Some(message));
            }
            Event::Job(id) => {
                let Some(job) = self.ledger.jobs().get(&id) else { return };
                let (uid, over, shown) = (job.uid, job.ended(), self.shown().job(job));
                if over {
                    self.goes_on(id);
                    self.job_over(id);
                    self.offers.remove(&id);
                    self.at_end.remove(&id);
                    self.followed.remove(&id);
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
