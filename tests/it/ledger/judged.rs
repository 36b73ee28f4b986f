//! What the policy in force says: of figures that are named, of those who wait, of commands; and what nobody can count.

use std::collections::BTreeMap;
use std::time::Duration;

use fairshare::testing::enforced::{Enforced, KernelLimits};
use fairshare::testing::identity::{AllocationId, JobId, Purpose};
use fairshare::testing::ledger::apart::When;
use fairshare::testing::ledger::care::Care;
use fairshare::testing::ledger::job::{JobEnd, JobState, WORKS_PER_UID_MAX};
use fairshare::testing::ledger::reconcile::{Found, Known, Verdict, verdicts};
use fairshare::testing::ledger::refusal::Refusal;
use fairshare::testing::ledger::{self, Canceller, Command, Effect, Ledger, Outcome, Wait, Where};
use fairshare::testing::policy::{Policy, QueueRule, Role, Rules};
use fairshare::testing::quantity::{Bytes, MilliCpu, PartialAmount, Tasks};

use super::village::{GIB, amount, at, held, ledger, member, named, own, policy, request, rules, say, uid};

fn submit(who: u64, figures: PartialAmount, wait: Wait) -> Command {
    let (member, time_limit, name) = (member(&policy(), who), None, None);
    let place = Where::ByFigures;
    Command::Submit {
        member,
        amount: figures,
        place,
        time_limit,
        name,
        output: None,
        kept: Bytes(0),
        wait,
        when: When::default(),
        array: None,
        care: Care::default(),
    }
}

fn of_job(who: u64, job: u64) -> AllocationId {
    AllocationId::of_job(uid(who), JobId(job))
}

fn end(ledger: &Ledger, job: u64) -> Option<JobEnd> {
    match &ledger.jobs()[&JobId(job)].state {
        JobState::Ended { end, .. } => Some(end.clone()),
        JobState::Queued { .. } | JobState::Running { .. } => None,
    }
}

/// 9 holds everything, so that everybody waits.
fn full() -> Ledger {
    let mut ledger = ledger();
    say(&mut ledger, 0, request(&policy(), 9, named(8000, 8 * GIB), None, Wait::No)).unwrap();
    ledger
}

#[test]
fn only_figures_that_are_named_are_judged() {
    let mut ledger = ledger();
    say(&mut ledger, 0, request(&policy(), 1, named(4000, 4 * GIB), None, Wait::No)).unwrap();
    let less = Policy { max: amount(2000, 2 * GIB), defaults: amount(1000, GIB), ..policy() };
    let resize = |cpu: Option<u64>, gib: Option<u64>| Command::Resize {
        member: member(&less, 1),
        of: Purpose::Standing,
        amount: PartialAmount { cpu: cpu.map(MilliCpu), mem: gib.map(|gib| Bytes(gib * GIB)), tasks: None },
        in_use: Bytes(0),
    };
    let refused = |ledger: &mut Ledger, command| say(ledger, 1, command).unwrap_err().to_string();
    assert!(
        refused(&mut ledger, resize(None, Some(5)))
            .starts_with("Requested memory (5G) exceeds maximum allowed (2G)")
    );
    assert_eq!(
        refused(&mut ledger, resize(Some(5000), None)),
        "Requested CPU (5) exceeds maximum allowed (2)"
    );
    // Less of one figure, and what is held of the other.
    say(&mut ledger, 1, resize(None, Some(3))).unwrap();
    say(&mut ledger, 1, resize(Some(3500), Some(3))).unwrap();
    assert_eq!(ledger.allocation(own(1)).unwrap().amount, amount(3500, 3 * GIB));
    // Nor is a figure that nobody names held against a machine that shrank.
    say(&mut ledger, 2, Command::SetCapacity { cpu: MilliCpu(3000), mem: Bytes(8 * GIB) }).unwrap();
    let back = Command::Resize {
        member: member(&policy(), 1),
        of: Purpose::Standing,
        amount: named(3500, GIB),
        in_use: Bytes(0),
    };
    say(&mut ledger, 2, back).unwrap();
}

#[test]
fn less_memory_than_is_in_use_is_refused_with_the_figure() {
    let mut ledger = ledger();
    say(&mut ledger, 0, request(&policy(), 1, named(4000, 4 * GIB), None, Wait::No)).unwrap();
    let resize = |gib: u64| Command::Resize {
        member: member(&policy(), 1),
        of: Purpose::Standing,
        amount: named(4000, gib * GIB),
        in_use: Bytes(3 * GIB),
    };
    let refused = say(&mut ledger, 1, resize(2)).unwrap_err();
    assert_eq!(refused, Refusal::MemoryInUse { in_use: Bytes(3 * GIB), asked: Bytes(2 * GIB) });
    say(&mut ledger, 1, resize(3)).unwrap();
}

