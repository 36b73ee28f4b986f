//! Arrays: one command for many indices, of which one task after the other is made as there is room.

use std::time::Duration;

use fairshare::testing::identity::JobId;
use fairshare::testing::ledger::apart::{Change, When};
use fairshare::testing::ledger::array::{Array, Indices};
use fairshare::testing::ledger::job::{Exit, Job, JobEnd, JobState, Ran};
use fairshare::testing::ledger::{BootId, Canceller, Command, Effect, Ledger, Outcome, Wait};
use fairshare::testing::quantity::{ARRAY_TASKS_MAX, PartialAmount};
use fairshare::testing::state;

use super::village::{
    GIB, at, ledger, named, own, policy, request, rules, say, submit_array, submit_when, uid,
};

/// A quarter of the machine: four fit.
fn quarter() -> PartialAmount {
    named(2000, 2 * GIB)
}

fn put(ledger: &mut Ledger, ms: u64, who: u64, count: u64, at_once: Option<u64>) -> JobId {
    put_when(ledger, ms, who, (count, at_once), When::default())
}

fn put_when(
    ledger: &mut Ledger,
    ms: u64,
    who: u64,
    (count, at_once): (u64, Option<u64>),
    when: When,
) -> JobId {
    let id = JobId(ledger.next_job());
    let array = Array::new(Indices::checked(1, count, 1).unwrap(), at_once);
    say(ledger, ms, submit_array(&policy(), who, quarter(), array, (None, when))).unwrap();
    id
}

/// The tasks of an array that are at work, by index.
fn at_work(ledger: &Ledger, array: JobId) -> Vec<(u64, JobId)> {
    let running = |job: &&std::sync::Arc<Job>| matches!(job.state, JobState::Running { .. });
    let tasks = ledger.jobs().values().filter(running);
    tasks.filter_map(|job| Some((job.task().filter(|task| task.of == array)?.index, job.id))).collect()
}

fn indices(ledger: &Ledger, array: JobId) -> Vec<u64> {
    at_work(ledger, array).iter().map(|(index, _)| *index).collect()
}

fn ended(code: u8) -> JobEnd {
    let exit = Exit::Code(code);
    JobEnd::Ran(Ran { cpu_usec: Some(9), ..Ran::of(exit) })
}

fn ends(ledger: &mut Ledger, ms: u64, array: JobId, index: u64, code: u8) -> Vec<Effect> {
    let (_, job) = *at_work(ledger, array).iter().find(|(at, _)| *at == index).unwrap();
    say(ledger, ms, Command::WorkEnded { job, end: ended(code) }).unwrap()
}

/// How an array ended, and how many of its tasks did so well and in another way.
fn over(ledger: &Ledger, array: JobId) -> Option<(JobEnd, u64, u64)> {
    let job = &ledger.jobs()[&array];
    let of = job.array().unwrap();
    match &job.state {
        JobState::Ended { end, .. } => Some((end.clone(), of.done, of.failed)),
        _ => None,
    }
}

