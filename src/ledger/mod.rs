//! Who holds what, who waits, who may: a pure state machine.
//!
//! No clock, no I/O, no async, no serde: `now` comes in, [`Effect`]s go out, and the same commands give the
//! same effects. A change is made in two commands. The first states the intent and names what is to be done
//! ([`Effect`]); [`Command::Settle`] states how that went. What lies between is a [`share::Phase`] of the share.
//!
//! `rule` what members may do · `expire` what time does · `advance` who waits is served · `queue` in which order ·
//! `fairness` past use · `counted` what is counted and kept · `settle` how an effect went · `reconcile` after a start.

mod advance;
pub mod command;
pub mod counted;
mod decided;
pub mod expire;
pub mod fairness;
pub mod job;
pub mod queue;
pub mod reconcile;
pub mod refusal;
mod rule;
mod settle;
pub mod share;
pub mod time;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::identity::{JobId, Uid};
use crate::policy::{HALF_LIFE_DEFAULT, PATIENCE_DEFAULT};
use crate::quantity::{Bytes, MilliCpu};
use crate::time::milliseconds;
use counted::books::Books;
use counted::kept::Kept;
use counted::room::{Capacity, Room};
use decided::Own;
use fairness::Fairness;
use job::{JOBS_KEPT_MAX, Job, JobEnd, JobKind, JobState, SLICE_WENT};
use queue::{Queue, Waiting};
use refusal::Refusal;
use share::Share;
use time::{Clock, Time};

pub use crate::time::{BootId, Now};
pub use command::{Canceller, Command, Effect, Event, Member, Outcome, Rules, Wait};
pub use decided::Decided;

/// All that is remembered across a crash, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Grows with every change: of two images the one with the larger revision is the newer.
    pub revision: u64,
    /// The id of the next job.
    pub next_job: u64,
    /// The ledger's time.
    pub clock: Clock,
    /// Past use.
    pub fairness: Fairness,
    /// Whether new requests are stopped.
    pub draining: bool,
    /// The shares, by uid.
    pub shares: Vec<Share>,
    /// The jobs, by id. Those that are queued are the queue. Shared with the ledger: images wait for the disk, and each would
    /// be a copy of all that is remembered.
    pub jobs: Vec<Arc<Job>>,
}

/// The one owner of who holds what.
#[derive(Debug, Clone)]
pub struct Ledger {
    clock: Clock,
    revision: u64,
    next_job: u64,
    next_run: u64,
    draining: bool,
    /// What the policy says of all; `None` until it has said.
    rules: Option<Rules>,
    /// Whether this ledger goes on from an image and the policy has not spoken since: then nobody is served, for whose turn
    /// it is depends on it.
    resumed: bool,
    /// How many accounts of past use there may be before those worth nothing are forgotten.
    accounts_max: usize,
    shares: BTreeMap<Uid, Share>,
    jobs: BTreeMap<JobId, Arc<Job>>,
    books: Books,
    queue: Queue,
    kept: Kept,
    /// How many submitted commands of each member are not over.
    works: BTreeMap<Uid, usize>,
}

/// How many accounts of past use are kept before those worth less than a second of the machine are forgotten.
const ACCOUNTS_MAX: usize = 1024;

/// The largest number of a job or a scope. Names of units with larger ones are not ours, and counting up to it takes
/// longer than any machine lasts.
pub const NUMBER_MAX: u64 = 1 << 62;

impl Ledger {
    /// A ledger in which nobody holds anything, and nothing can be handed out before [`Command::SetCapacity`].
    pub fn new(boot: BootId) -> Self {
        Self {
            clock: Clock::new(boot),
            revision: 0,
            next_job: 1,
            next_run: 1,
            draining: false,
            rules: None,
            resumed: false,
            accounts_max: ACCOUNTS_MAX,
            shares: BTreeMap::new(),
            jobs: BTreeMap::new(),
            books: Books::new(Fairness::new(milliseconds(HALF_LIFE_DEFAULT))),
            queue: Queue::default(),
            kept: Kept::default(),
            works: BTreeMap::new(),
        }
    }

    /// A ledger that goes on from `image`, in this boot. Who waits waits in the same place, and is served once
    /// [`Command::SetRules`] has come.
    pub fn restore(boot: BootId, now: Now, mut image: Image) -> Self {
        image.seen_from(&boot);
        let mut ledger = Self::new(boot.clone());
        ledger.next_job =
            image.jobs.iter().map(|job| job.id.0.saturating_add(1)).fold(image.next_job, u64::max);
        ledger.revision = image.revision;
        ledger.clock = image.clock.carried(boot, now);
        (ledger.draining, ledger.resumed) = (image.draining, true);
        ledger.books.fairness = image.fairness;
        for mut share in image.shares {
            // What was inside when the daemon ended says nothing of now.
            share.empty_since = None;
            ledger.books.list(&share);
            ledger.shares.insert(share.uid, share);
        }
        let mut over: Vec<(u64, JobId, Uid)> = Vec::new();
        for job in image.jobs {
            match &job.state {
                JobState::Ended { ended, .. } => over.push((ended.wall_ms_at(now), job.id, job.uid)),
                JobState::Queued { .. } => ledger.line_up(&job),
                JobState::Running { .. } => {}
            }
            ledger.count_work(&job);
            ledger.jobs.insert(job.id, job);
        }
        over.sort_unstable();
        over.into_iter().for_each(|(_, job, uid)| ledger.remember(uid, job));
        ledger.assert_consistent();
        ledger
    }

