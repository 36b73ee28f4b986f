//! Effects on their way: each in a task of its own, one at a time for each member; events to the feed and the journal.

use std::sync::Arc;

use tracing::{error, info, warn};

use super::EventLoop;
use crate::contract::{Answer, Changed, HeldShare, JobInfo, JobStarted, OneJob, Released, ShareInfo};
use crate::daemon::asking::authorize::{Act, Authorised};
use crate::daemon::clock;
use crate::daemon::doing::enter::{self, Entering, Whom};
use crate::daemon::doing::job;
use crate::daemon::doing::lower;
use crate::daemon::doing::share::{self, Context};
use crate::daemon::telling::answer;
use crate::daemon::telling::reply::Reply;
use crate::identity::{JobId, Uid, UnitName};
use crate::ledger::job::{Job, JobEnd, JobState};
use crate::ledger::queue::Place;
use crate::ledger::refusal::Refusal;
use crate::ledger::share::{Phase, Share};
use crate::ledger::{Canceller, Command, Effect, Event};
use crate::policy::{Role, Visibility};
use crate::wire::error::{Code, WireError};

/// How many of those who hold the room a refusal names, the largest first.
const HOLDERS_NAMED_MAX: usize = 8;

impl EventLoop {
    /// What the ledger made of a call that changes the caller's share.
    pub(crate) fn carry_out(
        &mut self,
        cx: &Context,
        uid: Uid,
        authorised: &Authorised,
        effects: Vec<Effect>,
        reply: Reply,
    ) {
        let (mut effects, events) = apart(effects);
        if let Act::Submit { spec, .. } = authorised.act() {
            let job = effects.first().and_then(|effect| self.work_of(effect));
            self.specs.extend(job.map(|job| (job, Arc::clone(spec))));
        }
        // What the caller changed may let others in who wait: that is not what is answered.
        let own =
            effects.first().is_some_and(|first| authorised.act().asks_for(first) && first.uid() == Some(uid));
        let others = effects.split_off(usize::from(own));
        match effects.pop() {
            Some(Effect::Enter { uid, run }) => {
                let whom = if let Act::Attach { pids } = authorised.act() {
                    Whom::Named(pids.clone())
                } else {
                    Whom::Caller(authorised.peer().pid.unsigned_abs())
                };
                let from_sandboxes = self.policy.as_ref().is_some_and(|policy| policy.from_sandboxes);
                let entering = Entering { uid, run, whom, from_sandboxes };
                tokio::spawn(enter::enter(cx.clone(), entering, reply));
                self.busy.entry(uid).or_default();
            }
            Some(effect) => self.start(cx, effect, reply),
            None => match self.nothing_to_do(authorised) {
                Ok(answer) => {
                    drop(tokio::spawn(share::stored(cx.clone(), self.ledger.image(), reply, answer)))
                }
                Err(error) => reply.send(Err(error)),
            },
        }
        self.carry_out_others(others);
        events.into_iter().for_each(|event| self.publish(event));
        self.tell_status();
    }

    /// The answer to a call that needs nothing done in the world.
    fn nothing_to_do(&self, authorised: &Authorised) -> Result<Answer, WireError> {
        match authorised.act() {
            Act::Resize { account, .. } | Act::Renew { account, .. } => {
                let share =
                    self.ledger.share(account.uid).ok_or_else(|| answer::refusal(&Refusal::NoShare))?;
                Ok(Answer::Share(HeldShare { share: self.shown(share) }))
            }
            Act::Release { .. } => Ok(Answer::Released(Released { released: false })),
            Act::Ping
            | Act::Health
            | Act::Status { .. }
            | Act::List
            | Act::Policy { .. }
            | Act::Request { .. }
            | Act::Run
            | Act::Attach { .. }
            | Act::Submit { .. }
            | Act::JobStatus { .. }
            | Act::JobList { .. }
            | Act::JobCancel { .. }
            | Act::Drain
            | Act::Undrain
            | Act::JobFetch { .. }
            | Act::Subscribe { .. }
            | Act::Reload => {
                Err(WireError::new(Code::Internal, "There was nothing to do, and should have been"))
            }
        }
    }

