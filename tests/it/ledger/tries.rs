//! Commands that are run again: after which ends, when, and that no try begins before the one before it is gone.

use std::time::Duration;

use fairshare::testing::identity::{AllocationId, JobId, Purpose};
use fairshare::testing::ledger::again::Again;
use fairshare::testing::ledger::apart::Change;
use fairshare::testing::ledger::array::{Array, Indices};
use fairshare::testing::ledger::care::{Care, Warning};
use fairshare::testing::ledger::job::{Cause, Exit, Job, JobEnd, JobState, Ran};
use fairshare::testing::ledger::refusal::Refusal;
use fairshare::testing::ledger::{Asked, BootId, Canceller, Command, Effect, Ledger, Outcome, Where};
use fairshare::testing::quantity::{Bytes, MilliCpu};
use fairshare::testing::state;

use super::village::{GIB, at, ledger, member, named, policy, rules, say, submit, submitted, uid, waits};

const RETRY_TWICE: Again = Again { retries: 2, requeue: false, failed: 0, tries: 0 };
const REQUEUE: Again = Again { retries: 0, requeue: true, failed: 0, tries: 0 };

/// A command of the first member's, of a CPU.
fn put(ledger: &mut Ledger, ms: u64, again: Again) -> JobId {
    let job = JobId(ledger.next_job());
    let asked = Asked { amount: named(1000, GIB), again: Some(again), ..waits() };
    say(ledger, ms, submitted(&policy(), 1, asked)).unwrap();
    job
}

fn ran(code: u8, cause: Option<Cause>) -> JobEnd {
    let exit = Exit::Code(code);
    JobEnd::Ran(Ran { cause, cpu_usec: Some(9), ..Ran::of(exit) })
}

fn ends(ledger: &mut Ledger, ms: u64, job: JobId, end: JobEnd) -> Vec<Effect> {
    say(ledger, ms, Command::WorkEnded { job, end }).unwrap()
}

fn cleared(ledger: &mut Ledger, ms: u64, job: JobId, tries: u64) -> Vec<Effect> {
    say(ledger, ms, Command::Cleared { job, tries }).unwrap()
}

fn at_work(ledger: &Ledger, job: JobId) -> bool {
    matches!(ledger.jobs()[&job].state, JobState::Running { .. })
}

fn end(ledger: &Ledger, job: JobId) -> Option<JobEnd> {
    match &ledger.jobs()[&job].state {
        JobState::Ended { end, .. } => Some(end.clone()),
        _ => None,
    }
}

fn starts(effects: &[Effect], job: JobId) -> bool {
    effects.contains(&Effect::Start { uid: uid(1), job })
}

#[test]
fn what_fails_is_tried_again_after_pauses_and_ends_as_it_last_did() {
    let mut ledger = ledger();
    let job = put(&mut ledger, 0, RETRY_TWICE);
    ends(&mut ledger, 10, job, ran(3, None));
    assert!(!at_work(&ledger, job) && end(&ledger, job).is_none());
    assert_eq!(ledger.next_wakeup(), Some(1010));
    assert!(!starts(&cleared(&mut ledger, 20, job, 0), job));
    assert!(!starts(&say(&mut ledger, 1009, Command::Tick).unwrap(), job));
    assert!(starts(&say(&mut ledger, 1010, Command::Tick).unwrap(), job));
    ends(&mut ledger, 2000, job, ran(1, Some(Cause::Memory)));
    cleared(&mut ledger, 2000, job, 1);
    say(&mut ledger, 3999, Command::Tick).unwrap();
    assert!(!at_work(&ledger, job), "twice as long after the second");
    say(&mut ledger, 4000, Command::Tick).unwrap();
    assert!(at_work(&ledger, job));
    ends(&mut ledger, 5000, job, ran(4, None));
    assert_eq!(end(&ledger, job), Some(ran(4, None)));
}

