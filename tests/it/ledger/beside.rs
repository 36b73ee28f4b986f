//! What a member may have beside what they hold, wait for or left in the state of another version.

use std::sync::Arc;

use fairshare::testing::identity::JobId;
use fairshare::testing::ledger::allocation::{Allocation, Phase};
use fairshare::testing::ledger::job::{JobEnd, JobKind, KEPT_MAX, KEPT_PER_UID_MAX};
use fairshare::testing::ledger::refusal::Refusal;
use fairshare::testing::ledger::{Asked, BootId, Command, Effect, Image, Ledger, Outcome, Wait, Where};
use fairshare::testing::quantity::{Amount, Bytes, MilliCpu};

use super::village::{
    self, GIB, amount, at, ledger, named, own, policy, request, rules, say, submitted, uid, waits,
};

/// A command that waits where there is no room.
fn submit(who: u64, cpu_milli: u64, kept: Bytes) -> Command {
    village::submit(&policy(), who, named(cpu_milli, GIB), Some(60_000), kept)
}

/// The daemon of this version with this state, in the same boot, on a machine of 8 CPU and 8 GiB.
fn restored(image: Image) -> Ledger {
    let mut ledger = Ledger::restore(BootId("first".into()), at(10), image);
    say(&mut ledger, 10, Command::SetCapacity { cpu: MilliCpu(8000), mem: Bytes(8 * GIB) }).unwrap();
    say(&mut ledger, 10, rules(1_000_000, false)).unwrap();
    say(&mut ledger, 10, Command::Tick).unwrap();
    ledger
}

/// Behind who has the reservation too a member's small request does not pass what they asked for before.
#[test]
fn nobody_passes_their_own_behind_the_first() {
    let mut ledger = ledger();
    say(&mut ledger, 0, Command::SetCapacity { cpu: MilliCpu(24_000), mem: Bytes(64 * GIB) }).unwrap();
    for (who, cpu) in [(3, 8000), (4, 8000), (1, 6000)] {
        say(&mut ledger, 0, request(&policy(), who, named(cpu, GIB), None, Wait::No)).unwrap();
    }
    // 2 CPU are free: too few for 2, who is first, and 1 may hold 2 more.
    say(&mut ledger, 1, submit(2, 4000, Bytes(0))).unwrap();
    say(&mut ledger, 1, submit(1, 3000, Bytes(0))).unwrap();
    say(&mut ledger, 1, submit(1, 1000, Bytes(0))).unwrap();
    assert_eq!(ledger.reservation().unwrap().first.uid, uid(2));
    say(&mut ledger, 2, Command::Tick).unwrap();
    assert_eq!(ledger.waiting(), 3);
    say(&mut ledger, 3, submit(5, 1000, Bytes(0))).unwrap();
    assert_eq!(ledger.waiting(), 3, "others pass");
}

/// Until the policy is asked again of a request that a version waited with which did not remember the most.
#[test]
fn a_most_that_is_not_remembered_holds_nothing_back() {
    let mut before = ledger();
    say(&mut before, 0, request(&policy(), 9, named(8000, GIB), None, Wait::No)).unwrap();
    say(&mut before, 1, submit(1, 4000, Bytes(0))).unwrap();
    let mut image = before.image();
    image.allocations.clear();
    for job in &mut image.jobs {
        if let JobKind::Submit(work) = &mut Arc::make_mut(job).kind {
            work.ask.as_mut().unwrap().terms.max = Amount::default();
        }
    }
    let after = restored(image);
    assert_eq!((after.waiting(), after.allocations().len()), (0, 1));
}

/// The work of 0.1 is in its member's slice itself, which has its figures: nothing else of theirs is begun in there.
#[test]
fn beside_a_share_of_0_1_nothing_is_begun_and_what_is_submitted_joins_it() {
    let mut before = ledger();
    say(&mut before, 0, request(&policy(), 9, named(8000, GIB), None, Wait::No)).unwrap();
    say(&mut before, 1, submit(1, 1000, Bytes(0))).unwrap();
    let mut image = before.image();
    let old = Allocation::active(own(1), amount(2000, 2 * GIB), Bytes(0), at(0), BootId("first".into()));
    image.allocations = vec![Allocation { in_share: true, ..old }];
    let mut after = restored(image);
    assert_eq!((after.waiting(), after.allocations().len()), (1, 1));
    let begun = after.apply(at(11), submit(1, 1000, Bytes(0))).unwrap();
    let job = JobId(2);
    assert_eq!(
        begun.iter().find(|effect| effect.event().is_none()),
        Some(&Effect::Start { uid: uid(1), job })
    );
    say(&mut after, 12, Command::WorkEnded { job, end: JobEnd::Done }).unwrap();
    say(&mut after, 12, Command::Release { id: own(1), populated: false, stop: false }).unwrap();
    let held: Vec<_> = after.allocations().values().map(|held| (held.in_share, held.phase)).collect();
    assert_eq!((after.waiting(), held), (0, vec![(false, Phase::Active)]));
}

