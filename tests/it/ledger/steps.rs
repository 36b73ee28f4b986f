//! What can happen to a ledger, drawn from a seed.

use super::village::Dice;

pub const MEMBERS: u64 = 7;
const STEPS: u64 = 60;
pub const LEASE_MS_MAX: u64 = 300_000;
pub const HALF_LIFE_MS: u64 = 240_000;
/// The least lease, which a renewal may also be under.
const LEASE_MS_MIN: u64 = 60_000;
/// How much time passes in a long history: twice what anybody may wait, with all the others before.
const LONG_MS: u64 = 2 * (HALF_LIFE_MS + MEMBERS * LEASE_MS_MAX);

/// One thing that happens. Every figure means something in any state, so that a history can be shortened.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    Request { who: u64, cpu: u64, mem: u64, lease: u64, wait: u64 },
    Resize { who: u64, cpu: u64, mem: u64 },
    Renew { who: u64, lease: u64 },
    Release { who: u64, stop: bool },
    Enter { who: u64, which: u64 },
    Leave { who: u64, which: u64 },
    Run { who: u64, cpu: u64, lease: u64, wait: bool, place: u64 },
    Cancel { job: u64, by: u64 },
    Settle { which: u64, fails: bool },
    Gone { who: u64, job: u64 },
    Pass { ms: u64, late: bool },
    ClockJump { to: u64 },
    Crash { reboot: bool },
    Capacity { cpu: u64, mem: u64 },
    Rules { half_life: u64, evict: bool },
    Drain { on: bool },
    Submit { who: u64, cpu: u64, limit: u64, wait: bool, place: u64 },
    SubmitWhen { who: u64, cpu: u64, after: u64, kind: u64, begin: u64 },
    Array { who: u64, cpu: u64, count: u64, at_once: u64, after: u64 },
    Alter { job: u64, by: u64, kind: u64 },
    WorkEnds { which: u64 },
}

pub fn history(seed: u64) -> Vec<Step> {
    let mut dice = Dice::new(seed);
    let calm = seed.is_multiple_of(3);
    let mut steps: Vec<Step> = (0..STEPS).map(|_| step(&mut dice, calm)).collect();
    // One calm history of ten is long.
    while seed.is_multiple_of(30) && passed_ms(&steps) < LONG_MS {
        steps.push(step(&mut dice, calm));
    }
    steps
}

fn passed_ms(steps: &[Step]) -> u64 {
    steps.iter().map(|step| if let Step::Pass { ms, .. } = step { *ms } else { 0 }).sum()
}

/// In a calm history every share has a lease, nothing fails, and the machine stays as it is: the bound must hold.
fn step(dice: &mut Dice, calm: bool) -> Step {
    let who = 1 + dice.below(MEMBERS);
    match dice.below(if calm { 73 } else { 104 }) {
        0..6 => {
            let (cpu, lease) = (1 + dice.below(8), lease(dice));
            Step::Run { who, cpu, lease, wait: dice.below(4) > 0, place: dice.below(4) }
        }
        6..20 => Step::Request {
            who,
            cpu: 1 + dice.below(8),
            mem: 1 + dice.below(8),
            lease: if !calm && dice.below(5) == 0 { 0 } else { lease(dice) },
            wait: dice.below(4),
        },
        20..24 => Step::Resize { who, cpu: 1 + dice.below(8), mem: 1 + dice.below(8) },
        24..28 => Step::Renew { who, lease: 1 + dice.below(LEASE_MS_MAX) },
        28..34 => Step::Release { who, stop: dice.below(2) == 0 },
        34..40 => Step::Enter { who, which: dice.below(4) },
        40..44 => Step::Leave { who, which: dice.below(4) },
        44..46 => Step::Cancel { job: dice.below(20), by: who },
        46..58 => Step::Settle { which: dice.below(8), fails: !calm && dice.below(6) == 0 },
        58..68 => Step::Pass { ms: dice.below(180_000), late: !calm && dice.below(5) == 0 },
        68..70 => Step::Alter { job: dice.below(30), by: who, kind: dice.below(5) },
        70..73 => {
            let (count, at_once) = (1 + dice.below(5), dice.below(4));
            Step::Array { who, cpu: 1 + dice.below(8), count, at_once, after: dice.below(60) }
        }
        73 => Step::Gone { who, job: dice.below(4) },
        74..76 => Step::ClockJump { to: dice.below(120_000_000) },
        76..79 => Step::Crash { reboot: dice.below(3) == 0 },
        79..81 => Step::Capacity { cpu: dice.below(10), mem: 1 + dice.below(10) },
        81..83 => Step::Rules { half_life: 1 + dice.below(480_000), evict: dice.below(2) == 0 },
        83..85 => Step::Drain { on: dice.below(3) == 0 },
        85..90 => {
            let (cpu, limit) = (1 + dice.below(8), dice.below(LEASE_MS_MAX));
            Step::Submit { who, cpu, limit, wait: dice.below(4) > 0, place: dice.below(4) }
        }
        90..95 => {
            let (after, kind) = (dice.below(30), dice.below(5));
            Step::SubmitWhen { who, cpu: 1 + dice.below(8), after, kind, begin: dice.below(300_000) }
        }
        95..97 => Step::Alter { job: dice.below(30), by: who, kind: dice.below(5) },
        _ => Step::WorkEnds { which: dice.below(8) },
    }
}

fn lease(dice: &mut Dice) -> u64 {
    LEASE_MS_MIN + dice.below(LEASE_MS_MAX - LEASE_MS_MIN)
}