#[test]
fn what_went_well_or_somebody_ended_is_not_tried_again() {
    for how in [ran(0, None), ran(143, Some(Cause::Outside)), ran(143, Some(Cause::Cancelled))] {
        let mut ledger = ledger();
        let job = put(&mut ledger, 0, RETRY_TWICE);
        ends(&mut ledger, 10, job, how.clone());
        assert_eq!(end(&ledger, job), Some(how));
    }
    // It was wanted no more before it failed.
    let mut ledger = ledger();
    let job = put(&mut ledger, 0, RETRY_TWICE);
    say(&mut ledger, 5, Command::Cancel { job, by: Canceller::Member(uid(1)) }).unwrap();
    ends(&mut ledger, 10, job, ran(1, None));
    assert_eq!(end(&ledger, job), Some(ran(1, None)));
    // Nor is it while it waits for its next try.
    let job = put(&mut ledger, 20, RETRY_TWICE);
    ends(&mut ledger, 30, job, ran(1, None));
    say(&mut ledger, 40, Command::Cancel { job, by: Canceller::Member(uid(1)) }).unwrap();
    assert_eq!(end(&ledger, job), Some(JobEnd::Cancelled));
    cleared(&mut ledger, 50, job, 0);
    say(&mut ledger, 60_000, Command::Tick).unwrap();
    assert_eq!(end(&ledger, job), Some(JobEnd::Cancelled));
}

#[test]
fn what_was_interrupted_waits_again_where_its_member_says_so() {
    let mut ledger = ledger();
    let [again, once] = [REQUEUE, RETRY_TWICE].map(|again| put(&mut ledger, 0, again));
    for job in [again, once] {
        ends(&mut ledger, 10, job, JobEnd::Interrupted);
    }
    assert_eq!(end(&ledger, once), Some(JobEnd::Interrupted));
    assert!(starts(&cleared(&mut ledger, 20, again, 0), again));
    // As often as that is so, with pauses after the first; what fails by itself is another thing.
    for (ms, tries, then) in [(30, 1, 60_030), (60_040, 2, 180_040)] {
        ends(&mut ledger, ms, again, JobEnd::Interrupted);
        assert!(!starts(&cleared(&mut ledger, ms, again, tries), again));
        assert!(!starts(&say(&mut ledger, then - 1, Command::Tick).unwrap(), again));
        assert!(starts(&say(&mut ledger, then, Command::Tick).unwrap(), again));
    }
    ends(&mut ledger, 180_050, again, ran(1, None));
    assert_eq!(end(&ledger, again), Some(ran(1, None)));
}

/// Units and an allocation have the job's number in their names.
#[test]
fn no_try_begins_before_the_one_before_it_is_gone() {
    let mut ledger = ledger();
    let job = put(&mut ledger, 0, REQUEUE);
    let id = AllocationId::of_job(uid(1), job);
    let effects = ledger.apply(at(10), Command::WorkEnded { job, end: JobEnd::Interrupted }).unwrap();
    assert!(effects.contains(&Effect::Withdraw(id)));
    let effects = ledger.apply(at(11), Command::Cleared { job, tries: 0 }).unwrap();
    assert_eq!(effects, [], "its slice is there still");
    let effects = ledger.apply(at(12), Command::Settle { id, outcome: Outcome::Done }).unwrap();
    assert!(effects.contains(&Effect::Grant(id)));
    let effects = ledger.apply(at(13), Command::Settle { id, outcome: Outcome::Done }).unwrap();
    assert!(starts(&effects, job));
    // The other way round; and what is heard of a try before it says nothing of this one.
    let effects = ledger.apply(at(20), Command::WorkEnded { job, end: JobEnd::Interrupted }).unwrap();
    assert!(effects.contains(&Effect::Withdraw(id)));
    ledger.apply(at(21), Command::Settle { id, outcome: Outcome::Done }).unwrap();
    ledger.apply(at(60_020), Command::Tick).unwrap();
    assert_eq!(ledger.apply(at(60_022), Command::Cleared { job, tries: 0 }).unwrap(), []);
    assert_eq!(ledger.apply(at(60_023), Command::WorkEnded { job, end: ran(0, None) }).unwrap(), []);
    let effects = ledger.apply(at(60_024), Command::Cleared { job, tries: 1 }).unwrap();
    assert!(effects.contains(&Effect::Grant(id)));
    ledger.audit();
}

