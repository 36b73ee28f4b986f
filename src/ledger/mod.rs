//! Who holds what, who waits, who may: a pure state machine.
//!
//! No clock, no I/O, no async, no serde: `now` comes in, [`Effect`]s go out, and the same commands give the
//! same effects. A change is made in two commands. The first states the intent and names what is to be done
//! ([`Effect`]); [`Command::Settle`] states how that went. What lies between is a [`allocation::Phase`] of the allocation.
//!
//! `rule` what members may do · `expire` what time does · `advance` who waits is served · `queue` in which order · `apart` what
//! waits for something else before · `reached` when that comes · `array` what is run for many indices · `tasks` how one task after
//! the other is made of that · `again` what is run again · `tries` how that goes · `care` what is done for a command that runs ·
//! `warned` when it is warned · `fairness` who is ahead · `contest` who waits for room · `likely` how long work runs · `counted`
//! what is counted and kept ·
//! `settle` how an effect went · `reconcile` after a start.

mod advance;
pub mod again;
pub mod allocation;
pub mod apart;
pub mod array;
pub mod beside;
pub mod care;
pub mod command;
mod contest;
pub mod counted;
mod decided;
pub mod difference;
pub mod expire;
pub mod fairness;
pub mod job;
mod likely;
mod places;
pub mod queue;
mod reached;
pub mod reconcile;
pub mod refusal;
mod rule;
mod seen;
mod settle;
pub mod share;
mod tasks;
pub mod time;
pub mod told_key;
mod tries;
pub mod warned;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::identity::{AllocationId, JobId, Uid};
use crate::policy::{HALF_LIFE_DEFAULT, PATIENCE_DEFAULT, TAU_DEFAULT};
use crate::quantity::MilliCpu;
use crate::time::milliseconds;
use allocation::Allocation;
use apart::Aside;
use care::Warnings;
use counted::books::Books;
use counted::kept::Kept;
use counted::room::Room;
use decided::Own;
use fairness::{ACCOUNTS_MAX, Fairness, Lags};
use job::{JOBS_KEPT_MAX, Job, JobEnd, JobKind, JobState, SLICE_WENT};
use queue::{Queue, Waiting};
use refusal::Refusal;
use share::Share;
use time::{Clock, Time};

