//! What happens, as it is told to who follows: each kind with what it carries, in order, and nobody waits for who is slow.

use std::time::{Duration, Instant};

use fairshare::contract::{
    AllocationState, Amounts, Answer, Call, Changed, Drain, EventInfo, JobStarted, JobState, Ping, Pong,
    Release, Reload, Renew, RequestResources, ShareInfo, Undrain,
};
use rustix::process::Signal;

use super::degraded::FIGURES;
use super::harness::{DEFAULTS, Daemon, Home, POLICY, ending};
use super::raw::{Raw, request, request_for, resize_mem};
use super::systemd_faults::{own_slice, share_slice};
use crate::stand_in::World;

/// What holds nobody up: far less than anything that is waited for here, also on a machine that has much else to do.
const PROMPT: Duration = Duration::from_secs(5);

pub fn own_uid() -> u64 {
    rustix::process::getuid().as_raw().into()
}

/// A connection that everybody's events come on.
fn follower(daemon: &Daemon) -> Raw {
    let mut raw = daemon.client();
    raw.follow(Some(true), None);
    raw
}

/// The next event, which is of this kind and concerns this user, with or without a share.
fn next(follower: &mut Raw, kind: &str, uid: Option<u64>, share: bool) -> EventInfo {
    let event = follower.event();
    let told = (event.kind.as_str(), event.uid, event.share.as_ref().map(|share| share.uid), event.lagged);
    assert_eq!(told, (kind, uid, uid.filter(|_| share), None), "{event:?}");
    event
}

#[test]
fn each_step_of_a_share_is_told_with_what_is_held_then() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let (mut raw, mut follower, own) = (daemon.client(), follower(&daemon), Some(own_uid()));
    let held = raw.granted(&request());
    let granted = next(&mut follower, "granted", own, true);
    // An event has the sum alone.
    let sum = |held: &ShareInfo| Some(ShareInfo { allocations: None, ..held.clone() });
    assert_eq!(granted.share, sum(&held));
    assert_eq!(granted.allocation.as_ref(), held.standing());
    let held = raw.granted(&resize_mem(128 << 20));
    let resized = next(&mut follower, "resized", own, true);
    assert_eq!(resized.share, sum(&held));
    assert_eq!(held.mem_bytes, 128 << 20);
    let held = raw.granted(&Call::Renew(Renew { lease_ms: 3_600_000, job_id: None, for_uid: None }));
    let renewed = next(&mut follower, "renewed", own, true);
    // Both are reckoned from the same end, each at its moment.
    let ends = |lease_ends_ms: Option<u64>| lease_ends_ms.expect("no lease");
    let told = renewed.allocation.unwrap();
    assert!(
        ends(told.lease_ends_ms).abs_diff(ends(held.standing().unwrap().lease_ends_ms)) < 1000,
        "{told:?} {held:?}"
    );
    assert!(ends(told.lease_ends_ms).abs_diff(renewed.at_ms + 3_600_000) < 1000, "{told:?}");
    assert!(raw.released());
    let released = next(&mut follower, "released", own, false);
    let times = [granted.at_ms, resized.at_ms, renewed.at_ms, released.at_ms];
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn the_end_of_a_lease_is_told_before_it_comes_and_when_it_is_there() {
    let world = World::start();
    let mut home = Home::new(&world);
    let own = Some(own_uid());
    // Long enough for somebody to follow before it ends.
    home.set_state(vec![ending(own_uid(), DEFAULTS, 8000)]);
    world.make_slice(&own_slice(), &FIGURES);
    world.pretend_processes(&own_slice(), &[4_000_000]);
    world.write_cgroup_file(&own_slice(), "memory.current", "33554432");
    let daemon = home.activate();
    let mut followed = follower(&daemon);
    let follower = &mut followed;
    let expiring = next(follower, "expiring", own, true);
    assert_eq!(expiring.message.as_deref(), Some("the lease ends in 1 min"));
    assert_eq!(expiring.allocation.unwrap().state, AllocationState::Active);
    let expired = next(follower, "expired", own, true);
    let says = "the lease is over: work is inside: the share stays, with what it uses";
    assert_eq!(expired.message.as_deref(), Some(says));
    let share = expired.allocation.unwrap();
    assert_eq!((share.state, share.mem_bytes), (AllocationState::Expired, 64 << 20));
    let share = next(follower, "resized", own, true).allocation.unwrap();
    assert_eq!((share.state, share.cpu_milli, share.mem_bytes), (AllocationState::Expired, 1000, 48 << 20));
    world.pretend_processes(&own_slice(), &[]);
    next(follower, "released", own, false);
    daemon.kill();
    home.set_state(vec![ending(own_uid(), DEFAULTS, 8000)]);
    world.make_slice(&own_slice(), &FIGURES);
    let daemon = home.activate();
    let follower = &mut self::follower(&daemon);
    next(follower, "expiring", own, true);
    let expired = next(follower, "expired", own, true);
    assert_eq!(expired.message.as_deref(), Some("the lease is over: the share goes"));
    next(follower, "released", own, false);
}

