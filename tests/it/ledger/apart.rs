//! Commands that wait for jobs, for a time or for their member before they wait for room; and who is first of one's own.

use std::collections::BTreeSet;

use fairshare::testing::identity::JobId;
use fairshare::testing::ledger::apart::{Change, When};
use fairshare::testing::ledger::job::{Exit, JobEnd, JobState, Ran};
use fairshare::testing::ledger::refusal::Refusal;
use fairshare::testing::ledger::{Asked, BootId, Canceller, Command, Effect, Ledger, Now, Wait, Where};
use fairshare::testing::policy::{Policy, QueueRule, Role, Rules};
use fairshare::testing::quantity::{Bytes, PartialAmount, Priority};
use fairshare::testing::state;

use super::village::{
    GIB, at, ledger, member, named, own, policy, request, rules, say, settle_all, submit, submit_when,
    submitted, uid, waits,
};

const MINUTE: u64 = 60_000;
/// Half a machine: two fit.
const HALF: u64 = 4;

fn ids(jobs: &[JobId]) -> BTreeSet<JobId> {
    jobs.iter().copied().collect()
}

fn after(jobs: &[JobId]) -> When {
    When { after: ids(jobs), ..When::default() }
}

fn after_any(jobs: &[JobId]) -> When {
    When { after_any: ids(jobs), ..When::default() }
}

fn urgent(priority: u64) -> When {
    When { priority: Priority::checked(priority).unwrap(), ..When::default() }
}

fn half() -> PartialAmount {
    named(HALF * 1000, HALF * GIB)
}

/// A command of the member's, of half a machine.
fn put(ledger: &mut Ledger, ms: u64, who: u64, when: When) -> JobId {
    let job = JobId(ledger.next_job());
    say(ledger, ms, submit_when(&policy(), who, half(), when)).unwrap();
    job
}

/// Somebody takes the whole machine, so that everything else waits.
fn full() -> Ledger {
    let mut ledger = ledger();
    say(&mut ledger, 0, request(&policy(), 9, named(8000, 8 * GIB), None, Wait::No)).unwrap();
    ledger
}

/// And gives it back.
fn empty(ledger: &mut Ledger, ms: u64) {
    say(ledger, ms, Command::Release { id: own(9), populated: false, stop: false }).unwrap();
}

fn ended(code: u8) -> JobEnd {
    let exit = Exit::Code(code);
    JobEnd::Ran(Ran::of(exit))
}

fn ends(ledger: &mut Ledger, ms: u64, job: JobId, end: JobEnd) -> Vec<Effect> {
    say(ledger, ms, Command::WorkEnded { job, end }).unwrap()
}

fn cancel(ledger: &mut Ledger, ms: u64, job: JobId) {
    say(ledger, ms, Command::Cancel { job, by: Canceller::Admin }).unwrap();
}

fn alter(who: u64, job: JobId, change: Change) -> Command {
    Command::Alter { job, by: uid(who), change }
}

fn hold(held: bool) -> Change {
    Change { hold: Some(held), ..Change::default() }
}

fn first() -> Change {
    Change { first: Some(true), ..Change::default() }
}

fn state(ledger: &Ledger, job: JobId) -> &JobState {
    &ledger.jobs()[&job].state
}

fn runs(ledger: &Ledger, job: JobId) -> bool {
    matches!(state(ledger, job), JobState::Running { .. })
}

fn is_apart(ledger: &Ledger, job: JobId) -> bool {
    ledger.jobs()[&job].apart().is_some()
}

/// Why it was never run.
fn unreached(ledger: &Ledger, job: JobId) -> &str {
    match state(ledger, job) {
        JobState::Ended { started: None, end: JobEnd::Unreached(why), .. } => why,
        other => panic!("job {job}: {other:?}"),
    }
}

/// Who waits for room, in order.
fn queue(ledger: &Ledger) -> Vec<JobId> {
    ledger.places().iter().map(|place| place.waiting.job).collect()
}

#[test]
fn what_comes_after_a_job_starts_when_that_has_ended_well() {
    let mut ledger = ledger();
    let one = put(&mut ledger, 0, 1, When::default());
    let two = put(&mut ledger, 1, 1, When::default());
    let both = put(&mut ledger, 2, 1, after(&[one, two]));
    assert!(is_apart(&ledger, both) && ledger.waiting() == 0);
    ends(&mut ledger, 3, one, ended(0));
    assert!(is_apart(&ledger, both), "there is room, and the other job is not over");
    let effects = ends(&mut ledger, 4, two, ended(0));
    assert!(runs(&ledger, both) && effects.contains(&Effect::Start { uid: uid(1), job: both }));
}