#[test]
fn what_waits_for_its_next_try_waits_through_a_restart() {
    let mut before = ledger();
    say(&mut before, 0, rules(60_000, false)).unwrap();
    let job = put(&mut before, 0, Again { requeue: true, ..RETRY_TWICE });
    ends(&mut before, 10, job, ran(3, None));
    let stored = state::parse(&state::encode(&before.image()).unwrap()).unwrap();
    assert_eq!(stored, before.image());
    let mut after = Ledger::restore(BootId("second".into()), at(20), stored);
    after.audit();
    let whole = before.capacity().whole();
    say(&mut after, 20, Command::SetCapacity { cpu: whole.cpu(), mem: whole.mem() }).unwrap();
    say(&mut after, 20, rules(60_000, false)).unwrap();
    after.interrupt_jobs(at(20), |_| true);
    say(&mut after, 5000, Command::Tick).unwrap();
    assert!(!at_work(&after, job), "nobody has cleared away what is left");
    assert!(starts(&cleared(&mut after, 5001, job, 0), job));
    let of = after.jobs()[&job].work().unwrap().again.unwrap();
    assert_eq!((of.failed, of.tries), (1, 1));
}

/// What cannot be started has failed, and nothing of it is left.
#[test]
fn what_could_not_begin_is_tried_again() {
    let mut ledger = ledger();
    let asked = Asked { amount: named(1000, GIB), again: Some(RETRY_TWICE), ..waits() };
    let job = JobId(ledger.next_job());
    ledger.apply(at(0), submitted(&policy(), 1, asked)).unwrap();
    let id = AllocationId::of_job(uid(1), job);
    let failed = |ledger: &mut Ledger, ms| {
        let outcome = Outcome::Undone("no slice".into());
        ledger.apply(at(ms), Command::Settle { id, outcome }).unwrap();
        ledger.audit();
    };
    failed(&mut ledger, 10);
    assert!(ledger.apply(at(60_010), Command::Tick).unwrap().contains(&Effect::Grant(id)));
    failed(&mut ledger, 60_020);
    assert!(ledger.apply(at(180_020), Command::Tick).unwrap().contains(&Effect::Grant(id)));
    failed(&mut ledger, 180_030);
    assert_eq!(end(&ledger, job), Some(JobEnd::Failed("no slice".into())));
}

/// It comes before what its member asked for later, but not where they said so themselves.
#[test]
fn what_is_tried_again_has_its_place_among_its_members_own() {
    let order = |held: bool| {
        let mut ledger = ledger();
        let job = put(&mut ledger, 0, REQUEUE);
        say(&mut ledger, 1, submit(&policy(), 2, named(7000, GIB), None, Bytes(9))).unwrap();
        let later = put(&mut ledger, 2, REQUEUE);
        assert!(!at_work(&ledger, later));
        say(&mut ledger, 3, Command::Drain).unwrap();
        ledger.apply(at(3), Command::WorkEnded { job, end: JobEnd::Interrupted }).unwrap();
        for hold in [true, false].into_iter().filter(|_| held) {
            let change = Change { hold: Some(hold), ..Change::default() };
            ledger.apply(at(3), Command::Alter { job, by: uid(1), change }).unwrap();
        }
        let id = AllocationId::of_job(uid(1), job);
        ledger.apply(at(4), Command::Settle { id, outcome: Outcome::Done }).unwrap();
        ledger.apply(at(5), Command::Cleared { job, tries: 0 }).unwrap();
        let own = ledger.places().into_iter().filter(|place| place.waiting.uid == uid(1));
        (own.map(|place| place.waiting.job).collect::<Vec<_>>(), [job, later])
    };
    let (stands, [job, later]) = order(false);
    assert_eq!(stands, [job, later]);
    let (stands, [job, later]) = order(true);
    assert_eq!(stands, [later, job]);
}

