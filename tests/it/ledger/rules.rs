//! One rule a test: capacity, leases, idleness, the queue, cancelling, draining, eviction, jobs.

use std::sync::Arc;
use std::time::Duration;

use fairshare::testing::identity::{JobId, Purpose};
use fairshare::testing::ledger::counted::room::Room;
use fairshare::testing::ledger::expire::{EVICTION_GRACE_MS, RETRY_MS};
use fairshare::testing::ledger::job::{JOBS_KEPT_MAX, JOBS_KEPT_PER_UID_MAX, JobEnd, JobState};
use fairshare::testing::ledger::refusal::Refusal;
use fairshare::testing::ledger::{BootId, Canceller, Command, Effect, Event, Ledger, Outcome, Wait};
use fairshare::testing::policy::Policy;
use fairshare::testing::quantity::{Amount, Bytes, MilliCpu, PartialAmount};

use super::village::{GIB, USED, amount, at, ledger, member, named, own, policy, request, rules, say, uid};

const HOUR: u64 = 3_600_000;
const WEEK: u64 = 7 * 24 * HOUR;

fn holds(ledger: &mut Ledger, ms: u64, who: u64, cpu: u64, mem: u64, lease: Option<u64>) {
    let command = request(&policy(), who, named(cpu * 1000, mem * GIB), lease, Wait::No);
    say(ledger, ms, command).unwrap();
    say(ledger, ms, Command::Enter { id: own(who) }).unwrap();
}

fn waits(ledger: &mut Ledger, ms: u64, who: u64, cpu: u64, mem: u64, lease: Option<u64>) -> JobId {
    let command = request(&policy(), who, named(cpu * 1000, mem * GIB), lease, Wait::Granted);
    let effects = say(ledger, ms, command).unwrap();
    let job = effects.iter().find_map(|effect| match effect {
        Effect::Queued { job, .. } => Some(*job),
        _ => None,
    });
    job.expect("it waits")
}

#[test]
fn what_is_left_behind_is_not_free_and_lets_in_who_waits_when_it_is_gone() {
    let mut ledger = ledger();
    let whole = ledger.capacity().whole();
    say(&mut ledger, 1, Command::LeftBehind(Bytes(3 * GIB))).unwrap();
    assert_eq!(ledger.capacity().free().mem(), Bytes(whole.mem().0 - 3 * GIB));
    let asked = request(&policy(), 1, named(1000, whole.mem().0 - 2 * GIB), None, Wait::No);
    assert!(matches!(say(&mut ledger, 2, asked), Err(Refusal::NoCapacity(_))), "later there may be room");
    waits(&mut ledger, 3, 1, 1, whole.mem().0 / GIB - 2, None);
    // More than nobody holds: what is held stays.
    holds(&mut ledger, 4, 2, 1, 1, None);
    say(&mut ledger, 5, Command::LeftBehind(whole.mem())).unwrap();
    assert_eq!((ledger.capacity().free().mem(), ledger.allocations().len()), (Bytes(0), 1));
    say(&mut ledger, 6, Command::LeftBehind(Bytes(GIB))).unwrap();
    assert_eq!((ledger.capacity().free().mem(), ledger.waiting()), (Bytes(0), 0));
}

#[test]
fn more_than_the_machine_has_is_over_the_limit_and_never_waits() {
    let mut ledger = ledger();
    say(&mut ledger, 1, Command::SetCapacity { cpu: MilliCpu(3500), mem: Bytes(3 * GIB / 2) }).unwrap();
    let policy = policy();
    let asked = request(&policy, 1, named(8000, GIB), None, Wait::Granted);
    let refused = say(&mut ledger, 2, asked).unwrap_err();
    assert_eq!(refused.to_string(), "Requested CPU (8) exceeds what this machine can hand out (3.5)");
    let asked = request(&policy, 1, named(16_000, GIB), None, Wait::Granted);
    let refused = say(&mut ledger, 2, asked).unwrap_err();
    assert_eq!(refused.to_string(), "Requested CPU (16) exceeds maximum allowed (8)");
    assert_eq!(ledger.waiting(), 0);
    // Nobody named 2 GiB: the default is what there is.
    say(&mut ledger, 3, request(&policy, 1, PartialAmount::default(), None, Wait::No)).unwrap();
    let share = ledger.allocation(own(1)).unwrap();
    assert_eq!((share.amount.cpu, share.amount.mem), (MilliCpu(2000), Bytes(3 * GIB / 2)));
}

