//! Games that must not pay: whoever plays one has their work done no sooner than by asking straight (6-fairness.md "Games that must
//! not pay").
//!
//! A member with work of 16 CPU for two hours is one of nine on a machine of 64 CPU that has as much to do as it can do: the mean
//! time from when each work is wanted to when all of it is done, asked for straight, to the same in the game.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::OnceLock;

use fairshare::testing::identity::JobId;
use fairshare::testing::ledger::job::JobEnd;
use fairshare::testing::ledger::{BootId, Canceller, Command, Effect, Ledger, Order, Outcome, Rules};
use fairshare::testing::policy::{Policy, QueueRule};
use fairshare::testing::quantity::{Amount, Bytes, MilliCpu, Tasks};

use super::village::{Dice, GIB, at, named, submit, uid};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// The one who plays.
const PLAYER: u64 = 9;
/// How many times it is played.
const SEEDS: u64 = 4;

/// A piece of work.
#[derive(Debug, Clone, Copy)]
struct Piece {
    at: u64,
    who: u64,
    cpu: u64,
    runs: u64,
    limit: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happens {
    Ends(JobId),
    Comes(usize),
    /// What still waits is called back, and asked for again.
    Again(usize),
}

/// A ledger with work in it, in virtual time.
struct Town {
    ledger: Ledger,
    policy: Policy,
    pieces: Vec<Piece>,
    jobs: BTreeMap<JobId, usize>,
    of: BTreeMap<usize, JobId>,
    ended: Vec<Option<u64>>,
    next: BinaryHeap<Reverse<(u64, Happens)>>,
    /// How often the player asks again for what waits.
    again_ms: Option<u64>,
    /// Until when the player asks again for what they have had.
    grabs_until: u64,
}

/// When each piece was done.
fn done(pieces: Vec<Piece>, again_ms: Option<u64>, grabs_until: u64) -> Vec<u64> {
    let amount = |cpu: u64| Amount { cpu: MilliCpu(cpu * 1000), mem: Bytes(64 * GIB), tasks: Tasks(100) };
    let policy = Policy::simple(amount(1), amount(64));
    let mut ledger = Ledger::new(BootId("town".into()));
    let all = Command::SetCapacity { cpu: MilliCpu(64_000), mem: Bytes(64 * GIB) };
    ledger.apply(at(0), all).unwrap();
    let Policy { half_life, tau, patience, .. } = policy;
    let (queue, order) = (QueueRule::default(), Order::Fair);
    let rules = Rules { half_life, tau, patience, queue, order, lease_max: None, evict: false };
    ledger.apply(at(0), Command::SetRules(rules)).unwrap();
    let next = pieces.iter().enumerate().map(|(index, piece)| Reverse((piece.at, Happens::Comes(index))));
    let mut town = Town {
        ledger,
        policy,
        next: next.collect(),
        ended: vec![None; pieces.len()],
        pieces,
        jobs: BTreeMap::new(),
        of: BTreeMap::new(),
        again_ms,
        grabs_until,
    };
    while let Some(Reverse((now, happens))) = town.next.pop() {
        town.happens(now, happens);
    }
    town.ended.into_iter().map(Option::unwrap).collect()
}

impl Town {
    fn happens(&mut self, now: u64, happens: Happens) {
        // Patience ends on its own.
        while let Some(tick) = self.ledger.next_wakeup().filter(|tick| *tick <= now) {
            self.say(tick, Command::Tick);
        }
        match happens {
            Happens::Ends(job) => {
                let index = self.jobs[&job];
                self.ended[index] = Some(now);
                self.say(now, Command::WorkEnded { job, end: JobEnd::Done });
                if self.pieces[index].who == PLAYER && now < self.grabs_until {
                    self.asks(now, index);
                }
            }
            Happens::Comes(index) => self.asks(now, index),
            Happens::Again(index) => {
                let job = self.of[&index];
                if self.ledger.jobs()[&job].queued() {
                    let by = Canceller::Member(uid(self.pieces[index].who));
                    self.say(now, Command::Cancel { job, by });
                    self.asks(now, index);
                }
            }
        }
    }

    fn asks(&mut self, now: u64, index: usize) {
        let Piece { who, cpu, limit, .. } = self.pieces[index];
        let job = JobId(self.ledger.next_job());
        self.jobs.insert(job, index);
        self.of.insert(index, job);
        self.say(now, submit(&self.policy, who, named(cpu * 1000, GIB / 4), Some(limit), Bytes(0)));
        if let Some(again_ms) = self.again_ms.filter(|_| who == PLAYER) {
            self.next.push(Reverse((now + again_ms, Happens::Again(index))));
        }
    }