#[test]
fn what_comes_after_a_job_that_fails_is_never_run_and_neither_is_what_comes_after_that() {
    for (end, how) in [
        (ended(3), "ended with exit 3"),
        (JobEnd::Failed("x".into()), "failed"),
        (JobEnd::Interrupted, "was interrupted"),
    ] {
        let mut ledger = ledger();
        let one = put(&mut ledger, 0, 1, When::default());
        let two = put(&mut ledger, 1, 1, after(&[one]));
        let three = put(&mut ledger, 2, 1, after(&[two]));
        let whatever = put(&mut ledger, 3, 1, after_any(&[three]));
        ends(&mut ledger, 4, one, end);
        assert_eq!(unreached(&ledger, two), format!("Job {one}, after which it was to run, {how}"));
        assert_eq!(unreached(&ledger, three), format!("Job {two}, after which it was to run, was never run"));
        assert!(runs(&ledger, whatever), "it was to run however the other ended");
    }
    // So is what comes after one that never began.
    let mut ledger = full();
    let one = put(&mut ledger, 0, 1, When::default());
    let two = put(&mut ledger, 1, 1, after(&[one]));
    cancel(&mut ledger, 2, one);
    assert!(unreached(&ledger, two).ends_with("was cancelled"));
}

#[test]
fn a_job_that_is_over_counts_by_how_it_ended() {
    let mut ledger = ledger();
    let good = put(&mut ledger, 0, 1, When::default());
    let bad = put(&mut ledger, 0, 1, When::default());
    ends(&mut ledger, 1, good, ended(0));
    ends(&mut ledger, 1, bad, ended(1));
    let started = put(&mut ledger, 2, 1, after(&[good]));
    assert!(runs(&ledger, started));
    let started = put(&mut ledger, 3, 1, after_any(&[good, bad]));
    assert!(runs(&ledger, started));
    let next = JobId(ledger.next_job());
    let never = put(&mut ledger, 4, 1, after(&[good, bad]));
    assert_eq!((never, unreached(&ledger, never).contains("ended with exit 1")), (next, true));
    assert_eq!(ledger.members_waiting(), []);
}

#[test]
fn only_ones_own_jobs_can_be_waited_for() {
    let mut ledger = ledger();
    let others = put(&mut ledger, 0, 2, When::default());
    for when in [after(&[others]), after_any(&[others]), after(&[JobId(77)]), after_any(&[JobId(77)])] {
        let next = ledger.next_job();
        // Itself, too, is no job before it is there: no circle can be made.
        for when in [when, after(&[JobId(next)])] {
            let refused = say(&mut ledger, 1, submit_when(&policy(), 1, half(), when)).unwrap_err();
            assert_eq!((refused, ledger.next_job()), (Refusal::NoJob, next));
        }
    }
}

#[test]
fn what_is_to_begin_later_joins_the_queue_then() {
    let mut ledger = ledger();
    let begin = |ms: u64| When { begin_wall_ms: Some(at(ms).wall_ms), ..When::default() };
    let job = put(&mut ledger, 1000, 1, begin(MINUTE));
    assert_eq!(ledger.next_wakeup(), Some(MINUTE));
    say(&mut ledger, MINUTE - 1, Command::Tick).unwrap();
    assert!(is_apart(&ledger, job));
    // A clock that is set by days moves it as little as a lease.
    let set = Now { boot_ms: MINUTE - 1, wall_ms: at(MINUTE).wall_ms + 3 * 86_400_000 };
    let effects = ledger.apply(set, Command::Tick).unwrap();
    settle_all(&mut ledger, set, effects);
    assert!(is_apart(&ledger, job));
    say(&mut ledger, MINUTE, Command::Tick).unwrap();
    assert!(runs(&ledger, job));
    let job = put(&mut ledger, MINUTE, 1, begin(MINUTE));
    assert!(runs(&ledger, job), "what has passed is not waited for");
    // What is too far away to be counted is waited for and overflows nothing.
    let when = When { begin_wall_ms: Some(u64::MAX), ..When::default() };
    let job = put(&mut ledger, MINUTE, 1, when);
    assert!(is_apart(&ledger, job) && ledger.next_wakeup().is_some());
}

