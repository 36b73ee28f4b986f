//! The one owner of the ledger, and everything that can wake it.

mod command;
pub mod condition;
mod effects;
mod jobs;
mod naming;
pub mod query;
mod reload;
mod status;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch as channel};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use tracing::{debug, error};

use crate::daemon::asking::authorize::{Act, Authorised};
use crate::daemon::asking::names::NAMES_PERIOD;
use crate::daemon::asking::spec::Spec;
use crate::daemon::clock;
use crate::daemon::doing::job::Fetch;
use crate::daemon::doing::kernel;
use crate::daemon::doing::occupants::Shown;
use crate::daemon::doing::persist::Persist;
use crate::daemon::doing::share::{self, Context};
use crate::daemon::event::{Event, Reply, Submission};
use crate::daemon::mending::world::{self, Survey};
use crate::daemon::start::Parts;
use crate::daemon::telling::feed::Feed;
use crate::daemon::watch::Watch;
use crate::identity::{JobId, Uid, UnitName};
use crate::ledger::reconcile::Verdict;
use crate::ledger::refusal::Refusal;
use crate::ledger::{Canceller, Command, Effect, Ledger, Outcome};
use crate::policy::{Machine, Policy};
use crate::quantity::PartialAmount;
use crate::serving::logging::{chain, in_full};
use crate::serving::notify;
use crate::serving::places::PLACES_PER_UID_MAX;
use crate::systemd::{Fault, Signal, Signals, Systemd};
use crate::wire::error::{Code, WireError};
use condition::Condition;

/// How often the kernel's limits are compared with the shares', and a lost bus is looked for again.
pub const SWEEP_PERIOD: Duration = Duration::from_secs(60);

/// How soon something that is missing is looked for again.
const RECOVERY_PERIOD: Duration = Duration::from_secs(1);

/// The least time between two ticks.
const TICK_PAUSE: Duration = Duration::from_millis(100);

/// Calls on one member's share that wait for an earlier one. A connection has one call here at a time, so that it is admins
/// together with the member who can pass it.
const CALLS_WAITING_MAX: usize = PLACES_PER_UID_MAX;

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
    pub(super) watch: Watch,
    pub(super) strays: BTreeSet<Uid>,
    pub(super) usages: query::Usages,
    pub(super) policy_told: channel::Sender<Option<Arc<Policy>>>,
    /// The revision of the state that needs no storing.
    pub(super) stored: Option<u64>,
    /// Whether that could not be stored, and is to be tried again.
    pub(super) store_again: bool,
    /// What systemd was last told that the daemon holds.
    pub(super) status_told: String,
    /// Where followers hear what happens.
    pub(super) feed: Feed,
    /// Tells listener and sessions that the daemon stops.
    pub(super) stop: channel::Sender<bool>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) inbox: mpsc::Receiver<Event>,
    /// Members with something under way, and the calls that wait for its end.
    pub(super) busy: BTreeMap<Uid, VecDeque<Submission>>,
    /// Effects that wait for what is under way for their member.
    pub(super) deferred: BTreeMap<Uid, VecDeque<(Effect, Reply)>>,
    /// Sets what bounds all shares together, where it was last another.
    pub(super) bounding: Option<JoinHandle<()>>,
    /// What bounds all shares together; nothing is named where it is not known.
    pub(super) bounds: PartialAmount,
    /// When the ledger was last told that time has passed.
    pub(super) ticked_at: Option<Instant>,
    /// Submitted commands that have not been handed over.
    pub(super) specs: BTreeMap<JobId, Arc<Spec>>,
    /// Where the processes of submitted commands fetch what they become, until that is over.
    pub(super) offers: BTreeMap<JobId, mpsc::Sender<Fetch>>,
    /// Submitted commands with a task that starts or follows them.
    pub(super) followed: BTreeSet<JobId>,
    /// Whether there may be submitted commands that run without one.
    pub(super) out_of_sight: bool,
    /// Who called back a submitted command that has been stopped, and waits to hear how it ended.
    pub(super) called_back: BTreeMap<JobId, Vec<Reply>>,
    /// When the kernel was last seen to hold all that it should.
    pub(super) in_order_at: Option<Instant>,
    /// Whether something that is missing is being looked for.
    pub(super) recovering: bool,
    /// Whether the state file is to be looked at again with the next look for what is missing.
    pub(super) retry_state: bool,
    /// Whether the database is being asked for the policy's names.
    pub(super) hears_names: bool,
    /// Reloads that are answered when what they brought back is in order, and whether each changed the policy.
    pub(super) reloads: Vec<(Reply, bool)>,
}