#[test]
fn no_capacity_says_what_is_free_what_would_fit_and_when() {
    let mut ledger = ledger();
    holds(&mut ledger, 0, 1, 5, 5, Some(HOUR));
    let Err(Refusal::NoCapacity(why)) =
        say(&mut ledger, 10, request(&policy(), 2, named(4000, GIB), Some(HOUR), Wait::No))
    else {
        panic!("there is no room")
    };
    let room = |cpu: u64, mem: u64| Room::new(MilliCpu(cpu * 1000), Bytes(mem * GIB));
    assert_eq!((why.free, why.largest, why.waiting), (room(3, 3), room(3, 3), 0));
    assert_eq!(why.by_wall_ms, Some(1_000_000_000 + HOUR));
    assert_eq!(ledger.holders(3).iter().map(|(share, _)| share.id.uid).collect::<Vec<_>>(), [uid(1)]);
    // Someone waits for 6 and 6 at the end of that hour: beside it 2 and 2 can be held for longer.
    waits(&mut ledger, 20, 3, 6, 6, Some(HOUR));
    let asked = request(&policy(), 2, named(3000, GIB), Some(2 * HOUR), Wait::No);
    let Err(Refusal::NoCapacity(why)) = say(&mut ledger, 30, asked) else {
        panic!("it would delay the first")
    };
    assert_eq!((why.free, why.largest, why.waiting), (room(3, 3), room(2, 2), 1));
    say(&mut ledger, 30, request(&policy(), 4, named(2000, GIB), Some(2 * HOUR), Wait::No)).unwrap();
    say(&mut ledger, 30, request(&policy(), 5, named(1000, GIB), Some(HOUR - 30), Wait::No)).unwrap();
}

#[test]
fn growing_needs_room_and_shrinking_gives_it() {
    let mut ledger = ledger();
    holds(&mut ledger, 0, 1, 5, 5, None);
    holds(&mut ledger, 0, 2, 3, 3, None);
    let resize = |who, cpu: u64| Command::Resize {
        member: member(&policy(), who),
        of: Purpose::Standing,
        amount: named(cpu * 1000, 3 * GIB),
        in_use: Bytes(0),
    };
    assert!(matches!(say(&mut ledger, 1, resize(2, 4)), Err(Refusal::NoCapacity(_))));
    say(&mut ledger, 2, resize(1, 2)).unwrap();
    say(&mut ledger, 3, resize(2, 6)).unwrap();
    assert_eq!(ledger.capacity().free(), Room { cpu: 0, mem: (2 * GIB).into() });
}

#[test]
fn a_machine_that_shrinks_takes_nothing_and_grants_nothing_until_it_fits() {
    let mut ledger = ledger();
    holds(&mut ledger, 0, 1, 6, 4, None);
    say(&mut ledger, 1, Command::SetCapacity { cpu: MilliCpu(4000), mem: Bytes(8 * GIB) }).unwrap();
    assert_eq!(ledger.allocation(own(1)).unwrap().amount, amount(6000, 4 * GIB));
    assert_eq!(ledger.capacity().over(), Room { cpu: 2000, mem: 0 });
    let asked = request(&policy(), 2, named(10, GIB), None, Wait::No);
    assert!(matches!(say(&mut ledger, 2, asked.clone()), Err(Refusal::NoCapacity(_))));
    let release = Command::Release { id: own(1), populated: false, stop: false };
    say(&mut ledger, 3, release).unwrap();
    say(&mut ledger, 4, asked).unwrap();
}

