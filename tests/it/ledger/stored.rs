//! What a crash and a reboot leave: leases, the queue, use, jobs; through the bytes of the state file.

use std::collections::BTreeMap;

use fairshare::testing::identity::Purpose;
use fairshare::testing::ledger::reconcile::{Found, Verdict, verdicts};
use fairshare::testing::ledger::{BootId, Command, Ledger, Now, Wait};
use fairshare::testing::quantity::{Bytes, MilliCpu, PartialAmount, Tasks};
use fairshare::testing::state;

use super::village::{
    GIB, amount, at, held, ledger, member, named, own, policy, request, rules, settle_all, uid,
};

const WEEK: u64 = 7 * 86_400_000;

fn stored(ledger: &Ledger, boot: &str, now: Now) -> Ledger {
    let image = ledger.image();
    let bytes = state::encode(&image).unwrap();
    let read = state::parse(&bytes).unwrap();
    // Who is inside is not remembered; everything else is.
    let mut expected = image;
    expected.allocations.iter_mut().for_each(|share| share.empty_since = None);
    assert_eq!(read, expected);
    Ledger::restore(BootId(boot.into()), now, read)
}

fn say(ledger: &mut Ledger, now: Now, command: Command) {
    let effects = ledger.apply(now, command).unwrap();
    settle_all(ledger, now, effects);
}

/// 1 holds all for an hour; 2 and 3 wait, 2 in front who came first, though 3 has used less.
fn busy() -> Ledger {
    let mut ledger = ledger();
    let policy = policy();
    say(&mut ledger, at(0), request(&policy, 2, named(8000, 8 * GIB), Some(60_000), Wait::No));
    let release = Command::Release { id: own(2), populated: false, stop: false };
    say(&mut ledger, at(5000), release);
    say(&mut ledger, at(5000), request(&policy, 1, named(8000, 8 * GIB), Some(3_600_000), Wait::No));
    say(&mut ledger, at(5000), Command::Enter { id: own(1) });
    say(&mut ledger, at(6000), request(&policy, 2, named(1000, GIB), Some(60_000), Wait::Granted));
    say(&mut ledger, at(7000), request(&policy, 3, named(8000, GIB), None, Wait::Granted));
    ledger
}

#[test]
fn a_crash_keeps_places_and_ends() {
    let before = busy();
    let mut after = stored(&before, "first", at(8000));
    assert_eq!(before.next_wakeup(), after.next_wakeup());
    assert_eq!(after.capacity().whole().cpu, 0, "what there is must be said anew");
    let whole = before.capacity().whole();
    say(&mut after, at(8000), Command::SetCapacity { cpu: whole.cpu(), mem: whole.mem() });
    say(&mut after, at(8000), rules(WEEK, false));
    let places = |ledger: &Ledger| -> Vec<_> {
        ledger.places().iter().map(|place| (place.waiting.uid, place.place, place.starts)).collect()
    };
    assert_eq!(places(&before), places(&after));
    assert_eq!(after.places()[0].waiting.uid, uid(2));
    say(&mut after, at(3_605_000), Command::Tick);
    assert!(after.allocation(own(2)).is_some(), "granted when the other's lease ends");
}

#[test]
fn a_reboot_takes_from_a_lease_what_the_wall_clock_says() {
    let before = busy();
    // Last seen at 7000 of boot time; the machine is back ten minutes later.
    let now = Now { boot_ms: 30_000, wall_ms: at(7000).wall_ms + 600_000 };
    let after = stored(&before, "second", now);
    let ends = after.allocation(own(1)).unwrap().lease.unwrap().ends;
    assert_eq!(after.wall_ms(now, ends), at(5000).wall_ms + 3_600_000);
    assert_eq!(ends.since(after.time(now)), 3_600_000 - 2000 - 600_000);
    assert_eq!(verdicts(&after, &BTreeMap::new(), &BTreeMap::new())[&own(1)], Verdict::MakeAgain);
    // Where the wall clock went back nothing has passed.
    let early = Now { boot_ms: 30_000, wall_ms: 5 };
    let after = stored(&before, "second", early);
    let ends = after.allocation(own(1)).unwrap().lease.unwrap().ends;
    assert_eq!(ends.since(after.time(early)), 3_600_000 - 2000);
}

#[test]
fn a_moment_is_told_by_what_has_passed_since_and_over_a_reboot_by_the_wall_clock() {
    let before = busy();
    let told = |ledger: &Ledger, now: Now| {
        let job = ledger.jobs().values().find(|job| job.uid == uid(2)).unwrap();
        [ledger.allocation(own(1)).unwrap().granted, job.created].map(|moment| moment.wall_ms_at(now))
    };
    // The clock is set by three days, before the daemon comes back and after that.
    for set in [at(8000).wall_ms + 3 * 86_400_000, 86_400_000] {
        let now = Now { boot_ms: 8000, wall_ms: set };
        assert_eq!(told(&before, now), [set - 3000, set - 2000]);
        assert_eq!(told(&stored(&before, "first", now), now), [set - 3000, set - 2000]);
    }
    // What boot time was in another boot says nothing, also where it happens to be less than that of now.
    let now = Now { boot_ms: 30_000, wall_ms: at(7000).wall_ms + 600_000 };
    let after = stored(&before, "second", now);
    assert_eq!(told(&after, now), [at(5000).wall_ms, at(6000).wall_ms]);
    assert_eq!(told(&stored(&after, "second", now), now), told(&after, now));
}

