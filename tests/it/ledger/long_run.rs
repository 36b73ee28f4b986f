//! Long runs under more demand than there is: equal members get the same, weights get their part, who used an idle machine is not
//! behind when others come, and what needs the whole machine has its turn (6-fairness.md, the first table).

use fairshare::testing::policy::Policy;
use fairshare::testing::quantity::{Amount, Bytes, MilliCpu, Tasks};
use fairshare::testing::simulate::Report;
use fairshare::testing::simulate::trace::Arrival;

use super::village::{Dice, GIB, arrival, named, replayed, weighted};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Up to all of a machine of 64 CPU and 64 GiB for each, with these weights in thousandths.
fn policy(weights: &[u64]) -> Policy {
    let weights: Vec<(u64, u64)> = (1..).zip(weights.iter().copied()).collect();
    let max = Amount { cpu: MilliCpu(64_000), mem: Bytes(64 * GIB), tasks: Tasks(100) };
    Policy { max, ..weighted(&weights) }
}

/// Eight members always want more than there is, each work of another kind: of 1 CPU to half of the machine, from ten minutes to
/// three hours, of much CPU or much memory. What each got in three weeks.
fn saturated(weights: [u64; 8]) -> Report {
    let mut dice = Dice::new(1);
    let mut arrivals = Vec::new();
    for (user, size) in [1u64, 2, 4, 8, 16, 32, 3, 6].into_iter().enumerate() {
        let memory_bound = user % 3 == 1;
        // Three times what its weight is due, whatever it may be.
        let mut wanted = 3.0 * 21.0 * 24.0 * 64.0 * weights[user] as f64 / weights.iter().sum::<u64>() as f64;
        while wanted > 0.0 {
            let runs = 10 * MINUTE + dice.below(170 * MINUTE);
            let (cpu, gib) = if memory_bound { (size.div_ceil(4), size) } else { (size, size.div_ceil(4)) };
            arrivals.push(arrival(0, user, named(cpu * 1000, gib * GIB), runs));
            wanted -= size as f64 * runs as f64 / HOUR as f64;
        }
    }
    replayed(policy(&weights), [64, 64], arrivals, 21 * DAY)
}

/// What each got is what their weights say, within this.
#[track_caller]
fn is_due(report: &Report, weights: [u64; 8], off_most: f64) {
    let sum: u64 = weights.iter().sum();
    for (user, weight) in report.users.iter().zip(weights) {
        let due = weight as f64 / sum as f64;
        let off = (user.share / due - 1.0).abs();
        let all: Vec<f64> = report.users.iter().map(|user| user.share).collect();
        assert!(off <= off_most, "a weight of {weight} got {:.4}, not {due:.4}: {all:.4?}", user.share);
    }
}

#[test]
fn equal_members_get_the_same() {
    let report = saturated([1000; 8]);
    assert!(report.jain() >= 0.995, "Jain's index {}", report.jain());
}

#[test]
fn weights_get_their_part() {
    let weights = [1000, 2000, 4000, 1000, 2000, 4000, 1000, 2000];
    is_due(&saturated(weights), weights, 0.06);
}

/// One has the machine for days, and then three others come who always want more: the fair part of a day is a fourth.
#[test]
fn who_used_an_idle_machine_is_not_behind_when_others_come() {
    let (alone, mut arrivals) = (3 * DAY, Vec::new());
    let mut dice = Dice::new(3);
    let mut works = |at: u64, user: usize, days: u64| {
        let mut wanted = 64 * days * DAY;
        while wanted > 0 {
            let runs = 20 * MINUTE + dice.below(80 * MINUTE);
            arrivals.push(arrival(at, user, named(4000, 4 * GIB), runs));
            wanted = wanted.saturating_sub(4 * runs);
        }
    };
    works(0, 0, 6);
    (1..4).for_each(|user| works(alone, user, 3));
    let had = |until: u64| {
        let report = replayed(policy(&[1000; 4]), [64, 64], arrivals.clone(), until);
        report.users[0].cpu_seconds / (64.0 * 86_400.0)
    };
    let [before, first, second] = [alone, alone + DAY, alone + 2 * DAY].map(had);
    assert!(before > 2.95, "they had {before} days of it");
    let parts = [(first - before) * 4.0, (second - first) * 4.0];
    assert!(parts[0] >= 0.85 && parts[1] >= 0.97, "{parts:.3?} of a fair part on the days after");
}

/// Small work comes all the time, a fifth more than there is room for. One who had their part of it wants the whole machine once.
#[test]
fn what_needs_the_whole_machine_begins_within_a_day() {
    let mut dice = Dice::new(4);
    let mut arrivals: Vec<Arrival> = Vec::new();
    for user in 0..8 {
        let (mut at, most) = (0, if user == 0 { 2 * DAY } else { 5 * DAY });
        while at < most {
            let (cpu, runs) = (1 + dice.below(8), 10 * MINUTE + dice.below(110 * MINUTE));
            arrivals.push(arrival(at, user, named(cpu * 1000, cpu * GIB), runs));
            at += cpu * runs * 8 * 10 / 12 / 64;
        }
    }
    let whole = arrival(3 * DAY, 0, named(64_000, 64 * GIB), HOUR);
    arrivals.push(whole);
    arrivals.sort_by_key(|arrival| arrival.at_ms);
    let waits = |until: u64| {
        let report = replayed(policy(&[1000; 8]), [64, 64], arrivals.clone(), until);
        report.users[0].granted
    };
    // All of theirs was done, but for the last.
    let asked = arrivals.iter().filter(|arrival| arrival.user == 0).count() as u64;
    assert_eq!(waits(4 * DAY), asked, "the whole machine was not given in a day");
    assert!(waits(3 * DAY + 30 * MINUTE) < asked, "nobody else wanted it");
}