#[test]
fn leases_have_bounds() {
    let policy = Policy { lease_max: Some(Duration::from_secs(60)), ..policy() };
    let mut ledger = ledger();
    let ask = |lease| request(&policy, 1, named(1000, GIB), Some(lease), Wait::No);
    let short = say(&mut ledger, 0, ask(59_999)).unwrap_err();
    assert_eq!(short.to_string(), "Requested lease (59s 999ms) is shorter than the least (1m)");
    assert!(matches!(say(&mut ledger, 0, ask(0)), Err(Refusal::LeaseTooShort { .. })));
    assert!(matches!(say(&mut ledger, 0, ask(60_001)), Err(Refusal::LeaseTooLong { .. })));
    say(&mut ledger, 0, ask(60_000)).unwrap();
    let renew = |ms| Command::Renew {
        member: member(&policy, 1),
        of: Purpose::Standing,
        lease: Duration::from_millis(ms),
    };
    assert!(matches!(say(&mut ledger, 10, renew(60_001)), Err(Refusal::LeaseTooLong { .. })));
    assert!(matches!(say(&mut ledger, 10, renew(59_999)), Err(Refusal::LeaseTooShort { .. })));
    say(&mut ledger, 50_000, renew(60_000)).unwrap();
    assert_eq!(ledger.allocation(own(1)).unwrap().lease.unwrap().ends.0, 110_000);
}

#[test]
fn a_lease_warns_twice_and_its_end_lowers_a_busy_share_and_removes_an_empty_one() {
    let mut ledger = ledger();
    holds(&mut ledger, 0, 1, 6, 6, Some(2 * HOUR));
    say(&mut ledger, 0, request(&policy(), 2, named(1000, GIB), Some(2 * HOUR), Wait::No)).unwrap();
    let mut told = Vec::new();
    while let Some(ms) = ledger.next_wakeup().filter(|ms| *ms <= 2 * HOUR) {
        let effects = say(&mut ledger, ms, Command::Tick).unwrap();
        told.extend(effects.iter().filter_map(Effect::event).filter_map(|event| match event {
            Event::Expiring { id, left_ms } => Some((id.uid, *left_ms)),
            Event::Expired { id, .. } => Some((id.uid, 0)),
            _ => None,
        }));
    }
    told.sort_unstable();
    let minutes = |minutes: u64| minutes * 60_000;
    let warned = |who| [(uid(who), 0), (uid(who), minutes(5)), (uid(who), minutes(12))];
    assert_eq!(told, [warned(1), warned(2)].concat());
    assert!(ledger.allocation(own(2)).is_none(), "empty, and gone");
    let share = ledger.allocation(own(1)).unwrap();
    let kept = Amount { mem: USED.mem, tasks: USED.tasks, ..amount(6000, 6 * GIB) };
    assert_eq!((share.amount, share.enforced().most, share.expired()), (amount(6000, 6 * GIB), kept, true));
    assert_eq!(
        ledger.capacity().held(),
        Room { cpu: 0, mem: GIB.into() },
        "what it uses is not free for others"
    );
    // It cannot grow; it can be renewed while there is room, and goes when it is empty.
    let grow = Command::Resize {
        member: member(&policy(), 1),
        of: Purpose::Standing,
        amount: named(3000, 6 * GIB),
        in_use: Bytes(0),
    };
    assert_eq!(say(&mut ledger, 2 * HOUR, grow), Err(Refusal::Expired));
    let renew = Command::Renew {
        member: member(&policy(), 1),
        of: Purpose::Standing,
        lease: Duration::from_secs(60),
    };
    let mut renewed = ledger.clone();
    say(&mut renewed, 2 * HOUR, renew.clone()).unwrap();
    assert_eq!(renewed.capacity().held(), Room::of(amount(6000, 6 * GIB)));
    assert_eq!(renewed.allocation(own(1)).unwrap().enforced().most, amount(6000, 6 * GIB));
    let mut full = ledger.clone();
    holds(&mut full, 2 * HOUR, 3, 1, 7, None);
    assert!(matches!(say(&mut full, 2 * HOUR, renew), Err(Refusal::NoCapacity(_))));
    say(&mut ledger, 2 * HOUR + 1, Command::Occupancy { id: own(1), populated: false }).unwrap();
    assert!(ledger.allocations().is_empty());
}