#[test]
fn a_task_is_tried_again_and_its_array_counts_how_it_last_ended() {
    let mut ledger = ledger();
    let array = JobId(ledger.next_job());
    let indices = Indices::checked(1, 2, 1).unwrap();
    let (of, again) = (Array::new(indices, Some(1)), Again { retries: 1, ..RETRY_TWICE });
    let asked = Asked { amount: named(1000, GIB), array: Some(Box::new(of)), again: Some(again), ..waits() };
    say(&mut ledger, 0, submitted(&policy(), 1, asked)).unwrap();
    let one = JobId(array.0 + 1);
    ends(&mut ledger, 10, one, ran(1, None));
    let of = |ledger: &Ledger| *ledger.jobs()[&array].array().unwrap();
    assert_eq!((of(&ledger).at_work, of(&ledger).failed), (1, 0), "it is at work still, as it is counted");
    cleared(&mut ledger, 20, one, 0);
    say(&mut ledger, 1010, Command::Tick).unwrap();
    assert!(at_work(&ledger, one) && ledger.jobs().len() == 2, "one at a time");
    ends(&mut ledger, 2000, one, ran(0, None));
    let two = JobId(array.0 + 2);
    for (ms, tries) in [(2010, 0), (4000, 1)] {
        ends(&mut ledger, ms, two, ran(5, None));
        cleared(&mut ledger, ms, two, tries);
        say(&mut ledger, ms + 1000, Command::Tick).unwrap();
    }
    assert_eq!((of(&ledger).done, of(&ledger).failed), (1, 1));
    let JobState::Ended { end: JobEnd::Ran(Ran { exit, .. }), .. } = ledger.jobs()[&array].state else {
        panic!()
    };
    assert_eq!(exit, Exit::Code(5));
}

#[test]
fn each_try_is_warned_before_its_own_time_is_over() {
    let (mut ledger, minute) = (ledger(), 60_000);
    let warning = Some(Warning { signal: 10, before_ms: 5 * minute, sent: false });
    let asked = Asked {
        amount: named(1000, GIB),
        time_limit: Some(Duration::from_millis(60 * minute)),
        again: Some(RETRY_TWICE),
        care: Care { warning, ..Care::default() },
        ..waits()
    };
    let job = JobId(ledger.next_job());
    say(&mut ledger, 1, submitted(&policy(), 1, asked)).unwrap();
    let warns = |ledger: &mut Ledger, ms| {
        say(ledger, ms, Command::Tick).unwrap().contains(&Effect::Warn { uid: uid(1), job })
    };
    assert!(warns(&mut ledger, 55 * minute + 1));
    say(&mut ledger, 55 * minute + 1, Command::Warned { job, sent: true }).unwrap();
    ends(&mut ledger, 56 * minute, job, ran(1, None));
    cleared(&mut ledger, 56 * minute, job, 0);
    assert!(!warns(&mut ledger, 57 * minute) && at_work(&ledger, job));
    assert!(warns(&mut ledger, 112 * minute));
}

/// Each task that waits to be tried again is a job of its own: no member has more of them than they may have at work, in however
/// many arrays, but for those that were at work by then.
#[test]
fn tasks_of_many_arrays_that_fail_do_not_fill_the_queue() {
    let mut ledger = ledger();
    say(&mut ledger, 0, rules(60_000, false)).unwrap();
    let mut arrays = Vec::new();
    for _ in 0..4 {
        arrays.push(JobId(ledger.next_job()));
        let array = Some(Box::new(Array::new(Indices::checked(1, 9000, 1).unwrap(), None)));
        let asked = Asked { amount: named(4000, 4 * GIB), array, again: Some(RETRY_TWICE), ..waits() };
        say(&mut ledger, 0, submitted(&policy(), 1, asked)).unwrap();
    }
    let waiting =
        |ledger: &Ledger| ledger.jobs().values().filter(|job| job.task().is_some() && job.queued()).count();
    // None of them is cleared away: each waits.
    for ms in 1..2000 {
        let at_work = |job: &&std::sync::Arc<Job>| at_work(&ledger, job.id) && job.task().is_some();
        let Some(job) = ledger.jobs().values().find(at_work).map(|job| job.id) else { break };
        ends(&mut ledger, ms, job, ran(1, None));
    }
    assert!((256..260).contains(&waiting(&ledger)), "{}", waiting(&ledger));
    // Where they go, others come.
    for job in ledger.jobs().values().filter(|job| job.task().is_some()).map(|job| job.id).collect::<Vec<_>>()
    {
        say(&mut ledger, 2000, Command::Cancel { job, by: Canceller::Member(uid(1)) }).unwrap();
    }
    assert!(ledger.jobs().values().any(|job| at_work(&ledger, job.id)), "no task is made any more");
}

