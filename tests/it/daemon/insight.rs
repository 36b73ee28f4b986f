//! What an administrator can see of a running daemon: all that it remembers, and more in its journal.

use std::sync::Arc;

use fairshare::contract::{
    AllocationPhase, Amounts, Answer, Call, Changed, Dump, DumpAnswer, DumpInfo, Health, JOBS_DUMPED_MAX,
    JobList, JobState, Jobs, List, ListAnswer, Log, LogLevel, RequestResources,
};
use fairshare::testing::identity::{JobId, Uid};
use fairshare::testing::ledger::allocation::Allocation;
use fairshare::testing::ledger::job::{self, JOBS_KEPT_MAX, JOBS_KEPT_PER_UID_MAX, Job, JobEnd, JobKind};
use fairshare::testing::ledger::{Image, Now};
use fairshare::testing::quantity::{Amount, Bytes, MilliCpu, Tasks};

use super::harness::{Daemon, Home, image, share};
use super::raw::{Raw, leased};
use crate::stand_in::World;

fn dump(raw: &mut Raw) -> DumpInfo {
    match raw.ask(&Call::Dump(Dump {})) {
        Ok(Answer::Dump(DumpAnswer { dump })) => dump,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_dump_has_all_that_is_on_disk() {
    let world = World::start();
    let mut home = Home::of_one_cpu(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&leased(600_000));
    let waiting = RequestResources {
        wait: Some(true),
        for_uid: Some(4001),
        ..RequestResources::of(Amounts::default())
    };
    raw.ask(&Call::RequestResources(waiting)).unwrap();
    let seen = dump(&mut raw);
    let state = home.state();
    assert_eq!(
        (seen.revision, seen.next_job, &seen.boot),
        (state.revision, state.next_job, &state.clock.boot.0)
    );
    assert!(!seen.draining && seen.jobs_left_out == 0);
    let shares: Vec<_> = seen.allocations.iter().map(|dump| (dump.uid, dump.phase, dump.job_id)).collect();
    assert_eq!(shares, [(0, AllocationPhase::Active, None)]);
    let jobs: Vec<_> = seen.jobs.iter().map(|job| (job.uid, job.state, job.place)).collect();
    assert_eq!(jobs, [(4001, JobState::Queued, Some(1))]);
    assert_eq!((seen.capacity, seen.capacity.waiting), (raw.status().1, 1));
}

/// A state of which no answer has all.
#[test]
fn what_is_over_a_frame_is_shown_as_far_as_it_fits_one_with_how_much_is_left_out() {
    const SHARES: u64 = 1500;
    let world = World::start();
    let mut home = Home::new(&world);
    let amount = Amount { cpu: MilliCpu(10), mem: Bytes(4 << 20), tasks: Tasks(10) };
    // All that the kernel is to hold, around them too: else the daemon would set it 1500 times before it is ready.
    let figures = [
        ("CPUQuotaPerSecUSec", 10_000),
        ("MemoryMax", 4 << 20),
        ("MemorySwapMax", 0),
        ("TasksMax", 10),
        ("CPUWeight", 1),
        ("MemoryLow", 4 << 20),
    ];
    let held = |uid| {
        world.make_slice(&format!("fairshare-{uid}.slice"), &figures);
        world.make_slice(&format!("fairshare-{uid}-own.slice"), &figures);
        Allocation { user: Some("x".repeat(700)), ..share(uid, amount) }
    };
    let moment = Now { boot_ms: 1, wall_ms: 1_700_000_000_000 };
    let ended = |id: usize| Job {
        id: JobId(id as u64),
        uid: Uid::new(40_000 + (id / JOBS_KEPT_PER_UID_MAX) as u64).unwrap(),
        kind: JobKind::Release,
        created: moment,
        state: job::JobState::Ended { started: None, ended: moment, end: JobEnd::Failed("y".repeat(700)) },
    };
    home.set_image(&Image {
        next_job: 1 + JOBS_KEPT_MAX as u64,
        jobs: (1..=JOBS_KEPT_MAX).map(|id| Arc::new(ended(id))).collect(),
        ..image((20_000..20_000 + SHARES).map(held).collect())
    });
    let daemon = home.activate();
    let mut raw = daemon.client();

    let Ok(Answer::List(ListAnswer { shares, shares_left_out, .. })) = raw.ask(&Call::List(List {})) else {
        panic!("no list")
    };
    let uids: Vec<u64> = shares.iter().map(|share| share.uid).collect();
    assert_eq!(uids, (20_000..).take(shares.len()).collect::<Vec<_>>());
    assert!(shares.len() > 1000 && shares.len() as u64 + shares_left_out.unwrap() == SHARES);

    let all = Call::JobList(JobList { all: Some(true) });
    let Ok(Answer::Jobs(Jobs { jobs, jobs_left_out })) = raw.ask(&all) else { panic!("no jobs") };
    let ids: Vec<u64> = jobs.iter().map(|job| job.job_id).collect();
    let last = JOBS_KEPT_MAX as u64;
    assert_eq!(ids, (last - jobs.len() as u64 + 1..=last).collect::<Vec<_>>());
    assert!(jobs.len() > 1000 && jobs.len() as u64 + jobs_left_out.unwrap() == last);

    let seen = dump(&mut raw);
    assert_eq!((seen.jobs.len(), seen.jobs_left_out), (JOBS_DUMPED_MAX, last - JOBS_DUMPED_MAX as u64));
    assert!(
        seen.allocations.len() > 500
            && seen.allocations.len() as u64 + seen.allocations_left_out.unwrap() == SHARES
    );
}

/// Asks for all shares: a question, which changes nothing.
fn ask(raw: &mut Raw) {
    raw.ask(&Call::List(List {})).unwrap();
}

fn set(raw: &mut Raw, level: LogLevel) -> bool {
    match raw.ask(&Call::Log(Log { level })) {
        Ok(Answer::Changed(Changed { changed })) => changed,
        other => panic!("{other:?}"),
    }
}

fn times(daemon: &Daemon, part: &str) -> usize {
    daemon.logs().matches(part).count()
}

#[test]
fn the_journal_is_told_more_and_less_of_a_running_daemon() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    ask(&mut raw);
    assert!(set(&mut raw, LogLevel::Debug) && !set(&mut raw, LogLevel::Debug));
    ask(&mut raw);
    assert!(set(&mut raw, LogLevel::Info));
    raw.ask(&Call::Health(Health {})).unwrap();
    // What is asked after it is told after it.
    assert!(!set(&mut raw, LogLevel::Info));
    daemon.wait_logged("log of uid 0: ok");
    // Who hides all but faults is seen to do so.
    assert!(set(&mut raw, LogLevel::Error));
    daemon.wait_logged("uid 0 has the journal told of what is error and above");
    assert_eq!((times(&daemon, "list of uid 0: ok"), times(&daemon, "health of uid 0: ok")), (1, 0));
}
