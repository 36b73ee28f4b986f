//! The one owner of the ledger, and everything that can wake it.

mod again;
mod audit;
mod bound;
mod commands;
mod condition;
mod doubt;
mod effects;
mod entering;
pub mod event;
mod history;
mod inside;
mod io;
mod io_looks;
mod jobs;
mod left_behind;
mod look;
mod naming;
mod needed;
mod paused;
mod recording;
mod recovery;
mod reload;
mod sightings;
mod status;
mod still;
mod turns;
mod usages;
mod warned;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch as channel};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use tracing::{debug, error};

use crate::daemon::asking::deed::Whom;
use crate::daemon::asking::names::{Asked, Learned, NAMES_PERIOD};
use crate::daemon::asking::spec::Spec;
use crate::daemon::asking::submission::Submission;
use crate::daemon::baseline::{Baseline, Heard};
use crate::daemon::clock;
use crate::daemon::doing::allocation::Context;
use crate::daemon::doing::bound::Bounds;
use crate::daemon::doing::fetch::Fetch;
use crate::daemon::doing::kernel;
use crate::daemon::doing::persist::Persist;
use crate::daemon::doing::said::{SAID_WAITING_MAX, Said};
use crate::daemon::following::occupancy::Watch;
use crate::daemon::following::pressure::Pressed;
use crate::daemon::parts::Parts;
use crate::daemon::telling::feed::Feed;
use crate::daemon::telling::reply::Reply;
use crate::daemon::telling::shown::Shown;
use crate::host::machine;
use crate::identity::{JobId, Uid, UnitName};
use crate::ledger::{Canceller, Command, Effect, Ledger, Outcome};
use crate::policy::{Machine, Policy};
use crate::quantity::Bytes;
use crate::serving::logging::chain;
use crate::serving::notify;
use crate::serving::session::REQUESTS_OUTSTANDING_MAX;
use crate::state::commands::Commands;
use crate::systemd::{Signal, Signals, Systemd};
use condition::Condition;
use event::Event;
use io::Io;
use recording::Recording;
use sightings::Audits;
use still::Paused;
use usages::Usages;

/// How often the kernel's limits are compared with the shares', and a lost bus is looked for again.
pub const SWEEP_PERIOD: Duration = Duration::from_secs(60);

/// How soon something that is missing is looked for again.
const RECOVERY_PERIOD: Duration = Duration::from_secs(1);

/// The least time between two ticks.
const TICK_PAUSE: Duration = Duration::from_millis(100);

/// Calls that are taken at a time: all that a connection can have unanswered.
const CALLS_AT_A_TIME: usize = REQUESTS_OUTSTANDING_MAX;