#[test]
fn an_empty_share_is_released_after_the_policys_time_unless_someone_comes_in() {
    let policy = Policy { idle: Some(Duration::from_secs(60)), ..policy() };
    let mut ledger = ledger();
    say(&mut ledger, 0, request(&policy, 1, named(1000, GIB), None, Wait::No)).unwrap();
    say(&mut ledger, 59_000, Command::Enter { id: own(1) }).unwrap();
    assert_eq!(ledger.next_wakeup(), None);
    say(&mut ledger, 70_000, Command::Occupancy { id: own(1), populated: false }).unwrap();
    say(&mut ledger, 80_000, Command::Occupancy { id: own(1), populated: false }).unwrap();
    assert_eq!(ledger.next_wakeup(), Some(130_000));
    say(&mut ledger, 130_000, Command::Tick).unwrap();
    assert!(ledger.allocations().is_empty());
}

#[test]
fn a_later_request_passes_only_what_it_cannot_delay() {
    let mut ledger = ledger();
    holds(&mut ledger, 0, 1, 5, 5, Some(100_000));
    let first = waits(&mut ledger, 1, 2, 8, 7, Some(100_000));
    let long = waits(&mut ledger, 2, 3, 3, 3, Some(100_000));
    // This one is over before the first can start.
    say(&mut ledger, 3, request(&policy(), 4, named(2000, 2 * GIB), Some(90_000), Wait::Granted)).unwrap();
    assert!(ledger.allocation(own(4)).is_some());
    let places: Vec<_> = ledger
        .places()
        .iter()
        .map(|place| (place.waiting.job, place.place, place.starts.unwrap().0))
        .collect();
    assert_eq!(places, [(first, 1, 100_000), (long, 2, 200_000)]);
    // A holder cannot hold on past the start of the first either.
    let renew = Command::Renew {
        member: member(&policy(), 1),
        of: Purpose::Standing,
        lease: Duration::from_secs(600),
    };
    assert!(matches!(say(&mut ledger, 4, renew), Err(Refusal::NoCapacity(_))));
    say(&mut ledger, 90_003, Command::Tick).unwrap();
    say(&mut ledger, 100_000, Command::Tick).unwrap();
    assert!(ledger.allocation(own(2)).is_some_and(|share| !share.expired()));
}

#[test]
fn where_nothing_ends_nothing_is_held_back() {
    let mut ledger = ledger();
    holds(&mut ledger, 0, 1, 5, 5, None);
    waits(&mut ledger, 1, 2, 8, 8, None);
    assert_eq!(ledger.places()[0].starts, None);
    let ask = |lease| request(&policy(), 3, named(1000, GIB), lease, Wait::No);
    say(&mut ledger, 2, ask(None)).unwrap();
    let Err(Refusal::NoCapacity(why)) =
        say(&mut ledger, 3, request(&policy(), 4, named(3000, GIB), None, Wait::No))
    else {
        panic!("there is no room")
    };
    assert_eq!((why.largest, why.by_wall_ms), (Room { cpu: 2000, mem: (2 * GIB).into() }, None));
    // Who waits behind the first is let in too.
    say(&mut ledger, 4, request(&policy(), 5, named(2000, GIB), None, Wait::Granted)).unwrap();
    assert!(ledger.allocation(own(5)).is_some());
}

