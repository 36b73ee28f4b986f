//! Shares whose lease is over: what they keep, who is evicted, how they are renewed; and which ends count.

use std::collections::BTreeMap;
use std::time::Duration;

use fairshare::testing::enforced::Enforced;
use fairshare::testing::identity::{AllocationId, JobId, Purpose};
use fairshare::testing::ledger::allocation::{Keeps, Phase};
use fairshare::testing::ledger::apart::When;
use fairshare::testing::ledger::care::Care;
use fairshare::testing::ledger::counted::room::Room;
use fairshare::testing::ledger::expire::{EVICTION_GRACE_MS, RETRY_MS};
use fairshare::testing::ledger::reconcile::{Found, Verdict, verdicts};
use fairshare::testing::ledger::refusal::Refusal;
use fairshare::testing::ledger::{BootId, Command, Effect, Event, Ledger, Outcome, Wait, Where};
use fairshare::testing::policy::Policy;
use fairshare::testing::quantity::{Bytes, MilliCpu, Tasks};

use super::village::{
    GIB, USED, amount, at, held, ledger, member, named, own, policy, request, rules, say, uid,
};

const MINUTE: u64 = 60_000;
const WEEK: u64 = 7 * 24 * 60 * MINUTE;

fn holds(ledger: &mut Ledger, ms: u64, who: u64, cpu: u64, gib: u64, lease: Option<u64>) {
    say(ledger, ms, request(&policy(), who, named(cpu * 1000, gib * GIB), lease, Wait::No)).unwrap();
    say(ledger, ms, Command::Enter { id: AllocationId::standing(uid(who)) }).unwrap();
}

fn renew(who: u64, ms: u64) -> Command {
    Command::Renew { member: member(&policy(), who), of: Purpose::Standing, lease: Duration::from_millis(ms) }
}

fn settled(who: u64, outcome: Outcome) -> Command {
    Command::Settle { id: own(who), outcome }
}

/// What a ledger wants done about shares, without what is to be told.
fn done(effects: &[Effect]) -> Vec<Effect> {
    effects.iter().filter(|effect| effect.event().is_none()).cloned().collect()
}

#[test]
fn until_the_limits_are_down_all_of_an_ended_share_counts() {
    let mut ledger = ledger();
    holds(&mut ledger, 0, 1, 6, 6, Some(MINUTE));
    let effects = ledger.apply(at(MINUTE), Command::Tick).unwrap();
    assert_eq!(done(&effects), [Effect::Lower(own(1))]);
    assert_eq!(ledger.capacity().held(), Room::of(amount(6000, 6 * GIB)));
    let asked = request(&policy(), 2, named(4000, GIB), None, Wait::No);
    assert!(matches!(ledger.apply(at(MINUTE), asked), Err(Refusal::NoCapacity(_))));
    let keeps = Keeps { mem: Bytes(5 * GIB), tasks: Tasks(4) };
    say(&mut ledger, MINUTE + 9, settled(1, Outcome::Lowered(keeps))).unwrap();
    assert_eq!(ledger.capacity().held(), Room { cpu: 0, mem: (5 * GIB).into() });
    // What it keeps is nobody else's, and its CPU is.
    let asked = |gib: u64| request(&policy(), 2, named(8000, gib * GIB), None, Wait::No);
    assert!(matches!(say(&mut ledger, MINUTE + 9, asked(4)), Err(Refusal::NoCapacity(_))));
    say(&mut ledger, MINUTE + 9, asked(3)).unwrap();
    // Nothing that is said to be used makes it hold more than it was granted.
    let mut ledger = self::ledger();
    holds(&mut ledger, 0, 1, 6, 6, Some(MINUTE));
    ledger.apply(at(MINUTE), Command::Tick).unwrap();
    let absurd = Keeps { mem: Bytes(1 << 50), tasks: Tasks(1 << 20) };
    say(&mut ledger, MINUTE, settled(1, Outcome::Lowered(absurd))).unwrap();
    assert_eq!(ledger.allocation(own(1)).unwrap().enforced().most, amount(6000, 6 * GIB));
}