/// The loop and what it owns.
pub struct EventLoop {
    parts: Parts,
    ledger: Ledger,
    policy: Option<Arc<Policy>>,
    context: Option<Context>,
    /// Kept beside `context`, which takes a state file too: without one the connection would be closed and look lost.
    systemd: Option<Systemd>,
    persist: Option<Persist>,
    machine: Option<Machine>,
    signals: Option<Signals>,
    condition: Condition,
    /// What may be used outside of shares, held by a task of its own.
    baseline: Baseline,
    /// How it stands with the I/O of shares.
    io: Io,
    watch: Watch,
    pressed: Pressed,
    /// Slices that nobody remembers, with work inside, of user ids that nobody has.
    strays: BTreeSet<UnitName>,
    usages: Usages,
    audits: Audits,
    /// Where what has ended is remembered.
    history: Recording,
    policy_told: channel::Sender<Option<Arc<Policy>>>,
    /// The revision of the state that needs no storing.
    stored: Option<u64>,
    /// Whether that could not be stored, and is to be tried again.
    store_again: bool,
    /// What systemd was last told that the daemon holds.
    status_told: String,
    /// Where followers hear what happens.
    feed: Feed,
    /// Tells listener and sessions that the daemon stops.
    stop: channel::Sender<bool>,
    /// For tasks of the loop's own, and what they tell.
    events: mpsc::Sender<Event>,
    inbox: mpsc::Receiver<Event>,
    /// For those who carry something out, and what they tell.
    said: mpsc::Sender<Said>,
    hears: mpsc::Receiver<Said>,
    /// What sessions ask.
    calls: mpsc::Receiver<Submission>,
    /// Members with something under way, and the calls that wait for its end.
    busy: BTreeMap<Uid, VecDeque<Submission>>,
    /// Effects that wait for what is under way for their member.
    deferred: BTreeMap<Uid, VecDeque<(Effect, Reply)>>,
    /// Of those who have calls that wait: whose call is next, and not what was decided for them.
    calls_next: BTreeSet<Uid>,
    /// Which processes go in scopes that are to be made, by the scopes' numbers.
    entering: BTreeMap<u64, Whom>,
    /// Sets what bounds all shares together, where it was last another.
    bounding: Option<JoinHandle<()>>,
    /// Reads how much memory work has left behind, where that was looked at last.
    looks_at_left: Option<JoinHandle<()>>,
    /// What bounds all shares together; `None` where it is not known.
    bounds: Option<Bounds>,
    /// When the ledger was last told that time has passed.
    ticked_at: Option<Instant>,
    /// Submitted commands that have not been handed over.
    specs: BTreeMap<JobId, Arc<Spec>>,
    /// Those of which that is on disk.
    commands: Commands,
    /// Where the processes of submitted commands fetch what they become, until that is over.
    offers: BTreeMap<JobId, mpsc::Sender<Fetch>>,
    /// The same of what is run at the end of commands that have ended.
    at_end: BTreeMap<JobId, mpsc::Sender<Fetch>>,
    /// Submitted commands with a task that starts or follows them.
    followed: BTreeSet<JobId>,
    /// The most memory that each submitted command that runs was seen to need. What a daemon has seen goes with it.
    needed: BTreeMap<JobId, Bytes>,
    /// Commands that stand still, as the kernel was last seen to say.
    paused: Paused,
    /// Members of whom a command is being paused, or had go on.
    pausing: BTreeSet<Uid>,
    /// Whether there may be submitted commands that run without one.
    out_of_sight: bool,
    /// Who called back a submitted command that has been stopped, and waits to hear how it ended.
    called_back: BTreeMap<JobId, Vec<Reply>>,
    /// When the kernel was last seen to hold all that it should.
    in_order_at: Option<Instant>,
    /// Whether something that is missing is being looked for.
    recovering: bool,
    /// Whether the state file is to be looked at again with the next look for what is missing.
    retry_state: bool,
    /// Where the database tells of the policy's names, while it is being asked for them.
    asked: Option<Asked>,
    /// Reloads that are answered when what they brought back is in order, and whether each changed the policy.
    reloads: Vec<(Reply, bool)>,
}

