//! What is said to those who wait: for what they wait, and after whom they are expected to start.

use std::time::Duration;

use fairshare::testing::identity::{AllocationId, JobId};
use fairshare::testing::ledger::queue::OwnBounds;
use fairshare::testing::ledger::{Command, Ledger, Order, Rules, Wait};
use fairshare::testing::policy::QueueRule;
use fairshare::testing::quantity::Bytes;

use super::village::{self, GIB, ledger, named, own, policy, request, uid};

const HOUR: u64 = 3_600_000;

fn say(ledger: &mut Ledger, ms: u64, command: Command) {
    village::say(ledger, ms, command).unwrap();
}

/// Work of a member's that takes an hour at most, and waits where there is no room.
fn submit(ledger: &mut Ledger, ms: u64, who: u64, cpu: u64) -> JobId {
    let job = JobId(ledger.next_job());
    let command = village::submit(&policy(), who, named(cpu * 1000, GIB / 4), Some(HOUR), Bytes(0));
    say(ledger, ms, command);
    job
}

/// For what each waits, in their order.
fn held_back(ledger: &Ledger) -> Vec<(JobId, Option<OwnBounds>)> {
    ledger.places().iter().map(|place| (place.waiting.job, place.held_back)).collect()
}

#[test]
fn who_waits_for_room_follows_what_ends_last_of_what_they_need() {
    let mut ledger = ledger();
    say(&mut ledger, 0, request(&policy(), 1, named(2000, GIB), Some(2 * HOUR), Wait::No));
    let first = submit(&mut ledger, 0, 2, 3);
    submit(&mut ledger, 1, 2, 3);
    // 3 can have what 2 gives back at last, and 4 what 1 does; 5 comes after 3.
    for (who, cpu) in [(3, 3), (4, 5), (5, 3)] {
        submit(&mut ledger, 2, who, cpu);
    }
    let follows: Vec<_> = ledger.places().iter().map(|place| (place.waiting.uid, place.follows)).collect();
    let of_job = |who, job| Some(AllocationId::of_job(uid(who), job));
    let third = JobId(first.0 + 2);
    let expected = [(3, of_job(2, first)), (4, Some(own(1))), (5, of_job(3, third))];
    assert_eq!(follows, expected.map(|(who, follows)| (uid(who), follows)));
    assert!(held_back(&ledger).iter().all(|(_, bounds)| bounds.is_none()), "all of them wait for room");
}

/// Who would hold more than they may waits for their own, with all that they wait for besides, however much room there is. They
/// are told no start, and delay nobody.
#[test]
fn who_may_hold_no_more_waits_for_their_own_and_delays_nobody() {
    let mut ledger = ledger();
    submit(&mut ledger, 0, 1, 5);
    say(&mut ledger, 0, request(&policy(), 2, named(1000, GIB), Some(HOUR / 2), Wait::No));
    let (over, after) = (submit(&mut ledger, 1, 1, 4), submit(&mut ledger, 2, 1, 1));
    let waits = submit(&mut ledger, 3, 3, 3);
    let max = Some(OwnBounds { max: true, running: false });
    let mut told = held_back(&ledger);
    told.sort_by_key(|(job, _)| *job);
    assert_eq!(told, [(over, max), (after, max), (waits, None)]);
    let starts = |job| ledger.places().into_iter().find(|place| place.waiting.job == job).unwrap().starts;
    assert_eq!((starts(over), starts(after)), (None, None));
    assert_eq!(starts(waits).map(|at| at.0), Some(HOUR / 2));
}

#[test]
fn who_has_as_many_at_work_as_they_may_waits_for_one_to_end() {
    let mut ledger = ledger();
    let half_life = Duration::from_millis(100 * HOUR);
    let rules = Rules {
        half_life,
        tau: half_life / 16,
        patience: half_life,
        queue: QueueRule { running: 1, ..QueueRule::default() },
        order: Order::Fair,
        lease_max: None,
        evict: false,
    };
    say(&mut ledger, 0, Command::SetRules(rules));
    submit(&mut ledger, 1, 1, 1);
    let second = submit(&mut ledger, 2, 1, 1);
    let third = submit(&mut ledger, 3, 1, 8);
    let running = Some(OwnBounds { max: false, running: true });
    assert_eq!(held_back(&ledger), [(second, running), (third, running)]);
}
