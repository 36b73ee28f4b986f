//! Commands that are warned before their time is over: when, once, and who is not.

use std::time::Duration;

use fairshare::testing::identity::{AllocationId, JobId};
use fairshare::testing::ledger::apart::When;
use fairshare::testing::ledger::array::{Array, Indices};
use fairshare::testing::ledger::care::{Care, Warning};
use fairshare::testing::ledger::job::{JobEnd, JobState};
use fairshare::testing::ledger::refusal::Refusal;
use fairshare::testing::ledger::warned::WARN_AGAIN_MS;
use fairshare::testing::ledger::{BootId, Canceller, Command, Effect, Ledger, Now, Wait, Where};
use fairshare::testing::quantity::Bytes;
use fairshare::testing::state;

use super::village::{GIB, at, ledger, named, policy, request, rules, say, submit, submit_array, uid};

const HOUR: u64 = 3_600_000;
const MINUTE: u64 = 60_000;

/// The same, warned so long before its time is over.
fn warned(mut command: Command, before_ms: u64) -> Command {
    if let Command::Submit { asked, .. } = &mut command {
        let warning = Some(Warning { signal: 10, before_ms, sent: false });
        asked.care = Care { warning, ..Care::default() };
    }
    command
}

/// A command of a member's for an hour, of so many CPUs.
fn put(ledger: &mut Ledger, ms: u64, cpu: u64, before_ms: u64) -> JobId {
    let job = JobId(ledger.next_job());
    let command = submit(&policy(), 1, named(cpu * 1000, GIB), Some(HOUR), Bytes(9));
    say(ledger, ms, warned(command, before_ms)).unwrap();
    job
}

/// Who is warned at this moment.
fn warns(ledger: &mut Ledger, ms: u64) -> Vec<JobId> {
    let effects = say(ledger, ms, Command::Tick).unwrap();
    let mut jobs: Vec<JobId> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Warn { job, uid: of } if *of == uid(1) => Some(*job),
            Effect::Warn { .. } => panic!("somebody else's"),
            _ => None,
        })
        .collect();
    jobs.sort_unstable();
    jobs
}

fn told(ledger: &mut Ledger, ms: u64, job: JobId, sent: bool) {
    say(ledger, ms, Command::Warned { job, sent }).unwrap();
}

/// A daemon after this one, in this boot.
fn restored(ledger: &Ledger, boot: &str, now: Now) -> Ledger {
    let image = state::parse(&state::encode(&ledger.image()).unwrap()).unwrap();
    let mut again = Ledger::restore(BootId(boot.into()), now, image);
    again.apply(now, rules(HOUR, false)).unwrap();
    again
}

#[test]
fn a_command_is_warned_so_long_before_its_end_and_once() {
    let mut ledger = ledger();
    let job = put(&mut ledger, 1000, 1, 5 * MINUTE);
    let due = 1000 + 55 * MINUTE;
    assert_eq!(warns(&mut ledger, due - 1), []);
    assert_eq!(ledger.next_wakeup(), Some(due));
    assert_eq!(warns(&mut ledger, due), [job]);
    // It is on its way.
    assert_eq!(warns(&mut ledger, due + WARN_AGAIN_MS), []);
    told(&mut ledger, due + 2 * WARN_AGAIN_MS, job, true);
    assert_eq!(warns(&mut ledger, due + 4 * MINUTE), []);
    let warning = ledger.jobs()[&job].work().unwrap().care.warning;
    assert_eq!(warning, Some(Warning { signal: 10, before_ms: 5 * MINUTE, sent: true }));
}

#[test]
fn what_could_not_be_warned_is_a_moment_later() {
    let mut ledger = ledger();
    let job = put(&mut ledger, 1000, 1, 5 * MINUTE);
    let due = 1000 + 55 * MINUTE;
    // Then after as long as that has been due, but for a bound.
    let mut at = due;
    for seconds in [1, 1, 2, 4, 8, 16, 32, 60, 60] {
        assert_eq!(warns(&mut ledger, at), [job]);
        told(&mut ledger, at, job, false);
        at += seconds * WARN_AGAIN_MS;
        assert_eq!(ledger.next_wakeup(), Some(at));
    }
}

#[test]
fn who_has_less_time_than_that_is_warned_at_the_start() {
    let mut ledger = ledger();
    for before_ms in [HOUR, 2 * HOUR, u64::MAX] {
        let job = put(&mut ledger, 1000, 1, before_ms);
        assert_eq!(ledger.next_wakeup(), Some(1000));
        assert_eq!(warns(&mut ledger, 1000), [job]);
        told(&mut ledger, 1000, job, true);
    }
}