impl EventLoop {
    /// A loop that has taken nothing yet: where everything is, whom the policy in force is told, what the loop's own tasks
    /// tell, and what sessions ask.
    pub fn new(
        parts: Parts,
        policy_told: channel::Sender<Option<Arc<Policy>>>,
        (events, inbox): (mpsc::Sender<Event>, mpsc::Receiver<Event>),
        calls: mpsc::Receiver<Submission>,
    ) -> Self {
        let (said, hears) = mpsc::channel(SAID_WAITING_MAX);
        Self {
            ledger: Ledger::new(parts.boot.clone()),
            policy: None,
            context: None,
            systemd: None,
            persist: None,
            machine: machine::read(&parts.online).map_err(|error| error!("{error}, proceeding")).ok(),
            signals: None,
            condition: Condition::of(&parts.cgroups),
            baseline: Baseline::start(&parts, policy_told.subscribe()),
            io: Io::default(),
            watch: Watch::start(),
            pressed: Pressed::default(),
            strays: BTreeSet::new(),
            usages: Usages::default(),
            audits: Audits::default(),
            history: Recording::start(said.clone()),
            policy_told,
            stop: channel::Sender::new(false),
            stored: None,
            store_again: false,
            status_told: String::new(),
            feed: Feed::default(),
            events,
            inbox,
            said,
            hears,
            calls,
            busy: BTreeMap::new(),
            deferred: BTreeMap::new(),
            calls_next: BTreeSet::new(),
            entering: BTreeMap::new(),
            specs: BTreeMap::new(),
            commands: Commands::default(),
            offers: BTreeMap::new(),
            at_end: BTreeMap::new(),
            followed: BTreeSet::new(),
            needed: BTreeMap::new(),
            paused: Paused::default(),
            pausing: BTreeSet::new(),
            out_of_sight: false,
            called_back: BTreeMap::new(),
            recovering: false,
            asked: None,
            retry_state: false,
            reloads: Vec::new(),
            in_order_at: None,
            ticked_at: None,
            bounding: None,
            looks_at_left: None,
            bounds: None,
            parts,
        }
    }

    /// What is missing, in one line.
    pub fn lacks(&self) -> Option<String> {
        self.condition.reasons()
    }