#[test]
fn so_many_commands_are_not_over_at_a_time_and_one_more_when_one_ends() {
    let mut ledger = ledger();
    say(&mut ledger, 0, request(&policy(), 1, named(1000, GIB), None, Wait::No)).unwrap();
    for _ in 0..WORKS_PER_UID_MAX {
        say(&mut ledger, 1, submit(1, PartialAmount::default(), Wait::No)).unwrap();
    }
    let refused = say(&mut ledger, 2, submit(1, PartialAmount::default(), Wait::No));
    assert_eq!(refused, Err(Refusal::TooManyWorks { most: 256 }));
    say(&mut ledger, 3, Command::WorkEnded { job: JobId(7), end: JobEnd::Done }).unwrap();
    say(&mut ledger, 4, submit(1, PartialAmount::default(), Wait::No)).unwrap();
}

/// The policy that holds when somebody is served is the one that judges them.
#[test]
fn who_waits_is_judged_by_the_policy_in_force() {
    let mut ledger = full();
    let nothing = PartialAmount::default();
    say(&mut ledger, 1, request(&policy(), 1, named(4000, GIB), None, Wait::Granted)).unwrap();
    say(&mut ledger, 2, request(&policy(), 2, nothing, None, Wait::Granted)).unwrap();
    say(&mut ledger, 3, submit(3, named(4000, GIB), Wait::Granted)).unwrap();
    say(&mut ledger, 4, request(&policy(), 4, named(500, GIB), Some(7_200_000), Wait::Granted)).unwrap();
    say(&mut ledger, 5, request(&policy(), 5, named(500, GIB), None, Wait::Granted)).unwrap();
    say(&mut ledger, 6, request(&policy(), 6, named(500, GIB), None, Wait::Granted)).unwrap();
    let order =
        |ledger: &Ledger| -> Vec<_> { ledger.places().iter().map(|place| place.waiting.uid.get()).collect() };
    assert_eq!(order(&ledger), [1, 2, 3, 4, 5, 6]);
    // Less is allowed, leases have a longest, 5 may only look, and 7 does not wait.
    let read_only = Rules { role: Some(Role::ReadOnly), ..Rules::default() };
    let less = Policy {
        max: amount(1000, GIB),
        defaults: amount(1000, GIB),
        lease_max: Some(Duration::from_secs(3600)),
        lease_default: Some(Duration::from_secs(3600)),
        users: [(uid(5), read_only)].into(),
        ..policy()
    };
    let members = (1..=7).map(|who| member(&less, who)).collect();
    say(&mut ledger, 10, Command::Reconsider { members }).unwrap();
    let over = "Requested CPU (4) exceeds maximum allowed (1)".to_owned();
    assert_eq!(end(&ledger, 1), Some(JobEnd::Refused(over.clone())));
    assert_eq!(end(&ledger, 3), Some(JobEnd::Refused(over)));
    let long = "Requested lease (2h) exceeds maximum allowed (1h)".to_owned();
    assert_eq!(end(&ledger, 4), Some(JobEnd::Refused(long)));
    assert_eq!(end(&ledger, 5), Some(JobEnd::Refused("Your role lets you hold no share".to_owned())));
    assert_eq!(order(&ledger), [2, 6], "who is left keeps the place");
    say(&mut ledger, 11, Command::Release { id: own(9), populated: false, stop: false }).unwrap();
    let share = ledger.allocation(own(2)).unwrap();
    assert_eq!(
        (share.amount, share.lease.map(|lease| lease.length_ms)),
        (amount(1000, GIB), Some(3_600_000))
    );
    assert!(ledger.allocation(own(6)).is_some());
}

#[test]
fn a_machine_that_shrank_ends_no_ones_waiting() {
    let mut ledger = full();
    say(&mut ledger, 1, request(&policy(), 1, named(8000, GIB), None, Wait::Granted)).unwrap();
    say(&mut ledger, 2, Command::SetCapacity { cpu: MilliCpu(4000), mem: Bytes(8 * GIB) }).unwrap();
    say(&mut ledger, 3, Command::Reconsider { members: vec![member(&policy(), 1)] }).unwrap();
    assert_eq!(ledger.waiting(), 1);
}

