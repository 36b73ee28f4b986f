//! What waits says for what, how much it asks for, and after which of one's own it is expected to start.

use fairshare::contract::{
    Amounts, Answer, Call, Drain, JobCancel, KeyInfo, Policy, PolicyAnswer, Reload, RequestResources, Submit,
    WaitsFor,
};

use super::harness::{Home, PATIENCE};
use super::later::waits_for;
use super::raw::{Raw, request, submission};
use super::roles::fairshare;
use super::users::{MEMBER, member};
use super::works::{alone, job, until_it_runs};
use crate::poll::until;
use crate::root::is_root;
use crate::stand_in::World;

const HOUR_MS: u64 = 3_600_000;

/// One CPU for all, of which each may have two at other times, and so many commands at a time.
pub(super) fn set_policy(home: &Home, running: u64) {
    home.set_policy(&format!(
        "defaults: {{cpu: 1, mem: 64M, tasks: 100}}\nmax: {{cpu: 2, mem: 256M, tasks: 1000}}\n\
         reserve: {{cpu: 1, mem: 1M}}\nqueue: {{running: {running}}}\nfrom_sandboxes: true\n"
    ));
    home.set_cpus("0-1");
}

fn hour() -> Submit {
    Submit { lease_ms: Some(HOUR_MS), wait: Some(true), ..submission() }
}

#[test]
fn what_waits_for_room_says_how_much_it_asks_for_and_which_of_ones_own_it_follows() {
    let world = World::start();
    let mut home = Home::new(&world);
    set_policy(&home, 16);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let one = raw.put(hour());
    until_it_runs(&world, one);
    assert_eq!((job(&mut raw, one).limits, job(&mut raw, one).waits_for), (None, None));
    let two = raw.put(hour());
    let waiting = job(&mut raw, two);
    let asked = Amounts { cpu_milli: Some(1000), mem_bytes: Some(64 << 20), tasks_max: Some(100) };
    assert_eq!(
        (waiting.limits.as_deref(), waiting.starts_after, waiting.about),
        (Some(&asked), Some(one), None)
    );
    assert!(waiting.starts_ms > Some(waiting.created_ms), "{waiting:?}");
    assert_eq!(waits_for(&mut raw, two), Some(WaitsFor { room: Some(true), ..WaitsFor::default() }));
    raw.ask(&Call::Drain(Drain {})).unwrap();
    let drained = job(&mut raw, two);
    assert_eq!((drained.waits_for, drained.starts_ms, drained.starts_after), (None, None, None));
}

/// It is expected to run as long as the last did of its member's, of which nobody is certain.
#[test]
fn what_follows_a_command_without_a_limit_is_told_about_when_it_starts() {
    let world = World::start();
    let mut home = Home::new(&world);
    set_policy(&home, 16);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let unlimited = || Submit { lease_ms: None, ..hour() };
    let before = raw.put(unlimited());
    until_it_runs(&world, before);
    let none = raw.put(unlimited());
    assert_eq!((job(&mut raw, none).starts_ms, job(&mut raw, none).about), (None, None));
    world.end_service(&alone(before), 0);
    until_it_runs(&world, none);
    let waiting = raw.put(hour());
    let told = job(&mut raw, waiting);
    assert!(told.starts_ms.is_some(), "{told:?}");
    assert_eq!((told.about, told.starts_after), (Some(true), Some(none)));
}

/// Of what others run nothing is told but when it gives back room.
#[test]
fn what_follows_anothers_job_is_told_when_and_not_after_what() {
    if !is_root() {
        return;
    }
    let world = World::start();
    let mut home = Home::new(&world);
    set_policy(&home, 16);
    let daemon = home.activate();
    let (mut raw, mut other) = (daemon.client(), member(&daemon, MEMBER));
    // A command is submitted by a process of its member's.
    let theirs = || {
        let (code, said) = fairshare(
            &daemon,
            MEMBER,
            MEMBER,
            &["submit", "--for", "1h", "--output", "/dev/null", "--", "true"],
        );
        assert_eq!(code, 0, "{said}");
        said.lines().next().unwrap().parse::<u64>().unwrap()
    };
    let one = theirs();
    let waiting = [raw.put(hour()), theirs()];
    // The second of theirs follows the other's.
    let [told, others] = waiting.map(|id| job(&mut raw, id));
    assert!(told.starts_ms.is_some() && others.starts_ms > told.starts_ms, "{told:?} {others:?}");
    assert_eq!((told.starts_after, others.starts_after), (None, None));
    raw.ask(&Call::JobCancel(JobCancel { job_id: waiting[0] })).unwrap();
    assert_eq!(job(&mut other, waiting[1]).starts_after, Some(one));
}

#[test]
fn what_waits_for_ones_own_work_says_for_which_of_ones_own_bounds() {
    let world = World::start();
    let mut home = Home::of_one_cpu(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let one = raw.put(hour());
    until_it_runs(&world, one);
    let two = raw.put(hour());
    let bounds = |max: bool, running: bool| WaitsFor {
        max: max.then_some(true),
        running: running.then_some(true),
        ..WaitsFor::default()
    };
    assert_eq!((waits_for(&mut raw, two), job(&mut raw, two).starts_ms), (Some(bounds(true, false)), None));
    set_policy(&home, 1);
    raw.ask(&Call::Reload(Reload {})).unwrap();
    until("the policy to be looked at for who waits", PATIENCE, || {
        (waits_for(&mut raw, two) == Some(bounds(false, true))).then_some(())
    });
}

#[test]
fn ones_own_key_is_told_with_the_policy() {
    let world = World::start();
    let mut home = Home::of_one_cpu(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let key = |raw: &mut Raw, for_uid| match raw.ask(&Call::Policy(Policy { for_uid })) {
        Ok(Answer::Policy(PolicyAnswer { policy })) => policy.key.unwrap(),
        other => panic!("{other:?}"),
    };
    let alone = KeyInfo { held_milli: 1000, had_milli: None, waits: false, others: 0, before: 0 };
    assert_eq!(key(&mut raw, None), alone);
    let waiting = RequestResources { wait: Some(true), for_uid: Some(1), ..RequestResources::default() };
    raw.started(&Call::RequestResources(waiting));
    let KeyInfo { held_milli, waits, others, before, .. } = key(&mut raw, None);
    assert_eq!((held_milli, waits, others, before), (1000, false, 1, 1));
    let theirs = key(&mut raw, Some(1));
    assert_eq!((theirs.held_milli, theirs.waits, theirs.others), (0, true, 0));
}