#[test]
fn what_its_member_had_stopped_is_not_tried_again_whatever_is_known_of_its_end() {
    let mut ledger = ledger();
    let job = put(&mut ledger, 0, Again { requeue: true, ..RETRY_TWICE });
    let id = AllocationId::of_job(uid(1), job);
    ledger.apply(at(1), Command::Release { id, populated: true, stop: true }).unwrap();
    ledger.apply(at(2), Command::WorkEnded { job, end: JobEnd::Interrupted }).unwrap();
    assert_eq!(end(&ledger, job), Some(JobEnd::Interrupted));
}

#[test]
fn the_next_try_has_what_the_last_had() {
    let mut ledger = ledger();
    let job = put(&mut ledger, 0, RETRY_TWICE);
    let resize = Command::Resize {
        member: member(&policy(), 1),
        of: Purpose::Job(job),
        amount: named(2000, 2 * GIB),
        in_use: Bytes(0),
    };
    say(&mut ledger, 1, resize).unwrap();
    ends(&mut ledger, 2, job, ran(1, Some(Cause::Memory)));
    cleared(&mut ledger, 3, job, 0);
    say(&mut ledger, 1002, Command::Tick).unwrap();
    let amount = ledger.allocation(AllocationId::of_job(uid(1), job)).unwrap().amount;
    assert_eq!((amount.cpu, amount.mem), (MilliCpu(2000), Bytes(2 * GIB)));
}

/// The standing allocation is its member's to give back: what is to be tried again cannot count on it.
#[test]
fn what_is_tried_again_has_room_of_its_own() {
    let mut ledger = ledger();
    let asked = Asked { place: Where::InShare, again: Some(REQUEUE), ..waits() };
    assert_eq!(say(&mut ledger, 0, submitted(&policy(), 1, asked)), Err(Refusal::WaitsInShare));
}

/// What its member has run at its end was told that.
#[test]
fn an_end_that_was_told_stays_so_and_none_is_told_of_a_try_after_which_another_comes() {
    let mut ledger = ledger();
    let again = Again { retries: 1, requeue: true, failed: 0, tries: 0 };
    let job = put(&mut ledger, 0, again);
    let told = |ledger: &Ledger| ledger.jobs()[&job].work().unwrap().ending.as_deref().cloned();
    let ending = |ledger: &mut Ledger, end| say(ledger, 10, Command::Ending { job, end }).unwrap();
    ending(&mut ledger, ran(3, None));
    assert_eq!(told(&ledger), None);
    ends(&mut ledger, 20, job, ran(3, None));
    cleared(&mut ledger, 20, job, 0);
    say(&mut ledger, 1020, Command::Tick).unwrap();
    assert!(at_work(&ledger, job));
    ending(&mut ledger, ran(4, None));
    ending(&mut ledger, ran(0, Some(Cause::Outside)));
    say(&mut ledger, 1030, Command::Cancel { job, by: Canceller::Admin }).unwrap();
    assert_eq!((told(&ledger), at_work(&ledger, job)), (Some(ran(4, None)), true));
    // As where the daemon that was to see it has ended.
    let image = state::parse(&state::encode(&ledger.image()).unwrap()).unwrap();
    let mut ledger = Ledger::restore(BootId("boot".to_owned()), at(1040), image);
    ends(&mut ledger, 1040, job, JobEnd::Interrupted);
    assert_eq!((end(&ledger, job), told(&ledger)), (Some(ran(4, None)), None));
}