fn found(limits: KernelLimits, mem_in_use: u64, tasks_in_use: u64) -> Found {
    Found {
        limits,
        mem_in_use: Bytes(mem_in_use),
        tasks_in_use: Tasks(tasks_in_use),
        populated: true,
        in_share: false,
    }
}

/// A slice without limits is adopted, and what is in it goes on.
#[test]
fn what_is_adopted_keeps_what_it_uses() {
    let ledger = ledger();
    let known = Known { user: "u1".into(), max: amount(2000, 2 * GIB), burst: None };
    let known = BTreeMap::from([(uid(1), known)]);
    for (mem, tasks, amount) in [
        (3 * GIB, 200, fairshare::testing::quantity::Amount { tasks: Tasks(200), ..amount(2000, 3 * GIB) }),
        (GIB, 2, amount(2000, 2 * GIB)),
    ] {
        let world = BTreeMap::from([(own(1), found(KernelLimits::default(), mem, tasks))]);
        assert_eq!(verdicts(&ledger, &world, &known)[&own(1)], Verdict::Adopt { amount, in_share: false });
    }
}

#[test]
fn a_command_whose_slice_is_adopted_while_it_waits_starts_in_it() {
    let mut ledger = full();
    say(&mut ledger, 1, submit(1, named(1000, GIB), Wait::Granted)).unwrap();
    let adopted = Verdict::Adopt { amount: amount(1000, GIB), in_share: false };
    let effects = ledger.reconciled(at(2), of_job(1, 1), &adopted, Bytes(0), None);
    assert!(effects.contains(&Effect::Start { uid: uid(1), job: JobId(1) }), "{effects:?}");
    assert_eq!(end(&ledger, 1), None, "it has not ended: it has not run");
    ledger.audit();
    // A request has what it waited for.
    say(&mut ledger, 3, request(&policy(), 2, named(1000, GIB), None, Wait::Granted)).unwrap();
    ledger.reconciled(at(4), own(2), &adopted, Bytes(0), None);
    assert_eq!(end(&ledger, 2), Some(JobEnd::Done));
    ledger.audit();
}

#[test]
fn a_command_whose_share_was_found_after_all_starts() {
    let mut ledger = ledger();
    let effects = ledger.apply(at(1), submit(1, named(1000, GIB), Wait::No)).unwrap();
    let id = of_job(1, 1);
    assert!(effects.contains(&Effect::Grant(id)));
    ledger.apply(at(2), Command::Settle { id, outcome: Outcome::Unknown }).unwrap();
    let limits = held(Enforced::promised(amount(1000, GIB), Bytes(0)));
    let world = BTreeMap::from([(id, found(limits, 0, 0))]);
    let verdict = verdicts(&ledger, &world, &BTreeMap::new())[&id].clone();
    let effects = ledger.reconciled(at(3), id, &verdict, Bytes(0), None);
    assert!(effects.contains(&Effect::Start { uid: uid(1), job: JobId(1) }), "{effects:?}");
    assert_eq!(end(&ledger, 1), None);
    ledger.audit();
}

#[test]
fn why_a_share_could_not_be_made_is_the_end_of_who_waited_for_it() {
    let mut ledger = full();
    say(&mut ledger, 1, request(&policy(), 1, named(1000, GIB), None, Wait::Granted)).unwrap();
    ledger.apply(at(2), Command::SliceGone { id: own(9) }).unwrap();
    let withdrawn = Outcome::Withdrawn("systemd refused: no such controller".into());
    ledger.apply(at(3), Command::Settle { id: own(1), outcome: withdrawn }).unwrap();
    assert_eq!(end(&ledger, 1), Some(JobEnd::Failed("systemd refused: no such controller".into())));
}

