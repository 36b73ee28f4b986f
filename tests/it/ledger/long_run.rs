//! Long runs under more demand than there is: equal members get the same, weights get their part.

use std::time::Duration;

use fairshare::testing::simulate::Report;

use super::village::{Dice, GIB, arrival, named, replayed, weighted};

/// Nine members always want one of two places, each for ten to twenty minutes: what each got by the time at which
/// all still want more.
fn saturated(weights: &[u64]) -> Report {
    let weights: Vec<(u64, u64)> = (1..).zip(weights.iter().copied()).collect();
    let mut policy = weighted(&weights);
    policy.half_life = Duration::from_secs(7 * 86_400);
    let mut dice = Dice::new(1);
    let mut arrivals = Vec::new();
    for _ in 0..3000 {
        for user in 0..weights.len() {
            arrivals.push(arrival(0, user, named(1000, GIB), 600_000 + dice.below(600_000)));
        }
    }
    replayed(policy, [2, 2], arrivals, 60 * 86_400_000)
}

#[test]
fn equal_members_get_the_same() {
    let report = saturated(&[1000; 9]);
    assert!(report.jain() >= 0.98, "Jain's index {}", report.jain());
    assert!(report.utilisation_cpu > 0.99, "{}", report.utilisation_cpu);
}

#[test]
fn weights_get_their_part() {
    let weights = [1000, 1000, 1000, 2000, 2000, 2000, 4000, 4000, 4000];
    let report = saturated(&weights);
    let sum: u64 = weights.iter().sum();
    for (user, weight) in report.users.iter().zip(weights) {
        let due = weight as f64 / sum as f64;
        let off = (user.share / due - 1.0).abs();
        assert!(off <= 0.05, "a weight of {weight} got {:.4} where {due:.4} is due", user.share);
    }
}