impl EventLoop {
    /// Turns until the daemon was told to stop and the listener has seen off its last client.
    ///
    /// # Errors
    /// The listener did not end by itself.
    pub async fn run(mut self, mut listener: JoinHandle<()>) -> Result<(), JoinError> {
        let period = notify::period();
        let far = Duration::from_secs(u64::from(u32::MAX));
        let mut alive = ticker(period.unwrap_or(far));
        let mut sweep = ticker(SWEEP_PERIOD);
        let mut recovery = ticker(RECOVERY_PERIOD);
        let mut names = ticker(NAMES_PERIOD);
        let mut due = self.ledger.next_wakeup();
        let mut tick = std::pin::pin!(sleep_until(self.next_tick()));
        loop {
            let wakeup = self.ledger.next_wakeup();
            if wakeup != due || tick.is_elapsed() {
                due = wakeup;
                tick.as_mut().reset(self.next_tick());
            }
            tokio::select! {
                biased;
                _ = alive.tick(), if period.is_some() => notify::alive(),
                signal = next(&mut self.signals) => self.signal(signal),
                _ = recovery.tick(), if self.wants_recovery() || self.out_of_sight || self.store_again => {
                    self.recover(false);
                }
                () = &mut tick, if self.keeps_time() => self.tick(),
                _ = sweep.tick() => self.sweep(),
                _ = names.tick(), if self.misses_names() => self.seek_names(),
                changes = self.watch.changed() => self.changed_inside(changes),
                ended = &mut listener => return ended,
                // The loop holds a sender itself: there is always another event to come.
                Some(event) = self.inbox.recv() => self.take(event),
                () = std::future::ready(()), if self.watch.pressed.is_due() => self.await_pressure(),
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Call(submission) => self.call(submission),
            Event::Settle { uid, outcome, reply } => {
                let unknown = outcome == Outcome::Unknown;
                match self.ledger.apply(clock::now(), Command::Settle { uid, outcome: outcome.clone() }) {
                    Ok(effects) => {
                        let _ = reply.send(self.ledger.image());
                        self.carry_out_others(effects);
                    }
                    Err(refusal) => error!("the ledger refused an outcome: {refusal:?}"),
                }
                if unknown {
                    self.condition.doubt(uid);
                }
                self.settled_inside(uid, &outcome);
                self.tell_status();
            }
            Event::Uncalled(job, reply) => {
                let waits = self.ledger.jobs().get(&job).is_some_and(|job| job.queued());
                if waits {
                    self.tell(Command::Cancel { job, by: Canceller::Admin });
                }
                drop(reply.send(waits.then(|| self.ledger.image())));
            }
            Event::NotStored => (self.stored, self.store_again) = (None, true),
            Event::WaitingKnown(accounts) => self.reconsider(&accounts),
            Event::WorkEnded { job, end, reply } => self.work_ended(job, end, reply),
            Event::WorkLost(job) => self.work_lost(job),
            Event::Pressure(uid, resource) => self.pressure_told(uid, resource),
            Event::Image(reply) => drop(reply.send(self.ledger.image())),
            Event::CalledBack(job, reply) => self.called_back(job, reply),
            Event::NotEntered(uid) => self.watch_anew([uid]),
            Event::Free(uid) => self.free(uid),
            Event::Usages(usages) => self.usages.arrived(usages, &self.ledger, self.capacity()),
            Event::Name(learned) => self.name_learned(learned),
            Event::Reloaded(result, reply) => self.reloaded(result, reply),
            Event::Recovered(recovery) => drop(self.recovered(*recovery)),
            Event::Mended(survey, uids) => self.mended(survey, uids),
            Event::Hangup => {
                notify::reloading();
                self.reload(None);
            }
            Event::Terminate => {
                notify::stopping();
                self.stop.send_replace(true);
            }
        }
    }

    fn call(&mut self, mut submission: Submission) {
        if let Err(error) = submission.authorised.judge(self.policy.as_deref()) {
            return submission.reply.send(Err(error));
        }
        let act = submission.authorised.act();
        if self.condition.is_degraded() && !act.allowed_degraded() {
            return submission.reply.send(Err(self.condition.refusal()));
        }
        if act.tells_of_capacity() {
            self.look_at_machine();
        }
        let Some(uid) = changed_by(&submission.authorised) else {
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
    fn free(&mut self, uid: Uid) {
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

    /// When the ledger is to be told that time has passed: not at once after the last time, so that nothing can make the
    /// loop spin, and however often the loop is woken in between.
    fn next_tick(&self) -> Instant {
        let due = self.ledger.next_wakeup().map(|at| at.saturating_sub(clock::now().boot_ms));
        let due = Instant::now() + due.map_or(SWEEP_PERIOD, Duration::from_millis).min(SWEEP_PERIOD);
        self.ticked_at.map_or(due, |ticked| due.max(ticked + TICK_PAUSE))
    }

    /// Whether what time brings can be carried out.
    fn keeps_time(&self) -> bool {
        self.context.is_some() && !self.condition.is_degraded()
    }

    /// Tells the ledger that time has passed.
    fn tick(&mut self) {
        self.ticked_at = Some(Instant::now());
        self.tell(Command::Tick);
    }

    /// Compares what the kernel holds with the shares; what differs is looked at.
    fn sweep(&mut self) {
        self.look_at_machine();
        self.sweep_inside();
        let uids: Vec<Uid> = self.ledger.shares().keys().copied().collect();
        uids.into_iter().for_each(|uid| self.look_at_pressures(uid));
        self.look_at_bounds();
        let Some(cx) = &self.context else { return };
        for share in self.ledger.shares().values().filter(|share| !self.busy.contains_key(&share.uid)) {
            if kernel::limits_hold(&cx.cgroups, share).is_err() {
                self.condition.doubt(share.uid);
            }
        }
        self.settle_doubts();
    }

    /// Has the members looked at whose slices are in doubt and for whom nothing is under way.
    pub(crate) fn settle_doubts(&mut self) {
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
            Ok(survey) => {
                self.reconciled(survey);
                self.watch_anew(uids.iter().copied());
            }
            Err(fault) => {
                error!("{}", chain(&fault));
                uids.iter().for_each(|uid| self.condition.doubt_later(*uid));
            }
        }
        self.tell(Command::Tick);
        drop(self.store_in_background());
        for uid in uids {
            self.free(uid);
        }
        self.tell_status();
    }

    /// Takes what was done about members into the ledger.
    pub(crate) fn reconciled(&mut self, survey: Survey) {
        self.ledger.runs_taken(survey.below.runs_taken);
        survey.below.works.iter().for_each(|(_, job)| self.ledger.job_taken(*job));
        let swap = self.policy.as_ref().map_or_else(Default::default, |policy| policy.swap);
        let mut told = Vec::new();
        for mended in survey.mended {
            match (&mended.verdict, &mended.done) {
                (Verdict::KeepStray, _) => drop(self.strays.insert(mended.uid)),
                (_, Ok(())) => {
                    self.strays.remove(&mended.uid);
                    told.extend(self.ledger.reconciled(
                        clock::now(),
                        mended.uid,
                        &mended.verdict,
                        swap,
                        mended.known.as_ref(),
                    ));
                }
                (_, Err(error)) => {
                    error!("the share of uid {} is not settled: {}", mended.uid, in_full(error));
                    self.condition.doubt_later(mended.uid);
                }
            }
        }
        self.carry_out_others(told);
    }

    /// Stores what has changed since the state was loaded or last stored here.
    pub(crate) fn store_in_background(&mut self) -> Option<JoinHandle<()>> {
        let (persist, image) = (self.persist.clone()?, self.ledger.image());
        if self.stored == Some(image.revision) {
            return None;
        }
        self.stored = Some(image.revision);
        let (events, again) = (self.events.clone(), std::mem::take(&mut self.store_again));
        Some(tokio::spawn(async move {
            if let Err(fault) = persist.save_what_gives_back(image).await {
                // Once: it is tried again each second.
                if !again {
                    error!("{}", chain(&*fault));
                }
                let _ = events.send(Event::NotStored).await;
            }
        }))
    }
}

/// Whose share the act changes, or enters.
fn changed_by(authorised: &Authorised) -> Option<Uid> {
    match authorised.act() {
        Act::Request { account, .. } | Act::Resize { account, .. } | Act::Renew { account, .. } => {
            Some(account.uid)
        }
        Act::Release { uid, .. } => Some(*uid),
        Act::Run | Act::Attach { .. } | Act::Submit { .. } => Some(authorised.peer().uid),
        Act::Ping
        | Act::Health
        | Act::Status { .. }
        | Act::List
        | Act::Policy { .. }
        | Act::JobStatus { .. }
        | Act::JobList { .. }
        | Act::JobCancel { .. }
        | Act::JobFetch { .. }
        | Act::Drain
        | Act::Undrain
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