fn exit(end: &JobEnd) -> Exit {
    match end {
        JobEnd::Ran(Ran { exit, cpu_usec: None, .. }) => *exit,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_index_is_run_once_and_the_array_is_over_with_the_last() {
    let mut ledger = ledger();
    let array = put(&mut ledger, 0, 1, 6, None);
    assert_eq!(indices(&ledger, array), [1, 2, 3, 4]);
    assert_eq!(ledger.waiting(), 1);
    for (ms, (index, code)) in (1..).zip([(2, 0), (1, 3), (3, 0)]) {
        ends(&mut ledger, ms, array, index, code);
    }
    assert_eq!((indices(&ledger, array), ledger.waiting()), (vec![4, 5, 6], 0));
    assert_eq!(over(&ledger, array), None);
    for (ms, (index, code)) in (9..).zip([(6, 7), (4, 0), (5, 1)]) {
        assert_eq!(over(&ledger, array), None);
        ends(&mut ledger, ms, array, index, code);
    }
    let (end, done, failed) = over(&ledger, array).unwrap();
    assert_eq!((exit(&end), done, failed), (Exit::Code(7), 3, 3), "of several the largest");
    assert_eq!(ledger.allocations().len(), 0);
    let well = put(&mut ledger, 20, 1, 1, None);
    ends(&mut ledger, 21, well, 1, 0);
    let (end, ..) = over(&ledger, well).unwrap();
    assert!(end.went_well());
}

#[test]
fn no_more_are_at_work_than_it_says_and_it_keeps_its_place() {
    let mut ledger = ledger();
    let array = put(&mut ledger, 0, 1, 5, Some(2));
    let behind = put(&mut ledger, 1, 1, 5, None);
    assert_eq!((indices(&ledger, array), indices(&ledger, behind)), (vec![1, 2], vec![1, 2]));
    // With room for one it is the one that came first that goes on.
    ends(&mut ledger, 2, array, 1, 0);
    assert_eq!((indices(&ledger, array), indices(&ledger, behind)), (vec![2, 3], vec![1, 2]));
    ends(&mut ledger, 3, behind, 1, 0);
    assert_eq!((indices(&ledger, array), indices(&ledger, behind)), (vec![2, 3], vec![2, 3]));
}

#[test]
fn members_with_arrays_share_the_machine() {
    let mut ledger = ledger();
    let one = put(&mut ledger, 0, 1, ARRAY_TASKS_MAX, None);
    let two = put(&mut ledger, 1, 2, ARRAY_TASKS_MAX, None);
    assert_eq!((at_work(&ledger, one).len(), at_work(&ledger, two).len()), (4, 0));
    assert_eq!(ledger.jobs().len(), 6, "an array is one job, and each task that there is");
    let mut held = [0, 0];
    for ms in 2..202 {
        // The one that has been at work for longest ends.
        let oldest = |array| at_work(&ledger, array).first().map(|(index, job)| (*job, array, *index));
        let (_, array, index) = [one, two].into_iter().filter_map(oldest).min().unwrap();
        ends(&mut ledger, ms, array, index, 0);
        let now = [one, two].map(|array| at_work(&ledger, array).len());
        assert_eq!(now[0] + now[1], 4, "room is idle");
        assert!(ms < 4 || now.iter().all(|held| (1..=3).contains(held)), "{now:?} after {ms}");
        held = [held[0] + now[0], held[1] + now[1]];
    }
    assert!(held.iter().all(|held| held.abs_diff(400) <= 20), "{held:?} of 800");
}

#[test]
fn cancelled_no_more_are_made_and_those_there_are_called_back() {
    let mut ledger = ledger();
    let array = put(&mut ledger, 0, 1, 9, None);
    let called_back = |effects: Vec<Effect>| {
        effects.iter().filter(|effect| matches!(effect, Effect::CallBack { .. })).count()
    };
    let cancel = Command::Cancel { job: array, by: Canceller::Member(uid(1)) };
    let not_theirs = Command::Cancel { job: array, by: Canceller::Member(uid(2)) };
    assert!(say(&mut ledger, 1, not_theirs).is_err());
    assert_eq!(called_back(say(&mut ledger, 1, cancel.clone()).unwrap()), 4);
    assert_eq!((over(&ledger, array), ledger.waiting()), (None, 0));
    // Asked for again and again nothing is done anew.
    assert_eq!(called_back(say(&mut ledger, 1, cancel.clone()).unwrap()), 0);
    for (ms, (_, job)) in (2..).zip(at_work(&ledger, array)) {
        say(&mut ledger, ms, Command::WorkEnded { job, end: ended(0) }).unwrap();
    }
    assert_eq!(over(&ledger, array), Some((JobEnd::Cancelled, 4, 0)));
    assert_eq!(called_back(say(&mut ledger, 9, cancel).unwrap()), 0);
    // What has not begun is over at once.
    let held = put_when(&mut ledger, 10, 1, (9, None), When { hold: true, ..When::default() });
    say(&mut ledger, 11, Command::Cancel { job: held, by: Canceller::Admin }).unwrap();
    assert_eq!(over(&ledger, held), Some((JobEnd::Cancelled, 0, 0)));
}

/// A disk that is full, or systemd that refuses, refuses the next as well.
#[test]
fn what_cannot_be_started_does_not_take_all_of_an_array_with_it() {
    let mut ledger = ledger();
    let array = JobId(ledger.next_job());
    let tasks = Array::new(Indices::checked(1, 9, 1).unwrap(), None);
    let whole = named(8000, 8 * GIB);
    let submit = submit_array(&policy(), 1, whole, tasks, (None, When::default()));
    let effects = ledger.apply(at(0), submit).unwrap();
    let grants = |effects: &[Effect]| {
        effects.iter().find_map(|effect| if let Effect::Grant(id) = effect { Some(*id) } else { None })
    };
    let id = grants(&effects).unwrap();
    let undone = Command::Settle { id, outcome: Outcome::Undone("no space left".into()) };
    let effects = ledger.apply(at(1), undone).unwrap();
    assert_eq!(grants(&effects), None);
    assert_eq!(ledger.jobs()[&array].array().map(|array| (array.failed, array.to_come())), Some((1, 8)));
    let again = ledger.next_wakeup().unwrap();
    assert!((10_000..=120_000).contains(&again), "{again}");
    let effects = ledger.apply(at(again), Command::Tick).unwrap();
    assert!(grants(&effects).is_some());
}

#[test]
fn who_comes_after_an_array_comes_after_all_of_its_tasks() {
    let mut ledger = ledger();
    let array = put(&mut ledger, 0, 1, 2, None);
    let after = |job| When { after: [job].into(), ..When::default() };
    let next = put_when(&mut ledger, 1, 1, (2, None), after(array));
    let follower = JobId(ledger.next_job());
    say(&mut ledger, 2, submit_when(&policy(), 1, quarter(), after(next))).unwrap();
    ends(&mut ledger, 3, array, 1, 0);
    assert!(indices(&ledger, next).is_empty());
    ends(&mut ledger, 4, array, 2, 0);
    assert_eq!(indices(&ledger, next), [1, 2]);
    ends(&mut ledger, 5, next, 1, 1);
    assert!(ledger.jobs()[&follower].queued());
    ends(&mut ledger, 6, next, 2, 0);
    let JobState::Ended { end: JobEnd::Unreached(why), .. } = &ledger.jobs()[&follower].state else {
        panic!()
    };
    assert!(why.ends_with("ended with exit 1"), "{why}");
}

#[test]
fn held_half_way_it_goes_on_when_it_is_released() {
    let mut ledger = ledger();
    let array = put(&mut ledger, 0, 1, 9, None);
    let hold = |held| Change { hold: Some(held), ..Change::default() };
    let alter = |held| Command::Alter { job: array, by: uid(1), change: hold(held) };
    say(&mut ledger, 1, alter(true)).unwrap();
    ends(&mut ledger, 2, array, 1, 0);
    assert_eq!(indices(&ledger, array), [2, 3, 4]);
    say(&mut ledger, 3, alter(false)).unwrap();
    assert_eq!(indices(&ledger, array), [2, 3, 4, 5]);
}

/// Each task is a turn of its own: an array has no reservation for the next for having had one for this.
#[test]
fn an_array_that_has_been_first_is_not_first_again_for_that() {
    let mut ledger = ledger();
    say(&mut ledger, 0, rules(3_600_000, false)).unwrap();
    let minute = Some(Duration::from_secs(60));
    let whole = request(&policy(), 9, named(8000, 8 * GIB), Some(60_000), Wait::No);
    say(&mut ledger, 0, whole).unwrap();
    let array = JobId(ledger.next_job());
    let tasks = Array::new(Indices::checked(1, 9, 1).unwrap(), None);
    let half = named(4000, 4 * GIB);
    say(&mut ledger, 1, submit_array(&policy(), 1, half, tasks, (minute, When::default()))).unwrap();
    let other = JobId(ledger.next_job());
    say(&mut ledger, 2, submit_when(&policy(), 2, half, When::default())).unwrap();
    say(&mut ledger, 3, Command::Release { id: own(9), populated: false, stop: false }).unwrap();
    assert_eq!(indices(&ledger, array), [1]);
    assert!(matches!(ledger.jobs()[&other].state, JobState::Running { .. }));
}

#[test]
fn what_was_at_work_when_the_daemon_ended_is_counted_by_the_next() {
    let mut ledger = ledger();
    let array = put(&mut ledger, 0, 1, 9, Some(2));
    let stored = state::parse(&state::encode(&ledger.image()).unwrap()).unwrap();
    let mut next = Ledger::restore(BootId("first".into()), at(5), stored);
    next.audit();
    let of = |ledger: &Ledger| *ledger.jobs()[&array].array().unwrap();
    assert_eq!(of(&next), of(&ledger));
    assert_eq!((of(&next).at_work, of(&next).to_come()), (2, 7));
    let whole = ledger.capacity().whole();
    say(&mut next, 6, Command::SetCapacity { cpu: whole.cpu(), mem: whole.mem() }).unwrap();
    say(&mut next, 6, rules(3_600_000, false)).unwrap();
    ends(&mut next, 7, array, 1, 0);
    assert_eq!(indices(&next, array), [2, 3]);
}