#[test]
fn a_time_a_job_and_a_release_are_all_waited_for() {
    let mut ledger = ledger();
    let one = put(&mut ledger, 0, 1, When::default());
    let when = When { begin_wall_ms: Some(at(MINUTE).wall_ms), hold: true, ..after_any(&[one]) };
    let job = put(&mut ledger, 0, 1, when);
    say(&mut ledger, MINUTE, Command::Tick).unwrap();
    ends(&mut ledger, MINUTE, one, ended(1));
    assert!(is_apart(&ledger, job));
    say(&mut ledger, MINUTE, alter(1, job, hold(false))).unwrap();
    assert!(runs(&ledger, job));
}

#[test]
fn who_was_held_has_the_place_of_who_comes_when_it_is_released() {
    let mut ledger = full();
    let held = put(&mut ledger, 1, 1, When { hold: true, ..When::default() });
    let one = put(&mut ledger, 2, 1, When::default());
    let two = put(&mut ledger, 3, 1, When::default());
    assert_eq!(queue(&ledger), [one, two]);
    say(&mut ledger, 4, alter(1, one, hold(true))).unwrap();
    assert_eq!(queue(&ledger), [two]);
    say(&mut ledger, 5, alter(1, held, hold(false))).unwrap();
    say(&mut ledger, 6, alter(1, one, hold(false))).unwrap();
    assert_eq!(queue(&ledger), [two, held, one]);
    // Nor is it older than that for the patience of all.
    assert!(ledger.places().iter().all(|place| place.waiting.since.0 >= 4));
    empty(&mut ledger, 7);
    assert!(runs(&ledger, two) && runs(&ledger, held) && !runs(&ledger, one));
}

#[test]
fn what_is_apart_holds_nobody_back() {
    let mut ledger = ledger();
    let one = put(&mut ledger, 0, 1, When::default());
    let whole = named(8000, 8 * GIB);
    say(&mut ledger, 1, submit_when(&policy(), 1, whole, after(&[one]))).unwrap();
    assert_eq!((ledger.reservation(), ledger.waiting()), (None, 0));
    // In the queue it would have the reservation, and this would wait.
    let other = put(&mut ledger, 2, 2, When::default());
    assert!(runs(&ledger, other));
}

#[test]
fn what_is_apart_counts_among_what_waits() {
    let mut ledger = full();
    let Command::SetRules(rules) = rules(MINUTE, false) else { panic!() };
    let few = QueueRule { member: 2, all: 3, running: 0 };
    say(&mut ledger, 0, Command::SetRules(fairshare::testing::ledger::Rules { queue: few, ..rules }))
        .unwrap();
    let held = || When { hold: true, ..When::default() };
    put(&mut ledger, 1, 1, held());
    put(&mut ledger, 2, 1, When::default());
    for when in [held(), When::default()] {
        let refused = say(&mut ledger, 3, submit_when(&policy(), 1, half(), when)).unwrap_err();
        assert_eq!(refused, Refusal::QueueFull { most: 2, own: true });
    }
    put(&mut ledger, 4, 2, held());
    let refused = say(&mut ledger, 5, submit_when(&policy(), 3, half(), held())).unwrap_err();
    assert_eq!(refused, Refusal::QueueFull { most: 3, own: false });
}

#[test]
fn ones_own_wait_by_priority_and_then_as_they_came() {
    let mut ledger = full();
    let usual = put(&mut ledger, 1, 1, When::default());
    let low = put(&mut ledger, 2, 1, urgent(0));
    let high = put(&mut ledger, 3, 1, urgent(100));
    let also = put(&mut ledger, 4, 1, urgent(100));
    let later = put(&mut ledger, 5, 1, urgent(50));
    assert_eq!(queue(&ledger), [high, also, usual, later, low]);
    let change = Change { priority: Some(Priority::checked(60).unwrap()), ..Change::default() };
    say(&mut ledger, 6, alter(1, low, change)).unwrap();
    assert_eq!(queue(&ledger), [high, also, low, usual, later]);
    say(&mut ledger, 7, alter(1, later, first())).unwrap();
    say(&mut ledger, 8, alter(1, usual, first())).unwrap();
    assert_eq!(queue(&ledger), [usual, later, high, also, low]);
    // The same again changes nothing.
    let effects = say(&mut ledger, 9, alter(1, usual, first())).unwrap();
    assert_eq!((effects, queue(&ledger)), (vec![], vec![usual, later, high, also, low]));
    say(&mut ledger, 9, alter(1, usual, Change { first: Some(false), ..Change::default() })).unwrap();
    assert_eq!(queue(&ledger), [later, high, also, low, usual]);
    empty(&mut ledger, 10);
    assert!(runs(&ledger, later) && runs(&ledger, high) && !runs(&ledger, also));
}