#[test]
fn waiting_ends_by_cancel_and_not_by_time() {
    let mut ledger = ledger();
    holds(&mut ledger, 0, 1, 8, 8, None);
    let job = waits(&mut ledger, 1, 2, 1, 1, None);
    let again = request(&policy(), 2, named(1000, GIB), None, Wait::Granted);
    assert_eq!(say(&mut ledger, 2, again), Err(Refusal::AlreadyWaiting { job }));
    let cancel = |job, by| Command::Cancel { job, by };
    assert_eq!(say(&mut ledger, 3, cancel(JobId(99), Canceller::Admin)), Err(Refusal::NoJob));
    assert_eq!(say(&mut ledger, 3, cancel(job, Canceller::Member(uid(3)))), Err(Refusal::NotYours { job }));
    say(&mut ledger, 4, cancel(job, Canceller::Member(uid(2)))).unwrap();
    assert_eq!(say(&mut ledger, 5, cancel(job, Canceller::Admin)), Ok(vec![]), "as often as one likes");
    let ended = |ledger: &Ledger, job| match &ledger.jobs()[&job].state {
        JobState::Ended { end, .. } => Some(end.clone()),
        _ => None,
    };
    assert_eq!(ended(&ledger, job), Some(JobEnd::Cancelled));
    let job = waits(&mut ledger, 1000, 3, 1, 1, None);
    say(&mut ledger, 100 * 24 * HOUR, Command::Tick).unwrap();
    assert_eq!(ended(&ledger, job), None);
}

#[test]
fn a_drained_ledger_refuses_and_holds_its_queue() {
    let mut ledger = ledger();
    holds(&mut ledger, 0, 1, 8, 8, Some(60_000));
    waits(&mut ledger, 1, 2, 1, 1, None);
    assert!(say(&mut ledger, 2, Command::Drain).unwrap().contains(&Effect::Notify(Event::Drained)));
    assert_eq!(say(&mut ledger, 2, Command::Drain), Ok(Vec::new()));
    let asked = request(&policy(), 3, named(1000, GIB), None, Wait::Granted);
    assert_eq!(say(&mut ledger, 3, asked), Err(Refusal::Draining));
    say(&mut ledger, 60_000, Command::Tick).unwrap();
    assert_eq!(ledger.waiting(), 1);
    say(&mut ledger, 60_001, Command::Undrain).unwrap();
    assert!(ledger.allocation(own(2)).is_some());
}

/// One whose lease is over after a minute with work inside, one who holds everything else, and perhaps one who waits.
fn crowded(evict: bool, waiting: bool) -> Ledger {
    let mut ledger = ledger();
    say(&mut ledger, 0, rules(WEEK, evict)).unwrap();
    holds(&mut ledger, 0, 1, 4, 4, Some(60_000));
    say(&mut ledger, 60_000, Command::Tick).unwrap();
    holds(&mut ledger, 60_001, 2, 8, 7, None);
    if waiting {
        waits(&mut ledger, 60_002, 3, 1, 1, None);
    }
    ledger
}

#[test]
fn nobody_is_evicted_unless_the_policy_says_so_and_someone_waits() {
    for (evict, waiting) in [(false, true), (true, false), (false, false)] {
        let mut ledger = crowded(evict, waiting);
        for ms in [60_003, 60_002 + EVICTION_GRACE_MS, 10 * HOUR] {
            let effects = say(&mut ledger, ms, Command::Tick).unwrap();
            let harm = |effect: &Effect| {
                matches!(effect, Effect::Evict { .. } | Effect::Notify(Event::Evicting { .. }))
            };
            assert!(!effects.iter().any(harm), "{evict} {waiting}: {effects:?}");
        }
        assert!(ledger.allocation(own(1)).is_some());
    }
}

#[test]
fn an_eviction_is_announced_five_minutes_before_and_only_of_the_expired() {
    let mut ledger = crowded(true, true);
    assert_eq!(ledger.allocation(own(1)).unwrap().eviction().unwrap().0, 60_002 + EVICTION_GRACE_MS);
    assert_eq!(say(&mut ledger, 60_001 + EVICTION_GRACE_MS, Command::Tick), Ok(Vec::new()));
    let effects = ledger.apply(at(60_002 + EVICTION_GRACE_MS), Command::Tick).unwrap();
    let evicted = |effect: &&Effect| matches!(effect, Effect::Evict { .. });
    assert_eq!(effects.iter().filter(evicted).map(Effect::uid).collect::<Vec<_>>(), [Some(uid(1))]);
    // Who waited gave up in time: the announcement is taken back.
    let mut ledger = crowded(true, true);
    say(&mut ledger, 65_000, Command::Cancel { job: JobId(1), by: Canceller::Admin }).unwrap();
    assert_eq!(ledger.allocation(own(1)).unwrap().eviction(), None);
}

