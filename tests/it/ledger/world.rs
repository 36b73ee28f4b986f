//! The world of a history: the ledger, what it believes to exist, and what must hold of both at any moment.

mod later;
mod stored;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fairshare::testing::enforced::Enforced;
use fairshare::testing::identity::{AllocationId, JobId, Purpose};
use fairshare::testing::ledger::allocation::{Keeps, Phase};
use fairshare::testing::ledger::apart::When;
use fairshare::testing::ledger::job::{JobEnd, JobKind};
use fairshare::testing::ledger::reconcile::{Found, verdicts};
use fairshare::testing::ledger::share::enforced;
use fairshare::testing::ledger::time::Time;
use fairshare::testing::ledger::{
    BootId, Canceller, Command, Effect, Ledger, Now, Outcome, Wait, Wanted, Where,
};
use fairshare::testing::policy::Policy;
use fairshare::testing::quantity::{Amount, Bytes, MilliCpu, PartialAmount, Tasks};

use later::works;
use stored::Stored;

use super::order;
use super::steps::{HALF_LIFE_MS, LEASE_MS_MAX, MEMBERS, Step};
use super::village::{GIB, held, member, named, of, own, rests_on_leases, rules, uid, weighted};

/// The ledger, and what it believes to exist: slices, what runs in them, effects under way.
pub struct World {
    ledger: Ledger,
    stored: Stored,
    policy: Policy,
    now: Now,
    boots: u64,
    slices: BTreeMap<AllocationId, (Amount, bool)>,
    under_way: Vec<Effect>,
    /// Submitted commands that run, and all tries that ever began.
    works: Vec<(AllocationId, JobId)>,
    ran: BTreeSet<(JobId, u64)>,
    /// The tasks of arrays that were.
    tasks: BTreeSet<(JobId, u64, u64)>,
    /// What commands were to start after, and not before which time.
    when: BTreeMap<JobId, (When, Time)>,
    calm: bool,
    evict: bool,
    patience: u64,
    /// What was promised to the first, and to whom.
    promised: Option<(JobId, Time)>,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let policy = weighted(&[(1, 1000), (2, 2000), (3, 4000), (4, 500)]);
        let policy =
            Policy { idle: seed.is_multiple_of(5).then_some(Duration::from_millis(54_000)), ..policy };
        let ledger = Ledger::new(BootId("boot 0".into()));
        let mut world = Self {
            stored: Stored::new(&ledger),
            ledger,
            policy,
            now: Now { boot_ms: 1000, wall_ms: 1_000_000 },
            boots: 0,
            slices: BTreeMap::new(),
            under_way: Vec::new(),
            works: Vec::new(),
            ran: BTreeSet::new(),
            tasks: BTreeSet::new(),
            when: BTreeMap::new(),
            calm: seed.is_multiple_of(3),
            evict: false,
            patience: HALF_LIFE_MS,
            promised: None,
        };
        world.say(Command::SetCapacity { cpu: MilliCpu(8000), mem: Bytes(8 * GIB) });
        world.say(rules(HALF_LIFE_MS, false));
        world
    }

    fn say(&mut self, command: Command) {
        let before = self.ledger.image();
        match self.ledger.apply(self.now, command) {
            Ok(effects) => {
                self.stored.store(&self.ledger);
                effects.into_iter().for_each(|effect| self.take(effect));
            }
            Err(_) => {
                let after = self.ledger.image();
                assert_eq!((before.revision, before.next_job), (after.revision, after.next_job));
                assert_eq!(before.allocations, after.allocations, "a refusal changed a share");
                assert_eq!(before.jobs, after.jobs, "a refusal changed a job");
            }
        }
        // What is promised is promised to who is first, for as long as that is so.
        let first = self.ledger.reservation().map(|kept| kept.first.job);
        self.promised = self.promised.filter(|(job, _)| Some(*job) == first);
    }

    fn take(&mut self, effect: Effect) {
        match effect {
            Effect::Queued { .. } | Effect::Notify(_) => {}
            Effect::Evict { id, .. } => {
                assert!(self.evict, "evicted where the policy does not say so");
                assert!(self.ledger.waiting() > 0, "evicted for nobody");
                let share = self.ledger.allocation(id).unwrap();
                let since = share.expired_since().expect("evicted while the lease runs");
                let grace = self.ledger.time(self.now).since(since);
                assert!(grace >= 300_000, "evicted {grace} ms after the end");
                self.under_way.push(effect);
            }
            effect => {
                // The next task of an array is promised nothing of what was promised to this one.
                let is_task = |id: AllocationId| self.ledger.jobs().get(&id.job()?)?.task();
                let task = matches!(effect, Effect::Grant(id) if is_task(id).is_some());
                // Nor is what its member asked for after what is tried again, which has its place still.
                let jobs = self.ledger.jobs();
                let again = |id: AllocationId, first| {
                    id.uid == jobs[&first].uid && id.job().is_some_and(|job| jobs[&job].tries() > 0)
                };
                let passed = |first| matches!(effect, Effect::Grant(id) if again(id, first));
                self.promised = self.promised.filter(|(first, _)| !task && !passed(*first));
                // A command's time begins when it is started, and not when its slice was asked for: the promise moves.
                self.promised = self.promised.filter(|_| !matches!(effect, Effect::Start { .. }));
                self.under_way.push(effect);
            }
        }
    }

    /// Nobody has been the first of theirs for longer in a calm history than `ledger::advance` says: all who are aged go before,
    /// and what they hold themselves may be in the way.
    fn within_bound(&self, id: JobId, since: Time) {
        let waited = self.ledger.time(self.now).since(since);
        let bound = HALF_LIFE_MS + (MEMBERS + 1) * LEASE_MS_MAX;
        assert!(!self.calm || waited <= bound, "job {id} was first of theirs for {waited} ms");
    }

    pub fn run(&mut self, step: Step) {
        match step {
            Step::Request { who, cpu, mem, lease, wait } => {
                let lease = (lease > 0).then(|| Duration::from_millis(lease));
                let wait = if wait == 0 { Wait::No } else { Wait::Granted };
                let amount = named(cpu * 1000, mem * GIB);
                self.say(Command::Request { member: member(&self.policy, who), amount, lease, wait });
            }
            Step::Resize { who, cpu, mem } => {
                let amount = named(cpu * 1000, mem * GIB);
                self.say(Command::Resize {
                    member: member(&self.policy, who),
                    of: Purpose::Standing,
                    amount,
                    in_use: Bytes(GIB),
                });
            }
            Step::Renew { who, lease } => {
                let lease = Duration::from_millis(lease);
                self.say(Command::Renew { member: member(&self.policy, who), of: Purpose::Standing, lease });
            }
            Step::Release { who, stop } => {
                let populated = self.slices.get(&own(who)).is_some_and(|(_, inside)| *inside);
                self.say(Command::Release { id: own(who), populated, stop });
            }
            Step::Enter { who, which } => self.say(Command::Enter { id: self.open_to(who, which) }),
            Step::Leave { who, which } => {
                let id = self.open_to(who, which);
                if let Some((_, inside)) = self.slices.get_mut(&id) {
                    *inside = false;
                    self.say(Command::Occupancy { id, populated: false });
                }
            }
            Step::Run { who, cpu, lease, wait, place } => self.run_in_front(who, cpu, lease, (wait, place)),
            Step::Cancel { job, by } => {
                self.say(Command::Cancel { job: JobId(job), by: Canceller::Member(uid(by)) });
            }
            Step::Submit { who, cpu, limit, wait, place } => self.submit(who, cpu, limit, (wait, place)),
            Step::SubmitWhen { who, cpu, after, kind, begin } => {
                self.submit_when(who, cpu, after, (kind, begin))
            }
            Step::Array { who, cpu, count, at_once, after } => self.array(who, cpu, (count, at_once), after),
            Step::Alter { job, by, kind } => self.alter(job, by, kind),
            Step::WorkEnds { which } if !self.works.is_empty() => {
                let (id, job) = self.works.remove(which as usize % self.works.len());
                self.work_ends(id, job, JobEnd::Done);
            }
            Step::WorkEnds { .. } => {}
            Step::Settle { which, fails } => self.settle(which, fails),
            Step::Gone { who, job } => {
                let of_theirs: Vec<_> = self.slices.keys().filter(|id| id.uid == uid(who)).copied().collect();
                let Some(id) = of_theirs.get(job as usize % of_theirs.len().max(1)).copied() else { return };
                self.under_way.retain(|effect| of(effect, &self.ledger) != Some(id));
                self.slice_ends(id);
                self.say(Command::SliceGone { id });
            }
            Step::Pass { ms, late } => self.pass(ms, late),
            Step::ClockJump { to } => self.now.wall_ms = to,
            Step::Crash { reboot } => self.crash(reboot),
            Step::Capacity { cpu, mem } => {
                self.promised = None;
                self.say(Command::SetCapacity { cpu: MilliCpu(cpu * 1000), mem: Bytes(mem * GIB) });
            }
            Step::Rules { half_life, evict } => {
                (self.evict, self.patience, self.promised) = (evict, half_life, None);
                self.say(rules(half_life, evict));
            }
            Step::Drain { on } => self.say(if on { Command::Drain } else { Command::Undrain }),
        }
    }

    /// One of the allocations of a member's that processes can go in.
    fn open_to(&self, who: u64, which: u64) -> AllocationId {
        let of_theirs = self.ledger.allocations_of(uid(who)).map(|allocation| allocation.id);
        let open: Vec<_> = of_theirs.filter(|id| !matches!(id.purpose, Purpose::Job(_))).collect();
        open.get(which as usize % open.len().max(1)).copied().unwrap_or(own(who))
    }

    fn run_in_front(&mut self, who: u64, cpu: u64, lease: u64, (wait, place): (bool, u64)) {
        let wanted = Wanted {
            amount: if place == 0 { PartialAmount::default() } else { named(cpu * 1000, GIB) },
            place: [Where::ByFigures, Where::ByFigures, Where::InShare, Where::Own][place as usize],
            lease: Some(Duration::from_millis(lease)),
            wait: if wait { Wait::Granted } else { Wait::No },
        };
        self.say(Command::Run { member: member(&self.policy, who), wanted });
    }

    /// When the ledger wants to be woken, or systemd ends a command.
    fn next_event(&self) -> Option<u64> {
        let offset = self.now.boot_ms.wrapping_sub(self.ledger.time(self.now).0);
        let ends = self.works.iter().filter(|(id, _)| *id != AllocationId::standing(id.uid));
        let ends = ends.filter_map(|(id, _)| self.ledger.allocation(*id)?.lease);
        let ends = ends.map(|lease| lease.ends.0.wrapping_add(offset).max(self.now.boot_ms));
        ends.chain(self.ledger.next_wakeup()).min()
    }

    /// systemd ends what has been at work for as long as it may.
    fn end_overdue(&mut self) {
        let time = self.ledger.time(self.now);
        let over = |id: &AllocationId| {
            let lease = self.ledger.allocation(*id).and_then(|held| held.lease);
            lease.is_some_and(|lease| lease.ends <= time) && *id != AllocationId::standing(id.uid)
        };
        let (gone, left) = std::mem::take(&mut self.works).into_iter().partition(|(id, _)| over(id));
        self.works = left;
        let gone: Vec<(AllocationId, JobId)> = gone;
        gone.into_iter().for_each(|(id, job)| self.work_ends(id, job, JobEnd::Done));
        self.settle_at_once();
    }

    /// Time passes, with a tick whenever the ledger wants one, or too late.
    fn pass(&mut self, ms: u64, late: bool) {
        self.clear_for_others();
        let end = self.now.boot_ms + if self.evict { ms * 4 } else { ms };
        if !late {
            let mut ticks = 0;
            while let Some(at) = self.next_event().filter(|at| *at <= end) {
                let passed = at.saturating_sub(self.now.boot_ms);
                self.now = Now { boot_ms: self.now.boot_ms + passed, wall_ms: self.now.wall_ms + passed };
                self.settle_at_once();
                self.say(Command::Tick);
                self.settle_at_once();
                self.end_overdue();
                ticks += 1;
                assert!(ticks < 1000, "the ledger wants to be woken without end");
            }
        }
        let passed = end - self.now.boot_ms;
        self.now = Now { boot_ms: end, wall_ms: self.now.wall_ms + passed };
        self.say(Command::Tick);
        self.settle_at_once();
        self.end_overdue();
    }

    /// In a calm history systemd does what it is told before time passes: that is a condition of the bound.
    fn settle_at_once(&mut self) {
        while self.calm && !self.under_way.is_empty() {
            self.settle(0, false);
        }
    }

    fn settle(&mut self, which: u64, fails: bool) {
        if self.under_way.is_empty() {
            return;
        }
        let effect = self.under_way.remove(which as usize % self.under_way.len());
        let outcome = if fails { Outcome::Undone("as told".into()) } else { self.carry_out(&effect) };
        match effect {
            Effect::Enter { .. } => return,
            Effect::Warn { job, .. } => return self.say(Command::Warned { job, sent: !fails }),
            Effect::Start { job, .. } if fails => {
                let home = self.home(job);
                return self.work_ends(home, job, JobEnd::Failed("as told".into()));
            }
            Effect::Start { .. } => return,
            Effect::CallBack { job, .. } => {
                let home = self.home(job);
                if self.works.contains(&(home, job)) {
                    self.works.retain(|work| *work != (home, job));
                    self.work_ends(home, job, JobEnd::Cancelled);
                }
                return;
            }
            _ => {}
        }
        let id = of(&effect, &self.ledger).unwrap();
        self.say(Command::Settle { id, outcome });
    }

    fn home(&self, job: JobId) -> AllocationId {
        self.ledger.jobs()[&job].home().unwrap()
    }

    fn carry_out(&mut self, effect: &Effect) -> Outcome {
        match effect {
            Effect::Grant(id) => {
                let amount = self.ledger.allocation(*id).unwrap().amount;
                assert!(self.slices.insert(*id, (amount, false)).is_none(), "a second slice for {id}");
            }
            Effect::Resize { id, to, .. } => drop(self.slices.get_mut(id).map(|slice| slice.0 = *to)),
            Effect::Lower(id) => {
                // What its processes leave in a share is not given back by the end of its lease: the promise is void.
                self.promised = None;
                let keeps = Keeps { mem: Bytes(if self.calm { 0 } else { GIB }), tasks: Tasks(1) };
                let slice = self.slices.get_mut(id).unwrap();
                (slice.0.mem, slice.0.tasks) = (slice.0.mem.min(keeps.mem), keeps.tasks);
                return Outcome::Lowered(keeps);
            }
            Effect::Renew(id) => {
                let amount = self.ledger.allocation(*id).unwrap().amount;
                self.slices.get_mut(id).unwrap().0 = amount;
            }
            Effect::Withdraw(id) => {
                if self.slices.get(id).is_some_and(|(_, inside)| *inside) {
                    return Outcome::Undone("processes are inside".into());
                }
                self.slices.remove(id);
            }
            Effect::Stop { id, .. } | Effect::Evict { id, .. } => self.slice_ends(*id),
            Effect::Enter { id, .. } => {
                if let Some(slice) = self.slices.get_mut(id) {
                    slice.1 = true;
                }
            }
            Effect::Start { job, .. } => {
                let of = &self.ledger.jobs()[job];
                assert!(self.ran.insert((*job, of.tries())), "job {job} is started twice");
                if let Some(task) = of.task() {
                    let once = self.tasks.insert((task.of, task.index, of.tries()));
                    assert!(once, "{task:?} is started twice");
                }
                self.may_start(*job);
                let home = self.home(*job);
                match self.slices.get_mut(&home) {
                    Some(slice) => {
                        slice.1 = true;
                        self.works.push((home, *job));
                    }
                    None => self.work_ends(home, *job, JobEnd::Failed("no slice".into())),
                }
            }
            Effect::Queued { .. } | Effect::Notify(_) | Effect::CallBack { .. } => {}
            Effect::Pause { .. } | Effect::Warn { .. } => {}
        }
        Outcome::Done
    }

    /// A slice goes with everything in it.
    fn slice_ends(&mut self, id: AllocationId) {
        self.slices.remove(&id);
        let works = std::mem::take(&mut self.works).into_iter();
        let (gone, left): (Vec<_>, Vec<_>) = works.partition(|(of, _)| *of == id);
        self.works = left;
        gone.into_iter().for_each(|(id, job)| self.work_ends(id, job, JobEnd::Done));
    }

    fn work_ends(&mut self, id: AllocationId, job: JobId, end: JobEnd) {
        self.say(Command::WorkEnded { job, end });
        if !self.works.iter().any(|(of, _)| *of == id)
            && let Some(slice) = self.slices.get_mut(&id)
        {
            slice.1 = false;
            self.say(Command::Occupancy { id, populated: false });
        }
    }

    /// The daemon dies with everything that it had under way, and starts again; or the machine does.
    fn crash(&mut self, reboot: bool) {
        self.stored.store(&self.ledger);
        let stored = self.stored.read();
        let order = |of: &Ledger| of.places().iter().map(|place| place.waiting.job).collect::<Vec<JobId>>();
        let places = order(&self.ledger);
        if reboot {
            self.slices.clear();
            self.works.clear();
            self.boots += 1;
            self.now = Now { boot_ms: 500, wall_ms: self.now.wall_ms + 800 };
        }
        self.under_way.clear();
        self.promised = None;
        let whole = self.ledger.capacity().whole();
        self.ledger = Ledger::restore(BootId(format!("boot {}", self.boots)), self.now, stored);
        if !reboot {
            let mut told = self.ledger.clone();
            told.apply(self.now, Command::SetCapacity { cpu: whole.cpu(), mem: whole.mem() }).unwrap();
            told.apply(self.now, rules(self.patience, self.evict)).unwrap();
            // What is likely is guessed anew, and who is served by it waits no more.
            let waits = places.into_iter().filter(|job| told.jobs()[job].queued());
            assert_eq!(waits.collect::<Vec<_>>(), order(&told), "places were lost");
        }
        let found = |(amount, inside): &(Amount, bool)| Found {
            limits: held(Enforced::promised(*amount, Bytes(0))),
            mem_in_use: Bytes(GIB),
            tasks_in_use: Tasks(1),
            populated: *inside,
            in_share: false,
        };
        let found: BTreeMap<AllocationId, Found> =
            self.slices.iter().map(|(id, slice)| (*id, found(slice))).collect();
        for (id, verdict) in verdicts(&self.ledger, &found, &BTreeMap::new()) {
            self.ledger.reconciled(self.now, id, &verdict, Bytes(0), None);
        }
        let shares = self.ledger.allocations();
        self.slices.retain(|id, _| shares.contains_key(id));
        let slices = &mut self.slices;
        shares.values().for_each(|share| {
            slices.entry(share.id).or_insert((share.amount, false)).0 = share.enforced().most
        });
        // Of every second that waits it is known what it is to run.
        self.ledger.interrupt_jobs(self.now, |job| job.0.is_multiple_of(2));
        self.clear_for_others();
        let at_work = self.ledger.jobs().values().filter(|job| !job.ended() && works(job));
        let lost = at_work.filter(|job| !job.queued()).map(|job| (job.home().unwrap(), job.id));
        for (id, job) in lost.collect::<Vec<_>>() {
            if !self.works.contains(&(id, job)) {
                self.work_ends(id, job, JobEnd::Interrupted);
            }
        }
        let again = verdicts(&self.ledger, &BTreeMap::new(), &BTreeMap::new()).len();
        assert_eq!(again, self.ledger.allocations().len());
        self.say(Command::SetCapacity { cpu: whole.cpu(), mem: whole.mem() });
        self.patience = HALF_LIFE_MS;
        self.say(rules(HALF_LIFE_MS, self.evict));
        self.say(Command::Tick);
    }

    /// What must hold at any moment.
    pub fn check(&mut self) {
        let ledger = &self.ledger;
        ledger.audit();
        for job in ledger.jobs().values().filter(|job| works(job) && !job.ended() && !job.queued()) {
            let home = job.home().unwrap();
            let held = ledger.allocation(home).is_some_and(|share| match share.phase {
                Phase::Granting { job: of } => of == Some(job.id),
                _ => self.works.contains(&(home, job.id)) || !self.ran.contains(&(job.id, job.tries())),
            });
            assert!(held || !self.slices.contains_key(&home), "job {} runs nowhere", job.id);
        }
        for job in ledger.jobs().values().filter(|job| matches!(job.kind, JobKind::Run(_))) {
            let there = ledger.allocation(job.home().unwrap()).is_some();
            assert_eq!(there, !job.ended() && !job.queued(), "job {} and its allocation part", job.id);
        }
        let held: BTreeSet<AllocationId> = ledger.allocations().keys().copied().collect();
        assert!(self.slices.keys().all(|id| held.contains(id)), "a slice that nobody remembers");
        for (uid, share) in ledger.shares() {
            let around = enforced(ledger.allocations_of(*uid)).unwrap();
            let promised = ledger.allocations_of(*uid).filter(|share| !share.expired());
            let cpu: u64 = promised.map(|share| share.counted().cpu.0).sum();
            assert!(around.weight >= cpu / 10, "uid {uid} weighs {} for {cpu}", around.weight);
            assert!(u128::from(around.most.mem.0) >= share.room.mem, "uid {uid} has too little around");
        }
        let limits: u128 = self.slices.values().map(|(amount, _)| u128::from(amount.mem.0)).sum();
        assert!(limits <= ledger.capacity().held().mem, "the kernel allows more memory than is counted");
        order::by_brute_force(ledger, ledger.time(self.now), self.patience);
        let mut seen = BTreeSet::new();
        for place in ledger.places() {
            if seen.insert(place.waiting.uid) {
                self.within_bound(place.waiting.job, place.waiting.since);
            }
        }
        let kept = ledger.reservation();
        let fits = kept.is_some_and(|kept| kept.first.need().fits(ledger.capacity().free()));
        assert!(ledger.draining() || !fits, "the first in the queue fits and waits");
        let Some(kept) = kept.filter(|_| rests_on_leases(ledger)) else { return self.promised = None };
        let starts = kept.start.map(|(start, _)| start);
        if let (Some((job, promised)), Some(starts)) = (self.promised, starts)
            && job == kept.first.job
        {
            let latest = promised.max(ledger.time(self.now));
            assert!(starts <= latest, "the first was to start at {promised:?} and now is at {starts:?}");
        } else if let (Some((job, promised)), None) = (self.promised, starts) {
            assert!(
                job != kept.first.job,
                "the first was to start at {promised:?}, and now nobody knows when"
            );
        }
        self.promised = starts.map(|starts| (kept.first.job, starts));
        let places = ledger.places();
        let first = places.iter().find(|place| place.waiting.job == kept.first.job).unwrap();
        assert!(ledger.draining() || first.starts == starts || places[0].waiting.job != first.waiting.job);
    }
}
