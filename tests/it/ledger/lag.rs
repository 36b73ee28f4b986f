//! Who is ahead of those who wait, and how far: each part of the key of 6-fairness.md by an example that can be checked by hand.

use std::time::Duration;

use fairshare::testing::identity::{JobId, Purpose, Uid};
use fairshare::testing::ledger::{BootId, Canceller, Command, Ledger, Order, Rules, Wait};
use fairshare::testing::policy::{Policy, QueueRule};
use fairshare::testing::quantity::{Bytes, MilliCpu};
use fairshare::testing::state;

use super::village::{self, GIB, at, ledger, member, named, own, policy, request, rules, uid, weighted};

/// So long that nothing is forgotten in the time of a test.
const NEVER_MS: u64 = 1_000_000_000_000;
const HOUR: u64 = 3_600_000;

fn say(ledger: &mut Ledger, ms: u64, command: Command) {
    village::say(ledger, ms, command).unwrap();
}

/// A ledger of 8 CPU, with this half-life.
fn forgetting(half_life_ms: u64) -> Ledger {
    let mut ledger = ledger();
    say(&mut ledger, 0, rules(half_life_ms, false));
    ledger
}

/// So many CPUs for a command of a member's, beside what they hold.
fn submit(policy: &Policy, who: u64, cpu: u64) -> Command {
    village::submit(policy, who, named(cpu * 1000, GIB / 4), None, Bytes(0))
}

fn hold(ledger: &mut Ledger, ms: u64, policy: &Policy, who: u64, cpu: u64) {
    say(ledger, ms, request(policy, who, named(cpu * 1000, GIB / 4), None, Wait::No));
}

/// Each holds so much, and then waits for so much more, where that is anything.
fn hold_and_wait(ledger: &mut Ledger, policy: &Policy, members: &[(u64, u64, u64)]) {
    for (who, holds, _) in members {
        hold(ledger, 0, policy, *who, *holds);
    }
    for (who, _, wants) in members.iter().filter(|(.., wants)| *wants > 0) {
        say(ledger, 0, submit(policy, *who, *wants));
    }
}

fn release(ledger: &mut Ledger, ms: u64, who: u64) {
    say(ledger, ms, Command::Release { id: own(who), populated: false, stop: false });
}

fn cancel(ledger: &mut Ledger, ms: u64, who: u64, job: u64) {
    say(ledger, ms, Command::Cancel { job: JobId(job), by: Canceller::Member(uid(who)) });
}

/// Lags of members at a moment, in milliseconds of the whole machine.
fn lags<const N: usize>(ledger: &mut Ledger, ms: u64, who: [u64; N]) -> [i64; N] {
    say(ledger, ms, Command::Tick);
    ledger.audit();
    who.map(|who| ledger.fairness().lag_ms(uid(who)))
}

#[track_caller]
fn close<const N: usize>(lags: [i64; N], expected: [i64; N]) {
    for (lag, expected) in lags.into_iter().zip(expected) {
        assert!((lag - expected).abs() <= expected.abs() / 1000 + 2, "{lags:?}, not {expected}");
    }
}

fn order(ledger: &Ledger) -> Vec<Uid> {
    ledger.places().iter().map(|place| place.waiting.uid).collect()
}

#[test]
fn what_nobody_else_wanted_costs_nothing() {
    let (mut ledger, policy) = (forgetting(NEVER_MS), policy());
    hold(&mut ledger, 0, &policy, 1, 8);
    close(lags(&mut ledger, 100 * HOUR, [1]), [0]);
    // From here on 2 wants some of it, who gets nothing: those who wait have 0 on average.
    say(&mut ledger, 100 * HOUR, submit(&policy, 2, 8));
    close(lags(&mut ledger, 101 * HOUR, [1, 2]), [HOUR as i64, 0]);
    cancel(&mut ledger, 101 * HOUR, 2, 1);
    close(lags(&mut ledger, 200 * HOUR, [1, 2]), [HOUR as i64, 0]);
}