    fn say(&mut self, now: u64, command: Command) {
        let mut effects = self.ledger.apply(at(now), command).unwrap();
        while let Some(effect) = effects.pop() {
            match effect {
                Effect::Grant(id) | Effect::Withdraw(id) => {
                    let done = Command::Settle { id, outcome: Outcome::Done };
                    effects.extend(self.ledger.apply(at(now), done).unwrap());
                }
                Effect::Start { job, .. } => {
                    let piece = self.pieces[self.jobs[&job]];
                    self.next.push(Reverse((now + piece.runs.min(piece.limit), Happens::Ends(job))));
                }
                Effect::Queued { .. } | Effect::Notify(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

/// What the eight others do in eight days: 8/9 of what the machine can do, less a twentieth.
fn others(dice: &mut Dice) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for who in 1..=8 {
        let mut at = dice.below(3 * HOUR);
        while at < 8 * DAY {
            let (cpu, runs) = (1 + dice.below(16), 10 * MINUTE + dice.below(170 * MINUTE));
            pieces.push(Piece { at, who, cpu, runs, limit: runs });
            // From none to twice of what is due between two.
            let due = cpu * runs * 9 * 100 / 95 / 64;
            at += dice.below(2 * due);
        }
    }
    pieces
}

/// When the player wants work done: as much as each of the others, in the middle of the time.
fn wanted(dice: &mut Dice) -> Vec<u64> {
    let due = 16 * 2 * HOUR * 9 * 100 / 95 / 64;
    let (mut at, mut all) = (DAY / 2, Vec::new());
    while at < 7 * DAY {
        all.push(at);
        at += due / 2 + dice.below(due);
    }
    all
}

/// How much sooner the player's work is done by a game: the mean time that it took straight, to that in the game, in which each
/// piece of work is these pieces.
fn gain(play: impl Fn(u64) -> Vec<Piece>, again_ms: Option<u64>) -> f64 {
    let mut played_ms = 0;
    for seed in 1..=SEEDS {
        let mut dice = Dice::new(seed);
        let (others, wanted) = (others(&mut dice), wanted(&mut dice));
        played_ms += took(&others, &wanted, &play, again_ms);
    }
    straight_ms() as f64 / played_ms as f64
}

/// The same of who asks for it straight.
fn straight_ms() -> u64 {
    static STRAIGHT_MS: OnceLock<u64> = OnceLock::new();
    *STRAIGHT_MS.get_or_init(|| {
        let of = |seed| {
            let mut dice = Dice::new(seed);
            let (others, wanted) = (others(&mut dice), wanted(&mut dice));
            took(&others, &wanted, |at| split(at, 1, 16, 2 * HOUR), None)
        };
        (1..=SEEDS).map(of).sum()
    })
}

/// The time from when each work was wanted until all its pieces were done, summed.
fn took(others: &[Piece], wanted: &[u64], play: impl Fn(u64) -> Vec<Piece>, again_ms: Option<u64>) -> u64 {
    let mut pieces = others.to_vec();
    let mut works = Vec::new();
    for at in wanted {
        let played = play(*at);
        works.push((*at, pieces.len()..pieces.len() + played.len()));
        pieces.extend(played);
    }
    let ended = done(pieces, again_ms, 0);
    works.into_iter().map(|(at, own)| ended[own].iter().max().unwrap() - at).sum()
}

fn split(at: u64, pieces: u64, cpu: u64, runs: u64) -> Vec<Piece> {
    vec![Piece { at, who: PLAYER, cpu, runs, limit: runs }; usize::try_from(pieces).unwrap()]
}

#[track_caller]
fn pays_nothing(game: &str, gain: f64) {
    assert!(gain <= 1.05, "{game} pays: {gain:.3}");
}

#[test]
fn cutting_work_up_pays_nothing() {
    pays_nothing("sixteen pieces", gain(|at| split(at, 16, 1, 2 * HOUR), None));
    pays_nothing("four pieces", gain(|at| split(at, 4, 4, 2 * HOUR), None));
    pays_nothing("a hundred and twenty-eight tiny pieces", gain(|at| split(at, 128, 1, 15 * MINUTE), None));
}

#[test]
fn overstating_pays_nothing() {
    pays_nothing("twice the size", gain(|at| split(at, 1, 32, 2 * HOUR), None));
    let longer = |at: u64| vec![Piece { limit: 16 * HOUR, ..split(at, 1, 16, 2 * HOUR)[0] }];
    pays_nothing("eight times the time", gain(longer, None));
}

#[test]
fn asking_again_pays_nothing() {
    pays_nothing("once an hour", gain(|at| split(at, 1, 16, 2 * HOUR), Some(HOUR)));
    pays_nothing("each ten minutes", gain(|at| split(at, 1, 16, 2 * HOUR), Some(10 * MINUTE)));
}

/// All that is wanted in the first half of the time is asked for at once, at its end.
#[test]
fn saving_up_idle_time_pays_nothing() {
    pays_nothing("a flood", gain(|at| split(at.max(4 * DAY), 1, 16, 2 * HOUR), None));
}

/// Everything is asked for, given back at once where it is granted, and asked for again, for two days. The others, who always want
/// more than there is, get as much done as without it, but for a tenth.
#[test]
fn grabbing_everything_for_moments_takes_little_from_the_others() {
    let mut dice = Dice::new(5);
    let mut pieces = Vec::new();
    for who in 1..=8 {
        for _ in 0..150 {
            let (cpu, runs) = (1 + dice.below(16), 10 * MINUTE + dice.below(170 * MINUTE));
            pieces.push(Piece { at: 0, who, cpu, runs, limit: runs });
        }
    }
    let (others, until) = (pieces.len(), 2 * DAY);
    let had = |pieces: Vec<Piece>| -> u64 {
        let ended = done(pieces.clone(), None, until).into_iter().zip(pieces).take(others);
        ended.filter(|(ended, _)| *ended <= until).map(|(_, piece)| piece.cpu * piece.runs).sum()
    };
    let without = had(pieces.clone());
    pieces.extend(split(HOUR, 1, 64, 1000));
    let with = had(pieces);
    assert!(with * 10 >= without * 9, "the others had {:.3} of it", with as f64 / without as f64);
}
