//! The oracle: exact progressive filling (Ghodsi et al., "Dominant Resource Fairness", NSDI 2011, algorithm 1), its
//! properties, and what the ledger's queue converges to beside it.
//!
//! What the ledger guarantees is not DRF's static allocation of divisible tasks: a member holds one share at a time, of
//! the size asked for. Over time the member with the least weighted dominant use is served first, so that what is
//! delivered follows progressive filling; lying about the size of a request moves its own use, and never another's
//! place forward.
//!
//! So a user of the paper, who runs many tasks at once, is a team here: members who are alike, as many in each team, one
//! task each at a time, and more who wait than hold. What holds then: all members come to the same dominant share over
//! time, whatever the lengths of leases; and where leases do not all end together, that share is the one of progressive
//! filling. Where they do, each wave is served by past use alone, may be of one team and fill one resource only, and
//! all get less. Of few members of whom nearly all hold something nothing of this holds: what is given back goes to whom
//! it fits of the two or three who wait.

use std::time::Duration;

use fairshare::testing::ledger::{Command, Effect, Wait};
use fairshare::testing::policy::Policy;
use fairshare::testing::quantity::PartialAmount;
use fairshare::testing::simulate::trace::Arrival;
use proptest::prelude::*;

use super::village::{
    Dice, GIB, amount, arrival, at, ledger, named, policy, replayed, request, settle_all, uid,
};

/// What a task takes in the mean. The lease is over a moment before the work, so that the ledger ends all of one moment
/// at once: given back one by one, what is still to be given back at that very moment counts as room beside the first,
/// and small tasks pass large ones for as long as they end together.
const TASK_MS: u64 = 3_600_000;
/// How many tasks fit into a long run, one after the other.
const TASKS: u64 = 250;

/// How many tasks each user gets: again and again one for whoever has the least dominant share and whose next still
/// fits; users in order where equal. Fractions are compared by cross-multiplication, exactly.
fn progressive_filling(whole: [u64; 2], demands: &[[u64; 2]]) -> Vec<u64> {
    let mut tasks = vec![0u64; demands.len()];
    let mut used = [0u64; 2];
    let mut open: Vec<usize> = (0..demands.len()).collect();
    while let Some(user) = open.iter().copied().min_by_key(|user| share(whole, demands[*user], tasks[*user]))
    {
        let next = [used[0] + demands[user][0], used[1] + demands[user][1]];
        if next[0] <= whole[0] && next[1] <= whole[1] {
            used = next;
            tasks[user] += 1;
        } else {
            open.retain(|other| *other != user);
        }
    }
    tasks
}

/// The dominant share over `whole[0] * whole[1]`.
fn share(whole: [u64; 2], demand: [u64; 2], tasks: u64) -> u64 {
    (demand[0] * tasks * whole[1]).max(demand[1] * tasks * whole[0])
}

#[test]
fn the_papers_example_comes_out() {
    assert_eq!(progressive_filling([9, 18], &[[1, 4], [3, 1]]), [3, 2]);
}

/// A long run of teams who want tasks like these.
struct LongRun {
    /// The dominant share that each member got, team by team, in the mean over the run.
    levels: Vec<Vec<f64>>,
    /// The dominant share of one task of each team.
    tasks: Vec<f64>,
}