    /// What must be remembered across a crash.
    pub fn image(&self) -> Image {
        Image {
            revision: self.revision,
            next_job: self.next_job,
            clock: self.clock.clone(),
            fairness: self.books.fairness.clone(),
            draining: self.draining,
            shares: self.shares.values().cloned().collect(),
            jobs: self.jobs.values().cloned().collect(),
        }
    }

    /// Grows with every change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The id of the next job.
    pub fn next_job(&self) -> u64 {
        self.next_job
    }

    /// The boot of the machine that the clock is in.
    pub fn boot(&self) -> &BootId {
        &self.clock.boot
    }

    /// The shares, by uid.
    pub fn shares(&self) -> &BTreeMap<Uid, Share> {
        &self.shares
    }

    /// One member's share.
    pub fn share(&self, uid: Uid) -> Option<&Share> {
        self.shares.get(&uid)
    }

    /// The jobs that are remembered, by id.
    pub fn jobs(&self) -> &BTreeMap<JobId, Arc<Job>> {
        &self.jobs
    }

    /// Who holds most, the first `limit` of them, with the largest part of the machine first. O(n).
    pub fn holders(&self, limit: usize) -> Vec<&Share> {
        let mut holders: Vec<&Share> = self.shares.values().filter(|share| !share.expired()).collect();
        holders.sort_by_key(|share| std::cmp::Reverse(share.meter.rate));
        holders.truncate(limit);
        holders
    }

    /// What can be handed out, what of it is held, what is free.
    pub fn capacity(&self) -> Capacity {
        self.books.capacity
    }