#[test]
fn the_time_counts_from_the_start() {
    let mut ledger = ledger();
    say(&mut ledger, 0, request(&policy(), 2, named(8000, GIB), Some(HOUR), Wait::No)).unwrap();
    let job = put(&mut ledger, 0, 8, 5 * MINUTE);
    assert_eq!(warns(&mut ledger, 55 * MINUTE), [], "it waits");
    // The lease is over and nobody is inside.
    say(&mut ledger, HOUR, Command::Tick).unwrap();
    let held = ledger.allocations().keys().copied().next().unwrap();
    say(&mut ledger, HOUR, Command::Occupancy { id: held, populated: false }).unwrap();
    assert!(ledger.jobs()[&job].work().is_some() && !ledger.jobs()[&job].queued());
    assert_eq!(warns(&mut ledger, HOUR + 55 * MINUTE - 1), []);
    assert_eq!(warns(&mut ledger, HOUR + 55 * MINUTE), [job]);
}

#[test]
fn what_is_over_or_not_wanted_is_not_warned() {
    let mut ledger = ledger();
    let [over, cancelled, late] = [(); 3].map(|()| put(&mut ledger, 1, 1, 5 * MINUTE));
    say(&mut ledger, 1, Command::WorkEnded { job: over, end: JobEnd::Done }).unwrap();
    say(&mut ledger, 1, Command::Cancel { job: cancelled, by: Canceller::Member(uid(1)) }).unwrap();
    assert_eq!(warns(&mut ledger, 1 + 55 * MINUTE), [late]);
    // It ends while its signal is on its way.
    say(&mut ledger, 1 + 55 * MINUTE, Command::WorkEnded { job: late, end: JobEnd::Done }).unwrap();
    told(&mut ledger, 1 + 55 * MINUTE, late, false);
    assert_eq!(warns(&mut ledger, HOUR), []);
}

#[test]
fn the_next_daemon_warns_whom_this_one_has_not_and_in_this_boot_alone() {
    let mut ledger = ledger();
    let [told_of, under_way, to_come] =
        [10 * MINUTE, 10 * MINUTE, 5 * MINUTE].map(|before| put(&mut ledger, 1000, 1, before));
    assert_eq!(warns(&mut ledger, 1000 + 50 * MINUTE), [told_of, under_way]);
    told(&mut ledger, 1000 + 50 * MINUTE, told_of, true);
    let now = at(1000 + 52 * MINUTE);
    let mut again = restored(&ledger, "first", now);
    assert_eq!(warns(&mut again, now.boot_ms), [under_way]);
    assert_eq!(warns(&mut again, 1000 + 55 * MINUTE - 1), []);
    assert_eq!(warns(&mut again, 1000 + 55 * MINUTE), [to_come]);
    let now = Now { boot_ms: 10, ..now };
    let mut rebooted = restored(&ledger, "second", now);
    assert_eq!(warns(&mut rebooted, 10), [], "it is over");
}

#[test]
fn each_task_of_an_array_is_warned() {
    let mut ledger = ledger();
    let array = Array::new(Indices::checked(1, 3, 1).unwrap(), Some(2));
    let when = (Some(Duration::from_millis(HOUR)), When::default());
    let command = submit_array(&policy(), 1, named(1000, GIB), array, when);
    say(&mut ledger, 1, warned(command, 5 * MINUTE)).unwrap();
    let [array, one, two, three] = [1, 2, 3, 4].map(JobId);
    assert_eq!(warns(&mut ledger, 1 + 55 * MINUTE), [one, two]);
    told(&mut ledger, 1 + 55 * MINUTE, one, true);
    say(&mut ledger, HOUR, Command::WorkEnded { job: one, end: JobEnd::Done }).unwrap();
    assert!(ledger.jobs()[&array].array().is_some());
    assert_eq!(warns(&mut ledger, HOUR + 55 * MINUTE), [three]);
}

#[test]
fn what_has_no_time_limit_cannot_be_warned_of_its_end() {
    let mut ledger = ledger();
    for at in [Where::Own, Where::InShare, Where::ByFigures] {
        let mut command = warned(submit(&policy(), 1, named(1000, GIB), None, Bytes(9)), MINUTE);
        if let Command::Submit { asked, .. } = &mut command {
            asked.place = at;
        }
        let refused = say(&mut ledger, 0, command).unwrap_err();
        assert_eq!(refused, Refusal::WarnsOfNothing);
        assert!(refused.to_string().contains("--for"), "{refused}");
    }
    assert!(ledger.jobs().is_empty());
}

/// A command that nobody has begun with is started once more by the next daemon: with it its time begins anew.
#[test]
fn a_command_that_is_started_once_more_has_all_of_its_time() {
    let same = ledger().boot().0.clone();
    for boot in [same.as_str(), "another"] {
        let mut before = ledger();
        let [begun, anew] = [(); 2].map(|()| put(&mut before, 1000, 1, 5 * MINUTE));
        let late = 40 * MINUTE;
        let mut after = restored(&before, boot, at(late));
        after.begin_anew(at(late), anew);
        let JobState::Running { started } = after.jobs()[&anew].state else { panic!() };
        assert_eq!(started, at(late));
        let lease = |job| after.allocation(AllocationId::of_job(uid(1), job)).unwrap().lease.unwrap();
        assert_eq!(lease(anew).ends.0 - lease(begun).ends.0, late - 1000);
        assert!(!warns(&mut after, 1000 + 55 * MINUTE).contains(&anew));
        assert!(warns(&mut after, late + 55 * MINUTE).contains(&anew));
    }
}