impl LongRun {
    /// So many members to a team; a task takes an hour, and up to `spread_ms` more or less. Nothing is forgotten.
    fn new(whole: [u64; 2], demands: &[[u64; 2]], size: usize, spread_ms: u64) -> Self {
        let mut policy = Policy::simple(amount(1000, GIB), amount(whole[0] * 1000, whole[1] * GIB));
        policy.half_life = Duration::from_millis(10 * TASKS * TASK_MS);
        let (mut dice, mut arrivals) = (Dice::new(5), Vec::new());
        for user in 0..demands.len() * size {
            let ([cpu, gib], at_ms) = (demands[user / size], dice.below(TASK_MS));
            for _ in 0..TASKS {
                let runs_ms = TASK_MS - spread_ms + dice.below(2 * spread_ms + 1);
                let asks = arrival(at_ms, user, named(cpu * 1000, gib * GIB), runs_ms);
                arrivals.push(Arrival { lease_ms: runs_ms - 1, ..asks });
            }
        }
        arrivals.sort_by_key(|arrival| arrival.at_ms);
        let report = replayed(policy, whole, arrivals, TASKS * TASK_MS);
        let product = (whole[0] * whole[1]) as f64;
        let tasks: Vec<f64> =
            demands.iter().map(|demand| share(whole, *demand, 1) as f64 / product).collect();
        // The seconds of one CPU that were held, as tasks at a time, as a dominant share.
        let levels = report.users.chunks(size).zip(demands).zip(&tasks).map(|((team, [cpu, _]), task)| {
            let level = task / (cpu * TASKS * TASK_MS / 1000) as f64;
            team.iter().map(|user| user.cpu_seconds * level).collect()
        });
        Self { levels: levels.collect(), tasks }
    }

    /// How many tasks each team ran at a time, in the mean.
    fn at_a_time(&self) -> impl Iterator<Item = f64> {
        self.levels.iter().zip(&self.tasks).map(|(team, task)| team.iter().sum::<f64>() / task)
    }

    /// No two members are further apart than two of the largest tasks of anyone: one by which whoever is served gets
    /// ahead, one that may be under way beside it.
    fn assert_equal(&self) {
        let all = || self.levels.iter().flatten().copied();
        let apart = all().fold(f64::MIN, f64::max) - all().fold(f64::MAX, f64::min);
        let largest = self.tasks.iter().copied().fold(0.0, f64::max);
        let tasks = apart * TASKS as f64 / largest;
        assert!(tasks <= 2.0, "members are {tasks:.2} tasks apart: {:.4?}", self.levels);
    }
}

/// Progressive filling with tasks of a hundred parts each: as good as the paper's, whose tasks can be divided.
fn divided(whole: [u64; 2], demands: &[[u64; 2]]) -> Vec<f64> {
    let parts = progressive_filling(whole.map(|all| all * 100), demands);
    parts.into_iter().map(|parts| parts as f64 / 100.0).collect()
}

#[test]
fn the_queue_converges_to_the_papers_example() {
    let (whole, demands) = ([9, 18], [[1, 4], [3, 1]]);
    let run = LongRun::new(whole, &demands, 9, TASK_MS / 10);
    run.assert_equal();
    for (got, due) in run.at_a_time().zip(progressive_filling(whole, &demands)) {
        let off = (got / due as f64 - 1.0).abs();
        assert!(off <= 0.05, "{got:.3} tasks at a time where the paper has {due}");
    }
}

#[test]
fn the_queue_converges_to_progressive_filling_for_any_demands() {
    let whole = [120, 180];
    let mut dice = Dice::new(77);
    for _ in 0..8 {
        let teams = 2 + dice.below(3);
        let demands: Vec<[u64; 2]> = (0..teams).map(|_| [1 + dice.below(8), 1 + dice.below(8)]).collect();
        let due = divided(whole, &demands);
        let most = due.iter().copied().fold(0.0, f64::max);
        let size = 2 * most.ceil() as usize;
        LongRun::new(whole, &demands, size, 0).assert_equal();
        let run = LongRun::new(whole, &demands, size, TASK_MS / 10);
        run.assert_equal();
        // Tasks cannot be divided: of what is short, less stays free than the largest task wants of it.
        let part = |demand: &[u64; 2], at: usize| demand[at] as f64 / whole[at] as f64;
        let hole = demands.iter().map(|demand| part(demand, 0).max(part(demand, 1))).fold(0.0, f64::max);
        for (got, due) in run.at_a_time().zip(due) {
            let off = (got / due - 1.0).abs();
            assert!(off <= hole, "{demands:?}: {got:.2} tasks at a time where {due:.2} are due");
        }
    }
}