/// Members who had next to nothing are not remembered for ever, nor who had what nobody else wanted.
#[test]
fn accounts_have_a_bound() {
    let mut ledger = ledger();
    for who in 1..=5000 {
        say(&mut ledger, who * 2, request(&policy(), who, named(8000, GIB), None, Wait::No)).unwrap();
        let release = Command::Release { id: own(who), populated: false, stop: false };
        say(&mut ledger, who * 2 + 1, release).unwrap();
    }
    assert_eq!(ledger.fairness().lags().accounts.len(), 0);
    // Somebody waits all the time, for something of which a little is never free.
    let contested = || {
        let mut ledger = self::ledger();
        say(&mut ledger, 0, request(&policy(), 8000, named(1000, 4 * GIB), None, Wait::No)).unwrap();
        say(&mut ledger, 0, request(&policy(), 9000, named(1000, 5 * GIB), None, Wait::Granted)).unwrap();
        ledger
    };
    let accounts = |ledger: &Ledger| ledger.fairness().lags().accounts.len();
    let mut ledger = contested();
    let others = |ledger: &mut Ledger, many: u64, ms: u64| {
        for who in 1..=many {
            let asked = request(&policy(), who, named(7000, GIB), None, Wait::No);
            say(ledger, who * 2 * ms, asked).unwrap();
            let release = Command::Release { id: own(who), populated: false, stop: false };
            say(ledger, who * 2 * ms + ms, release).unwrap();
        }
    };
    others(&mut ledger, 5000, 1);
    assert!(accounts(&ledger) <= 1024, "{} accounts", accounts(&ledger));
    // Who had more is.
    let mut ledger = contested();
    others(&mut ledger, 1500, 2000);
    assert_eq!(accounts(&ledger), 1502);
}

/// Units may have any name: one that cannot be counted from is none of ours.
#[test]
fn numbers_that_others_made_up_break_nothing() {
    let mut ledger = ledger();
    ledger.runs_taken(u64::MAX);
    ledger.job_taken(JobId(u64::MAX));
    say(&mut ledger, 0, request(&policy(), 1, named(1000, GIB), None, Wait::No)).unwrap();
    for _ in 0..3 {
        say(&mut ledger, 1, Command::Enter { id: AllocationId::standing(uid(1)) }).unwrap();
        say(&mut ledger, 1, submit(1, PartialAmount::default(), Wait::No)).unwrap();
    }
    assert_eq!(ledger.jobs().len(), 3);
}

#[test]
fn each_command_brings_its_own_room_and_takes_it_with_it() {
    let mut ledger = ledger();
    say(&mut ledger, 0, submit(1, named(1000, GIB), Wait::No)).unwrap();
    say(&mut ledger, 0, submit(1, PartialAmount::default(), Wait::No)).unwrap();
    say(&mut ledger, 0, request(&policy(), 1, named(1000, GIB), None, Wait::No)).unwrap();
    let held = |ledger: &Ledger| ledger.share(uid(1)).map(|share| share.held().cpu);
    assert_eq!(held(&ledger), Some(MilliCpu(4000)), "1, the default of 2, and the standing 1");
    // Where one is held, what names no figures runs in it.
    say(&mut ledger, 0, submit(1, PartialAmount::default(), Wait::No)).unwrap();
    assert_eq!(held(&ledger), Some(MilliCpu(4000)));
    let ends = |job| Command::WorkEnded { job: JobId(job), end: JobEnd::Done };
    say(&mut ledger, 1, ends(1)).unwrap();
    assert!(ledger.allocation(of_job(1, 1)).is_none() && ledger.allocation(of_job(1, 2)).is_some());
    say(&mut ledger, 2, ends(2)).unwrap();
    say(&mut ledger, 2, ends(3)).unwrap();
    assert_eq!(held(&ledger), Some(MilliCpu(1000)), "what was requested stays");
    // What is named is a limit within it, and asked for its own room all the same.
    for (place, more) in [(Where::InShare, 0), (Where::Own, 500)] {
        let (member, amount) = (member(&policy(), 1), named(500, GIB / 2));
        let (time_limit, name, wait) = (None, None, Wait::No);
        say(
            &mut ledger,
            3,
            Command::Submit {
                member,
                amount,
                place,
                time_limit,
                name,
                output: None,
                kept: Bytes(0),
                wait,
                when: When::default(),
                array: None,
                care: Care::default(),
            },
        )
        .unwrap();
        assert_eq!(held(&ledger), Some(MilliCpu(1000 + more)));
    }
}

