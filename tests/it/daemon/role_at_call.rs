//! A role is what the policy in force says at each call, on connections that are open as on new ones.

use fairshare::contract::{
    Amounts, Answer, Attach, Audit, Body, Call, Changed, Drain, Dump, Endpoint, Health, History, JobAlter,
    JobCancel, JobFetch, JobList, JobStatus, List, Log, LogLevel, Ping, Policy, Release, Released, Reload,
    Renew, RequestResources, Resize, Run, Status, Subscribe, Undrain,
};
use fairshare::wire::error::{Code, WireError};
use fairshare::wire::hello::Role;

use super::harness::{Daemon, Home, PATIENCE, POLICY};
use super::raw::{Raw, release, request, submission};
use super::users::{self, MEMBER, connections_in, member};
use crate::poll::until;
use crate::root::is_root;
use crate::stand_in::{Verb, World};

const PAGE: &str = include_str!("../../../debian/man/fairshare-protocol.7");
/// A group of this machine, by name and id.
const SYS: (&str, u32) = ("sys", 3);

/// The daemon under [`POLICY`] and these lines; none where the test cannot become another user.
fn daemon(policy: &str) -> Option<(World, Home, Daemon)> {
    if !is_root() {
        return None;
    }
    let world = World::start();
    let mut home = Home::new(&world);
    home.set_policy(&format!("{POLICY}{policy}"));
    let daemon = home.activate();
    Some((world, home, daemon))
}

fn reload(home: &Home, daemon: &Daemon, policy: &str) {
    home.set_policy(&format!("{POLICY}{policy}"));
    daemon.client().ask(&Call::Reload(Reload {})).unwrap();
}

/// One call of every endpoint, on one's own things.
fn call(endpoint: Endpoint) -> Call {
    match endpoint {
        Endpoint::Ping => Call::Ping(Ping {}),
        Endpoint::Health => Call::Health(Health {}),
        Endpoint::Status => Call::Status(Status { for_uid: None }),
        Endpoint::List => Call::List(List {}),
        Endpoint::Policy => Call::Policy(Policy { for_uid: None }),
        Endpoint::RequestResources => request(),
        Endpoint::Resize => Call::Resize(Resize { for_uid: None, ..Resize::of(Amounts::default()) }),
        Endpoint::Renew => Call::Renew(Renew { lease_ms: 60_000, job_id: None, for_uid: None }),
        Endpoint::Release => Call::Release(Release { job_id: None, stop: None, for_uid: None }),
        Endpoint::Run => Call::Run(Run::default()),
        Endpoint::Attach => Call::Attach(Attach { pids: vec![u64::from(std::process::id())] }),
        Endpoint::Submit => Call::Submit(submission()),
        Endpoint::JobStatus => Call::JobStatus(JobStatus { job_id: 999 }),
        Endpoint::JobList => Call::JobList(JobList { all: None }),
        Endpoint::JobFetch => Call::JobFetch(JobFetch { job_id: 999, at_end: None }),
        Endpoint::JobCancel => Call::JobCancel(JobCancel { job_id: 999 }),
        Endpoint::JobAlter => {
            Call::JobAlter(JobAlter { job_id: 999, hold: Some(true), ..JobAlter::default() })
        }
        Endpoint::Subscribe => Call::Subscribe(Subscribe { all: None, job_id: None }),
        Endpoint::Reload => Call::Reload(Reload {}),
        Endpoint::Drain => Call::Drain(Drain {}),
        Endpoint::Undrain => Call::Undrain(Undrain {}),
        Endpoint::Dump => Call::Dump(Dump {}),
        Endpoint::Audit => Call::Audit(Audit {}),
        Endpoint::History => Call::History(History::default()),
        Endpoint::Log => Call::Log(Log { level: LogLevel::Info }),
    }
}