#[test]
fn no_priority_is_above_another_members() {
    let mut ledger = full();
    let theirs = put(&mut ledger, 1, 2, urgent(0));
    let mine = put(&mut ledger, 2, 1, urgent(100));
    say(&mut ledger, 3, alter(1, mine, first())).unwrap();
    assert_eq!(queue(&ledger), [theirs, mine]);
}

/// Else a small request would keep the reservation for a large one.
#[test]
fn who_puts_another_before_the_one_with_the_reservation_gives_it_up() {
    let mut ledger = full();
    // So far ahead that it is not their turn by what they had.
    let mine = put(&mut ledger, 1, 1, When::default());
    let theirs = put(&mut ledger, 2, 2, When::default());
    assert_eq!(ledger.reservation().unwrap().first.job, mine);
    let large = put(&mut ledger, 3, 1, When::default());
    say(&mut ledger, 4, alter(1, large, first())).unwrap();
    assert_eq!(ledger.reservation().unwrap().first.job, theirs);
    assert_eq!(queue(&ledger), [theirs, large, mine]);
}

#[test]
fn only_what_waits_can_be_changed_and_only_by_its_member() {
    let mut ledger = ledger();
    let at_work = put(&mut ledger, 0, 1, When::default());
    let over = put(&mut ledger, 0, 1, When::default());
    ends(&mut ledger, 1, over, ended(0));
    let held = put(&mut ledger, 2, 1, When { hold: true, ..When::default() });
    for change in [hold(true), hold(false), first()] {
        let refused = |ledger: &mut Ledger, who, job| say(ledger, 3, alter(who, job, change)).unwrap_err();
        assert_eq!(refused(&mut ledger, 1, at_work), Refusal::NotWaiting { job: at_work, over: false });
        assert_eq!(refused(&mut ledger, 1, over), Refusal::NotWaiting { job: over, over: true });
        assert_eq!(refused(&mut ledger, 2, held), Refusal::NoJob);
        assert_eq!(refused(&mut ledger, 1, JobId(99)), Refusal::NoJob);
    }
    // A request waits in front of its member's eyes: it can be put first, and is not held.
    let mut ledger = full();
    let asked = JobId(ledger.next_job());
    say(&mut ledger, 1, request(&policy(), 1, half(), None, Wait::Granted)).unwrap();
    let refused = say(&mut ledger, 2, alter(1, asked, hold(true))).unwrap_err();
    assert_eq!(refused, Refusal::NotHeld { job: asked });
    let one = put(&mut ledger, 3, 1, urgent(100));
    say(&mut ledger, 4, alter(1, asked, first())).unwrap();
    assert_eq!(queue(&ledger), [asked, one]);
}

#[test]
fn what_waits_for_something_has_room_of_its_own_and_waits_for_that() {
    let mut ledger = ledger();
    say(&mut ledger, 0, request(&policy(), 1, named(1000, GIB), None, Wait::No)).unwrap();
    let asked = |place, wait| {
        let when = When { hold: true, ..When::default() };
        submitted(&policy(), 1, Asked { place, wait, when, ..waits() })
    };
    let refused = say(&mut ledger, 1, asked(Where::InShare, Wait::Granted)).unwrap_err();
    assert_eq!(refused, Refusal::WaitsInShare);
    let refused = say(&mut ledger, 1, asked(Where::ByFigures, Wait::No)).unwrap_err();
    assert_eq!(refused, Refusal::WaitsNot);
    let job = JobId(ledger.next_job());
    say(&mut ledger, 2, asked(Where::ByFigures, Wait::Granted)).unwrap();
    say(&mut ledger, 3, alter(1, job, hold(false))).unwrap();
    assert!(ledger.allocation(fairshare::testing::identity::AllocationId::of_job(uid(1), job)).is_some());
}

#[test]
fn a_long_chain_ends_as_one() {
    const LONG: u64 = 999;
    let mut ledger = full();
    let root = put(&mut ledger, 0, 1, When::default());
    let mut last = root;
    for ms in 1..=LONG {
        last = put_quietly(&mut ledger, ms, last);
    }
    let effects =
        say(&mut ledger, 2000, Command::Cancel { job: root, by: Canceller::Member(uid(1)) }).unwrap();
    let told = effects.iter().filter(|effect| effect.event().is_some()).count() as u64;
    assert_eq!((told, ledger.members_waiting()), (LONG + 1, vec![]));
    assert!(unreached(&ledger, last).ends_with("was never run"));
}

