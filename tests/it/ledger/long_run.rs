//! Long runs under more demand than there is: equal members get the same, weights get their part.

use std::time::Duration;

use fairshare::identity::Uid;
use fairshare::policy::{Machine, Policy, Reserve, ReserveMem, Rules, Weight};
use fairshare::quantity::PartialAmount;
use fairshare::quantity::{Amount, Bytes, MilliCpu, Tasks};
use fairshare::simulate::trace::{Arrival, Trace};
use fairshare::simulate::{Report, replay};

use super::village::{Dice, GIB};

/// Nine members always want one of two places, each for ten to twenty minutes: what each got by the time at which
/// all still want more.
fn saturated(weights: &[u64]) -> Report {
    let amount = |cpu, mem| Amount { cpu: MilliCpu(cpu), mem: Bytes(mem), tasks: Tasks(64) };
    let mut policy = Policy::simple(amount(1000, GIB), amount(8000, 8 * GIB));
    policy.reserve = Reserve { cpu: MilliCpu(0), mem: ReserveMem::Named(Bytes(0)) };
    policy.half_life = Duration::from_secs(7 * 86_400);
    for (raw, milli) in (1..).zip(weights) {
        let rules = Rules { weight: Weight::new(*milli), ..Rules::default() };
        policy.users.insert(Uid::new(raw).unwrap(), rules);
    }
    let mut dice = Dice::new(1);
    let mut trace = Trace { users: (1..=weights.len()).map(|n| n.to_string()).collect(), ..Trace::default() };
    for _ in 0..3000 {
        for user in 0..weights.len() {
            let runs_ms = 600_000 + dice.below(600_000);
            let figures = PartialAmount { cpu: Some(MilliCpu(1000)), mem: Some(Bytes(GIB)), tasks: None };
            trace.arrivals.push(Arrival {
                line: 0,
                at_ms: 0,
                user,
                amount: figures,
                runs_ms,
                lease_ms: runs_ms,
            });
        }
    }
    let machine = Machine { cpu: MilliCpu(2000), mem: Bytes(2 * GIB) };
    let account = |name: &str| Some((Uid::new(name.parse().unwrap()).unwrap(), Vec::new()));
    replay(&trace, &policy, machine, Some(60 * 86_400_000), account).unwrap()
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