#[test]
fn what_concerns_everybody_is_told_when_it_changes() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let (mut raw, mut follower) = (daemon.client(), follower(&daemon));
    home.set_policy(&format!("{POLICY}swap: 1M\n"));
    for call in [Call::Drain(Drain {}), Call::Undrain(Undrain {}), Call::Reload(Reload {})] {
        // What is so already is not told again.
        for changes in [true, false] {
            assert_eq!(raw.ask(&call), Ok(Answer::Changed(Changed { changed: changes })), "{call:?}");
        }
    }
    for kind in ["drained", "undrained"] {
        assert_eq!(next(&mut follower, kind, None, false).message, None);
    }
    let policy = next(&mut follower, "policy", None, false);
    assert_eq!(policy.message.as_deref(), Some("the policy has changed"));
    raw.granted(&request());
    next(&mut follower, "granted", Some(own_uid()), true);
}

#[test]
fn a_job_is_told_when_it_begins_and_when_it_is_over() {
    let world = World::start();
    let mut home = Home::of_one_cpu(&world);
    let daemon = home.activate();
    let (mut raw, mut follower) = (daemon.client(), follower(&daemon));
    raw.granted(&request_for(1));
    let waits = Call::RequestResources(RequestResources {
        lease_ms: None,
        wait: Some(true),
        for_uid: Some(2),
        ..RequestResources::of(Amounts::default())
    });
    let Ok(Answer::JobStarted(JobStarted { job_started })) = raw.ask(&waits) else {
        panic!("it does not wait")
    };
    let mut of_the_job = daemon.client();
    of_the_job.follow(Some(true), Some(job_started));
    raw.ask(&Call::Release(Release { job_id: None, stop: None, for_uid: Some(1) })).unwrap();
    next(&mut follower, "granted", Some(1), true);
    next(&mut follower, "released", Some(1), false);
    let begins = next(&mut follower, "job", Some(2), false);
    let granted = next(&mut follower, "granted", Some(2), true);
    let over = next(&mut follower, "job", Some(2), false);
    assert_eq!(granted.job_id, None);
    for (event, state, ended) in [(begins, JobState::Running, false), (over, JobState::Done, true)] {
        // Who follows the job alone is told just this.
        assert_eq!(of_the_job.event(), event);
        assert_eq!(event.job_id, Some(job_started));
        let job = event.job.expect("no job");
        assert_eq!((job.job_id, job.uid, job.state), (job_started, 2, state));
        assert_eq!((job.started_ms.is_some(), job.ended_ms.is_some()), (true, ended));
    }
}

#[test]
fn who_reads_too_slowly_is_told_how_much_was_missed_and_holds_nobody_up() {
    // More than 1024, and more than the socket takes beside them.
    const EVENTS: u64 = 3000;
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    // Of one member after the other, so that each event tells its place.
    let uid = |number: u64| 1 + number % 2;
    for number in 0..2 {
        raw.granted(&request_for(uid(number)));
    }
    let (mut slow, mut quick) = (follower(&daemon), follower(&daemon));
    for number in 0..EVENTS {
        world.count_memory_events(&format!("fairshare-{}.slice", uid(number)), 0, 1 + number / 2);
        next(&mut quick, "oom", Some(uid(number)), true);
        let asked = Instant::now();
        assert!(matches!(raw.ask(&Call::Ping(Ping {})), Ok(Answer::Pong(Pong { .. }))));
        assert!(asked.elapsed() < PROMPT, "call {number}: {:?}", asked.elapsed());
    }
    let mut heard = 0;
    let missed = loop {
        let event = slow.event();
        if let Some(missed) = event.lagged {
            assert_eq!((event.kind.as_str(), event.uid, event.share), ("lagged", None, None));
            break missed;
        }
        assert_eq!((event.kind.as_str(), event.uid), ("oom", Some(uid(heard))), "event {heard}");
        heard += 1;
    };
    assert!(missed > 1024, "told to have missed {missed}, who was not so far behind");
    assert_eq!(heard + missed, EVENTS, "heard {heard}, missed {missed}");
    raw.granted(&request());
    for follower in [&mut slow, &mut quick] {
        next(follower, "granted", Some(own_uid()), true);
    }
}

#[test]
fn who_follows_and_does_not_read_delays_no_stop() {
    // More than the socket takes.
    const EVENTS: u64 = 600;
    let world = World::start();
    let mut home = Home::new(&world);
    let mut daemon = home.activate();
    daemon.client().granted(&request());
    let (_unread, mut quick) = (follower(&daemon), follower(&daemon));
    for number in 0..EVENTS {
        world.count_memory_events(&share_slice(), 0, 1 + number);
        next(&mut quick, "oom", Some(own_uid()), true);
    }
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait_end().code(), Some(0));
    let said = daemon.logs();
    assert!(!said.contains("some answers took longer"), "{said}");
}