/// Eight members may fill what there is for all; then it is nobody's fault who asks next, and it is free when theirs has ended.
#[test]
fn what_waits_on_disk_has_a_bound_for_each_and_for_all() {
    let mut ledger = ledger();
    let more = Bytes(KEPT_PER_UID_MAX.0 + 1);
    let own = Refusal::TooMuchKept { most: KEPT_PER_UID_MAX, own: true };
    assert_eq!(say(&mut ledger, 1, submit(1, 1000, more)), Err(own.clone()));
    let members = KEPT_MAX.0 / KEPT_PER_UID_MAX.0;
    for who in 1..=members {
        say(&mut ledger, 1, submit(who, 8000, KEPT_PER_UID_MAX)).unwrap();
    }
    assert_eq!(say(&mut ledger, 2, submit(1, 1000, Bytes(1))), Err(own));
    let all = Refusal::TooMuchKept { most: KEPT_MAX, own: false };
    assert_eq!(say(&mut ledger, 2, submit(members + 1, 1000, Bytes(1))), Err(all));
    say(&mut ledger, 3, Command::WorkEnded { job: JobId(1), end: JobEnd::Done }).unwrap();
    say(&mut ledger, 4, submit(members + 1, 1000, Bytes(1))).unwrap();
}

/// In a share that is there as beside it, until it is over.
#[test]
fn what_runs_in_a_share_counts_on_disk_too() {
    let mut ledger = ledger();
    say(&mut ledger, 0, request(&policy(), 1, named(1000, GIB), None, Wait::No)).unwrap();
    let in_share = |kept| {
        let asked = Asked { place: Where::InShare, kept, ..waits() };
        submitted(&policy(), 1, asked)
    };
    let job = JobId(ledger.next_job());
    say(&mut ledger, 1, in_share(KEPT_PER_UID_MAX)).unwrap();
    let own = Refusal::TooMuchKept { most: KEPT_PER_UID_MAX, own: true };
    assert_eq!(say(&mut ledger, 2, in_share(Bytes(1))), Err(own.clone()));
    assert_eq!(say(&mut ledger, 2, submit(1, 1000, Bytes(1))), Err(own));
    say(&mut ledger, 2, submit(2, 1000, Bytes(1))).unwrap();
    say(&mut ledger, 3, Command::WorkEnded { job, end: JobEnd::Done }).unwrap();
    say(&mut ledger, 4, in_share(Bytes(1))).unwrap();
}

/// What passes may be of the first's own member, and make it wait for that: then whoever is first has the room at once.
#[test]
fn whoever_is_first_after_somebody_passed_has_what_is_left() {
    let mut ledger = ledger();
    say(&mut ledger, 0, request(&policy(), 9, named(8000, GIB), None, Wait::No)).unwrap();
    say(&mut ledger, 0, request(&policy(), 8, named(2000, GIB), Some(1_000_000), Wait::Granted)).unwrap();
    say(&mut ledger, 1, submit(1, 7000, Bytes(0))).unwrap();
    say(&mut ledger, 1, submit(1, 2000, Bytes(0))).unwrap();
    say(&mut ledger, 1, request(&policy(), 7, named(3000, GIB), None, Wait::Granted)).unwrap();
    // 8 begins, and 6 CPU are left: too few for the 7 of 1, whose 2 pass and make 9 of them, over what 1 may hold.
    let id = own(9);
    ledger.apply(at(2), Command::Release { id, populated: false, stop: false }).unwrap();
    ledger.apply(at(2), Command::Settle { id, outcome: Outcome::Done }).unwrap();
    // At once, and not when something else happens.
    assert_eq!((ledger.waiting(), ledger.share(uid(7)).is_some()), (1, true));
}