/// The same as [`put`], without counting everything anew each time.
fn put_quietly(ledger: &mut Ledger, ms: u64, job: JobId) -> JobId {
    let next = JobId(ledger.next_job());
    ledger.apply(at(ms), submit_when(&policy(), 1, half(), after(&[job]))).unwrap();
    next
}

#[test]
fn what_the_policy_no_longer_allows_ends_apart_too() {
    let mut ledger = ledger();
    let held = put(&mut ledger, 0, 1, When { hold: true, ..When::default() });
    let next = put(&mut ledger, 1, 1, after(&[held]));
    assert_eq!(ledger.members_waiting(), [uid(1)]);
    let read_only = Rules { role: Some(Role::ReadOnly), ..Rules::default() };
    let changed = Policy { users: [(uid(1), read_only)].into(), ..policy() };
    say(&mut ledger, 2, Command::Reconsider { members: vec![member(&changed, 1)] }).unwrap();
    assert!(matches!(state(&ledger, held), JobState::Ended { end: JobEnd::Refused(_), .. }));
    assert!(unreached(&ledger, next).ends_with("failed"));
}

/// A crash after each of these steps, and a start from what was stored, come to the same end.
#[test]
fn a_crash_between_any_two_steps_changes_nothing_of_what_is_waited_for() {
    let steps = |ledger: &Ledger| -> Vec<Command> {
        let [one, two, three, four, five] = [0, 1, 2, 3, 4].map(|more| JobId(ledger.next_job() + more));
        let begin = When { begin_wall_ms: Some(at(MINUTE).wall_ms), ..When::default() };
        let plain = submit(&policy(), 1, half(), None, Bytes(9));
        let when = |when| submit_when(&policy(), 1, half(), when);
        vec![
            plain,
            when(after(&[one])),
            when(after_any(&[two])),
            when(begin),
            when(When { hold: true, ..urgent(90) }),
            Command::WorkEnded { job: one, end: ended(2) },
            alter(1, five, hold(false)),
            alter(1, four, first()),
            Command::WorkEnded { job: three, end: ended(0) },
        ]
    };
    let played = |crash: Option<usize>| {
        let mut ledger = ledger();
        for (step, command) in steps(&ledger.clone()).into_iter().enumerate() {
            say(&mut ledger, step as u64, command).unwrap();
            if crash == Some(step) {
                ledger = started_again(&ledger, step as u64);
            }
        }
        say(&mut ledger, MINUTE, Command::Tick).unwrap();
        let jobs: Vec<_> = ledger.jobs().values().map(|job| (**job).clone()).collect();
        (jobs, queue(&ledger), ledger.next_wakeup())
    };
    let whole = played(None);
    assert!(whole.0.iter().any(|job| matches!(job.state, JobState::Running { .. })));
    for step in 0..9 {
        assert_eq!(played(Some(step)), whole, "a crash after step {step}");
    }
}

fn started_again(ledger: &Ledger, ms: u64) -> Ledger {
    let image = state::parse(&state::encode(&ledger.image()).unwrap()).unwrap();
    let whole = ledger.capacity().whole();
    let mut again = Ledger::restore(BootId("first".into()), at(ms), image);
    again.interrupt_jobs(at(ms), |_| true);
    say(&mut again, ms, Command::SetCapacity { cpu: whole.cpu(), mem: whole.mem() }).unwrap();
    say(&mut again, ms, rules(MINUTE * 60, false)).unwrap();
    again
}

/// The machine was off when it was to begin, and a job that was waited for is not remembered by whoever wrote the state.
#[test]
fn what_came_while_nobody_was_there_is_seen_at_the_start() {
    let mut ledger = ledger();
    let gone = put(&mut ledger, 0, 1, When { hold: true, ..When::default() });
    let begins = put(&mut ledger, 1, 1, When { begin_wall_ms: Some(at(MINUTE).wall_ms), ..When::default() });
    let next = put(&mut ledger, 2, 1, after(&[gone]));
    let whatever = put(&mut ledger, 3, 1, after_any(&[gone]));
    let mut image = ledger.image();
    image.jobs.retain(|job| job.id != gone);
    let now = Now { boot_ms: 500, wall_ms: at(2 * MINUTE).wall_ms };
    let mut again = Ledger::restore(BootId("second".into()), now, image);
    again.audit();
    assert!(unreached(&again, next).contains("is not known any more"));
    assert!(!is_apart(&again, whatever) && is_apart(&again, begins));
    assert!(again.next_wakeup().is_some_and(|at| at <= 500));
    again.apply(now, Command::Tick).unwrap();
    assert!(!is_apart(&again, begins));
    again.audit();
}
