//! What is held outside of shares: logins of members, and units that hold members' work.

use std::fs;
use std::path::Path;

use fairshare::contract::{Call, Reload};
use rustix::process::Signal;

use super::harness::{Daemon, Home, PATIENCE, POLICY};
use super::strangers::Stranger;
use super::users::MALLORY;
use crate::poll::until;
use crate::stand_in::World;

const BASELINE: &str = "baseline: {cpu: 0.5, mem: 512M, tasks: 100}\nothers: {cron.service: {tasks: 64}}\n";
const FIGURES: [&str; 3] = ["CPUQuotaPerSecUSec", "MemoryMax", "TasksMax"];
const HELD: [Option<u64>; 3] = [Some(500_000), Some(512 << 20), Some(100)];
const FREE: [Option<u64>; 3] = [Some(u64::MAX); 3];

/// What systemd was told of a unit's figures.
fn told(world: &World, unit: &str) -> [Option<u64>; 3] {
    FIGURES.map(|figure| world.unit(unit).and_then(|unit| unit.figure(figure)))
}

fn await_told(world: &World, unit: &str, figures: [Option<u64>; 3]) {
    until(&format!("{unit} to have {figures:?}"), PATIENCE, || (told(world, unit) == figures).then_some(()));
}

fn reload(daemon: &Daemon, home: &Home, more: &str) {
    home.set_policy(&format!("{POLICY}{more}"));
    daemon.client().ask(&Call::Reload(Reload {})).expect("reloaded");
}

#[test]
fn logins_of_members_are_held_and_get_back_what_they_had() {
    let world = World::start();
    world.make_slice("user-4001.slice", &[("TasksMax", 3964)]);
    let mut home = Home::new(&world);
    home.set_policy(&format!("{POLICY}{BASELINE}"));
    let daemon = home.activate();
    await_told(&world, "user-4149.slice", HELD);
    await_told(&world, "user-4001.slice", HELD);
    await_told(&world, "cron.service", [None, None, Some(64)]);
    assert_eq!(world.cgroup_file("user-4001.slice", "memory.max").as_deref(), Some("536870912\n"));
    // The accounts of the system are in the group, in this test; root is.
    for unit in ["user-0.slice", "user-1.slice", &format!("user-{MALLORY}.slice"), "user.slice"] {
        assert_eq!(told(&world, unit), [None; 3], "{unit}");
    }

    // What was before is remembered by who comes after a crash.
    daemon.kill();
    let daemon = home.activate();
    reload(&daemon, &home, "logins: {mem: 1G}\n");
    await_told(&world, "user-4149.slice", FREE);
    await_told(&world, "user-4001.slice", [Some(u64::MAX), Some(u64::MAX), Some(3964)]);
    await_told(&world, "cron.service", [None, None, Some(u64::MAX)]);
    await_told(&world, "user.slice", [None, Some(1 << 30), None]);

    // Who leaves the group is free, and who is an admin.
    reload(&daemon, &home, &format!("{BASELINE}users: {{user4003: {{role: admin}}}}\n"));
    await_told(&world, "user-4002.slice", HELD);
    assert_eq!(told(&world, "user-4003.slice"), FREE);
    let group = home.accounts().join("group");
    let text = fs::read_to_string(&group).unwrap();
    fs::write(&group, text.replace(",user4002,", ",")).unwrap();
    reload(&daemon, &home, BASELINE);
    await_told(&world, "user-4002.slice", FREE);
    await_told(&world, "user-4003.slice", HELD);
    assert!(daemon.client().check("outside").ok);
}

#[test]
fn nothing_is_told_of_a_users_logins_where_the_policy_says_nothing_of_them() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    reload(&daemon, &home, "logins: {mem: 1G}\n");
    // It is the last of all logins.
    await_told(&world, "user.slice", [None, Some(1 << 30), None]);
    assert!(!world.units().iter().any(|unit| unit.starts_with("user-")), "{:?}", world.units());
    assert!(daemon.client().healthy());
}