#[test]
fn an_eviction_that_could_not_be_carried_out_is_tried_again_a_minute_later() {
    let mut ledger = crowded(true, true);
    let due = 60_002 + EVICTION_GRACE_MS;
    let evicts = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::Evict { .. }));
    assert!(evicts(&ledger.apply(at(due), Command::Tick).unwrap()));
    let undone = Command::Settle { id: own(1), outcome: Outcome::Undone("no such luck".into()) };
    assert!(!evicts(&ledger.apply(at(due + 1), undone).unwrap()), "at once, and so without an end");
    assert!(!evicts(&ledger.apply(at(due + RETRY_MS), Command::Tick).unwrap()));
    assert!(ledger.next_wakeup().is_some_and(|at| at <= due + 1 + RETRY_MS), "nobody would look again");
    assert!(evicts(&ledger.apply(at(due + 1 + RETRY_MS), Command::Tick).unwrap()));
}

#[test]
fn an_announced_eviction_outlives_the_daemon_and_is_not_announced_again() {
    let before = crowded(true, true);
    let evict = rules(WEEK, true);
    let capacity = Command::SetCapacity { cpu: MilliCpu(8000), mem: Bytes(8 * GIB) };
    let mut ledger = Ledger::restore(before.boot().clone(), at(62_000), before.image());
    // What can be handed out and what the policy says come one after the other, and between them neither is known.
    for command in [capacity.clone(), evict, Command::Tick] {
        assert_eq!(say(&mut ledger, 62_000, command), Ok(Vec::new()));
        assert_eq!(ledger.allocation(own(1)).unwrap().eviction().unwrap().0, 60_002 + EVICTION_GRACE_MS);
    }
    // A policy that does not want it any more takes it back.
    let mut ledger = Ledger::restore(before.boot().clone(), at(62_000), before.image());
    for command in [capacity, rules(WEEK, false)] {
        assert_eq!(say(&mut ledger, 62_000, command), Ok(Vec::new()));
    }
    assert_eq!(ledger.allocation(own(1)).unwrap().eviction(), None);
}

#[test]
fn jobs_that_are_over_are_forgotten_and_those_that_wait_never() {
    let mut ledger = ledger();
    holds(&mut ledger, 0, 1, 8, 8, None);
    let waiting = waits(&mut ledger, 1, 2, 1, 1, None);
    let mut last = waiting;
    for ms in 2..1200 {
        let job = waits(&mut ledger, ms, 3, 1, 1, None);
        assert_eq!(job.0, last.0 + 1, "ids never repeat");
        last = job;
        say(&mut ledger, ms, Command::Cancel { job, by: Canceller::Admin }).unwrap();
    }
    assert_eq!(ledger.jobs().len(), JOBS_KEPT_PER_UID_MAX + 1);
    assert!(ledger.jobs()[&waiting].queued());
    assert!(ledger.jobs().contains_key(&last));
}

/// As many images as changes may wait for the disk: each with a copy of every job would be megabytes.
#[test]
fn an_image_copies_no_job_and_changes_with_none() {
    let mut ledger = ledger();
    holds(&mut ledger, 0, 1, 8, 8, None);
    let jobs = [2, 3].map(|member| waits(&mut ledger, 1, member, 1, 1, None));
    let before = ledger.image();
    say(&mut ledger, 3, Command::Cancel { job: jobs[0], by: Canceller::Admin }).unwrap();
    let after = ledger.image();
    assert!(before.jobs[0].queued() && after.jobs[0].ended());
    assert!(Arc::ptr_eq(&before.jobs[1], &after.jobs[1]));
}

