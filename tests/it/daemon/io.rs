//! The most I/O of a share: what the policy says, PID 1 is told and the kernel holds; and what of it does not hold.

use std::fs;

use fairshare::contract::{
    Answer, Audit, Call, Finding, FindingKind, Policy, PolicyAnswer, Release, Reload, RequestResources,
};

use super::harness::{Daemon, Home, PATIENCE, POLICY};
use super::raw::{Raw, request, request_for};
use super::users;
use crate::poll::until;
use crate::stand_in::World;

/// What is mounted: two disks that PID 1 finds, one that it does not, and two file systems that are on none.
const MOUNTED: &str = "\
1 0 8:1 / / rw - ext4 /dev/sda1 rw
2 1 8:2 / /disk-2 rw - xfs /dev/sdb rw
3 1 0:9 / /net rw - nfs4 server:/net rw
4 1 0:7 / /scratch rw - tmpfs tmpfs rw
";

const SLICE: &str = "fairshare-4001.slice";

fn home(world: &World) -> Home {
    let home = Home::new(world);
    fs::create_dir(home.proc().join("1")).unwrap();
    fs::write(home.proc().join("1/mountinfo"), MOUNTED).unwrap();
    home
}

fn reload(daemon: &Daemon, home: &Home, more: &str) {
    home.set_policy(&format!("{POLICY}{more}"));
    daemon.client().ask(&Call::Reload(Reload {})).expect("reloaded");
}

fn bounds(world: &World, slice: &str) -> String {
    world.cgroup_file(slice, "io.max").expect("a cgroup")
}

fn granted(raw: &mut Raw, uid: u64) {
    raw.granted(&request_for(uid));
}