#[test]
fn a_login_that_cannot_be_held_is_a_fault_that_names_nobody_to_members() {
    let world = World::start();
    world.faults.error("SetUnitProperties", "org.freedesktop.systemd1.NoSuchUnit", "Unit not found.");
    let mut home = Home::new(&world);
    home.set_policy(&format!("{POLICY}others: {{cron.service: {{tasks: 64}}}}\n"));
    let daemon = home.activate();
    until("the fault", PATIENCE, || (!daemon.client().check("outside").ok).then_some(()));
    let said = daemon.client().check("outside").detail.expect("a reason");
    assert!(said.contains("cron.service: ") && said.contains("Unit not found"), "{said}");
    // Nothing was set, and nothing is to be given back.
    world.faults.clear();
    world.take_calls();
    reload(&daemon, &home, "");
    assert!(daemon.client().check("outside").ok);
    assert_eq!(told(&world, "cron.service"), [None; 3]);
}

#[test]
fn what_the_administrator_sets_once_logins_are_free_is_theirs() {
    let world = World::start();
    let mut home = Home::new(&world);
    home.set_policy(&format!("{POLICY}{BASELINE}"));
    let daemon = home.activate();
    await_told(&world, "user-4002.slice", HELD);
    reload(&daemon, &home, "logins: {mem: 1G}\n");
    await_told(&world, "user-4002.slice", FREE);
    until("what is given back to be noted", PATIENCE, || {
        let noted = noted(&home.runtime_dir(), "user-4002.slice");
        (noted.lines().count() == 3 && noted.lines().all(|line| line.ends_with(" back"))).then_some(())
    });
    world.make_slice("user-4002.slice", &[("TasksMax", 77)]);
    daemon.kill();
    let daemon = home.activate();
    reload(&daemon, &home, "logins: {mem: 2G}\n");
    await_told(&world, "user.slice", [None, Some(2 << 30), None]);
    // user.slice comes last.
    assert_eq!(told(&world, "user-4002.slice"), [None, None, Some(77)]);

    // It is what they get back when they were held once more.
    reload(&daemon, &home, BASELINE);
    await_told(&world, "user-4002.slice", HELD);
    reload(&daemon, &home, "");
    await_told(&world, "user-4002.slice", [Some(u64::MAX), Some(u64::MAX), Some(77)]);
}

/// What is noted of a unit for who comes after.
fn noted(runtime: &Path, unit: &str) -> String {
    fs::read_to_string(runtime.join("outside").join(unit)).unwrap_or_default()
}

#[test]
fn a_daemon_that_dies_while_it_tells_systemd_leaves_word_that_it_did() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    world.faults.delay("SetUnitProperties", PATIENCE);
    reload(&daemon, &home, BASELINE);
    let runtime = home.runtime_dir();
    let noted = || noted(&runtime, "cron.service");
    until("the word", PATIENCE, || (!noted().is_empty()).then_some(()));
    assert_eq!(noted(), format!("TasksMax=64 was {} telling\n", u64::MAX));
    daemon.kill();
    world.faults.clear();
    let daemon = home.activate();
    assert!(daemon.client().healthy());
    until("the end of it", PATIENCE, || (noted() == format!("TasksMax=64 was {}\n", u64::MAX)).then_some(()));
    assert_eq!(told(&world, "cron.service"), [None, None, Some(64)]);
}

#[test]
fn what_the_policy_says_while_there_is_no_bus_holds_when_there_is() {
    let mut world = World::start();
    let mut home = Home::new(&world);
    home.set_policy(&format!("{POLICY}{BASELINE}"));
    world.kill_bus();
    let daemon = home.activate_with(&[]);
    daemon.wait_ready();
    world.restart_bus();
    await_told(&world, "user-4149.slice", HELD);
    world.kill_bus();
    daemon.wait_told("STATUS=degraded");
    home.set_policy(&format!("{POLICY}logins: {{mem: 1G}}\n"));
    daemon.signal(Signal::HUP);
    daemon.wait_logged("the policy is in force");
    world.restart_bus();
    await_told(&world, "user-4149.slice", FREE);
    await_told(&world, "user.slice", [None, Some(1 << 30), None]);
}