    /// The memory that is charged to work that is over, and to nobody's share.
    pub fn left_behind(&self) -> Bytes {
        self.books.left_behind
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Whether new requests are stopped.
    pub fn draining(&self) -> bool {
        self.draining
    }

    /// Past use.
    pub fn fairness(&self) -> &Fairness {
        &self.books.fairness
    }

    /// The ledger's time at `now`.
    pub fn time(&self, now: Now) -> Time {
        self.clock.at(now)
    }

    /// A moment of the ledger's time in wall time, in Unix milliseconds: what people are shown.
    pub fn wall_ms(&self, now: Now, time: Time) -> u64 {
        self.clock.wall_ms(now, time)
    }

    /// When [`Command::Tick`] is next due, on this boot's clock (`Now::boot_ms`).
    pub fn next_wakeup(&self) -> Option<u64> {
        let alarm = self.books.alarms.first().map(|(at, _)| *at);
        let patience = self.queue.patience_ends(self.clock.last, self.patience_ms());
        [alarm, patience].into_iter().flatten().min().map(|at| self.clock.boot_ms(at))
    }

    /// Scope numbers up to this one are taken.
    pub fn runs_taken(&mut self, run: u64) {
        if run <= NUMBER_MAX {
            self.next_run = self.next_run.max(run.saturating_add(1));
        }
    }

    /// This job's number is taken, and so is every smaller one.
    pub fn job_taken(&mut self, job: JobId) {
        if job.0 <= NUMBER_MAX {
            self.next_job = self.next_job.max(job.0.saturating_add(1));
        }
    }

    /// Takes one command: the effects to carry out, or why not. Amortised O(log n) of shares and who waits.
    ///
    /// # Errors
    /// A [`Refusal`]; then nothing has changed.
    pub fn apply(&mut self, now: Now, command: Command) -> Result<Vec<Effect>, Refusal> {
        let time = self.clock.seen(now);
        let moved = self.books.fairness.settle_epoch(time);
        if self.forget_trifles(time) || moved {
            self.rekey();
        }
        let mut held = self.books.capacity.held();
        let mut effects = Vec::new();
        match command {
            Command::SetCapacity { cpu, mem } => self.set_capacity(Room::new(cpu, mem)),
            Command::LeftBehind(mem) => {
                self.books.set_left(mem);
                // It is there, whether there is room for it or not.
                held = self.books.capacity.held();
            }
            Command::SetRules(rules) => self.set_rules(rules),
            Command::Reconsider { members } => self.reconsider(now, members, &mut effects),
            Command::Request { member, amount, lease, wait } => {
                self.request(now, member, amount, lease, wait, &mut effects)?;
            }
            Command::Resize { member, amount, in_use } => {
                self.resize(now, &member, amount, in_use, &mut effects)?;
            }
            Command::Renew { member, lease } => self.renew(now, &member, lease, &mut effects)?,
            Command::Release { uid, populated, stop } => {
                self.release(now, uid, populated, stop, &mut effects)?;
            }
            Command::Submit { member, amount, time_limit, name, wait } => {
                let work = command::Asked { amount, time_limit, name, wait };
                self.submit(now, member, work, &mut effects)?;
            }
            Command::WorkEnded { job, end } => self.work_ended(now, job, end, &mut effects),
            Command::NeverBegan { job } => self.never_began(now, job, &mut effects),
            Command::Enter { uid } => self.go_in(uid, &mut effects)?,
            Command::Occupancy { uid, populated } => self.occupancy(uid, populated, &mut effects),
            Command::Cancel { job, by } => self.cancel(now, job, by, &mut effects)?,
            Command::Drain => self.set_draining(true, &mut effects),
            Command::Undrain => self.set_draining(false, &mut effects),
            Command::Tick => self.tick(&mut effects),
            Command::Settle { uid, outcome } => self.settle(now, uid, outcome, &mut effects),
            Command::SliceGone { uid } => self.slice_gone(now, uid, SLICE_WENT, &mut effects),
        }
        self.advance(now, &mut effects);
        self.revision = self.revision.saturating_add(1);
        self.assert_consistent();
        self.books.capacity.assert_not_overbooked(held);
        Ok(effects)
    }

    /// Applies a command of a caller's who waits for its answer.
    ///
    /// # Errors
    /// Those of [`Self::apply`].
    pub fn decide(&mut self, now: Now, command: Command) -> Result<Decided, Refusal> {
        let own = Own::of(&command);
        self.apply(now, command).map(|effects| own.among(effects))
    }

    fn set_capacity(&mut self, whole: Room) {
        if self.books.capacity.whole() == whole {
            return;
        }
        let time = self.clock.last;
        let Self { shares, books, .. } = self;
        shares.values().for_each(|share| books.strike(share, time));
        books.capacity.set(whole);
        shares.values_mut().for_each(|share| books.enter(share, time));
    }

    /// Past use is forgotten where it is worth nothing, whenever there are twice as many accounts as were worth something.
    fn forget_trifles(&mut self, now: Time) -> bool {
        if self.books.fairness.accounts.len() <= self.accounts_max {
            return false;
        }
        let forgotten = self.books.fairness.forget_trifles(now);
        self.accounts_max = self.books.fairness.accounts.len().saturating_mul(2).max(ACCOUNTS_MAX);
        forgotten
    }

    fn set_rules(&mut self, rules: Rules) {
        (self.rules, self.resumed) = (Some(rules), false);
        let half_life_ms = milliseconds(rules.half_life).max(1);
        if half_life_ms == self.books.fairness.half_life_ms {
            return;
        }
        // What is held now was used under the old half-life.
        let time = self.clock.last;
        let Self { shares, books, .. } = self;
        shares.values().for_each(|share| books.strike(share, time));
        books.fairness.set_half_life(half_life_ms, time);
        shares.values_mut().for_each(|share| books.enter(share, time));
        self.rekey();
    }

    fn set_draining(&mut self, draining: bool, effects: &mut Vec<Effect>) {
        if self.draining != draining {
            self.draining = draining;
            effects.push(Effect::Notify(if draining { Event::Drained } else { Event::Undrained }));
        }
    }

    /// Puts a share in the books.
    fn open(&mut self, mut share: Share) {
        self.close(share.uid);
        self.books.enter(&mut share, self.clock.last);
        self.shares.insert(share.uid, share);
    }

    /// Changes a share, and the books with it.
    fn alter(&mut self, uid: Uid, change: impl FnOnce(&mut Share)) {
        if let Some(share) = self.shares.get_mut(&uid) {
            self.books.strike(share, self.clock.last);
            change(share);
            self.books.enter(share, self.clock.last);
        }
    }

    /// Takes a share out of the books.
    fn close(&mut self, uid: Uid) -> Option<Share> {
        let share = self.shares.remove(&uid)?;
        self.books.strike(&share, self.clock.last);
        Some(share)
    }

    /// The next job, with this state.
    fn new_job(&mut self, now: Now, uid: Uid, kind: JobKind, state: JobState) -> JobId {
        let id = JobId(self.next_job);
        self.next_job = self.next_job.saturating_add(1);
        let job = Arc::new(Job { id, uid, kind, created: now, state });
        if job.queued() {
            self.line_up(&job);
        }
        self.count_work(&job);
        self.jobs.insert(id, job);
        id
    }

    /// Counts a job, where it is a submitted command that is not over.
    fn count_work(&mut self, job: &Job) {
        if job.is_work() && !job.ended() {
            *self.works.entry(job.uid).or_default() += 1;
        }
    }

    /// Puts a queued job in the queue.
    fn line_up(&mut self, job: &Job) {
        let (JobState::Queued { since }, Some(ask)) = (&job.state, job.kind.ask()) else { return };
        self.queue.add(Waiting {
            job: job.id,
            uid: job.uid,
            need: Room::of(ask.amount),
            lease_ms: ask.lease_ms,
            since: *since,
            key: self.books.fairness.key(job.uid, ask.weight),
        });
    }

    fn end_job(&mut self, now: Now, id: JobId, end: JobEnd, effects: &mut Vec<Effect>) {
        self.queue.remove(id);
        let ended = self.jobs.get_mut(&id).filter(|job| !job.ended());
        let Some((uid, is_work)) = ended.as_ref().map(|job| (job.uid, job.is_work())) else { return };
        if ended.is_some_and(|job| Arc::make_mut(job).end(now, end)) {
            if is_work {
                let left = self.works.remove(&uid).unwrap_or_default().saturating_sub(1);
                self.works.extend((left > 0).then_some((uid, left)));
            }
            effects.push(Effect::Notify(Event::Job(id)));
            self.remember(uid, id);
        }
    }

    fn remember(&mut self, uid: Uid, id: JobId) {
        if let Some(forgotten) = self.kept.add(uid, id) {
            self.jobs.remove(&forgotten);
        }
    }

    /// After how long who waits goes before all who have not waited as long.
    fn patience_ms(&self) -> u64 {
        milliseconds(self.rules.map_or(PATIENCE_DEFAULT, |rules| rules.patience))
    }

    /// How far away the end of a lease may be to count as one: the longer of the longest lease and the half-life. For an
    /// end after that nobody can be made to wait (1-product.md "Leases").
    fn horizon(&self) -> Time {
        let lease_max = self.rules.and_then(|rules| rules.lease_max).map_or(0, milliseconds);
        self.clock.last.after(lease_max.max(self.books.fairness.half_life_ms))
    }

    fn rekey(&mut self) {
        let Self { queue, jobs, books, .. } = self;
        queue.rekey(|uid, job| match jobs.get(&job).and_then(|job| job.kind.ask()) {
            Some(ask) => books.fairness.key(uid, ask.weight),
            None => 0,
        });
    }

    /// What must hold after every transition, checked in release builds too: a ledger that contradicts itself
    /// must not answer. In O(1); [`Self::audit`] counts everything.
    fn assert_consistent(&self) {
        assert!(
            self.jobs.last_key_value().is_none_or(|(id, _)| id.0 < self.next_job),
            "a job has an id that is still to be given out"
        );
        assert!(self.kept.len() <= JOBS_KEPT_MAX || self.jobs.len() >= self.kept.len(), "jobs are lost");
        self.books.capacity.assert_conserved();
    }

    /// Counts everything anew and compares: conservation share by share, each index against what it indexes. O(n).
    ///
    /// # Panics
    /// Something does not add up.
    pub fn audit(&self) {
        self.assert_consistent();
        let left = Room::new(MilliCpu(0), self.books.left_behind);
        let held = self.shares.values().fold(left, |sum, share| sum.plus(share.room()));
        assert_eq!(held, self.books.capacity.held(), "the shares do not add up to what is held");
        let expired = self.shares.values().filter(|share| share.expired()).count();
        assert_eq!(expired, self.books.expired.len(), "expired shares are miscounted");
        let queued = self.jobs.values().filter(|job| job.queued()).count();
        assert_eq!(queued, self.queue.len(), "the queue is not the queued jobs");
        let works = self.jobs.values().filter(|job| job.is_work() && !job.ended()).count();
        assert_eq!(works, self.works.values().sum::<usize>(), "submitted commands are miscounted");
        let ended = self.jobs.values().filter(|job| job.ended()).count();
        assert_eq!(ended, self.kept.len(), "jobs that are over are miscounted");
        for (uid, share) in &self.shares {
            assert_eq!(*uid, share.uid, "a share is under another member's id");
            assert!(self.queue.job_of(*uid).is_none(), "uid {uid} holds and waits at once");
            let (kernel, books) = (share.enforced().most.mem, share.counted().mem);
            assert!(kernel <= books, "uid {uid} may use {kernel} of memory, and {books} is counted");
            let alarm = share.alarm().map(|at| (at, *uid));
            assert!(alarm.is_none_or(|alarm| self.books.alarms.contains(&alarm)), "an alarm is missing");
        }
        let alarms = self.shares.values().filter(|share| share.alarm().is_some()).count();
        assert_eq!(alarms, self.books.alarms.len(), "there are alarms of nobody");
    }
}
