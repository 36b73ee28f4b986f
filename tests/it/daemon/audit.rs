//! What is told of promises, and of where members' work runs.

use std::fs;

use fairshare::contract::{Answer, Audit, Call, Finding, FindingKind};

use super::harness::{Daemon, Home, POLICY};
use super::raw::request_for;
use super::users::{MALLORY, member};
use crate::root::is_root;
use crate::stand_in::World;

/// A process that the kernel shows: its number, its user id, whose login started it, and its cgroup.
fn process(home: &Home, (pid, uid, login, cgroup): (u32, u64, u64, &str)) {
    let folder = home.proc().join(pid.to_string());
    fs::create_dir_all(&folder).unwrap();
    let status =
        format!("Tgid:\t{pid}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nRssAnon:\t1024 kB\nRssShmem:\t0 kB\n");
    fs::write(folder.join("status"), status).unwrap();
    fs::write(folder.join("loginuid"), login.to_string()).unwrap();
    fs::write(folder.join("cgroup"), format!("0::{cgroup}\n")).unwrap();
}

fn findings(daemon: &Daemon) -> Vec<Finding> {
    match daemon.client().ask(&Call::Audit(Audit {})) {
        Ok(Answer::Audit(answer)) => answer.findings,
        other => panic!("{other:?}"),
    }
}

/// Of those that are of this kind: whose, in which unit, how many processes, and which of them a member may move.
fn told(findings: &[Finding], wanted: FindingKind) -> Vec<(u64, String, u64, Vec<u64>)> {
    let of_kind = findings.iter().filter(|finding| finding.kind == wanted);
    of_kind
        .map(|finding| {
            let Finding { uid, unit, processes, pids, .. } = finding.clone();
            (uid.unwrap(), unit.unwrap(), processes.unwrap(), pids.unwrap())
        })
        .collect()
}

#[test]
fn work_is_told_by_member_and_unit_where_neither_share_nor_login_holds_it() {
    const NOBODY: u64 = 4_294_967_295;
    let world = World::start();
    let mut home = Home::new(&world);
    home.set_policy(&format!("{POLICY}others: {{docker.slice: {{tasks: 64}}}}\n"));
    for shown in [
        (1, 0, NOBODY, "/init.scope"),
        (11, 4001, 4001, "/fairshare.slice/fairshare-4001.slice/fairshare-4001-run1.scope"),
        (12, 4001, 4001, "/user.slice/user-4001.slice/session-1.scope"),
        (21, 4001, NOBODY, "/user.slice/user-4001.slice/user@4001.service/init.scope"),
        (13, 0, 4001, "/system.slice/cron.service"),
        (14, 4001, 4001, "/system.slice/cron.service"),
        (15, 4002, NOBODY, "/system.slice/batch.service/worker"),
        (16, 4002, NOBODY, "/docker.slice/docker-1.scope"),
        (17, 4002, 4002, "/user.slice/user-4002.slice/user@4002.service/app.slice/tmux.scope"),
        (18, 4003, NOBODY, "/fairshare.slice/fairshare-4001.slice"),
        (19, u64::from(MALLORY), NOBODY, "/system.slice/x.service"),
        (20, 4003, NOBODY, "/user.slice/user-40030.slice/session-2.scope"),
    ] {
        process(&home, shown);
    }
    let daemon = home.activate();
    daemon.client().granted(&request_for(4001));
    // The unit of docker's is set beside the daemon's start.
    let found = crate::poll::until("docker.slice to be held", super::harness::PATIENCE, || {
        let found = findings(&daemon);
        found.iter().any(|finding| finding.kind == FindingKind::Held).then_some(found)
    });
    let unit = |name: &str| name.to_owned();
    assert_eq!(
        told(&found, FindingKind::Outside),
        [
            (4001, unit("system.slice/cron.service"), 2, vec![14]),
            (4002, unit("system.slice/batch.service"), 1, vec![15]),
            (4003, unit("fairshare.slice/fairshare-4001.slice"), 1, vec![18]),
            (4003, unit("user.slice/user-40030.slice/session-2.scope"), 1, vec![20]),
        ],
        "{found:#?}"
    );
    assert_eq!(
        told(&found, FindingKind::Held),
        [(4002, unit("docker.slice/docker-1.scope"), 1, vec![16])],
        "{found:#?}"
    );
    // Who has no share has nothing that the login's work could have left.
    assert_eq!(
        told(&found, FindingKind::Left),
        [(4001, unit("user.slice/user-4001.slice"), 1, vec![12])],
        "{found:#?}"
    );
    let cron = found.iter().find(|finding| finding.unit.as_deref() == Some("system.slice/cron.service"));
    let cron = cron.unwrap();
    assert_eq!(cron.text, "user4001: 2 processes, 2.0 MiB, in system.slice/cron.service");
    assert!(cron.hint.as_ref().unwrap().contains("others: {cron.service: "), "{cron:?}");
    let note = found.iter().find(|finding| finding.text == "nothing holds members' logins").unwrap();
    assert_eq!(note.kind, FindingKind::Note);
}