#[test]
fn lags_are_what_each_has_beyond_those_who_wait() {
    let policy = policy();
    let mut ledger = forgetting(NEVER_MS);
    hold_and_wait(&mut ledger, &policy, &[(1, 2, 3), (2, 4, 4), (3, 2, 0)]);
    // 1 and 2 wait, with 2 and 4 of 8 CPU: 3/8 on average. 3 has 2, and waits for nothing.
    let eighth = HOUR as i64 / 8;
    close(lags(&mut ledger, HOUR, [1, 2, 3]), [-eighth, eighth, -eighth]);
    // 4 comes, who was away, and waits for more than is free: the three have 2 of 8 CPU on average.
    let [away] = lags(&mut ledger, HOUR, [4]);
    close([away], [-3 * eighth]);
    say(&mut ledger, HOUR, submit(&policy, 4, 3));
    close(lags(&mut ledger, 2 * HOUR, [1, 2, 3, 4]), [-eighth, 3 * eighth, -eighth, away - 2 * eighth]);
}

#[test]
fn who_weighs_more_is_ahead_by_less() {
    let policy = weighted(&[(1, 1000), (2, 3000)]);
    let mut ledger = forgetting(NEVER_MS);
    // What each holds is what each weighs, and nobody is ahead of anybody.
    hold_and_wait(&mut ledger, &policy, &[(1, 2, 3), (2, 6, 2)]);
    close(lags(&mut ledger, HOUR, [1, 2]), [0, 0]);
    // Who does not wait weighs as much, through all that becomes of what they hold.
    cancel(&mut ledger, HOUR, 2, 2);
    let resize = Command::Resize {
        member: member(&policy, 2),
        of: Purpose::Standing,
        amount: named(4000, GIB / 2),
        in_use: Bytes(0),
    };
    cancel(&mut ledger, HOUR, 1, 1);
    say(&mut ledger, HOUR, resize);
    say(&mut ledger, HOUR, submit(&policy, 1, 5));
    // 1 waits with 2 of 8 CPU; 2 has 4 of 8, for a weight of 3: a sixth, and a quarter is the average.
    close(lags(&mut ledger, 2 * HOUR, [1, 2]), [0, -(HOUR as i64) / 12]);
}

#[test]
fn who_waits_for_something_of_their_own_makes_nobody_ahead() {
    let (mut ledger, policy) = (forgetting(NEVER_MS), policy());
    hold(&mut ledger, 0, &policy, 1, 6);
    hold(&mut ledger, 0, &policy, 2, 1);
    // 1 may hold 8 in all.
    say(&mut ledger, 0, submit(&policy, 1, 4));
    close(lags(&mut ledger, HOUR, [1, 2]), [0, 0]);
    // What they then can have is what 2 waits for too.
    release(&mut ledger, HOUR, 1);
    hold(&mut ledger, HOUR, &policy, 3, 3);
    say(&mut ledger, HOUR, submit(&policy, 2, 2));
    close(lags(&mut ledger, 2 * HOUR, [2, 3]), [0, 2 * HOUR as i64 / 8]);
}

/// Half of a fair share for tau: of three who weigh the same a sixth of tau.
#[test]
fn who_was_away_comes_back_with_a_bounded_credit() {
    let (mut ledger, policy) = (forgetting(NEVER_MS), policy());
    let tau_ms = NEVER_MS / 16;
    hold_and_wait(&mut ledger, &policy, &[(1, 4, 4), (2, 4, 4)]);
    let away = tau_ms * 10;
    let [before] = lags(&mut ledger, away, [3]);
    assert!(before < -(tau_ms as i64), "{before}");
    say(&mut ledger, away, submit(&policy, 3, 4));
    close(lags(&mut ledger, away, [1, 2, 3]), [0, 0, -(tau_ms as i64) / 6]);
    // Coming again with another gains nothing more.
    say(&mut ledger, away, submit(&policy, 3, 4));
    cancel(&mut ledger, away, 3, 3);
    close(lags(&mut ledger, away, [3]), [-(tau_ms as i64) / 6]);
}

