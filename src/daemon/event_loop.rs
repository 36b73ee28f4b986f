//! The one owner of the ledger, and everything that can wake it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::{debug, error, info};

use super::authorize::{Act, Authorised};
use super::condition::Condition;
use super::event::{Event, Reply, Submission};
use super::execute::{self, Context};
use super::feed::Feed;
use super::persist::Persist;
use super::start::{self, Parts};
use super::world::{self, Survey};
use super::{answer, clock, query, watchdog};
use crate::identity::{Uid, UnitName};
use crate::ledger::reconcile::Verdict;
use crate::ledger::refusal::Refusal;
use crate::ledger::{Command, Effect, Ledger, Outcome};
use crate::policy::{Machine, Policy};
use crate::systemd::{Fault, Signal, Signals, Systemd};
use crate::wire::answer::Answer;
use crate::wire::error::{Code, WireError};

/// How often the kernel's limits are compared with the shares', and a lost bus is looked for again.
pub const SWEEP_PERIOD: Duration = Duration::from_secs(60);

/// How soon something that is missing is looked for again.
const RECOVERY_PERIOD: Duration = Duration::from_secs(1);

/// Calls of one member that wait for an earlier one: what their connections can send.
const CALLS_WAITING_MAX: usize =
    super::listener::CONNECTIONS_PER_UID_MAX * super::session::REQUESTS_OUTSTANDING_MAX;

/// The loop and what it owns.
pub struct EventLoop {
    pub(super) parts: Parts,
    pub(super) ledger: Ledger,
    pub(super) policy: Option<Arc<Policy>>,
    pub(super) context: Option<Context>,
    /// Kept beside `context`, which takes a state file too: without one the connection would be closed and look lost.
    pub(super) systemd: Option<Systemd>,
    pub(super) persist: Option<Persist>,
    pub(super) machine: Option<Machine>,
    pub(super) signals: Option<Signals>,
    pub(super) condition: Condition,
    pub(super) strays: BTreeSet<Uid>,
    pub(super) usages: query::Usages,
    pub(super) policy_told: watch::Sender<Option<Arc<Policy>>>,
    /// The revision of the state that needs no storing.
    pub(super) stored: Option<u64>,
    /// What systemd was last told that the daemon holds.
    pub(super) status_told: String,
    /// Where followers hear what happens.
    pub(super) feed: Feed,
    /// Tells listener and sessions that the daemon stops.
    pub(super) stop: watch::Sender<bool>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) inbox: mpsc::Receiver<Event>,
    /// Members with something under way, and the calls that wait for its end.
    pub(super) busy: BTreeMap<Uid, VecDeque<Submission>>,
    /// Whether something that is missing is being looked for.
    pub(super) recovering: bool,
}