#[test]
fn limits_that_could_not_be_lowered_are_lowered_a_minute_later() {
    let mut ledger = ledger();
    holds(&mut ledger, 0, 1, 6, 6, Some(MINUTE));
    ledger.apply(at(MINUTE), Command::Tick).unwrap();
    let undone = settled(1, Outcome::Undone("no".into()));
    assert_eq!(done(&ledger.apply(at(MINUTE + 5), undone).unwrap()), []);
    assert_eq!(ledger.next_wakeup(), Some(MINUTE + 5 + RETRY_MS));
    let effects = ledger.apply(at(MINUTE + 5 + RETRY_MS), Command::Tick).unwrap();
    assert_eq!(done(&effects), [Effect::Lower(own(1))]);
    ledger.audit();
}

/// What could not be removed would be tried at once again, without end.
#[test]
fn an_empty_share_that_could_not_be_removed_is_not_tried_again_at_once() {
    for idle in [None, Some(Duration::from_secs(60))] {
        let policy = Policy { idle, ..policy() };
        let mut ledger = ledger();
        let lease = idle.is_none().then_some(MINUTE);
        say(&mut ledger, 0, request(&policy, 1, named(1000, GIB), lease, Wait::No)).unwrap();
        let effects = ledger.apply(at(MINUTE), Command::Tick).unwrap();
        assert_eq!(done(&effects), [Effect::Withdraw(own(1))]);
        let undone = settled(1, Outcome::Undone("no".into()));
        let next = done(&ledger.apply(at(MINUTE + 1), undone).unwrap());
        assert!(!next.contains(&Effect::Withdraw(own(1))), "{next:?}");
        if next.contains(&Effect::Lower(own(1))) {
            say(&mut ledger, MINUTE + 1, settled(1, Outcome::Lowered(USED))).unwrap();
        }
        let tick = ledger.apply(at(MINUTE + 2), Command::Tick).unwrap();
        assert_eq!(done(&tick), [], "{idle:?}");
        // It goes once it is said again that nobody is inside.
        say(&mut ledger, MINUTE + 3, Command::Occupancy { id: own(1), populated: true }).unwrap();
        let mut effects =
            say(&mut ledger, MINUTE + 4, Command::Occupancy { id: own(1), populated: false }).unwrap();
        effects.extend(say(&mut ledger, 3 * MINUTE, Command::Tick).unwrap());
        assert!(effects.contains(&Effect::Withdraw(own(1))), "{idle:?}");
    }
}

#[test]
fn a_share_is_renewed_from_its_full_figures_where_there_is_room() {
    let mut ledger = ledger();
    holds(&mut ledger, 0, 1, 6, 6, Some(MINUTE));
    say(&mut ledger, MINUTE, Command::Tick).unwrap();
    let since = ledger.allocation(own(1)).unwrap().expired_since();
    assert_eq!(done(&ledger.apply(at(2 * MINUTE), renew(1, MINUTE)).unwrap()), [Effect::Renew(own(1))]);
    assert_eq!(ledger.capacity().held(), Room::of(amount(6000, 6 * GIB)), "on its way it counts in full");
    ledger.audit();
    // It could not be carried out: it is what it was, and has been for as long.
    say(&mut ledger, 2 * MINUTE, settled(1, Outcome::Undone("no".into()))).unwrap();
    let share = ledger.allocation(own(1)).unwrap();
    assert_eq!((share.expired_since(), share.keeps()), (since, Some(USED)));
    let told = say(&mut ledger, 3 * MINUTE, renew(1, MINUTE)).unwrap();
    assert!(told.contains(&Effect::Notify(Event::Renewed { id: own(1) })), "{told:?}");
    let share = ledger.allocation(own(1)).unwrap();
    let promised = Enforced::promised(amount(6000, 6 * GIB), Bytes(0));
    assert_eq!((share.expired(), share.enforced()), (false, promised));
    assert_eq!(share.lease.unwrap().ends.0, 4 * MINUTE);
}

