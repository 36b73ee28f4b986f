//! Commands in the foreground that bring room of their own.

use std::collections::BTreeMap;
use std::time::Duration;

use fairshare::testing::identity::{AllocationId, JobId};
use fairshare::testing::ledger::allocation::{ENTRY_MS, Phase};
use fairshare::testing::ledger::job::{JobEnd, JobKind, JobState};
use fairshare::testing::ledger::reconcile::{Verdict, verdicts};
use fairshare::testing::ledger::refusal::Refusal;
use fairshare::testing::ledger::{
    BootId, Canceller, Command, Effect, Event, Ledger, Outcome, Wait, Wanted, Where,
};
use fairshare::testing::quantity::{Bytes, PartialAmount};

use super::village::{GIB, at, ledger, member, named, own, policy, request, rules, say, submit, uid};

const JOB: JobId = JobId(1);

fn run(who: u64, amount: PartialAmount, place: Where, wait: Wait) -> Command {
    let lease = Some(Duration::from_secs(3000));
    Command::Run { member: member(&policy(), who), wanted: Wanted { amount, place, lease, wait } }
}

/// With these CPUs, in thousandths, and 1 GiB, waiting where there is no room.
fn with(who: u64, cpu_milli: u64) -> Command {
    run(who, named(cpu_milli, GIB), Where::ByFigures, Wait::Granted)
}

fn of(who: u64, job: u64) -> AllocationId {
    AllocationId::of_run(uid(who), JobId(job))
}

fn occupied(id: AllocationId, populated: bool) -> Command {
    Command::Occupancy { id, populated }
}

fn end(ledger: &Ledger, job: JobId) -> Option<JobEnd> {
    match &ledger.jobs()[&job].state {
        JobState::Ended { end, .. } => Some(end.clone()),
        JobState::Queued { .. } | JobState::Running { .. } => None,
    }
}

/// One of 1 CPU whose process is in.
fn entered() -> Ledger {
    let mut ledger = ledger();
    say(&mut ledger, 0, rules(1_000_000, false)).unwrap();
    say(&mut ledger, 1, with(1, 1000)).unwrap();
    say(&mut ledger, 2, Command::Enter { id: of(1, 1) }).unwrap();
    ledger
}

#[test]
fn it_goes_with_its_last_process() {
    let mut ledger = entered();
    say(&mut ledger, 3, occupied(of(1, 1), true)).unwrap();
    say(&mut ledger, 2_000_000, Command::Tick).unwrap();
    assert_eq!((ledger.allocations().len(), end(&ledger, JOB)), (1, None), "however long it runs");
    say(&mut ledger, 2_000_001, occupied(of(1, 1), false)).unwrap();
    assert_eq!((ledger.allocations().len(), end(&ledger, JOB)), (0, Some(JobEnd::Done)));
}

/// Else a member could have many scopes in each of many allocations, and each is a unit of PID 1's.
#[test]
fn one_process_goes_in_and_no_other_after_it() {
    let mut ledger = entered();
    let again = say(&mut ledger, 3, Command::Enter { id: of(1, 1) });
    assert_eq!(again, Err(Refusal::JobAtWork { job: JOB }));
    say(&mut ledger, 4, request(&policy(), 1, named(1000, GIB), None, Wait::No)).unwrap();
    for ms in 5..8 {
        say(&mut ledger, ms, Command::Enter { id: own(1) }).unwrap();
    }
}

/// A process that has waited may need a while to go in, and may have gone.
#[test]
fn it_is_kept_for_a_minute_for_who_has_not_come() {
    let mut ledger = ledger();
    say(&mut ledger, 1, with(1, 1000)).unwrap();
    say(&mut ledger, 2, occupied(of(1, 1), false)).unwrap();
    say(&mut ledger, ENTRY_MS, Command::Tick).unwrap();
    assert_eq!(ledger.allocations().len(), 1);
    let due = ledger.next_wakeup().unwrap();
    say(&mut ledger, due, Command::Tick).unwrap();
    assert_eq!((ledger.allocations().len(), end(&ledger, JOB)), (0, Some(JobEnd::Done)));
    let late = say(&mut ledger, ENTRY_MS + 2, Command::Enter { id: of(1, 1) });
    assert_eq!(late, Err(Refusal::NoShare));
}

#[test]
fn it_runs_where_its_figures_or_its_member_say() {
    let none = PartialAmount::default();
    let mut ledger = ledger();
    assert_eq!(say(&mut ledger, 1, run(1, none, Where::InShare, Wait::No)), Err(Refusal::NoShare));
    say(&mut ledger, 1, run(1, none, Where::ByFigures, Wait::No)).unwrap();
    assert_eq!(ledger.allocation(of(1, 1)).unwrap().amount.cpu.0, 2000, "the policy's defaults");
    say(&mut ledger, 2, request(&policy(), 1, named(1000, GIB), None, Wait::No)).unwrap();
    let figures = named(500, GIB);
    for (place, amount, joins) in [
        (Where::ByFigures, none, true),
        (Where::InShare, figures, true),
        (Where::ByFigures, figures, false),
        (Where::Own, none, false),
    ] {
        let effects = say(&mut ledger, 3, run(1, amount, place, Wait::No)).unwrap();
        let enters = |effect: &Effect| matches!(effect, Effect::Enter { id, .. } if *id == own(1));
        assert_eq!(effects.iter().any(enters), joins, "{place:?} {amount:?}");
    }
    assert_eq!(ledger.allocations().len(), 4);
}

