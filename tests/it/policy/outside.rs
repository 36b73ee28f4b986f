//! What may be used outside of shares.

use std::fs;

use fairshare::testing::identity::Uid;
use fairshare::testing::policy::file::load;
use fairshare::testing::quantity::{Bytes, MilliCpu, PartialAmount, Tasks};

use super::{SIMPLE, Village, data, gid, uid};

#[test]
fn logins_are_held_to_what_is_said_of_the_user_else_of_the_groups_else_of_all() {
    let policy = load(&data("good/outside.yaml"), &Village).unwrap();
    let figures = |cpu: u64, mem_gib: u64, tasks: u64| PartialAmount {
        cpu: Some(MilliCpu(cpu)),
        mem: Some(Bytes(mem_gib << 30)),
        tasks: Some(Tasks(tasks)),
    };
    let nothing = PartialAmount::default();
    let (students, staff) = (gid(2001), gid(2002));
    assert!(policy.holds_outside());
    assert_eq!(policy.login(uid(4242), "eve", &[]), figures(2000, 4, 2048));
    assert_eq!(policy.login(uid(4242), "eve", &[staff]), figures(2000, 8, 2048));
    assert_eq!(policy.login(uid(4242), "eve", &[staff, students]), nothing, "the most generous is none");
    assert_eq!(policy.login(uid(1001), "alice", &[staff]), figures(16000, 8, 2048));
    assert_eq!(policy.login(uid(1001), "alice", &[students]), figures(16000, 4, 2048), "she is named");
    assert_eq!(policy.login(uid(1002), "bob", &[]), nothing, "an admin");
    assert_eq!(policy.login(Uid::ROOT, "root", &[]), nothing);
    assert_eq!(policy.logins, Some(Bytes(32 << 30)));
    let others: Vec<_> = policy.others.iter().map(|(unit, held)| (unit.as_str(), *held)).collect();
    let cron = PartialAmount { tasks: None, ..figures(2000, 2, 0) };
    let docker = PartialAmount { tasks: Some(Tasks(4096)), ..nothing };
    assert_eq!(others, [("cron.service", cron), ("docker.slice", docker)]);
    assert!(!super::policy(SIMPLE).unwrap().holds_outside());
    for (more, logins) in [
        ("users: {alice: {baseline: {cpu: 1}}}", true),
        ("logins: {mem: 1G}", false),
        ("others: {a.slice: {cpu: 1}}", false),
    ] {
        let policy = super::policy(&format!("{SIMPLE}{more}\n")).unwrap();
        assert_eq!((policy.holds_outside(), policy.holds_logins()), (true, logins), "{more}");
    }
}

#[test]
fn of_two_files_the_later_says_whether_logins_are_held() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("0.yaml", &format!("{SIMPLE}baseline: {{cpu: 2}}\nusers: {{alice: {{baseline: {{mem: 8G}}}}}}\n"));
    write("1.yaml", "users: {alice: {baseline: none}}\n");
    let alice = || load(dir.path(), &Village).unwrap().login(uid(1001), "alice", &[]);
    assert_eq!(alice(), PartialAmount::default());
    write("2.yaml", "users: {alice: {baseline: {tasks: 100}}}\n");
    let held = PartialAmount { cpu: Some(MilliCpu(2000)), mem: None, tasks: Some(Tasks(100)) };
    assert_eq!(alice(), held, "what was said before none is not said any more");
}