pub use crate::time::{BootId, Now};
pub use command::{
    Asked, Canceller, Command, Effect, Event, Member, Order, Outcome, Rules, Wait, Wanted, Where,
};
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
    /// Who is ahead of whom.
    pub fairness: Lags,
    /// Whether new requests are stopped.
    pub draining: bool,
    /// The allocations, by member.
    pub allocations: Vec<Allocation>,
    /// Who is first in the queue, and has the reservation.
    pub reserved: Option<JobId>,
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
    /// How many accounts there may be before those worth nothing are forgotten.
    accounts_max: usize,
    allocations: BTreeMap<AllocationId, Allocation>,
    jobs: BTreeMap<JobId, Arc<Job>>,
    books: Books,
    queue: Queue,
    /// Who waits for something else before they come into the queue.
    aside: Aside,
    /// When those that run are to be warned.
    warnings: Warnings,
    /// Who has the reservation.
    reserved: Option<JobId>,
    kept: Kept,
    /// How many submitted commands run in each allocation, or are about to.
    inside: BTreeMap<AllocationId, usize>,
    /// How much is on disk of what the commands of each member are to run, in bytes, and of all.
    on_disk: (BTreeMap<Uid, u64>, u64),
    /// How many tasks of each member's arrays wait to be run again.
    tasks_waiting: BTreeMap<Uid, usize>,
}

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
            allocations: BTreeMap::new(),
            jobs: BTreeMap::new(),
            books: Books::new(Fairness::new(Lags::new(
                milliseconds(HALF_LIFE_DEFAULT),
                milliseconds(TAU_DEFAULT),
            ))),
            queue: Queue::default(),
            aside: Aside::default(),
            warnings: Warnings::default(),
            reserved: None,
            kept: Kept::default(),
            inside: BTreeMap::new(),
            on_disk: Default::default(),
            tasks_waiting: BTreeMap::new(),
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
        (ledger.draining, ledger.resumed, ledger.reserved) = (image.draining, true, image.reserved);
        ledger.books.fairness = Fairness::new(image.fairness);
        for mut allocation in image.allocations {
            // What was inside when the daemon ended says nothing of now.
            allocation.empty_since = None;
            ledger.books.resume(&allocation);
            ledger.allocations.insert(allocation.id, allocation);
        }
        let mut over: Vec<(u64, JobId, Uid)> = Vec::new();
        for job in image.jobs {
            match &job.state {
                JobState::Ended { ended, .. } => over.push((ended.wall_ms_at(now), job.id, job.uid)),
                JobState::Queued { .. } => ledger.put_in_line(&job),
                JobState::Running { .. } => {}
            }
            ledger.count_work(&job);
            ledger.count_kept(&job);
            ledger.jobs.insert(job.id, job);
        }
        ledger.count_tasks();
        ledger.warn_those_that_run();
        ledger.strike_absent();
        over.sort_unstable();
        for (_, job, uid) in over {
            ledger.kept.begin();
            ledger.remember(uid, job);
        }
        let held: Vec<AllocationId> = ledger.allocations.keys().copied().collect();
        held.into_iter().for_each(|id| ledger.guess(id));
        ledger.hear_of_the_past(now);
        ledger.assert_consistent();
        ledger
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

    /// Takes one command: the effects to carry out, or why not. Amortised O(log n) of allocations and who waits.
    ///
    /// # Errors
    /// A [`Refusal`]; then nothing has changed.
    pub fn apply(&mut self, now: Now, command: Command) -> Result<Vec<Effect>, Refusal> {
        let time = self.clock.seen(now);
        self.pass(time);
        self.kept.begin();
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
            Command::Resize { member, of, amount, in_use } => {
                self.resize(now, &member, of, (amount, in_use), &mut effects)?;
            }
            Command::Renew { member, of, lease } => self.renew(now, &member, of, lease, &mut effects)?,
            Command::Release { id, populated, stop } => {
                self.release(now, id, populated, stop, &mut effects)?;
            }
            Command::Submit { member, asked } => self.submit(now, member, *asked, &mut effects)?,
            Command::Cleared { job, tries } => self.cleared(job, tries),
            Command::WorkEnded { job, end } => self.work_ended(now, job, end, &mut effects),
            Command::Ending { job, end } => self.ending(job, end),
            Command::Warned { job, sent } => self.warned(job, sent),
            Command::NeverBegan { job } => self.never_began(now, job, &mut effects),
            Command::Run { member, wanted } => self.run(now, &member, wanted, &mut effects)?,
            Command::Enter { id } => self.go_in(id, &mut effects)?,
            Command::Occupancy { id, populated } => self.occupancy(id, populated, &mut effects),
            Command::Alter { job, by, change } => self.alter_job(job, by, change, &mut effects)?,
            Command::Pause { job, by, pause } => self.pause_job(now, (job, by), pause, &mut effects)?,
            Command::Cancel { job, by } => self.cancel(now, job, by, &mut effects)?,
            Command::Drain => self.set_draining(true, &mut effects),
            Command::Undrain => self.set_draining(false, &mut effects),
            Command::Tick => self.tick(&mut effects),
            Command::Settle { id, outcome } => self.settle(now, id, outcome, &mut effects),
            Command::SliceGone { id } => self.slice_gone(now, id, SLICE_WENT, &mut effects),
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
        let Self { allocations, books, .. } = self;
        allocations.values().for_each(|allocation| books.strike(allocation));
        books.capacity.set(whole);
        allocations.values().for_each(|allocation| books.enter(allocation));
        self.recount_all();
    }

    fn set_draining(&mut self, draining: bool, effects: &mut Vec<Effect>) {
        if self.draining != draining {
            self.draining = draining;
            effects.push(Effect::Notify(if draining { Event::Drained } else { Event::Undrained }));
        }
    }

    /// Puts an allocation in the books.
    fn open(&mut self, allocation: Allocation) {
        self.close(allocation.id);
        self.books.enter(&allocation);
        let uid = allocation.id.uid;
        self.allocations.insert(allocation.id, allocation);
        self.recount(uid);
    }

    /// Changes an allocation, and the books with it.
    fn alter(&mut self, id: AllocationId, change: impl FnOnce(&mut Allocation)) {
        if let Some(allocation) = self.allocations.get_mut(&id) {
            self.books.strike(allocation);
            change(allocation);
            self.books.enter(allocation);
            self.recount(id.uid);
        }
    }

    /// Takes an allocation out of the books.
    fn close(&mut self, id: AllocationId) -> Option<Allocation> {
        let allocation = self.allocations.remove(&id)?;
        self.books.strike(&allocation);
        self.books.guesses.forget(id);
        self.recount(id.uid);
        self.room_is_gone(id);
        Some(allocation)
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
        self.count_kept(&job);
        self.jobs.insert(id, job);
        id
    }

    /// Counts a job where it is a submitted command that runs, or is about to.
    fn count_work(&mut self, job: &Job) {
        let home = job.works_in().filter(|_| !job.ended() && !job.queued());
        home.into_iter().for_each(|home| *self.inside.entry(home).or_default() += 1);
    }

    /// Puts a job that waits in the queue, or apart.
    fn line_up(&mut self, job: &Job) {
        self.put_in_line(job);
        self.recount(job.uid);
        if self.queue.first_of(job.uid).is_some_and(|first| first.job == job.id) {
            self.give_up_place(job.uid);
        }
    }

    /// The same for one of whose member it is known whether they wait.
    fn put_in_line(&mut self, job: &Job) {
        if job.task().is_some() {
            *self.tasks_waiting.entry(job.uid).or_default() += 1;
        }
        match (job.apart(), Waiting::of(job)) {
            (Some(apart), _) => self.aside.add(job.uid, job.id, apart),
            (None, Some(waiting)) => self.queue.add(waiting, &self.books),
            (None, None) => {}
        }
    }

    /// Takes a job out of where it waits. Where that is the queue the next of its member is their first from now on.
    fn leave_line(&mut self, id: JobId) {
        self.take_out(id).into_iter().for_each(|uid| self.recount(uid));
    }

    /// The same, where the member whose queue it was is counted anew by who asks.
    fn take_out(&mut self, id: JobId) -> Option<Uid> {
        let since = self.clock.last;
        let task = self.jobs.get(&id).filter(|job| job.queued() && job.task().is_some()).map(|job| job.uid);
        task.into_iter().for_each(|uid| one_less(&mut self.tasks_waiting, uid));
        if let Some(job) = self.jobs.get(&id)
            && let Some(apart) = job.apart()
        {
            self.aside.remove(job.uid, id, apart);
            return None;
        }
        let (left, next) = self.queue.remove(id, &self.books, since)?;
        if let Some(job) = next.and_then(|next| self.jobs.get_mut(&next)) {
            Arc::make_mut(job).state = JobState::Queued { since };
        }
        Some(left.uid)
    }

    /// A member who has put another of theirs before the one with the reservation gives that up: whose turn it is is looked at
    /// anew, so that no small request keeps it for a large one.
    fn give_up_place(&mut self, uid: Uid) {
        let first = self.queue.first_of(uid).map(|first| first.job);
        self.reserved =
            self.reserved.filter(|job| first == Some(*job) || self.queue.whose(*job) != Some(uid));
    }

    /// One job is over: how, where it was not before.
    fn end_one(&mut self, now: Now, id: JobId, end: JobEnd) -> Option<JobEnd> {
        self.leave_line(id);
        self.warnings.remove(id);
        let job = self.jobs.get_mut(&id).filter(|job| !job.ended())?;
        let (uid, home, ran, kept) = (job.uid, job.works_in(), !job.queued(), job.kept());
        home.filter(|_| ran).into_iter().for_each(|home| one_less(&mut self.inside, home));
        let end = Arc::make_mut(job).end(now, end);
        self.discount_kept(uid, kept.0);
        self.remember(uid, id);
        end
    }

    fn remember(&mut self, uid: Uid, id: JobId) {
        for forgotten in self.kept.add(uid, id) {
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
        self.clock.last.after(lease_max.max(self.books.fairness.lags().half_life_ms))
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

    /// Counts everything anew and compares: conservation allocation by allocation, each index against what it indexes. O(n).
    ///
    /// # Panics
    /// Something does not add up.
    pub fn audit(&self) {
        self.assert_consistent();
        let left = Room::new(MilliCpu(0), self.books.left_behind);
        let held = self.allocations.values().fold(left, |sum, allocation| sum.plus(allocation.room()));
        assert_eq!(held, self.books.capacity.held(), "the allocations do not add up to what is held");
        let expired = self.allocations.values().filter(|allocation| allocation.expired()).count();
        assert_eq!(expired, self.books.expired.len(), "expired allocations are miscounted");
        let queued = self.jobs.values().filter(|job| job.queued()).count();
        assert_eq!(queued, self.queue.len() + self.aside.len(), "the queue is not the queued jobs");
        let apart = self.jobs.values().filter_map(|job| Some((job, job.apart()?)));
        for (job, apart) in apart {
            assert!(!apart.is_over(), "job {} waits for nothing", job.id);
            let waits = |id: &JobId| self.jobs.get(id).is_some_and(|of| !of.ended() && of.uid == job.uid);
            assert!(apart.awaited().iter().all(waits), "job {} waits for what has ended", job.id);
        }
        let kept = self.jobs.values().map(|job| job.kept().0).sum::<u64>();
        assert_eq!(kept, self.on_disk.1, "what is on disk is miscounted");
        assert_eq!(kept, self.on_disk.0.values().sum::<u64>(), "what is on disk of members is miscounted");
        let ended = self.jobs.values().filter(|job| job.ended()).count();
        assert_eq!(ended, self.kept.len(), "jobs that are over are miscounted");
        for array in self.jobs.values().filter(|job| job.array().is_some() && !job.ended()) {
            let at_work = array.array().map(|array| array.at_work);
            assert_eq!(at_work, Some(self.tasks_of(array.id).len() as u64), "tasks are miscounted");
        }
        let tasks = self.jobs.values().filter(|job| job.queued() && job.task().is_some()).count();
        assert_eq!(tasks, self.tasks_waiting.values().sum::<usize>(), "tasks that wait are miscounted");
        let works = |job: &&Arc<Job>| job.works_in().is_some() && !job.ended() && !job.queued();
        let inside = self.jobs.values().filter(works);
        assert_eq!(inside.count(), self.inside.values().sum::<usize>(), "commands that run are miscounted");
        for (id, allocation) in &self.allocations {
            assert_eq!(*id, allocation.id, "an allocation is under another's id");
            let (kernel, books) = (allocation.enforced().most.mem, allocation.counted().mem);
            assert!(kernel <= books, "{id} may use {kernel} of memory, and {books} is counted");
            let alarm = allocation.alarm().map(|at| (at, *id));
            assert!(alarm.is_none_or(|alarm| self.books.alarms.contains(&alarm)), "an alarm is missing");
        }
        for (uid, share) in &self.books.shares {
            let sum = self.allocations_of(*uid).fold(Share::default(), Share::plus);
            assert_eq!(sum, *share, "the share of uid {uid} is miscounted");
        }
        let alarms = self.allocations.values().filter(|allocation| allocation.alarm().is_some()).count();
        assert_eq!(alarms, self.books.alarms.len(), "there are alarms of nobody");
        self.audit_lags();
        self.audit_warnings();
    }
}

/// Counts one less, of which there was one.
fn one_less<Key: Ord>(counts: &mut BTreeMap<Key, usize>, key: Key) {
    let left = counts.remove(&key).unwrap_or_default().saturating_sub(1);
    counts.extend((left > 0).then_some((key, left)));
}