#[test]
fn it_waits_for_room_like_anything_else() {
    let mut ledger = entered();
    say(&mut ledger, 3, with(2, 7000)).unwrap();
    let refused = say(&mut ledger, 4, run(3, named(1000, GIB), Where::Own, Wait::No));
    assert!(matches!(refused, Err(Refusal::NoCapacity(_))), "{refused:?}");
    say(&mut ledger, 4, with(3, 1000)).unwrap();
    assert_eq!((ledger.waiting(), end(&ledger, JobId(3))), (1, None));
    let effects = say(&mut ledger, 5, occupied(of(1, 1), false)).unwrap();
    assert!(effects.contains(&Effect::Notify(Event::Job(JobId(3)))));
    assert_eq!(ledger.allocation(of(3, 3)).unwrap().phase, Phase::Active);
    say(&mut ledger, 6, Command::Enter { id: of(3, 3) }).unwrap();
}

/// Who cancels ends what is inside, or takes the request back.
#[test]
fn it_can_be_called_back_while_it_waits_and_while_it_runs() {
    let mut ledger = entered();
    say(&mut ledger, 3, with(2, 8000)).unwrap();
    let cancel = |job, who| Command::Cancel { job, by: Canceller::Member(uid(who)) };
    say(&mut ledger, 4, cancel(JobId(2), 2)).unwrap();
    assert_eq!((ledger.waiting(), end(&ledger, JobId(2))), (0, Some(JobEnd::Cancelled)));
    assert_eq!(say(&mut ledger, 5, cancel(JOB, 2)), Err(Refusal::NotYours { job: JOB }));
    let effects = say(&mut ledger, 5, cancel(JOB, 1)).unwrap();
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Stop { .. })));
    assert_eq!((ledger.allocations().len(), end(&ledger, JOB)), (0, Some(JobEnd::Cancelled)));
    assert!(say(&mut ledger, 6, cancel(JOB, 1)).unwrap().is_empty(), "as often as one likes");
}

#[test]
fn its_lease_is_renewed_and_a_commands_time_limit_is_not() {
    let mut ledger = entered();
    let renew = |of: AllocationId| {
        let lease = Duration::from_secs(3500);
        Command::Renew { member: member(&policy(), 1), of: of.purpose, lease }
    };
    say(&mut ledger, 10, renew(of(1, 1))).unwrap();
    assert_eq!(ledger.allocation(of(1, 1)).unwrap().lease.unwrap().length_ms, 3_500_000);
    say(&mut ledger, 11, submit(&policy(), 1, named(1000, GIB), Some(60_000), Bytes(0))).unwrap();
    assert_eq!(say(&mut ledger, 12, renew(AllocationId::of_job(uid(1), JobId(2)))), Err(Refusal::TimeIsSet));
    // Busy at its end it is not ended: it keeps what it uses.
    say(&mut ledger, 4_000_000, Command::Tick).unwrap();
    assert!(ledger.allocation(of(1, 1)).unwrap().keeps().is_some());
}

/// The next daemon finds it as it is; with the machine it ends.
#[test]
fn a_restart_of_the_daemon_is_nothing_to_it_and_one_of_the_machine_is_its_end() {
    let image = entered().image();
    let mut next = Ledger::restore(BootId("first".into()), at(10), image.clone());
    assert!(next.interrupt_jobs(at(10), |_| false).is_empty());
    assert_eq!(end(&next, JOB), None);
    let mut next = Ledger::restore(BootId("second".into()), at(10), image);
    let verdict = verdicts(&next, &BTreeMap::new(), &BTreeMap::new()).remove(&of(1, 1)).unwrap();
    assert_eq!(verdict, Verdict::Lapse);
    next.reconciled(at(10), of(1, 1), &verdict, Bytes(0), None);
    assert_eq!((next.allocations().len(), end(&next, JOB)), (0, Some(JobEnd::Interrupted)));
}

/// A daemon that dies before the slice is there has promised nothing yet: who waits waits on, in the same place.
#[test]
fn what_was_being_made_for_it_is_waited_for_again() {
    let mut ledger = entered();
    say(&mut ledger, 3, with(2, 8000)).unwrap();
    let effects = ledger.apply(at(4), occupied(of(1, 1), false)).unwrap();
    let Some(Effect::Withdraw(id)) = effects.first() else { panic!("{effects:?}") };
    ledger.apply(at(4), Command::Settle { id: *id, outcome: Outcome::Done }).unwrap();
    assert!(matches!(ledger.allocation(of(2, 2)).unwrap().phase, Phase::Granting { .. }));
    let mut next = Ledger::restore(BootId("first".into()), at(10), ledger.image());
    next.reconciled(at(10), of(2, 2), &Verdict::Forget, Bytes(0), None);
    assert_eq!((next.waiting(), next.allocations().len()), (1, 0));
    assert!(matches!(next.jobs()[&JobId(2)].kind, JobKind::Run(_)));
    next.audit();
}