#[test]
fn an_ended_share_cannot_be_resized() {
    let mut ledger = ledger();
    holds(&mut ledger, 0, 1, 6, 6, Some(MINUTE));
    say(&mut ledger, MINUTE, Command::Tick).unwrap();
    for cpu in [1000, 7000] {
        let amount = named(cpu, 2 * GIB);
        let resize =
            Command::Resize { member: member(&policy(), 1), of: Purpose::Standing, amount, in_use: Bytes(0) };
        assert_eq!(say(&mut ledger, MINUTE, resize), Err(Refusal::Expired));
    }
}

/// A crash at any step of lowering or renewing: what was begun is done, and what is held is counted.
#[test]
fn a_crash_while_limits_change_leaves_no_room_twice() {
    let full = amount(6000, 6 * GIB);
    let found = |limits: fairshare::testing::quantity::Amount| {
        let whole = limits == amount(6000, 6 * GIB);
        let kind = if whole { Enforced::promised } else { Enforced::unpromised };
        let limits = held(kind(limits, Bytes(0)));
        let found = Found {
            limits,
            mem_in_use: USED.mem,
            tasks_in_use: USED.tasks,
            populated: true,
            in_share: false,
        };
        BTreeMap::from([(own(1), found)])
    };
    let lowered = fairshare::testing::quantity::Amount { mem: USED.mem, tasks: USED.tasks, ..full };
    let begun = |renewing: bool| {
        let mut ledger = ledger();
        holds(&mut ledger, 0, 1, 6, 6, Some(MINUTE));
        ledger.apply(at(MINUTE), Command::Tick).unwrap();
        if renewing {
            say(&mut ledger, MINUTE, settled(1, Outcome::Lowered(USED))).unwrap();
            ledger.apply(at(2 * MINUTE), renew(1, 5 * MINUTE)).unwrap();
        }
        Ledger::restore(BootId("first".into()), at(2 * MINUTE), ledger.image())
    };
    for (renewing, limits) in [(false, full), (false, lowered), (true, full), (true, lowered)] {
        let mut ledger = begun(renewing);
        let verdict = verdicts(&ledger, &found(limits), &BTreeMap::new())[&own(1)].clone();
        assert_eq!(verdict, Verdict::Finish { amount: full });
        ledger.reconciled(at(2 * MINUTE), own(1), &verdict, Bytes(0), None);
        ledger.audit();
        assert_eq!(ledger.capacity().held(), Room::of(full));
        assert_eq!(ledger.allocation(own(1)).unwrap().phase, Phase::Active);
        let effects = done(&ledger.apply(at(2 * MINUTE), Command::Tick).unwrap());
        assert_eq!(effects, if renewing { vec![] } else { vec![Effect::Lower(own(1))] });
        assert_eq!(ledger.allocation(own(1)).unwrap().expired(), !renewing);
    }
    // Where it was done all is as it should be, and a weight that somebody set is not.
    let mut ledger = ledger();
    holds(&mut ledger, 0, 1, 6, 6, Some(MINUTE));
    say(&mut ledger, MINUTE, Command::Tick).unwrap();
    let mut found = found(lowered);
    assert_eq!(verdicts(&ledger, &found, &BTreeMap::new())[&own(1)], Verdict::Keep);
    found.get_mut(&own(1)).unwrap().limits.idle = Some(false);
    assert_eq!(verdicts(&ledger, &found, &BTreeMap::new())[&own(1)], Verdict::SetAgain);
}

/// Two whose leases are over, 2's a minute after 1's, one who holds the rest, one who waits.
fn crowded() -> Ledger {
    let mut ledger = ledger();
    say(&mut ledger, 0, rules(WEEK, true)).unwrap();
    holds(&mut ledger, 0, 2, 2, 2, Some(2 * MINUTE));
    holds(&mut ledger, 0, 1, 2, 2, Some(MINUTE));
    say(&mut ledger, MINUTE, Command::Tick).unwrap();
    say(&mut ledger, 2 * MINUTE, Command::Tick).unwrap();
    holds(&mut ledger, 2 * MINUTE, 3, 8, 6, None);
    let waits = request(&policy(), 4, named(1000, GIB), None, Wait::Granted);
    say(&mut ledger, 2 * MINUTE, waits).unwrap();
    ledger
}