    /// Whether the daemon stops, as it comes to be known.
    pub fn stopping(&self) -> channel::Receiver<bool> {
        self.stop.subscribe()
    }

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
        let mut calls = Vec::with_capacity(CALLS_AT_A_TIME);
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
                told = self.pressed.next() => self.pressure_told(told),
                learned = learned(&mut self.asked) => self.name_learned(learned),
                ended = &mut listener => {
                    self.history.stop().await;
                    return ended;
                }
                // The loop holds senders of these three itself: there is always another to come.
                Some(said) = self.hears.recv() => self.said(said),
                Some(event) = self.inbox.recv() => self.take(event),
                1.. = self.calls.recv_many(&mut calls, CALLS_AT_A_TIME) => {
                    calls.drain(..).for_each(|submission| self.call(submission));
                }
                () = std::future::ready(()), if self.pressed.is_due() => {
                    self.pressed.await_one(&self.parts.cgroups);
                }
            }
        }
    }

    /// Takes what came of something that was to be done.
    fn said(&mut self, said: Said) {
        match said {
            Said::Settle { id, outcome, reply } => {
                let unknown = outcome == Outcome::Unknown;
                match self.ledger.apply(clock::now(), Command::Settle { id, outcome: outcome.clone() }) {
                    Ok(effects) => {
                        let _ = reply.send(self.ledger.image());
                        self.carry_out_others(effects);
                    }
                    Err(refusal) => error!("the ledger refused an outcome: {refusal:?}"),
                }
                if unknown {
                    self.condition.doubt(id.uid);
                }
                self.settled_inside(id, &outcome);
                if outcome == Outcome::Done {
                    self.look_at_bounds();
                }
                self.tell_status();
            }
            Said::Uncalled(job, reply) => {
                let waits = self.ledger.jobs().get(&job).is_some_and(|job| job.queued());
                if waits {
                    self.tell(Command::Cancel { job, by: Canceller::Admin });
                }
                drop(reply.send(waits.then(|| self.ledger.image())));
            }
            Said::LeftBehind(left) => self.left_behind(left),
            Said::Kept(job) => self.command_kept(job),
            Said::NeverBegan(job, reply) => self.never_began(job, reply),
            Said::WorkEnded { job, end, reply } => self.work_ended(job, end, reply),
            Said::Ending { job, end, reply } => self.ending(job, end, reply),
            Said::AtEnd(job, offer) if self.runs(job) => drop(self.at_end.insert(job, offer)),
            // It is over meanwhile.
            Said::AtEnd(..) => {}
            Said::Paused { uid, job, done, reply } => self.paused((uid, job), done, reply),
            Said::Cleared { job, tries } => self.cleared(job, tries),
            Said::Warned(job, sent) => self.warned(job, sent),
            Said::WorkLost(job) => self.work_lost(job),
            Said::NotBegun(job) => self.not_begun(job),
            Said::Image(reply) => drop(reply.send(self.ledger.image())),
            Said::CalledBack(job, reply) => self.called_back(job, reply),
            Said::Spent(id, spent) => self.history.spent(id, spent),
            Said::History(standing) => self.history.stands(standing),
            Said::Io(uid, held) => self.io.told(uid, held),
            Said::LetIn(id, whom, reply) => self.let_in_now(id, whom, reply),
            Said::NotEntered(id) => self.watch_anew([id]),
            Said::Free(uid) => self.free(uid),
        }
    }

    /// Takes an answer to what the loop has asked for, or a signal.
    fn take(&mut self, event: Event) {
        match event {
            Event::NotStored => (self.stored, self.store_again) = (None, true),
            Event::WaitingKnown(accounts) => self.reconsider(&accounts),
            Event::Usages(usages) => {
                let shown = Shown::of(&self.ledger, &self.parts.cgroups, &self.needed, self.paused.jobs());
                self.usages.arrived(usages, &shown);
            }
            Event::LeftBehind(left) => self.left_behind(left),
            Event::Needed(read) => self.needed_seen(read),
            Event::Sighted(all, sighting) => self.sighted(all, &sighting),
            Event::LookDue(all) => self.begin_look(all),
            Event::IoLooked(looked) => self.io_looked(looked),
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

    fn signal(&mut self, signal: Signal) {
        match signal {
            Signal::UnitRemoved(unit) if unit.slice().is_none() || unit.allocation().is_some() => {
                let uid = unit.uid();
                self.strays.remove(&unit);
                let known = match unit.allocation() {
                    Some(id) => self.ledger.allocation(id).is_some(),
                    None => self.ledger.share(uid).is_some(),
                };
                if known && !self.busy.contains_key(&uid) {
                    debug!(unit = %unit, "{unit} is gone");
                    self.condition.doubt(uid);
                    self.settle_doubts();
                }
            }
            Signal::Login(uid) => self.baseline.hear(Heard::Login(uid)),
            Signal::UnitRemoved(_) | Signal::Reloading(true) => {}
            Signal::Reloading(false) | Signal::Lagged => {
                if signal == Signal::Lagged {
                    self.baseline.hear(Heard::Missed);
                }
                self.ledger.shares().keys().for_each(|uid| self.condition.doubt(*uid));
                self.settle_doubts();
                self.look_at_io(false);
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
        self.baseline.hear(Heard::Look);
        self.sweep_inside();
        self.look_at_needed();
        self.look_at_paused();
        self.look_at_left_behind();
        let uids: Vec<Uid> = self.ledger.shares().keys().copied().collect();
        uids.into_iter().for_each(|uid| self.look_at_pressures(uid));
        self.look_at_bounds();
        self.look_at_io(false);
        let Some(cx) = &self.context else { return };
        for uid in self.ledger.shares().keys().filter(|uid| !self.busy.contains_key(uid)) {
            if kernel::share_holds(&cx.cgroups, &self.ledger, *uid).is_err() {
                self.condition.doubt(*uid);
            }
        }
        self.settle_doubts();
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

fn ticker(period: Duration) -> tokio::time::Interval {
    let mut ticker = interval_at(Instant::now() + period, period);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker
}

/// What the user database says of the next name, while it is being asked; nothing where that was the last.
async fn learned(asked: &mut Option<Asked>) -> Option<Learned> {
    match asked {
        Some(asked) => asked.recv().await,
        None => std::future::pending().await,
    }
}

/// The next signal of systemd; none while there is no bus.
async fn next(signals: &mut Option<Signals>) -> Signal {
    match signals {
        Some(signals) => signals.next().await,
        None => std::future::pending().await,
    }
}