#[test]
fn a_lag_is_halved_and_comes_to_an_end() {
    let (mut ledger, policy) = (forgetting(HOUR), policy());
    hold(&mut ledger, 0, &policy, 1, 4);
    hold(&mut ledger, 0, &policy, 2, 4);
    say(&mut ledger, 0, submit(&policy, 3, 1));
    // 4 of 8 CPU for a hundred half-lives: half of a half-life over ln 2.
    let most = HOUR as f64 / 2.0 / std::f64::consts::LN_2;
    close(lags(&mut ledger, 100 * HOUR, [1, 2, 3]), [most as i64, most as i64, 0]);
    cancel(&mut ledger, 100 * HOUR, 3, 1);
    for half_lives in [1, 2, 5] {
        let left = most / 2f64.powi(half_lives);
        close(lags(&mut ledger, (100 + half_lives as u64) * HOUR, [1]), [left as i64]);
    }
}

/// A reload keeps lags as they are at its moment; they count half after another time from then on.
#[test]
fn another_half_life_keeps_what_lags_are() {
    let (mut ledger, policy) = (forgetting(100 * HOUR), policy());
    hold(&mut ledger, 0, &policy, 1, 6);
    hold(&mut ledger, 0, &policy, 2, 2);
    say(&mut ledger, 0, submit(&policy, 2, 1));
    let before = lags(&mut ledger, 5 * HOUR + 77, [1, 2]);
    say(&mut ledger, 5 * HOUR + 77, rules(7 * HOUR, false));
    close(lags(&mut ledger, 5 * HOUR + 77, [1, 2]), before);
    cancel(&mut ledger, 5 * HOUR + 77, 2, 1);
    close(lags(&mut ledger, 12 * HOUR + 77, [1, 2]), before.map(|lag| lag / 2));
}

/// A member who is ahead by a quarter of the machine for tau is behind one who holds a little less than a quarter of it, and
/// before one who holds a little more.
#[test]
fn being_ahead_for_tau_weighs_like_holding_now() {
    let tau_ms = NEVER_MS / 16;
    for (ahead_ms, first) in [(tau_ms * 11 / 10, 3), (tau_ms * 9 / 10, 2)] {
        let (mut ledger, policy) = (forgetting(NEVER_MS), policy());
        hold(&mut ledger, 0, &policy, 1, 6);
        hold(&mut ledger, 0, &policy, 2, 2);
        say(&mut ledger, 0, submit(&policy, 4, 8));
        release(&mut ledger, ahead_ms, 2);
        cancel(&mut ledger, ahead_ms, 4, 1);
        hold(&mut ledger, ahead_ms, &policy, 3, 2);
        // 9 has the reservation.
        for (who, wants) in [(9, 8), (2, 6), (3, 6)] {
            say(&mut ledger, ahead_ms, submit(&policy, who, wants));
        }
        assert_eq!(order(&ledger), [9, first, 5 - first].map(uid), "{ahead_ms} of {tau_ms}");
    }
}

#[test]
fn of_equals_the_one_whose_first_has_been_so_for_longest_is_first() {
    let (mut ledger, policy) = (forgetting(NEVER_MS), policy());
    hold(&mut ledger, 0, &policy, 1, 8);
    // So that no reservation is in the way.
    say(&mut ledger, 1, submit(&policy, 9, 8));
    for (ms, who) in [(2, 2), (3, 2), (4, 3)] {
        say(&mut ledger, ms, submit(&policy, who, 4));
    }
    assert_eq!(order(&ledger), [9, 2, 3, 2].map(uid));
    cancel(&mut ledger, 5, 2, 2);
    assert_eq!(order(&ledger), [9, 3, 2].map(uid));
}

/// What a daemon before this one counted goes on, and who has waited begins nothing anew.
#[test]
fn a_crash_takes_and_gives_no_lag() {
    let (mut ledger, policy) = (forgetting(NEVER_MS), policy());
    hold_and_wait(&mut ledger, &policy, &[(1, 6, 2), (2, 1, 4), (3, 1, 4)]);
    // Behind by more than anybody who comes back could be.
    let now = NEVER_MS;
    let before = lags(&mut ledger, now, [1, 2, 3]);
    assert!(before[1] < -(NEVER_MS as i64 / 16 / 6), "{before:?}");
    let image = state::parse(&state::encode(&ledger.image()).unwrap()).unwrap();
    let mut after = Ledger::restore(BootId("first".into()), at(now), image);
    say(&mut after, now, Command::SetCapacity { cpu: MilliCpu(8000), mem: Bytes(8 * GIB) });
    say(&mut after, now, rules(NEVER_MS, false));
    assert_eq!(lags(&mut after, now, [1, 2, 3]), before);
    let later = now + NEVER_MS / 10;
    assert_eq!(lags(&mut after, later, [1, 2, 3]), lags(&mut ledger, later, [1, 2, 3]));
    assert_eq!(order(&after), order(&ledger));
}

