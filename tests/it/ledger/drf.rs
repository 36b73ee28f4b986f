//! The oracle: exact progressive filling (Ghodsi et al., "Dominant Resource Fairness", NSDI 2011, algorithm 1), its
//! properties, and what the ledger's queue converges to beside it.
//!
//! What the ledger guarantees is not DRF's static allocation of divisible tasks: a member holds one share at a time, of
//! the size asked for. Over time the member with the least weighted dominant use is served first, so that what is
//! delivered follows progressive filling; lying about the size of a request moves its own use, and never another's
//! place forward.

use fairshare::ledger::{Command, Effect, Wait};
use fairshare::quantity::PartialAmount;
use proptest::prelude::*;

use super::village::{GIB, at, ledger, named, policy, request, settle_all, uid};

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

    /// Up to one task: who says a task needs more than it does gets no more of them done.
    #[test]
    fn lying_does_not_help(
        demands in prop::collection::vec([1u64..20, 1u64..20], 2..6), lie in [0u64..10, 0u64..10],
    ) {
        let honest = progressive_filling([1000, 1500], &demands)[0];
        let mut told = demands;
        told[0] = [told[0][0] + lie[0], told[0][1] + lie[1]];
        let lied = progressive_filling([1000, 1500], &told)[0];
        prop_assert!(lied <= honest + 1, "{lied} tasks by lying, {honest} without");
    }

    /// Static demands, all there at once, of members who are alike: the ledger fills in the same order as the oracle,
    /// one task a member, and leaves out the same.
    #[test]
    fn the_queue_fills_as_the_oracle(demands in prop::collection::vec([1u64..6, 1u64..6], 1..8)) {
        let mut ledger = ledger();
        ledger.apply(at(0), Command::Drain).unwrap();
        ledger.apply(at(0), Command::Undrain).unwrap();
        let hold = request(&policy(), 99, named(8000, 8 * GIB), Some(100), Wait::No);
        let effects = ledger.apply(at(0), hold).unwrap();
        settle_all(&mut ledger, at(0), effects);
        for (who, [cpu, mem]) in (1..).zip(&demands) {
            let figures: PartialAmount = named(cpu * 1000, mem * GIB);
            ledger.apply(at(1), request(&policy(), who, figures, Some(1000), Wait::Granted)).unwrap();
        }
        let mut effects = ledger.apply(at(100), Command::Tick).unwrap();
        effects = settle_all(&mut ledger, at(100), effects);
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