#[test]
fn a_resize_that_may_have_been_answered_holds_after_a_reboot() {
    let mut before = busy();
    let amount = PartialAmount { cpu: Some(MilliCpu(2000)), ..PartialAmount::default() };
    let resize =
        Command::Resize { member: member(&policy(), 1), of: Purpose::Standing, amount, in_use: Bytes(0) };
    before.apply(at(8000), resize).unwrap();
    let now = Now { boot_ms: 30_000, wall_ms: at(9000).wall_ms };
    let mut after = stored(&before, "second", now);
    let verdict = verdicts(&after, &BTreeMap::new(), &BTreeMap::new())[&own(1)].clone();
    after.reconciled(now, own(1), &verdict, Bytes(0), None);
    let share = after.allocation(own(1)).unwrap();
    assert_eq!((share.amount.cpu, share.boot.clone()), (MilliCpu(2000), BootId("second".into())));
    after.audit();
}

#[test]
fn a_slice_that_is_there_is_of_this_boot() {
    // Made again after a reboot, by a daemon that died before it could store that.
    let now = Now { boot_ms: 30_000, wall_ms: at(9000).wall_ms };
    let mut after = stored(&busy(), "second", now);
    let share = after.allocation(own(1)).unwrap();
    let found = Found {
        limits: held(share.enforced()),
        mem_in_use: Bytes(0),
        tasks_in_use: Tasks(0),
        populated: false,
        in_share: false,
    };
    let found = BTreeMap::from([(own(1), found)]);
    assert_eq!(verdicts(&after, &found, &BTreeMap::new())[&own(1)], Verdict::Keep);
    let revision = after.revision();
    after.reconciled(now, own(1), &Verdict::Keep, Bytes(0), None);
    assert!(after.revision() > revision, "to be stored");
    // So that a slice which is gone after this was stopped by someone.
    assert_eq!(verdicts(&after, &BTreeMap::new(), &BTreeMap::new())[&own(1)], Verdict::Drop);
    let revision = after.revision();
    after.reconciled(now, own(1), &Verdict::Keep, Bytes(0), None);
    assert_eq!(after.revision(), revision, "twice changes nothing");
}

#[test]
fn a_lease_that_ended_while_the_machine_was_off_is_not_made_again() {
    let now = Now { boot_ms: 30_000, wall_ms: at(7000).wall_ms + 86_400_000 };
    let mut after = stored(&busy(), "second", now);
    let verdict = verdicts(&after, &BTreeMap::new(), &BTreeMap::new())[&own(1)].clone();
    assert_eq!(verdict, Verdict::Lapse);
    after.reconciled(now, own(1), &verdict, Bytes(0), None);
    assert!(after.allocations().is_empty());
    assert_eq!(after.waiting(), 2);
}

#[test]
fn a_grant_that_a_crash_cut_off_waits_again_in_its_place() {
    let mut before = busy();
    let first = before.places()[0].waiting;
    let state = before.jobs()[&first.job].state.clone();
    before.apply(at(9000), Command::SliceGone { id: own(1) }).unwrap();
    assert!(before.allocation(own(2)).is_some(), "on its way");
    let mut after = stored(&before, "first", at(9001));
    let verdict = verdicts(&after, &BTreeMap::new(), &BTreeMap::new())[&own(2)].clone();
    assert_eq!(verdict, Verdict::Forget);
    after.reconciled(at(9001), own(2), &verdict, Bytes(0), None);
    after.interrupt_jobs(at(9001), |_| false);
    let order: Vec<_> = after.places().iter().map(|place| place.waiting.uid).collect();
    assert_eq!(order, [uid(2), uid(3)]);
    // Since when it waits counts too: who has waited for long goes before all who have not.
    assert_eq!(after.jobs()[&first.job].state, state);
    let again = after.places()[0].waiting;
    assert_eq!(
        (again.job, again.since, again.amount, again.lease_ms),
        (first.job, first.since, first.amount, first.lease_ms)
    );
    after.audit();
}

#[test]
fn what_the_kernel_holds_is_adopted_beyond_the_capacity_and_nothing_is_granted_until_it_fits() {
    let mut ledger = ledger();
    say(&mut ledger, at(0), request(&policy(), 1, named(6000, 6 * GIB), Some(60_000), Wait::No));
    let adopted = Verdict::Adopt { amount: amount(4000, GIB), in_share: false };
    ledger.reconciled(at(1), own(2), &adopted, Bytes(0), None);
    assert_eq!((ledger.capacity().over().cpu, ledger.capacity().free().mem), (2000, u128::from(GIB)));
    say(&mut ledger, at(2), request(&policy(), 3, named(1000, GIB), Some(60_000), Wait::Granted));
    say(&mut ledger, at(3), Command::Tick);
    assert!(ledger.allocation(own(3)).is_none(), "there is no CPU");
    say(&mut ledger, at(60_000), Command::Tick);
    assert!(ledger.allocation(own(3)).is_some());
    ledger.audit();
}