/// The findings that are about I/O.
fn findings(raw: &mut Raw) -> Vec<Finding> {
    match raw.ask(&Call::Audit(Audit {})) {
        Ok(Answer::Audit(answer)) => answer
            .findings
            .into_iter()
            .filter(|finding| finding.text.contains("I/O of") || finding.text.contains("its I/O"))
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_io_of_a_share_is_bounded_when_it_is_answered_and_follows_the_policy() {
    let world = World::start();
    let mut home = home(&world);
    home.set_policy(&format!("{POLICY}io: {{read: 8M, write_ops: 50, on: [/disk-1, /disk-2/x]}}\n"));
    let daemon = home.activate();
    let mut raw = daemon.client();
    granted(&mut raw, 4001);
    let figures = "rbps=8388608 wbps=max riops=max wiops=50";
    assert_eq!(bounds(&world, SLICE), format!("8:1 {figures}\n8:2 {figures}\n"));
    assert!(raw.healthy());
    let said = findings(&mut raw);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(
        (said[0].kind, said[0].text.as_str()),
        (FindingKind::Kept, "the kernel bounds the I/O of one share as the policy says")
    );
    let Ok(Answer::Policy(PolicyAnswer { policy })) = raw.ask(&Call::Policy(Policy { for_uid: Some(4001) }))
    else {
        panic!("no policy")
    };
    let io = policy.io.unwrap();
    assert_eq!(
        (io.read_bytes, io.write_bytes, io.read_ops, io.write_ops),
        (Some(8 << 20), None, None, Some(50))
    );
    assert_eq!(io.on, ["/disk-1", "/disk-2/x"]);

    // Before the reload is answered it holds for shares that are held, with nothing left of what was set before.
    reload(&daemon, &home, "io: {write: 4M, on: [/disk-2]}\nusers: {user4002: {io: none}}\n");
    let of_two = "8:2 rbps=max wbps=4194304 riops=max wiops=max\n";
    assert_eq!(bounds(&world, SLICE), of_two);
    granted(&mut raw, 4002);
    assert_eq!(bounds(&world, "fairshare-4002.slice"), "", "nothing is said of this member");
    // What an administrator sets of it is theirs.
    let theirs = "8:9 rbps=7 wbps=max riops=max wiops=max";
    world.write_cgroup_file("fairshare-4002.slice", "io.max", theirs);
    reload(&daemon, &home, "swap: 0\nio: {write: 4M, on: [/disk-2]}\nusers: {user4002: {io: none}}\n");
    assert_eq!(bounds(&world, "fairshare-4002.slice"), format!("{theirs}\n"));

    // What somebody else sets is set again, and a daemon that comes back knows what was set before it.
    reload(&daemon, &home, "io: {write: 4M, on: [/disk-2]}\n");
    let of_both = || (bounds(&world, SLICE), bounds(&world, "fairshare-4002.slice"));
    let wanted = (of_two.to_owned(), of_two.to_owned());
    assert_eq!(of_both(), wanted);
    daemon.kill();
    world.write_cgroup_file(SLICE, "io.max", "8:2 rbps=1 wbps=4194304 riops=max wiops=max");
    let daemon = home.activate();
    // At once, and not with the first sweep a minute later.
    until("it is set again", PATIENCE / 3, || (of_both() == wanted).then_some(()));
    daemon.kill();
    let daemon = home.activate();
    reload(&daemon, &home, "");
    assert_eq!(of_both(), (String::new(), String::new()));
    assert!(!home.runtime_dir().join("io").exists(), "nothing is left to be taken back");

    // From then on what an administrator sets is theirs.
    world.write_cgroup_file(SLICE, "io.max", theirs);
    reload(&daemon, &home, "swap: 0\n");
    assert_eq!(bounds(&world, SLICE), format!("{theirs}\n"));
    assert!(daemon.client().healthy() && findings(&mut daemon.client()).is_empty());
}

#[test]
fn what_is_on_no_disk_is_said_and_refuses_nobody() {
    let world = World::start();
    let mut home = home(&world);
    home.set_policy(&format!("{POLICY}io: {{read: 8M, on: [/scratch, /net/home, /disk-2]}}\n"));
    let daemon = home.activate();
    let mut raw = daemon.client();
    granted(&mut raw, 4001);
    assert_eq!(bounds(&world, SLICE), "8:2 rbps=8388608 wbps=max riops=max wiops=max\n");
    // PID 1 would wait for a server that does not answer.
    let told = world.unit(SLICE).unwrap();
    assert_eq!(told.of_disks("IOReadBandwidthMax"), Some([("/disk-2".to_owned(), 8 << 20)].as_slice()));
    let check = raw.check("io");
    let why = "/scratch is on tmpfs, and on no disk of this machine; /net/home is on nfs4, and on no disk of this machine";
    assert_eq!((check.ok, check.detail), (false, Some(format!("{SLICE}: {why}"))));
    let said = findings(&mut raw);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!((said[0].kind, said[0].uid), (FindingKind::Broken, Some(4001)));
    assert!(said[0].text.ends_with(why), "{said:?}");
    // Members are told of their own.
    let mut member = users::member(&daemon, 4002);
    member.granted(&Call::RequestResources(RequestResources::default()));
    let check = member.check("io").detail.unwrap();
    assert_eq!(check, "the I/O of 2 shares is not bounded as the policy says");
    assert_eq!(findings(&mut member).iter().map(|finding| finding.uid).collect::<Vec<_>>(), [Some(4002)]);

    // One that is given back is not told of any more.
    raw.ask(&Call::Release(Release { job_id: None, stop: None, for_uid: Some(4001) })).unwrap();
    assert_eq!(member.check("io").detail.unwrap(), "the I/O of 1 share is not bounded as the policy says");
    assert_eq!(findings(&mut raw).len(), 1);
    reload(&daemon, &home, "io: {read: 8M, on: [/disk-2]}\n");
    assert!(raw.healthy());
}

#[test]
fn what_pid_1_does_not_find_or_does_not_take_is_said_and_refuses_nobody() {
    let world = World::start();
    let mut home = home(&world);
    home.set_policy(&format!("{POLICY}io: {{read: 8M, on: [/elsewhere]}}\n"));
    let daemon = home.activate();
    let mut raw = daemon.client();
    granted(&mut raw, 4001);
    let said = raw.check("io").detail.unwrap();
    let wanted = "rbps=8388608 wbps=max riops=max wiops=max";
    assert_eq!(said, format!("{SLICE}: io.max bounds no disk, and should have {wanted} on /elsewhere"));
    // What the kernel had of another path is not taken for it, though it has the same figures.
    reload(&daemon, &home, "io: {read: 8M, on: [/disk-1]}\n");
    assert_eq!(bounds(&world, SLICE), format!("8:1 {wanted}\n"));
    assert!(raw.check("io").ok);
    reload(&daemon, &home, "io: {read: 8M, on: [/elsewhere]}\n");
    assert_eq!((raw.check("io").detail, bounds(&world, SLICE)), (Some(said), String::new()));

    world.faults.error("SetUnitProperties", "org.freedesktop.DBus.Error.PropertyReadOnly", "Not taken.");
    granted(&mut raw, 4002);
    let check = raw.check("io");
    assert!(!check.ok && check.detail.as_ref().unwrap().contains("Not taken"), "{check:?}");
    world.faults.clear();
    reload(&daemon, &home, "io: {read: 8M, on: [/disk-1]}\n");
    assert_eq!(bounds(&world, "fairshare-4002.slice"), format!("8:1 {wanted}\n"));
}

#[test]
fn nothing_is_asked_or_told_where_the_policy_says_nothing_of_io() {
    let world = World::start();
    let mut home = home(&world);
    // Nobody could say what is mounted.
    fs::remove_file(home.proc().join("1/mountinfo")).unwrap();
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let told = world
        .take_calls()
        .into_iter()
        .filter(|(method, unit)| method == "SetUnitProperties" && unit.starts_with("fairshare-"));
    assert_eq!(told.collect::<Vec<_>>(), []);
    assert!(raw.healthy());
    reload(&daemon, &home, "io: {read: 8M, on: [/disk-1]}\n");
    let said = raw.check("io").detail.unwrap();
    assert!(
        said.contains("nobody knows which file systems are on disks") && said.contains("1/mountinfo"),
        "{said}"
    );
}