    /// A call that changes nobody's share: an admin's word, or a job called back.
    pub(crate) fn decide(&mut self, authorised: &Authorised, reply: Reply) {
        let Some(cx) = self.context.clone() else { return reply.send(Err(self.condition.refusal())) };
        let was_draining = self.ledger.draining();
        let command = match authorised.act() {
            Act::JobCancel { job } if authorised.role() == Role::Admin => {
                Command::Cancel { job: *job, by: Canceller::Admin }
            }
            Act::JobCancel { job } => {
                Command::Cancel { job: *job, by: Canceller::Member(authorised.peer().uid) }
            }
            Act::Drain => Command::Drain,
            Act::Undrain => Command::Undrain,
            Act::Ping
            | Act::Health
            | Act::Status { .. }
            | Act::List
            | Act::Policy { .. }
            | Act::Request { .. }
            | Act::Renew { .. }
            | Act::Resize { .. }
            | Act::Release { .. }
            | Act::Run
            | Act::Attach { .. }
            | Act::Submit { .. }
            | Act::JobStatus { .. }
            | Act::JobList { .. }
            | Act::JobFetch { .. }
            | Act::Subscribe { .. }
            | Act::Reload => {
                return reply
                    .send(Err(WireError::new(Code::Internal, "A call was taken for an admin's word")));
            }
        };
        let effects = match self.ledger.apply(clock::now(), command) {
            Ok(effects) => effects,
            Err(refusal) => return reply.send(Err(answer::refusal(&refusal))),
        };
        let answer = if let Act::JobCancel { job } = authorised.act() {
            match self.ledger.jobs().get(job) {
                Some(job) => Answer::Job(OneJob { job: self.job_shown(job) }),
                None => return reply.send(Err(answer::refusal(&Refusal::NoJob))),
            }
        } else {
            Answer::Changed(Changed { changed: self.ledger.draining() != was_draining })
        };
        // A command that runs is answered for when it has ended.
        let (call_back, effects): (Vec<Effect>, Vec<Effect>) =
            effects.into_iter().partition(|effect| matches!(effect, Effect::CallBack { .. }));
        match call_back.into_iter().next() {
            Some(effect) => self.start(&cx, effect, reply),
            None => drop(tokio::spawn(share::stored(cx, self.ledger.image(), reply, answer))),
        }
        self.carry_out_others(effects);
        self.tell_status();
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
            tokio::spawn(share::queued(cx.clone(), job, self.ledger.image(), reply));
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
        let share = self.ledger.share(uid).cloned().map(|share| (self.shown(&share), share));
        match (effect, share) {
            (effect @ Effect::Grant(_), Some((_, share))) if self.work_of(&effect).is_some() => {
                let job = self.work_of(&effect);
                tokio::spawn(share::grant_for_work(cx, share, job, image, reply));
            }
            (Effect::Start { job, .. }, Some(_))
                if !self.is_called_back(job) && self.specs.contains_key(&job) =>
            {
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
                let shown =
                    ShareInfo { cpu_milli: to.cpu.0, mem_bytes: to.mem.0, tasks_max: to.tasks.0, ..shown };
                tokio::spawn(share::resize(cx, share, to, shown, image, reply));
            }
            (Effect::Lower(_), Some((_, share))) => drop(tokio::spawn(lower::lower(cx, share, image))),
            (Effect::Renew(_), Some((_, share))) => {
                let lease =
                    if let Phase::Renewing { lease } = share.phase { Some(lease) } else { share.lease };
                let shown = self.shown(&Share { lease, ..share.clone() });
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
            let holders = self.ledger.holders(HOLDERS_NAMED_MAX);
            detail.held_by = Some(holders.into_iter().map(answer::holder).collect());
        }
        error
    }

    /// A job as it is shown.
    pub(crate) fn job_shown(&self, job: &Job) -> JobInfo {
        let places =
            if matches!(job.state, JobState::Queued { .. }) { self.ledger.places() } else { Vec::new() };
        self.job_in(&places, job)
    }

    /// Jobs as they are shown.
    pub(crate) fn jobs_shown<'a>(&self, jobs: impl Iterator<Item = &'a Arc<Job>>) -> Vec<JobInfo> {
        let places = self.ledger.places();
        jobs.map(|job| self.job_in(&places, job)).collect()
    }

    /// A job with its place in the queue, and when it starts if leases tell.
    fn job_in(&self, places: &[Place], job: &Job) -> JobInfo {
        let mut shown = answer::job(job);
        if let Some(place) = places.iter().find(|place| place.waiting.job == job.id) {
            shown.place = Some(place.place);
            shown.starts_ms = place.starts.map(|at| self.ledger.wall_ms(clock::now(), at));
        }
        shown
    }

    /// A share as it is shown, without its use.
    pub(crate) fn shown(&self, share: &Share) -> ShareInfo {
        let ends = share.lease.map(|lease| self.ledger.wall_ms(clock::now(), lease.ends));
        answer::share(share, ends, None)
    }

    /// Tells followers of something that happened to a member's share, with the share as it is now, if there still is one.
    pub(crate) fn tell_of_share(&mut self, kind: &str, uid: Uid, message: Option<String>) {
        let shown = self.ledger.share(uid).map(|share| self.shown(share));
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
                if let Some(job) = self.ledger.jobs().get(&id) {
                    if job.ended() {
                        self.specs.remove(&id);
                        self.offers.remove(&id);
                    }
                    let (uid, shown) = (job.uid, self.job_shown(job));
                    self.feed.job(uid, shown);
                }
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