/// Who never waited weighs what the policy says too.
#[test]
fn who_only_holds_is_ahead_for_their_weight() {
    let policy = weighted(&[(1, 4000)]);
    let mut ledger = forgetting(NEVER_MS);
    hold_and_wait(&mut ledger, &policy, &[(1, 4, 0), (2, 4, 0)]);
    say(&mut ledger, 0, submit(&policy, 3, 1));
    close(lags(&mut ledger, HOUR, [1, 2]), [HOUR as i64 / 8, HOUR as i64 / 2]);
}

/// What a member is told of their own key: what they hold and had in thousandths of the machine, whether they wait, how many others
/// do, and how many of those come before them.
fn told(ledger: &Ledger, policy: &Policy, who: u64) -> (u64, Option<u64>, bool, usize, usize) {
    let told = ledger.told_key(uid(who), policy.member(uid(who), &[]).weight).unwrap();
    let milli = |part: u64| (part * 1000 + (1 << 31)) >> 32;
    (milli(told.held), told.had.map(milli), told.waits, told.others, told.before)
}

#[test]
fn ones_own_key_is_told_by_what_is_held_and_was_on_average() {
    // What is counted for a weight of two is half, and what is told is what was held.
    let (mut ledger, policy) = (forgetting(NEVER_MS), weighted(&[(2, 2000)]));
    hold(&mut ledger, 0, &policy, 1, 4);
    hold(&mut ledger, 0, &policy, 2, 2);
    assert_eq!(told(&ledger, &policy, 1), (500, None, false, 0, 0), "nobody has waited");
    say(&mut ledger, 0, submit(&policy, 3, 4));
    say(&mut ledger, 0, submit(&policy, 2, 4));
    say(&mut ledger, HOUR, Command::Tick);
    assert_eq!(told(&ledger, &policy, 1), (500, Some(500), false, 2, 2));
    assert_eq!(told(&ledger, &policy, 2), (250, Some(250), true, 1, 1));
    assert_eq!(told(&ledger, &policy, 3), (0, Some(0), true, 1, 0));
    assert_eq!(told(&ledger, &policy, 4), (0, Some(0), false, 2, 1), "of equals who has waited");
    // 3 has what 1 gives back, and 2 goes on waiting and has the reservation.
    release(&mut ledger, HOUR, 1);
    say(&mut ledger, 2 * HOUR, Command::Tick);
    assert_eq!(told(&ledger, &policy, 1), (0, Some(250), false, 1, 1));
    assert_eq!(told(&ledger, &policy, 3), (500, Some(250), false, 1, 1));
}

/// Who does not wait is told who would come before them if they did: their credit is bounded.
#[test]
fn who_was_away_is_told_the_key_with_which_they_come_back() {
    let (mut ledger, policy) = (forgetting(NEVER_MS), policy());
    let away = NEVER_MS / 16 * 10;
    hold_and_wait(&mut ledger, &policy, &[(1, 4, 4), (2, 1, 4)]);
    // Patience would put both before whoever comes.
    let patient = Duration::from_millis(NEVER_MS * 100);
    let tau = Duration::from_millis(NEVER_MS / 16);
    say(
        &mut ledger,
        0,
        Command::SetRules(Rules {
            half_life: Duration::from_millis(NEVER_MS),
            tau,
            patience: patient,
            queue: QueueRule::default(),
            order: Order::Fair,
            lease_max: None,
            evict: false,
        }),
    );
    hold(&mut ledger, 0, &policy, 4, 3);
    say(&mut ledger, away, Command::Tick);
    let (.., others, before) = told(&ledger, &policy, 3);
    say(&mut ledger, away, submit(&policy, 3, 4));
    assert_eq!((others, before), (2, told(&ledger, &policy, 3).4));
    // 1 has the reservation, and 2 was behind by more than any credit.
    assert_eq!(before, 2);
}