/// The same for another, where an endpoint can name one.
fn call_for(endpoint: Endpoint, uid: u64) -> Option<Call> {
    let (amounts, for_uid) = (Amounts::default(), Some(uid));
    Some(match endpoint {
        Endpoint::Status => Call::Status(Status { for_uid }),
        Endpoint::Policy => Call::Policy(Policy { for_uid }),
        Endpoint::RequestResources => Call::RequestResources(RequestResources {
            lease_ms: None,
            wait: None,
            for_uid,
            ..RequestResources::of(amounts)
        }),
        Endpoint::Resize => Call::Resize(Resize { for_uid, ..Resize::of(amounts) }),
        Endpoint::Renew => Call::Renew(Renew { lease_ms: 60_000, job_id: None, for_uid }),
        Endpoint::Release => Call::Release(Release { job_id: None, stop: None, for_uid }),
        Endpoint::JobList => Call::JobList(JobList { all: Some(true) }),
        Endpoint::Subscribe => Call::Subscribe(Subscribe { all: Some(true), job_id: None }),
        Endpoint::History => Call::History(History { for_uid, ..History::default() }),
        _ => return None,
    })
}

/// The Role column of the man page.
fn least(endpoint: Endpoint) -> Role {
    let row = PAGE.lines().find_map(|line| line.strip_prefix(&format!("{}|", endpoint.name())));
    match row.and_then(|row| row.split('|').next()) {
        Some("read_only") => Role::ReadOnly,
        Some("operator") => Role::Operator,
        Some("admin") => Role::Admin,
        other => panic!("{}: {other:?}", endpoint.name()),
    }
}

/// By role: `job_fetch` is forbidden to whoever is no process of the job, too.
fn is_forbidden(answer: Result<Answer, WireError>) -> bool {
    let by_role = |error: WireError| {
        error.is(Code::Forbidden) && error.more().is_some_and(|why| why.contains("your role is"))
    };
    answer.is_err_and(by_role)
}

/// Subscribing ends the answers of a connection: each call has one of its own.
#[test]
fn every_endpoint_takes_the_role_of_the_page() {
    let users = "users: {daemon: {role: admin}, bin: {role: read_only}}\n";
    let Some((_world, _home, daemon)) = daemon(users) else { return };
    for (uid, role) in [(1, Role::Admin), (2, Role::ReadOnly), (MEMBER, Role::Operator)] {
        for endpoint in Endpoint::ALL {
            let answer = member(&daemon, uid).ask(&call(*endpoint));
            assert_eq!(
                is_forbidden(answer.clone()),
                role < least(*endpoint),
                "{} as {role:?}: {answer:?}",
                endpoint.name()
            );
            let Some(call) = call_for(*endpoint, 3) else { continue };
            let answer = member(&daemon, uid).ask(&call);
            assert_eq!(is_forbidden(answer.clone()), role < Role::Admin, "{call:?} as {role:?}: {answer:?}");
        }
        // What was drained is served again, whoever is next.
        daemon.client().ask(&Call::Undrain(Undrain {})).unwrap();
    }
}

#[test]
fn ones_own_uid_names_nobody_else() {
    let Some((_world, _home, daemon)) = daemon("") else { return };
    let mut raw = member(&daemon, MEMBER);
    let own = u64::from(MEMBER);
    for endpoint in [
        Endpoint::Status,
        Endpoint::Policy,
        Endpoint::RequestResources,
        Endpoint::Resize,
        Endpoint::Renew,
        Endpoint::Release,
    ] {
        let call = call_for(endpoint, own).unwrap();
        let answer = raw.ask(&call);
        assert!(answer.is_ok(), "{call:?}: {answer:?}");
    }
}

#[test]
fn supplementary_groups_give_a_role() {
    let (name, gid) = SYS;
    let Some((_world, _home, daemon)) = daemon(&format!("groups: {{{name}: {{role: admin}}}}\n")) else {
        return;
    };
    for (groups, role) in [(&[gid][..], Role::Admin), (&[], Role::Operator)] {
        let ack = connections_in(&daemon, MEMBER, groups, 1).remove(0).greet().unwrap();
        assert_eq!(ack.authz.role, role, "{groups:?}");
    }
}