fn evicted(effects: &[Effect]) -> Vec<u32> {
    let evicts = effects.iter().filter(|effect| matches!(effect, Effect::Evict { .. }));
    evicts.map(|effect| effect.uid().unwrap().get()).collect()
}

#[test]
fn the_share_that_ended_first_is_evicted_first() {
    let mut ledger = crowded();
    assert!(ledger.allocation(own(1)).unwrap().eviction().is_some());
    assert_eq!(ledger.allocation(own(2)).unwrap().eviction(), None);
    let due = 2 * MINUTE + EVICTION_GRACE_MS;
    let first = say(&mut ledger, due, Command::Tick).unwrap();
    assert_eq!(evicted(&first), [1]);
    // There is no CPU yet: the other is next.
    let second = say(&mut ledger, due + EVICTION_GRACE_MS, Command::Tick).unwrap();
    assert_eq!(evicted(&second), [2]);
}

#[test]
fn a_renewal_for_moments_changes_nothing_of_who_is_evicted() {
    let mut ledger = crowded();
    // There would be room for it.
    say(&mut ledger, 2 * MINUTE, Command::Release { id: own(3), populated: true, stop: true }).unwrap();
    let waits = request(&policy(), 5, named(8000, 7 * GIB), None, Wait::Granted);
    say(&mut ledger, 2 * MINUTE, waits).unwrap();
    let before = ledger.allocation(own(1)).unwrap().clone();
    assert!(before.eviction().is_some());
    for ms in [1, 1000, MINUTE - 1] {
        let refused = say(&mut ledger, 3 * MINUTE, renew(1, ms)).unwrap_err();
        assert!(matches!(refused, Refusal::LeaseTooShort { .. }), "{refused}");
    }
    assert_eq!(*ledger.allocation(own(1)).unwrap(), before);
    let due = before.eviction().unwrap().0;
    assert_eq!(evicted(&say(&mut ledger, due, Command::Tick).unwrap()), [1]);
}

/// An end that nobody can be made to wait for is none: in the request, in a renewal, and of what is held.
#[test]
fn a_lease_that_ends_after_all_patience_is_as_if_it_had_no_end() {
    for lease in [1 << 53, 1 << 62, u64::MAX] {
        let mut ledger = ledger();
        let asked = request(&policy(), 1, named(1000, GIB), Some(lease), Wait::Granted);
        let refused = say(&mut ledger, 0, asked).unwrap_err();
        assert!(matches!(refused, Refusal::LeaseTooLong { .. }), "{refused}");
        holds(&mut ledger, 0, 1, 1, 1, None);
        assert!(matches!(say(&mut ledger, 0, renew(1, lease)), Err(Refusal::LeaseTooLong { .. })));
        assert_eq!(ledger.allocation(own(1)).unwrap().lease, None);
    }
    let mut ledger = ledger();
    say(&mut ledger, 0, rules(WEEK, false)).unwrap();
    holds(&mut ledger, 0, 1, 6, 6, Some(WEEK + 1000));
    let waits = request(&policy(), 2, named(8000, 8 * GIB), Some(MINUTE), Wait::Granted);
    say(&mut ledger, 0, waits).unwrap();
    assert_eq!(ledger.places()[0].starts, None, "no end counts");
    say(&mut ledger, 0, request(&policy(), 3, named(1000, GIB), None, Wait::No)).unwrap();
    // As time goes by it comes to count, and then who would delay the first does not pass.
    say(&mut ledger, 1000, Command::Release { id: own(3), populated: false, stop: false }).unwrap();
    assert_eq!(ledger.places()[0].starts.map(|starts| starts.0), Some(WEEK + 1000));
    for lease in [None, Some(2 * WEEK)] {
        let asked = request(&policy(), 3, named(1000, GIB), lease, Wait::No);
        assert!(matches!(say(&mut ledger, 1000, asked), Err(Refusal::NoCapacity(_))));
    }
    say(&mut ledger, 1000, request(&policy(), 3, named(1000, GIB), Some(MINUTE), Wait::No)).unwrap();
}

