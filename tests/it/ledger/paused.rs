//! Commands that are had stand still: which may be, and that nothing is held otherwise for it.

use fairshare::testing::identity::{AllocationId, JobId};
use fairshare::testing::ledger::apart::When;
use fairshare::testing::ledger::array::{Array, Indices};
use fairshare::testing::ledger::job::{Exit, JobEnd, Ran};
use fairshare::testing::ledger::refusal::{NotPaused, Refusal};
use fairshare::testing::ledger::{Canceller, Command, Effect, Ledger, Wait};
use fairshare::testing::quantity::Bytes;

use super::village::{GIB, at, ledger, named, own, policy, request, say, submit, submit_array, uid};

fn pause(who: u64, job: JobId, pause: bool) -> Command {
    Command::Pause { job, by: uid(who), pause }
}

/// A command of the first member's, of a CPU.
fn put(ledger: &mut Ledger, limit_ms: Option<u64>) -> JobId {
    let job = JobId(ledger.next_job());
    say(ledger, 1, submit(&policy(), 1, named(1000, GIB), limit_ms, Bytes(9))).unwrap();
    job
}

fn refused(ledger: &mut Ledger, ms: u64, job: JobId, paused: bool) -> Option<NotPaused> {
    match say(ledger, ms, pause(1, job, paused)) {
        Ok(effects) => {
            assert_eq!(effects, [Effect::Pause { uid: uid(1), job, pause: paused }]);
            None
        }
        Err(Refusal::NotPaused { job: of, why }) if of == job => Some(why),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn what_is_at_work_is_paused_as_often_as_one_likes_and_only_by_its_member() {
    let mut ledger = ledger();
    let job = put(&mut ledger, None);
    let before = (ledger.allocations().clone(), ledger.jobs().clone());
    for paused in [true, true, false, false, true] {
        assert_eq!(refused(&mut ledger, 2, job, paused), None);
        assert_eq!(say(&mut ledger, 2, pause(2, job, paused)), Err(Refusal::NoJob));
    }
    assert_eq!((ledger.allocations().clone(), ledger.jobs().clone()), before);
}

#[test]
fn what_waits_is_over_or_is_no_command_is_not_paused() {
    let mut ledger = ledger();
    let over = put(&mut ledger, None);
    let exit = Exit::Code(0);
    let ran = Ran::of(exit);
    say(&mut ledger, 2, Command::WorkEnded { job: over, end: JobEnd::Ran(ran) }).unwrap();
    say(&mut ledger, 2, request(&policy(), 1, named(1000, GIB), None, Wait::Granted)).unwrap();
    // The release of what is busy is at work, until it is carried out.
    let release = JobId(ledger.next_job());
    let stop = Command::Release { id: own(1), populated: true, stop: true };
    ledger.apply(at(3), stop).unwrap();
    say(&mut ledger, 3, request(&policy(), 9, named(6000, GIB), None, Wait::No)).unwrap();
    let waits = JobId(ledger.next_job());
    say(&mut ledger, 4, submit(&policy(), 1, named(8000, GIB), None, Bytes(9))).unwrap();
    let array = JobId(ledger.next_job());
    let of_two = Array::new(Indices::checked(1, 2, 1).unwrap(), None);
    let never = (None, When { hold: true, ..When::default() });
    say(&mut ledger, 4, submit_array(&policy(), 1, named(8000, GIB), of_two, never)).unwrap();
    for paused in [true, false] {
        assert_eq!(refused(&mut ledger, 5, waits, paused), Some(NotPaused::Waits));
        assert_eq!(refused(&mut ledger, 5, over, paused), Some(NotPaused::Over));
        assert_eq!(refused(&mut ledger, 5, release, paused), Some(NotPaused::NoCommand));
        assert_eq!(refused(&mut ledger, 5, array, paused), Some(NotPaused::Array));
        let said = Refusal::NotPaused { job: array, why: NotPaused::Array }.to_string();
        assert!(said.contains("nothing was done") && said.contains("`fairshare jobs --hold "), "{said}");
    }
}

/// Who stands still hears no signal; and what somehow came to stand still then can be helped.
#[test]
fn what_is_being_ended_is_not_paused_and_can_go_on() {
    let mut ledger = ledger();
    let [cancelled, released, late] = [None, None, Some(1000)].map(|limit| put(&mut ledger, limit));
    say(&mut ledger, 2, Command::Cancel { job: cancelled, by: Canceller::Member(uid(1)) }).unwrap();
    let id = AllocationId::of_job(uid(1), released);
    ledger.apply(at(3), Command::Release { id, populated: true, stop: true }).unwrap();
    assert_eq!(refused(&mut ledger, 900, late, true), None);
    for job in [cancelled, released, late] {
        assert_eq!(refused(&mut ledger, 2000, job, true), Some(NotPaused::Ending), "{job}");
        assert_eq!(refused(&mut ledger, 2000, job, false), None);
    }
}
