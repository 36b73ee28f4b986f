//! What `policy simulate` counts: each figure by an example that can be checked by hand.

use std::time::Duration;

use fairshare::testing::policy::Policy;

use super::village::{GIB, arrival, named, policy, replayed};

const SECOND: u64 = 1000;

#[test]
fn of_twenty_waits_the_nineteenth_is_the_one_that_95_of_100_do_not_exceed() {
    let arrivals = (0..20).map(|user| arrival(0, user, named(1000, GIB), 10 * SECOND)).collect();
    let report = replayed(policy(), [1, 8], arrivals, u64::MAX);
    assert_eq!((report.granted, report.wait_max_ms), (20, 190 * SECOND));
    assert_eq!(report.wait_p95_ms, 180 * SECOND);
}

/// (wait + run) / run of a run of a second would be 10: runs count as ten seconds at least.
#[test]
fn slowdown_is_bounded() {
    let arrivals = vec![arrival(0, 0, named(1000, GIB), 9 * SECOND), arrival(0, 1, named(1000, GIB), SECOND)];
    let report = replayed(policy(), [1, 8], arrivals, u64::MAX);
    assert_eq!((report.granted, report.wait_max_ms), (2, 9 * SECOND));
    assert!((report.slowdown_mean - 1.0).abs() < 1e-9, "{}", report.slowdown_mean);
}

#[test]
fn a_wanted_time_over_the_longest_lease_is_cut_and_not_refused() {
    let policy = Policy { lease_max: Some(Duration::from_secs(3600)), ..policy() };
    let report = replayed(policy, [1, 8], vec![arrival(0, 0, named(1000, GIB), 7200 * SECOND)], u64::MAX);
    assert_eq!((report.granted, report.refused), (1, 0));
}

/// One has waited when a lease ends, and another, who has used less, comes at that very moment: the room is given first.
#[test]
fn a_lease_that_ends_when_somebody_comes_ends_before() {
    let mut longer = arrival(10 * SECOND, 0, named(1000, GIB), 500 * SECOND);
    longer.lease_ms = Some(90 * SECOND);
    let arrivals = vec![
        arrival(0, 1, named(1000, GIB), 10 * SECOND),
        longer,
        arrival(50 * SECOND, 1, named(1000, GIB), 10 * SECOND),
        arrival(100 * SECOND, 2, named(1000, GIB), 10 * SECOND),
    ];
    let report = replayed(policy(), [1, 8], arrivals, u64::MAX);
    let waits: Vec<u64> = report.users.iter().map(|user| user.wait_mean_ms / SECOND).collect();
    assert_eq!(waits, [0, 25, 10], "1 has waited 0 and 50 s, 2 until 1 was done");
}

/// 0 has four pieces of a CPU for 100 s. 1 comes at 10 s for one, and waits, with nothing of a fair half, for 90 s: 0 has more than
/// a half, and a piece. Of two pieces that are a half each nobody envies.
#[test]
fn envy_is_what_another_has_beyond_a_fair_part_and_one_piece() {
    for (pieces, cpu_milli, envy_s) in [(4, 1000, 90), (2, 2000, 0)] {
        let piece = arrival(0, 0, named(cpu_milli, GIB), 100 * SECOND);
        let mut arrivals = vec![piece; pieces];
        arrivals.push(arrival(10 * SECOND, 1, named(1000, GIB), 10 * SECOND));
        // Who is no longer first of theirs before they begin has not been so for longer.
        arrivals.push(arrival(20 * SECOND, 1, named(1000, GIB), 10 * SECOND));
        let report = replayed(policy(), [4, 8], arrivals, u64::MAX);
        assert_eq!((report.envy_ms, report.first_max_ms), (envy_s * SECOND, 90 * SECOND));
    }
}