impl EventLoop {
    /// Turns until the daemon was told to stop and the listener has seen off its last client.
    ///
    /// # Errors
    /// The listener did not end by itself.
    pub async fn run(mut self, mut listener: JoinHandle<()>) -> Result<(), JoinError> {
        let period = watchdog::period();
        let far = Duration::from_secs(u64::from(u32::MAX));
        let mut alive = ticker(period.unwrap_or(far));
        let mut sweep = ticker(SWEEP_PERIOD);
        let mut recovery = ticker(RECOVERY_PERIOD);
        loop {
            tokio::select! {
                biased;
                _ = alive.tick(), if period.is_some() => watchdog::alive(),
                signal = next(&mut self.signals) => self.signal(signal),
                _ = recovery.tick(), if self.condition.wants_recovery() => self.recover(false),
                _ = sweep.tick() => self.sweep(),
                ended = &mut listener => return ended,
                // The loop holds a sender itself: there is always another event to come.
                Some(event) = self.inbox.recv() => self.take(event),
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Call(submission) => self.call(submission),
            Event::Settle { uid, outcome, reply } => {
                let unknown = outcome == Outcome::Unknown;
                let before = self.ledger.share(uid).cloned();
                match self.ledger.apply(clock::now(), Command::Settle { uid, outcome }) {
                    Ok(_) => drop(reply.send(self.ledger.image())),
                    Err(refusal) => error!("the ledger refused an outcome: {refusal:?}"),
                }
                if unknown {
                    self.condition.doubt(uid);
                }
                self.announce(uid, before.as_ref());
                self.tell_status();
            }
            Event::Free(uid) => self.free(uid),
            Event::Usages(usages) => self.usages.arrived(usages, &self.ledger, self.capacity()),
            Event::Reloaded(result, reply) => self.reloaded(result, reply),
            Event::Recovered(recovery) => drop(self.recovered(*recovery)),
            Event::Mended(survey, uids) => self.mended(survey, uids),
            Event::Hangup => {
                watchdog::reloading();
                self.reload(None);
            }
            Event::Terminate => {
                watchdog::stopping();
                self.stop.send_replace(true);
            }
        }
    }

    fn call(&mut self, submission: Submission) {
        let act = submission.authorised.act();
        if self.condition.is_degraded() && !allowed_degraded(act) {
            return submission.reply.send(Err(self.condition.refusal()));
        }
        let Some(uid) = changed_by(&submission.authorised) else {
            let Submission { authorised, reply, .. } = submission;
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
    fn free(&mut self, uid: Uid) {
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

    /// A call that changes a share: the ledger's word, and the effect on its way.
    fn change(&mut self, uid: Uid, submission: Submission) {
        let Submission { authorised, reply, .. } = submission;
        let Some(cx) = self.context.clone() else {
            return reply.send(Err(self.condition.refusal()));
        };
        let command = match self.command(uid, authorised.act(), &cx) {
            Ok(command) => command,
            Err(error) => return reply.send(Err(error)),
        };
        match self.ledger.apply(clock::now(), command) {
            Err(refusal) => reply.send(Err(answer::refusal(&refusal))),
            Ok(effects) => self.carry_out(&cx, &authorised, effects, reply),
        }
    }

    fn carry_out(&mut self, cx: &Context, authorised: &Authorised, effects: Vec<Effect>, reply: Reply) {
        let Some(effect) = effects.into_iter().next() else {
            return reply.send(self.nothing_to_do(authorised));
        };
        let (cx, image) = (cx.clone(), self.ledger.image());
        let share = |uid| self.ledger.share(uid).cloned();
        let uid = match effect {
            Effect::Grant(uid) => {
                let Some(share) = share(uid) else { return };
                tokio::spawn(execute::grant(cx, share, image, reply));
                uid
            }
            Effect::Resize { uid, to, .. } => {
                let Some(share) = share(uid) else { return };
                tokio::spawn(execute::resize(cx, share, to, image, reply));
                uid
            }
            Effect::Withdraw(uid) => {
                tokio::spawn(execute::release(cx, uid, image, reply));
                uid
            }
            Effect::Stop { uid, job } => {
                tokio::spawn(execute::stop(cx, uid, job, image, reply));
                uid
            }
            Effect::Enter { uid, run } => {
                let pids = match authorised.act() {
                    Act::Attach { pids } => pids.clone(),
                    _ => vec![authorised.peer().pid.unsigned_abs()],
                };
                tokio::spawn(execute::enter(cx, uid, run, pids, reply));
                uid
            }
        };
        self.busy.entry(uid).or_default();
        self.tell_status();
    }

    /// The answer to a call that leaves everything as it is.
    fn nothing_to_do(&self, authorised: &Authorised) -> Result<Answer, WireError> {
        match authorised.act() {
            Act::Resize { account, .. } => {
                let share =
                    self.ledger.share(account.uid).ok_or_else(|| answer::refusal(&Refusal::NoShare))?;
                Ok(Answer::Share { share: answer::share(share, None) })
            }
            _ => Ok(Answer::Released { released: false }),
        }
    }

    fn signal(&mut self, signal: Signal) {
        match signal {
            Signal::UnitRemoved(unit @ UnitName::Share(uid)) => {
                self.strays.remove(&uid);
                if self.ledger.share(uid).is_some() && !self.busy.contains_key(&uid) {
                    debug!(unit = %unit, "{unit} is gone");
                    self.condition.doubt(uid);
                    self.settle_doubts();
                }
            }
            Signal::UnitRemoved(_) | Signal::Reloading(true) => {}
            Signal::Reloading(false) | Signal::Lagged => {
                self.ledger.shares().keys().for_each(|uid| self.condition.doubt(*uid));
                self.settle_doubts();
            }
            Signal::BusLost => {
                error!("the bus is gone: shares stay as they are, and nothing is granted until it is back");
                (self.signals, self.context, self.systemd) = (None, None, None);
                self.condition.bus = Some("the bus is gone".to_owned());
                self.tell_status();
            }
        }
    }

    /// Compares what the kernel holds with the shares; what differs is looked at.
    fn sweep(&mut self) {
        let Some(cx) = &self.context else { return };
        for share in self.ledger.shares().values().filter(|share| !self.busy.contains_key(&share.uid)) {
            if query::limits_hold(&cx.cgroups, share).is_err() {
                self.condition.doubt(share.uid);
            }
        }
        self.settle_doubts();
    }

    /// Has the members looked at whose slices are in doubt and for whom nothing is under way.
    pub(super) fn settle_doubts(&mut self) {
        let (Some(cx), Some(policy)) = (self.context.clone(), self.policy.clone()) else { return };
        let uids: BTreeSet<Uid> = self.condition.take_doubts(|uid| !self.busy.contains_key(uid));
        if uids.is_empty() {
            return;
        }
        for uid in &uids {
            self.busy.entry(*uid).or_default();
        }
        let (ledger, events) = (self.ledger.clone(), self.events.clone());
        tokio::spawn(async move {
            let survey = world::mend(&cx, &ledger, &policy, Some(&uids)).await;
            let _ = events.send(Event::Mended(survey, uids)).await;
        });
    }

    fn mended(&mut self, survey: Result<Survey, Fault>, uids: BTreeSet<Uid>) {
        match survey {
            Ok(survey) => self.reconciled(survey),
            Err(fault) => {
                error!("{}", super::logging::chain(&fault));
                uids.iter().for_each(|uid| self.condition.doubt_later(*uid));
            }
        }
        drop(self.store_in_background());
        for uid in uids {
            self.free(uid);
        }
        self.tell_status();
    }

    /// Takes what was done about members into the ledger.
    pub(super) fn reconciled(&mut self, survey: Survey) {
        self.ledger.runs_taken(survey.runs_taken);
        let swap = self.policy.as_ref().map_or_else(Default::default, |policy| policy.swap);
        for mended in survey.mended {
            match (&mended.verdict, &mended.done) {
                (Verdict::KeepStray, _) => drop(self.strays.insert(mended.uid)),
                (_, Ok(())) => {
                    self.strays.remove(&mended.uid);
                    let before = self.ledger.share(mended.uid).cloned();
                    self.ledger.reconciled(
                        clock::now(),
                        mended.uid,
                        &mended.verdict,
                        swap,
                        mended.known.as_ref(),
                    );
                    self.announce(mended.uid, before.as_ref());
                }
                (_, Err(error)) => {
                    error!("the share of uid {} is not settled: {error}: {:?}", mended.uid, error.detail);
                    self.condition.doubt_later(mended.uid);
                }
            }
        }
    }

    /// Stores what has changed since the state was loaded or last stored here.
    pub(super) fn store_in_background(&mut self) -> Option<JoinHandle<()>> {
        let (persist, image) = (self.persist.clone()?, self.ledger.image());
        if self.stored == Some(image.revision) {
            return None;
        }
        self.stored = Some(image.revision);
        Some(tokio::spawn(async move {
            if let Err(fault) = persist.save(image).await {
                error!("{}", super::logging::chain(&*fault));
            }
        }))
    }

    /// Tells systemd what `systemctl status` shows.
    pub(super) fn tell_status(&mut self) {
        let line = self.status_line();
        if line != self.status_told {
            watchdog::status(&line);
            self.status_told = line;
        }
    }

    /// What the daemon holds, or what is missing, in one line.
    pub(super) fn status_line(&self) -> String {
        let shares = self.ledger.shares().len();
        let plural = if shares == 1 { "share" } else { "shares" };
        match self.condition.reasons() {
            None => format!("{shares} {plural}"),
            Some(reasons) => format!("degraded, {shares} {plural} kept: {reasons}"),
        }
    }

    fn reload(&mut self, reply: Option<Reply>) {
        let (path, events) = (self.parts.policy.clone(), self.events.clone());
        info!("reading the policy in {} again", path.display());
        tokio::spawn(async move {
            let result = start::policy(path).await;
            let _ = events.send(Event::Reloaded(result, reply)).await;
        });
    }

    fn reloaded(&mut self, result: Result<Policy, String>, reply: Option<Reply>) {
        let asked_by_signal = reply.is_none();
        let result = match result {
            Ok(policy) => {
                let policy = Arc::new(policy);
                let changed = self.policy.as_ref() != Some(&policy);
                info!("the policy is in force{}", if changed { "" } else { ", and is what it was" });
                self.policy = Some(Arc::clone(&policy));
                self.policy_told.send_replace(Some(policy));
                self.condition.policy = None;
                if changed {
                    self.feed.everybody("policy", Some("the policy has changed".to_owned()));
                }
                self.bound_all();
                self.recover(true);
                Ok(Answer::Changed { changed })
            }
            Err(why) => {
                let kept = if self.policy.is_some() {
                    "the old one stays in force"
                } else {
                    "there is none in force"
                };
                error!("the policy cannot be used, and {kept}: {why}");
                if self.policy.is_none() {
                    self.condition.policy = Some(why.clone());
                }
                Err(WireError::new(Code::BadRequest, format!("The policy cannot be used, and {kept}"))
                    .detail(why))
            }
        };
        if let Some(reply) = reply {
            reply.send(result);
        }
        if asked_by_signal {
            watchdog::ready(&self.status_line());
        }
        self.tell_status();
    }

    pub(super) fn reload_for(&mut self, reply: Reply) {
        self.reload(Some(reply));
    }
}

/// Whether the act is answered whatever is missing.
fn allowed_degraded(act: &Act) -> bool {
    matches!(act, Act::Ping | Act::Health | Act::Status { .. } | Act::List | Act::Reload)
}

/// Whose share the act changes, or enters.
fn changed_by(authorised: &Authorised) -> Option<Uid> {
    match authorised.act() {
        Act::Request { account, .. } | Act::Resize { account, .. } => Some(account.uid),
        Act::Release { uid, .. } => Some(*uid),
        Act::Run | Act::Attach { .. } => Some(authorised.peer().uid),
        Act::Ping
        | Act::Health
        | Act::Status { .. }
        | Act::List
        | Act::Policy { .. }
        | Act::JobStatus { .. }
        | Act::JobList { .. }
        | Act::Subscribe { .. }
        | Act::Reload => None,
    }
}

fn ticker(period: Duration) -> tokio::time::Interval {
    let mut ticker = interval_at(Instant::now() + period, period);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker
}

/// The next signal of systemd; none while there is no bus.
async fn next(signals: &mut Option<Signals>) -> Signal {
    match signals {
        Some(signals) => signals.next().await,
        None => std::future::pending().await,
    }
}