/// As many can be under way at a time: who then waits for each finds each, whatever another does meanwhile.
#[test]
fn nobodys_jobs_are_forgotten_for_what_another_does() {
    let mut ledger = ledger();
    holds(&mut ledger, 0, 1, 8, 8, None);
    let mut ms = 0;
    let mut ended = |ledger: &mut Ledger, member| {
        ms += 1;
        let job = waits(ledger, ms, member, 1, 1, None);
        say(ledger, ms, Command::Cancel { job, by: Canceller::Admin }).unwrap();
        job
    };
    let mut of = |ledger: &mut Ledger, member| -> Vec<JobId> {
        (0..JOBS_KEPT_PER_UID_MAX).map(|_| ended(ledger, member)).collect()
    };
    let own = of(&mut ledger, 2);
    let flood: Vec<JobId> = (0..3).flat_map(|_| of(&mut ledger, 3)).collect();
    let kept =
        |ledger: &Ledger, jobs: &[JobId]| jobs.iter().filter(|job| ledger.jobs().contains_key(job)).count();
    assert_eq!(kept(&ledger, &own), own.len());
    let (forgotten, last) = flood.split_at(flood.len() - JOBS_KEPT_PER_UID_MAX);
    assert_eq!((kept(&ledger, forgotten), kept(&ledger, last)), (0, last.len()), "the oldest go first");
    // Of so many members that there are too many of all together, nobody loses more than another.
    let others: Vec<Vec<JobId>> = (4..12).map(|member| of(&mut ledger, member)).collect();
    assert_eq!(ledger.jobs().len(), JOBS_KEPT_MAX);
    let fair = JOBS_KEPT_MAX / (2 + others.len());
    for jobs in others.iter().map(Vec::as_slice).chain([&own[..], last]) {
        assert!(kept(&ledger, jobs) >= fair, "{} of one, where {fair} are a fair part", kept(&ledger, jobs));
    }
    // A daemon that starts again forgets no other ones.
    let mut again = Ledger::restore(BootId("first".into()), at(90_000), ledger.image());
    assert_eq!(again.jobs().keys().collect::<Vec<_>>(), ledger.jobs().keys().collect::<Vec<_>>());
    say(&mut again, 90_001, Command::SetCapacity { cpu: MilliCpu(8000), mem: Bytes(8 * GIB) }).unwrap();
    let job = waits(&mut again, 90_002, 3, 1, 1, None);
    say(&mut again, 90_002, Command::Cancel { job, by: Canceller::Admin }).unwrap();
    again.audit();
    assert_eq!(again.jobs().len(), JOBS_KEPT_MAX);
}

/// They can have nothing more until something of their own ends: what they wait for besides must not end the look at the queue.
#[test]
fn who_waits_for_their_own_stands_before_nobody() {
    let mut ledger = ledger();
    say(&mut ledger, 0, Command::SetCapacity { cpu: MilliCpu(16_000), mem: Bytes(16 * GIB) }).unwrap();
    let of = Policy { users: super::village::weighted(&[(2, 500)]).users, ..policy() };
    for (who, cpu) in [(1, 8), (2, 5), (3, 3)] {
        say(&mut ledger, 0, request(&of, who, named(cpu * 1000, GIB), None, Wait::No)).unwrap();
    }
    let waits = |who| super::village::submit(&of, who, named(1000, GIB), None, Bytes(0));
    // Twice as much as may be held by the first; for their weight the other holds more than with one of the two.
    for (ms, who) in [(1, 1), (2, 1), (3, 2)] {
        say(&mut ledger, ms, waits(who)).unwrap();
    }
    assert_eq!(ledger.waiting(), 3);
    say(&mut ledger, 4, Command::Release { id: own(3), populated: false, stop: false }).unwrap();
    assert_eq!(
        ledger.share(uid(2)).unwrap().allocations,
        2,
        "there is room, and nobody else who may have it"
    );
}