#[test]
fn a_role_is_that_of_the_policy_in_force_at_each_call() {
    let admin = "users: {daemon: {role: admin}}\n";
    let Some((_world, home, daemon)) = daemon(admin) else { return };
    let mut open = member(&daemon, 1);
    let mut follows_all = member(&daemon, 1);
    follows_all.follow(Some(true), None);
    let mut follows_own = member(&daemon, 1);
    follows_own.follow(None, None);
    assert_eq!(open.ask(&Call::Drain(Drain {})), Ok(Answer::Changed(Changed { changed: true })));
    assert_eq!(open.ask(&Call::Undrain(Undrain {})), Ok(Answer::Changed(Changed { changed: true })));
    for raw in [&mut follows_all, &mut follows_own] {
        assert_eq!(["drained", "undrained"].map(|_| raw.event().kind), ["drained", "undrained"]);
    }

    reload(&home, &daemon, "");
    for call in [
        Call::Drain(Drain {}),
        Call::Reload(Reload {}),
        Call::Status(Status { for_uid: Some(2) }),
        Call::JobList(JobList { all: Some(true) }),
    ] {
        let error = open.refused(&call, Code::Forbidden);
        assert_eq!(error.more().as_deref(), Some("your role is operator"), "{call:?}");
    }
    open.granted(&request());
    // Who followed everybody is told why that is over, and hears nothing of what comes after.
    match follows_all.response().map(|response| response.body) {
        Some(Body::Err(error)) => assert!(error.is(Code::Forbidden), "{error:?}"),
        other => panic!("{other:?}"),
    }
    assert!(follows_all.response().is_none(), "not closed");
    // One's own goes on.
    let next = |raw: &mut Raw| raw.event().kind;
    assert_eq!([next(&mut follows_own), next(&mut follows_own)], ["policy", "granted"]);

    // What is given holds as soon, and a new connection is told so.
    reload(&home, &daemon, admin);
    assert_eq!(open.ask(&Call::Drain(Drain {})), Ok(Answer::Changed(Changed { changed: true })));
    let ack = users::connections(&daemon, 1, 1).remove(0).greet().unwrap();
    assert_eq!(ack.authz.role, Role::Admin);
}

/// A call that waits for what is under way is judged again when its turn comes. A refused one leaves nothing under way, and the
/// call after it has its turn.
#[test]
fn a_role_that_is_taken_while_a_call_waits_is_not_used() {
    let Some((world, home, daemon)) = daemon("") else { return };
    let (mut first, mut second) = (member(&daemon, 1), member(&daemon, 1));
    let held = world.faults.hold_job(Verb::Start);
    world.take_calls();
    first.post(&request());
    until("the share to be under way", PATIENCE, || {
        world.take_calls().iter().any(|(method, _)| method == "StartTransientUnit").then_some(())
    });
    second.post(&release());
    // Asked later, and answered: then the call before waits.
    daemon.client().ask(&Call::Ping(Ping {})).unwrap();
    let mut third = daemon.client();
    third.post(&Call::Release(Release { job_id: None, stop: None, for_uid: Some(1) }));
    daemon.client().ask(&Call::Ping(Ping {})).unwrap();
    reload(&home, &daemon, "users: {daemon: {role: read_only}}\n");
    drop(held);
    assert!(matches!(first.response().map(|response| response.body), Some(Body::Ok(Answer::Share(_)))));
    match second.response().map(|response| response.body) {
        Some(Body::Err(error)) => assert!(error.is(Code::Forbidden), "{error:?}"),
        other => panic!("{other:?}"),
    }
    let third = third.response().map(|response| response.body);
    assert_eq!(third, Some(Body::Ok(Answer::Released(Released { released: true }))));
}
