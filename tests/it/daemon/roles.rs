//! Who may do what, as other users: only root can become them, so that for anyone else these tests show nothing.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use fairshare::contract::{
    Amounts, Answer, Call, Drain, JobAlter, JobCancel, JobList, JobStarted, JobStatus, Jobs, OneJob, Release,
    RequestResources, Subscribe,
};
use fairshare::wire::error::Code;

use super::harness::{Daemon, Home, POLICY};
use super::raw::{Raw, request, request_for, resize_mem};
use super::users::{MEMBER, member};
use crate::root::is_root;
use crate::stand_in::World;

const NOGROUP: u32 = 65_534;

/// How a command of this user ended, and what it said.
pub(super) fn fairshare(daemon: &Daemon, uid: u32, gid: u32, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_fairshare"))
        .arg("--socket")
        .arg(daemon.socket())
        .args(arguments)
        .uid(uid)
        .gid(gid)
        .current_dir("/")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

/// The daemon under this policy; none where the test cannot become another user.
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

/// What each tier adds, as the command has it.
const LOOKING: [&[&str]; 4] = [&["status"], &["status", "--all"], &["health"], &["policy", "show"]];
const HOLDING: [&[&str]; 5] =
    [&["request"], &["resize", "--mem", "128M"], &["renew", "--for", "1h"], &["release"], &["release"]];
const RULING: [&[&str]; 8] = [
    &["admin", "reload"],
    &["admin", "drain"],
    &["admin", "undrain"],
    &["admin", "dump"],
    &["admin", "log", "info"],
    &["admin", "request", "--user", "bin"],
    &["admin", "resize", "--user", "bin", "--mem", "32M"],
    &["admin", "release", "--user", "bin"],
];

fn check(daemon: &Daemon, uid: u32, gid: u32, may_hold: bool, may_rule: bool) {
    let tiers = [(&LOOKING[..], true), (&HOLDING[..], may_hold), (&RULING[..], may_rule)];
    for (commands, may) in tiers {
        for arguments in commands {
            let (code, said) = fairshare(daemon, uid, gid, arguments);
            assert_eq!(code, if may { 0 } else { 77 }, "uid {uid} gid {gid} {arguments:?}: {said}");
            assert_eq!(said.contains("your role is"), !may, "uid {uid} gid {gid} {arguments:?}: {said}");
        }
    }
}

#[test]
fn roles_are_what_the_policy_and_the_kernel_say() {
    let roles = "users: {daemon: {role: admin}}\ngroups: {nogroup: {role: read_only}, sys: {role: admin}}\n";
    let Some((_world, _home, daemon)) = daemon(roles) else { return };
    check(&daemon, 0, 0, true, true);
    check(&daemon, 1, 1, true, true);
    check(&daemon, MEMBER, 3, true, true);
    check(&daemon, MEMBER, MEMBER, true, false);
    check(&daemon, MEMBER, NOGROUP, false, false);
}

#[test]
fn a_share_of_another_is_out_of_reach_and_untouched() {
    let Some((world, home, daemon)) = daemon("") else { return };
    assert_eq!(fairshare(&daemon, 1, 1, &["request"]).0, 0);
    let before = world.unit("fairshare-1-own.slice");
    for arguments in [
        &["admin", "release", "--user", "daemon"][..],
        &["admin", "release", "--user", "daemon", "--stop"],
        &["admin", "resize", "--user", "daemon", "--mem", "4M"],
    ] {
        let (code, said) = fairshare(&daemon, MEMBER, MEMBER, arguments);
        assert_eq!(code, 77, "{said}");
    }
    assert_eq!(world.unit("fairshare-1-own.slice"), before);
    assert_eq!(home.state().allocations.len(), 1);
}

#[test]
fn totals_hide_who_holds_what() {
    let Some((_world, _home, daemon)) = daemon("visibility: totals\n") else { return };
    for uid in [1, 2] {
        assert_eq!(fairshare(&daemon, uid, uid, &["request"]).0, 0);
    }
    let (_, said) = fairshare(&daemon, 1, 1, &["status", "--all", "--json"]);
    assert!(said.contains("fairshare-1-own.slice") && !said.contains("fairshare-2-own.slice"), "{said}");
    let (_, said) = fairshare(&daemon, 0, 0, &["status", "--all", "--json"]);
    assert!(said.contains("fairshare-1-own.slice") && said.contains("fairshare-2-own.slice"), "{said}");
}

/// Ids that do not fit an `int`, and the last that there is.
#[test]
fn large_user_ids_are_user_ids() {
    let Some((world, mut home, daemon)) = daemon("") else { return };
    let uids = [(1 << 31) - 1, 1 << 31, u32::MAX - 1];
    for uid in uids {
        let (code, said) = fairshare(&daemon, uid, uid, &["request"]);
        assert_eq!(code, 0, "{uid}: {said}");
        let slice = format!("fairshare-{uid}-own.slice");
        assert_eq!(world.unit(&slice).map(|unit| unit.active), Some("active"));
        let (_, said) = fairshare(&daemon, uid, uid, &["status", "--json"]);
        assert!(said.contains(&slice), "{said}");
    }
    daemon.kill();
    let daemon = home.activate();
    for uid in uids {
        let (code, said) = fairshare(&daemon, uid, uid, &["release"]);
        assert_eq!(code, 0, "{uid}: {said}");
        assert!(world.unit(&format!("fairshare-{uid}-own.slice")).is_none());
    }
    // One more is nobody: the kernel keeps it for "leave as it is".
    let error = daemon.client().refused(&request_for(u32::MAX.into()), Code::BadRequest);
    assert!(error.message.contains("user"), "{error:?}");
}

fn jobs(raw: &mut Raw, all: Option<bool>) -> Vec<(u64, u64)> {
    match raw.ask(&Call::JobList(JobList { all })) {
        Ok(Answer::Jobs(Jobs { jobs, .. })) => jobs.iter().map(|job| (job.job_id, job.uid)).collect(),
        other => panic!("no jobs: {other:?}"),
    }
}

/// A daemon, its admin, and the job with which [`MEMBER`] waits for the share that user 1 holds.
fn one_waits() -> Option<(World, Home, Daemon, Raw, Raw, u64)> {
    if !is_root() {
        return None;
    }
    let world = World::start();
    let mut home = Home::of_one_cpu(&world);
    let daemon = home.activate();
    let (mut admin, mut waits) = (daemon.client(), member(&daemon, MEMBER));
    admin.granted(&request_for(1));
    let amounts = Amounts::default();
    let request = Call::RequestResources(RequestResources {
        lease_ms: None,
        wait: Some(true),
        for_uid: None,
        ..RequestResources::of(amounts)
    });
    let Ok(Answer::JobStarted(JobStarted { job_started })) = waits.ask(&request) else {
        panic!("it does not wait")
    };
    Some((world, home, daemon, admin, waits, job_started))
}

#[test]
fn a_job_of_another_is_out_of_sight_and_out_of_reach() {
    let Some((_world, _home, daemon, mut admin, mut waits, job_id)) = one_waits() else { return };
    let mut other = member(&daemon, MEMBER + 1);
    assert_eq!(jobs(&mut other, None), []);
    for call in [
        Call::JobList(JobList { all: Some(true) }),
        Call::Subscribe(Subscribe { all: Some(true), job_id: None }),
    ] {
        let error = other.refused(&call, Code::Forbidden);
        assert!(!format!("{error:?}").contains(&MEMBER.to_string()), "{error:?}");
    }
    // Nor is it told from one that there is not.
    for call in [
        |job_id| Call::JobStatus(JobStatus { job_id }),
        |job_id| Call::JobCancel(JobCancel { job_id }),
        |job_id| Call::JobAlter(JobAlter { job_id, first: Some(true), ..JobAlter::default() }),
    ] {
        let theirs = other.refused(&call(job_id), Code::NotFound);
        assert_eq!(theirs, other.refused(&call(job_id + 1), Code::NotFound));
    }
    let whole = vec![(job_id, MEMBER.into())];
    assert_eq!(jobs(&mut admin, Some(true)), whole);
    assert_eq!(jobs(&mut admin, None), [], "an admin's own");
    assert_eq!(jobs(&mut waits, None), whole);
    for raw in [&mut admin, &mut waits] {
        assert!(
            matches!(raw.ask(&Call::JobStatus(JobStatus { job_id })), Ok(Answer::Job(OneJob { job, .. })) if job.job_id == job_id)
        );
    }
}

#[test]
fn who_follows_is_told_nothing_of_another() {
    let Some((_world, _home, daemon, mut admin, mut waits, job_id)) = one_waits() else { return };
    let mut others = [member(&daemon, MEMBER + 1), daemon.client()];
    others.iter_mut().for_each(|other| other.follow(None, None));
    let mut of_the_job = member(&daemon, MEMBER + 1);
    of_the_job.follow(None, Some(job_id));
    let (mut own, mut all) = (member(&daemon, MEMBER), daemon.client());
    own.follow(None, None);
    all.follow(Some(true), None);
    admin.ask(&Call::Release(Release { job_id: None, stop: None, for_uid: Some(1) })).unwrap();
    let (one, two) = (Some(1), Some(u64::from(MEMBER)));
    let told = [("released", one), ("job", two), ("granted", two), ("job", two), ("resized", two)];
    let hear = |raw: &mut Raw, told: (&str, Option<u64>)| {
        let event = raw.event();
        assert_eq!((event.kind.as_str(), event.uid), told, "{event:?}");
    };
    told[..4].iter().for_each(|told| hear(&mut all, *told));
    waits.granted(&resize_mem(32 << 20));
    hear(&mut all, told[4]);
    told[1..].iter().for_each(|told| hear(&mut own, *told));
    // What concerns everybody is the first that the others hear.
    admin.ask(&Call::Drain(Drain {})).unwrap();
    others.iter_mut().chain([&mut own, &mut all]).for_each(|raw| hear(raw, ("drained", None)));
    // And who follows somebody else's job hears nothing until the end.
    daemon.stop();
    assert!(of_the_job.response().is_none());
}

/// With `visibility: totals` members see sums.
#[test]
fn who_holds_the_room_is_said_to_who_may_see_it() {
    if !rustix::process::getuid().is_root() {
        return;
    }
    let world = World::start();
    let mut home = Home::of_one_cpu(&world);
    let policy = std::fs::read_to_string(home.policy_file()).unwrap();
    home.set_policy(&format!("{policy}visibility: totals\n"));
    let daemon = home.activate();
    let (mut admin, mut other) = (daemon.client(), member(&daemon, MEMBER));
    admin.granted(&request_for(1));
    for (raw, sees) in [(&mut other, false), (&mut admin, true)] {
        let detail = raw.refused(&request(), Code::NoCapacity).more().unwrap();
        assert_eq!(detail.contains("held by"), sees, "{detail}");
    }
}