#[test]
fn a_command_that_brings_a_share_may_run_for_less_than_a_minute_or_without_an_end() {
    let policy = Policy { lease_default: Some(Duration::from_secs(3600)), ..policy() };
    for (limit, lease) in [(Some(5), Some(5)), (None, None)] {
        let mut ledger = ledger();
        let submit = Command::Submit {
            place: Where::Own,
            member: member(&policy, 1),
            amount: named(1000, GIB),
            time_limit: limit.map(Duration::from_secs),
            name: None,
            output: None,
            kept: Bytes(0),
            wait: Wait::No,
            when: When::default(),
            array: None,
            care: Care::default(),
        };
        say(&mut ledger, 0, submit).unwrap();
        let share = ledger.allocation(AllocationId::of_job(uid(1), JobId(1))).unwrap();
        assert_eq!(share.lease.map(|lease| lease.length_ms / 1000), lease);
    }
}

/// Two that fit beside the reservation one by one, and not together.
#[test]
fn what_passes_takes_from_what_is_left_beside_the_first() {
    let mut ledger = Ledger::new(BootId("first".into()));
    let capacity = Command::SetCapacity { cpu: MilliCpu(10_000), mem: Bytes(100 * GIB) };
    say(&mut ledger, 0, capacity).unwrap();
    let asks = |who: u64, cpu: u64, lease, wait| request(&policy(), who, named(cpu * 1000, GIB), lease, wait);
    say(&mut ledger, 0, asks(1, 4, Some(MINUTE), Wait::No)).unwrap();
    say(&mut ledger, 0, asks(2, 3, None, Wait::No)).unwrap();
    say(&mut ledger, 0, asks(3, 3, None, Wait::No)).unwrap();
    for (who, cpu) in [(4, 6), (5, 1), (6, 1)] {
        say(&mut ledger, 1, asks(who, cpu, None, Wait::Granted)).unwrap();
    }
    let release = Command::Release { id: own(3), populated: false, stop: false };
    say(&mut ledger, 2, release).unwrap();
    let granted: Vec<u64> = (4..=6).filter(|who| ledger.allocation(own(*who)).is_some()).collect();
    assert_eq!(granted, [5], "the first starts when 1's lease ends, with one CPU beside it");
    say(&mut ledger, MINUTE, Command::Tick).unwrap();
    assert!(ledger.allocation(own(4)).is_some());
    assert_eq!(ledger.places().iter().map(|place| place.waiting.job).collect::<Vec<_>>(), [JobId(3)]);
}

/// A command has the time that it asked for from its start on, and all that it was given until systemd has stopped it.
#[test]
fn the_time_of_a_command_begins_with_it_and_takes_nothing_from_it_at_its_end() {
    let mut ledger = ledger();
    let id = AllocationId::of_job(uid(1), JobId(1));
    let submit = Command::Submit {
        member: member(&policy(), 1),
        amount: named(6000, 6 * GIB),
        place: Where::Own,
        time_limit: Some(Duration::from_millis(MINUTE)),
        name: None,
        output: None,
        kept: Bytes(0),
        wait: Wait::No,
        when: When::default(),
        array: None,
        care: Care::default(),
    };
    assert_eq!(done(&ledger.apply(at(0), submit).unwrap()), [Effect::Grant(id)]);
    // systemd was slow to make the slice.
    let made = Command::Settle { id, outcome: Outcome::Done };
    let begun = ledger.apply(at(MINUTE / 2), made).unwrap();
    assert_eq!(done(&begun), [Effect::Start { uid: uid(1), job: JobId(1) }]);
    let ends = ledger.allocation(id).unwrap().lease.unwrap().ends;
    assert_eq!(ends, ledger.time(at(MINUTE / 2 + MINUTE)));
    let given = ledger.allocation(id).unwrap().enforced();
    for late in [MINUTE, MINUTE / 2 + MINUTE, 10 * MINUTE] {
        assert_eq!(ledger.apply(at(late), Command::Tick).unwrap(), [], "after {late} ms");
    }
    let allocation = ledger.allocation(id).unwrap();
    assert_eq!((allocation.expired(), allocation.enforced()), (false, given));
    assert_eq!(ledger.capacity().held(), Room::of(amount(6000, 6 * GIB)));
    ledger.audit();
}