/// The most that a member may hold is that of all their allocations together. What would be more waits for their own to end, and
/// what they asked for after it with it; others go on.
#[test]
fn the_most_that_a_member_may_hold_bounds_the_sum() {
    let mut ledger = ledger();
    say(&mut ledger, 0, Command::SetCapacity { cpu: MilliCpu(20_000), mem: Bytes(64 * GIB) }).unwrap();
    say(&mut ledger, 0, submit(1, named(6000, GIB), Wait::No)).unwrap();
    let refused = say(&mut ledger, 1, submit(1, named(3000, GIB), Wait::No)).unwrap_err();
    assert_eq!(refused.to_string(), "Requested CPU (3) and what you hold (6) exceed maximum allowed (8)");
    let alone = say(&mut ledger, 1, submit(1, named(9000, GIB), Wait::Granted)).unwrap_err();
    assert_eq!(alone.to_string(), "Requested CPU (9) exceeds maximum allowed (8)");
    say(&mut ledger, 1, submit(1, named(3000, GIB), Wait::Granted)).unwrap();
    say(&mut ledger, 2, submit(1, named(1000, GIB), Wait::Granted)).unwrap();
    assert_eq!(ledger.waiting(), 2, "the small one does not pass what its member asked for before");
    assert!(ledger.reservation().is_none(), "nothing is kept for who waits for their own");
    say(&mut ledger, 3, submit(2, named(8000, GIB), Wait::Granted)).unwrap();
    assert_eq!(ledger.waiting(), 2, "there is room for another");
    say(&mut ledger, 4, Command::WorkEnded { job: JobId(1), end: JobEnd::Done }).unwrap();
    assert_eq!((ledger.waiting(), ledger.allocations().len()), (0, 3));
    let resize = Command::Resize {
        member: member(&policy(), 1),
        of: Purpose::Job(JobId(2)),
        amount: named(7500, GIB),
        in_use: Bytes(0),
    };
    assert!(matches!(say(&mut ledger, 5, resize), Err(Refusal::MaxHeld { .. })));
}

/// So many wait of one member and of all, and so many run.
#[test]
fn the_queue_has_the_bounds_of_the_policy() {
    let mut ledger = full();
    let with = |queue: QueueRule| {
        let Command::SetRules(rules) = rules(1000, false) else { unreachable!() };
        Command::SetRules(ledger::Rules { queue, ..rules })
    };
    say(&mut ledger, 0, with(QueueRule { member: 2, all: 3, running: 1 })).unwrap();
    let asks = |who| submit(who, named(1000, GIB), Wait::Granted);
    say(&mut ledger, 1, asks(1)).unwrap();
    say(&mut ledger, 1, asks(1)).unwrap();
    assert_eq!(say(&mut ledger, 1, asks(1)), Err(Refusal::QueueFull { most: 2, own: true }));
    say(&mut ledger, 1, asks(2)).unwrap();
    assert_eq!(say(&mut ledger, 1, asks(3)), Err(Refusal::QueueFull { most: 3, own: false }));
    say(&mut ledger, 2, Command::Release { id: own(9), populated: false, stop: false }).unwrap();
    assert_eq!(ledger.waiting(), 1, "one of each runs, and there is room for another");
    say(&mut ledger, 3, Command::WorkEnded { job: JobId(1), end: JobEnd::Done }).unwrap();
    assert_eq!(ledger.waiting(), 0);
}

/// Whoever waited is served: from then on there is something to be given back and nothing to be called back.
#[test]
fn while_a_share_is_made_its_request_is_not_cancelled_and_nothing_of_it_is_changed() {
    let mut ledger = full();
    say(&mut ledger, 1, request(&policy(), 1, named(1000, GIB), None, Wait::Granted)).unwrap();
    let job = JobId(1);
    ledger.apply(at(2), Command::Release { id: own(9), populated: false, stop: false }).unwrap();
    let served = ledger.apply(at(2), Command::Settle { id: own(9), outcome: Outcome::Done }).unwrap();
    assert!(served.contains(&Effect::Grant(own(1))), "{served:?}");
    let cancel = Command::Cancel { job, by: Canceller::Member(uid(1)) };
    assert_eq!(ledger.apply(at(3), cancel), Err(Refusal::JobAtWork { job }));
    for command in [
        request(&policy(), 1, named(1000, GIB), None, Wait::No),
        submit(1, PartialAmount::default(), Wait::No),
        Command::Enter { id: AllocationId::standing(uid(1)) },
        Command::Release { id: own(1), populated: false, stop: false },
    ] {
        assert_eq!(ledger.apply(at(3), command.clone()), Err(Refusal::Unsettled), "{command:?}");
    }
    say(&mut ledger, 4, Command::Settle { id: own(1), outcome: Outcome::Done }).unwrap();
    assert_eq!(end(&ledger, 1), Some(JobEnd::Done));
    say(&mut ledger, 5, Command::Enter { id: AllocationId::standing(uid(1)) }).unwrap();
}
