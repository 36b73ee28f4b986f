//! The oracle: exact progressive filling (Ghodsi et al., "Dominant Resource Fairness", NSDI 2011, algorithm 1), its
//! properties, and what the ledger's queue converges to beside it.
//!
//! The ledger's queue fills as it does where members have many tasks that wait: each counts with what they hold. Over time
//! past use counts as well, so that who has had less goes before.

use fairshare::testing::ledger::{BootId, Command, Effect, Ledger, Outcome, Wait};
use fairshare::testing::policy::Policy;
use fairshare::testing::quantity::{Amount, Bytes, MilliCpu, PartialAmount, Tasks};
use proptest::prelude::*;

use super::village::{GIB, amount, at, ledger, named, own, policy, request, rules, settle_all, submit, uid};

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

/// Progressive filling with tasks of a hundred parts each: as good as the paper's, whose tasks can be divided.
fn divided(whole: [u64; 2], demands: &[[u64; 2]]) -> Vec<f64> {
    let parts = progressive_filling(whole.map(|all| all * 100), demands);
    parts.into_iter().map(|parts| parts as f64 / 100.0).collect()
}

/// Whose tasks the ledger begins, one after the other, where each has as many that wait as the machine could hold.
fn filled(whole: [u64; 2], demands: &[[u64; 2]]) -> Vec<usize> {
    let policy =
        Policy::simple(amount(1000, GIB), Amount { tasks: Tasks(1 << 20), ..amount(1 << 30, 1 << 40) });
    let mut ledger = Ledger::new(BootId("filled".into()));
    let capacity = Command::SetCapacity { cpu: MilliCpu(whole[0] * 1000), mem: Bytes(whole[1] * GIB) };
    ledger.apply(at(0), capacity).unwrap();
    ledger.apply(at(0), rules(1_000_000_000, false)).unwrap();
    let hold = request(&policy, 99, named(whole[0] * 1000, GIB), None, Wait::No);
    let effects = ledger.apply(at(0), hold).unwrap();
    settle_all(&mut ledger, at(0), effects);
    for (who, [cpu, gib]) in (1..).zip(demands) {
        for _ in 0..(whole[0] / cpu).min(whole[1] / gib) + 1 {
            let submit = submit(&policy, who, named(cpu * 1000, gib * GIB), None, Bytes(0));
            ledger.apply(at(0), submit).unwrap();
        }
    }
    let gone = Command::Release { id: own(99), populated: false, stop: false };
    ledger.apply(at(0), gone).unwrap();
    let effects = ledger.apply(at(0), Command::Settle { id: own(99), outcome: Outcome::Done }).unwrap();
    ledger.audit();
    let begun = |effect: &Effect| match effect {
        Effect::Grant(id) => Some(id.uid),
        _ => None,
    };
    let index = |whose| (0..demands.len()).find(|index| uid(*index as u64 + 1) == whose).unwrap();
    effects.iter().filter_map(begun).map(index).collect()
}

#[test]
fn the_papers_users_run_three_tasks_and_two_at_once() {
    let begun = filled([9, 18], &[[1, 4], [3, 1]]);
    assert_eq!([0, 1].map(|user| begun.iter().filter(|whose| **whose == user).count()), [3, 2]);
}

proptest! {
    /// Each task that is begun is of whoever has the least of those whose next still fits, and at the end none fits. Among
    /// equals anyone may be the next.
    #[test]
    fn the_ledger_fills_as_progressive_filling(demands in prop::collection::vec([1u64..8, 1u64..8], 1..6)) {
        let whole = [40, 60];
        let mut tasks = vec![0u64; demands.len()];
        let mut used = [0u64; 2];
        let fits = |used: [u64; 2], who: usize| (0..2).all(|at| used[at] + demands[who][at] <= whole[at]);
        for begun in filled(whole, &demands) {
            let mine = share(whole, demands[begun], tasks[begun]);
            for (other, theirs) in tasks.iter().enumerate().filter(|(other, _)| fits(used, *other)) {
                let least = share(whole, demands[other], *theirs);
                prop_assert!(mine <= least, "{begun} has {mine}, {other} {least}, after {tasks:?} of {demands:?}");
            }
            prop_assert!(fits(used, begun));
            (0..2).for_each(|at| used[at] += demands[begun][at]);
            tasks[begun] += 1;
        }
        let more = (0..demands.len()).find(|who| fits(used, *who));
        prop_assert!(more.is_none(), "{more:?} could have one more after {tasks:?} of {demands:?}");
    }

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
            prop_assert!(ledger.allocation(own(who)).is_some(), "{who} fits and waits");
        }
    }
}