#[test]
fn a_unit_that_is_not_there_is_told_and_held_when_it_is() {
    let world = World::start();
    world.name_unit("cron.service", "not-found", "cron.service");
    let mut home = Home::new(&world);
    home.set_policy(&format!("{POLICY}others: {{cron.service: {{tasks: 64}}}}\n"));
    let daemon = home.activate();
    let outside = || daemon.client().check("outside");
    until("it to be told", PATIENCE, || outside().detail.is_some().then_some(()));
    assert_eq!(outside().detail.as_deref(), Some("cron.service is not there, and is held as soon as it is"));
    assert!(outside().ok && daemon.client().healthy());
    assert_eq!(noted(&home.runtime_dir(), "cron.service"), "");
    world.forget_unit("cron.service");
    reload(&daemon, &home, "others: {cron.service: {tasks: 65}}\n");
    await_told(&world, "cron.service", [None, None, Some(65)]);
    until("nothing more to be told", PATIENCE, || outside().detail.is_none().then_some(()));
    // One that was held and is removed is owed nothing.
    world.name_unit("cron.service", "not-found", "cron.service");
    reload(&daemon, &home, "logins: {mem: 1G}\n");
    await_told(&world, "user.slice", [None, Some(1 << 30), None]);
    assert_eq!((outside().ok, outside().detail), (true, None));
}

#[test]
fn another_name_of_a_unit_is_a_fault_that_says_which_to_write() {
    let world = World::start();
    world.name_unit("sshd.service", "loaded", "ssh.service");
    let mut home = Home::new(&world);
    home.set_policy(&format!("{POLICY}others: {{sshd.service: {{tasks: 64}}}}\n"));
    let daemon = home.activate();
    until("the fault", PATIENCE, || (!daemon.client().check("outside").ok).then_some(()));
    let said = daemon.client().check("outside").detail.expect("a reason");
    assert_eq!(said, "sshd.service: this is another name of ssh.service: others must name that");
    assert_eq!(told(&world, "sshd.service"), [None; 3]);
}

/// How it is said that somebody logs in.
const USER_NEW: [&str; 3] = ["/org/freedesktop/login1", "org.freedesktop.login1.Manager", "UserNew"];

fn user_new(uid: u32) -> (u32, zbus::OwnedObjectPath) {
    (uid, zbus::OwnedObjectPath::try_from("/org/freedesktop/login1/user/one").unwrap())
}

/// Has logind come to the bus, and say that these users log in.
fn say_login(world: &World, uids: &[u32]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let connection = zbus::connection::Builder::address(world.bus_address()).build().await.unwrap();
        let (bus, at) = (Some("org.freedesktop.DBus"), "/org/freedesktop/DBus");
        connection.call_method(bus, at, bus, "RequestName", &("org.freedesktop.login1", 0u32)).await.unwrap();
        for uid in uids {
            let [object, interface, member] = USER_NEW;
            connection.emit_signal(None::<&str>, object, interface, member, &user_new(*uid)).await.unwrap();
        }
        // An answer comes after what was sent before.
        connection.call_method(bus, at, bus, "GetId", &()).await.unwrap();
    });
}

#[test]
fn who_logs_in_and_is_not_listed_is_held_when_logind_says_so_and_nobody_else() {
    let world = World::start();
    let mut home = Home::new(&world);
    home.set_policy(&format!("{POLICY}{BASELINE}"));
    let daemon = home.activate();
    await_told(&world, "user-4149.slice", HELD);
    // The members' group is their primary group, which no list has.
    let passwd = home.accounts().join("passwd");
    let text = fs::read_to_string(&passwd).unwrap();
    fs::write(&passwd, format!("{text}eve:x:4801:990:::\neva:x:4802:990:::\n")).unwrap();
    // The bus lets anybody tell the daemon so directly.
    let stranger = Stranger::of(world.bus_address(), &daemon);
    stranger.say(USER_NEW, &user_new(4801));
    stranger.round_trip();
    say_login(&world, &[MALLORY, 4802]);
    await_told(&world, "user-4802.slice", HELD);
    for uid in [4801, MALLORY] {
        assert_eq!(told(&world, &format!("user-{uid}.slice")), [None; 3], "{uid}");
    }
    drop(daemon);
}
