//! What an administrator can see of a running daemon: all that it remembers, and more in its journal.

use fairshare::contract::{
    Amounts, Answer, Call, Changed, Dump, DumpAnswer, DumpInfo, Health, JobState, List, Log, LogLevel,
    RequestResources, SharePhase,
};

use super::harness::{Daemon, Home};
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
    let shares: Vec<_> = seen.shares.iter().map(|dump| (dump.share.uid, dump.phase, dump.job_id)).collect();
    assert_eq!(shares, [(0, SharePhase::Active, None)]);
    let jobs: Vec<_> = seen.jobs.iter().map(|job| (job.uid, job.state, job.place)).collect();
    assert_eq!(jobs, [(4001, JobState::Queued, Some(1))]);
    assert_eq!((seen.capacity, seen.capacity.waiting), (raw.status().1, 1));
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