#[test]
fn a_promise_that_the_kernel_does_not_keep_is_told() {
    let world = World::start();
    let mut home = Home::new(&world);
    home.set_policy(&format!("{POLICY}baseline: {{cpu: 0.5}}\n"));
    let daemon = home.activate();
    daemon.client().granted(&request_for(4001));
    daemon.client().granted(&request_for(4002));
    let of = |found: &[Finding], kind| {
        let texts: Vec<String> =
            found.iter().filter(|finding| finding.kind == kind).map(|finding| finding.text.clone()).collect();
        texts
    };
    // What bounds all shares is set beside the first answer.
    let found = crate::poll::until("all to hold", super::harness::PATIENCE, || {
        let found = findings(&daemon);
        (of(&found, FindingKind::Broken).is_empty()
            && found.iter().any(|finding| finding.text.starts_with("fairshare.slice: ")))
        .then_some(found)
    });
    let kept = of(&found, FindingKind::Kept);
    assert!(
        kept.contains(&"the kernel holds 2 shares to what was promised, and to no more".to_owned()),
        "{kept:?}"
    );
    crate::poll::until("the logins to hold", super::harness::PATIENCE, || {
        let kept = of(&findings(&daemon), FindingKind::Kept);
        // Some of the accounts there are the system's, whose logins nothing holds.
        kept.iter()
            .any(|text| text.starts_with("the logins of ") && text.ends_with(" members are held"))
            .then_some(())
    });

    world.write_cgroup_file("fairshare-4001.slice", "cpu.weight", "1");
    let found = findings(&daemon);
    let broken = of(&found, FindingKind::Broken);
    assert!(broken.iter().any(|text| text.contains("fairshare-4001.slice: cpu.weight is 1")), "{broken:?}");
    assert!(of(&found, FindingKind::Kept).iter().any(|text| text.contains("the one share")), "{found:?}");
}

#[test]
fn a_member_is_told_of_their_own_share_and_of_nobody_elses() {
    const MEMBER: u32 = 4002;
    if !is_root() {
        return;
    }
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    for uid in [4001, u64::from(MEMBER)] {
        daemon.client().granted(&request_for(uid));
    }
    world.write_cgroup_file("fairshare-4001.slice", "cpu.weight", "1");
    let found = match member(&daemon, MEMBER).ask(&Call::Audit(Audit {})) {
        Ok(Answer::Audit(answer)) => answer.findings,
        other => panic!("{other:?}"),
    };
    let kept = "the kernel holds your share to what was promised, and to no more";
    assert!(found.iter().any(|finding| finding.text == kept), "{found:#?}");
    let of_others = |finding: &&Finding| {
        finding.uid.is_some_and(|uid| uid != u64::from(MEMBER)) || finding.text.contains("4001")
    };
    assert_eq!(found.iter().find(of_others), None);
}