proptest! {
    /// Up to one task of anyone: nobody is worse off than with an equal part of the machine.
    #[test]
    fn sharing_is_an_incentive(demands in prop::collection::vec([1u64..20, 1u64..20], 1..6)) {
        let whole = [1000, 1500];
        let tasks = progressive_filling(whole, &demands);
        let n = demands.len() as u64;
        for (demand, tasks) in demands.iter().zip(&tasks) {
            let alone = (whole[0] / n / demand[0]).min(whole[1] / n / demand[1]);
            // Tasks cannot be divided: what is lost is at most the largest task of anyone.
            let largest = |at: usize| demands.iter().map(|other| other[at]).max().unwrap_or(0).div_ceil(demand[at]);
            let lost = 1 + largest(0).max(largest(1));
            prop_assert!(tasks + lost >= alone, "{tasks} tasks, and an equal part would hold {alone}");
        }
    }

    /// Up to one task: nobody could do more with what another got.
    #[test]
    fn nobody_envies(demands in prop::collection::vec([1u64..20, 1u64..20], 2..6)) {
        let tasks = progressive_filling([1000, 1500], &demands);
        for (mine, own) in demands.iter().zip(&tasks) {
            for (theirs, got) in demands.iter().zip(&tasks) {
                let with_theirs = (theirs[0] * got / mine[0]).min(theirs[1] * got / mine[1]);
                let step = 1 + (theirs[0].div_ceil(mine[0])).max(theirs[1].div_ceil(mine[1]));
                prop_assert!(own + step >= with_theirs, "{own} tasks, and {with_theirs} with another's part");
            }
        }
    }

    /// Up to one task: who says a task needs more than it does gets no more of them done. Of tasks that cannot be divided
    /// what is left over at the end may fit a lie, and no truth.
    #[test]
    fn lying_does_not_help(
        demands in prop::collection::vec([1u64..20, 1u64..20], 2..6), lie in [0u64..10, 0u64..10],
    ) {
        let honest = divided([1000, 1500], &demands)[0];
        let mut told = demands;
        told[0] = [told[0][0] + lie[0], told[0][1] + lie[1]];
        let lied = divided([1000, 1500], &told)[0];
        prop_assert!(lied <= honest + 1.0, "{lied} tasks by lying, {honest} without");
    }

    /// Static demands, all there at once, of members who are alike: the ledger fills in the same order as the oracle,
    /// one task a member, and leaves out the same.
    #[test]
    fn the_queue_fills_as_the_oracle(demands in prop::collection::vec([1u64..6, 1u64..6], 1..8)) {
        let mut ledger = ledger();
        ledger.apply(at(0), Command::Drain).unwrap();
        ledger.apply(at(0), Command::Undrain).unwrap();
        let hold = request(&policy(), 99, named(8000, 8 * GIB), Some(60_000), Wait::No);
        let effects = ledger.apply(at(0), hold).unwrap();
        settle_all(&mut ledger, at(0), effects);
        for (who, [cpu, mem]) in (1..).zip(&demands) {
            let figures: PartialAmount = named(cpu * 1000, mem * GIB);
            ledger.apply(at(1), request(&policy(), who, figures, Some(120_000), Wait::Granted)).unwrap();
        }
        let mut effects = ledger.apply(at(60_000), Command::Tick).unwrap();
        effects = settle_all(&mut ledger, at(60_000), effects);
        prop_assert!(effects.iter().any(|effect| matches!(effect, Effect::Withdraw(_))));
        // One task each, in order of arrival: the first that does not fit has a reservation, and all leases end alike, so
        // that later ones pass only into what is left beside it.
        let mut used = [0, 0];
        for (who, [cpu, mem]) in (1..).zip(&demands) {
            if used[0] + cpu > 8 || used[1] + mem > 8 {
                break;
            }
            used = [used[0] + cpu, used[1] + mem];
            prop_assert!(ledger.share(uid(who)).is_some(), "{who} fits and waits");
        }
    }
}
