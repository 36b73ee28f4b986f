//! Commands that are paused: by a real systemd and kernel, through the daemon's death, and to their end.

use crate::guest::Guest;

/// The CPU time that a cgroup has used, in microseconds.
fn used(guest: &Guest, group: &str) -> u64 {
    let stat = guest.cgroup(group, "cpu.stat");
    let usage = stat.lines().find_map(|line| line.strip_prefix("usage_usec ")).expect("a figure");
    usage.parse().expect("a number")
}

fn runs(guest: &Guest, group: &str) {
    let before = used(guest, group);
    guest.wait_until("the loop goes on", || used(guest, group) > before);
}

/// The kernel says so, and whatever ran on has been counted: from then on nothing is used.
fn stands_still(guest: &Guest, group: &str) {
    assert!(guest.cgroup(group, "cgroup.events").contains("frozen 1"));
    guest.wait_until("what it has used to stay", || {
        let before = used(guest, group);
        guest.root("sleep 1").expect_ok();
        used(guest, group) == before
    });
}

/// A busy loop of alice's that writes this file when it hears SIGTERM.
fn busy(guest: &Guest, options: &str, file: &str) -> u64 {
    let busy = format!("trap \": > ~/{file}; exit 3\" TERM; : > ~/{file}-up; while :; do :; done");
    let submit = format!("fairshare submit {options} -- bash -c '{busy}'");
    let id = guest.as_user("alice", &submit).expect_ok().text().parse().expect("a number");
    guest.await_cmd(&format!("test -e ~alice/{file}-up"));
    id
}

fn shown_as(guest: &Guest, id: u64, paused: bool) {
    assert_eq!(guest.job(id)["paused"].as_bool(), paused.then_some(true));
    let state = if paused { "paused" } else { "running" };
    guest.as_user("alice", &format!("fairshare jobs | grep -E '^{id} +alice +[a-z]+ +{state}'")).expect_ok();
}

fn alone(id: u64) -> String {
    format!(
        "fairshare.slice/fairshare-1001.slice/fairshare-1001-job{id}.slice/fairshare-1001-job{id}.service"
    )
}

guest_test!(what_is_paused_stands_still_through_the_daemons_death_and_ends_as_it_should, |guest: Guest| {
    let id = busy(&guest, "--cpu 0.5 --mem 64M", "ended");
    let group = alone(id);
    runs(&guest, &group);
    guest.as_user("alice", &format!("fairshare pause {id}")).expect_ok().stdout_has("is paused");
    stands_still(&guest, &group);
    shown_as(&guest, id, true);
    guest.as_user("bob", &format!("fairshare resume {id}")).expect_code(1).stderr_has("No such job");
    guest.kill_daemon();
    shown_as(&guest, id, true);
    stands_still(&guest, &group);
    guest.as_user("alice", &format!("fairshare resume {id} && fairshare resume {id}")).expect_ok();
    runs(&guest, &group);
    shown_as(&guest, id, false);
    guest.as_user("alice", &format!("fairshare pause {id} && fairshare pause {id}")).expect_ok();
    guest.as_user("alice", &format!("fairshare cancel {id}")).expect_ok().stdout_has("is cancelled");
    guest.root("test -e ~alice/ended").expect_ok();
    assert_eq!(guest.job(id)["exit_code"].as_u64(), Some(3), "{}", guest.job(id));
    guest.as_user("alice", &format!("fairshare pause {id}")).expect_code(1).stderr_has("is over");
});

guest_test!(what_is_paused_ends_with_its_share_and_with_its_time, |guest: Guest| {
    guest.as_user("alice", "fairshare request --cpu 0.5 --mem 64M").expect_ok();
    let id = busy(&guest, "--in-share", "released");
    guest.as_user("alice", &format!("fairshare pause {id}")).expect_ok().stdout_has("is paused");
    guest.as_user("alice", "fairshare release --stop").expect_ok();
    guest.await_cmd("test -e ~alice/released");
    guest.wait_until("the command's end", || guest.job(id)["exit_code"].as_u64() == Some(3));
    guest.await_cmd("test ! -d /sys/fs/cgroup/fairshare.slice/fairshare-1001.slice");
    // Its time goes on, and ends it as what runs.
    let id = busy(&guest, "--cpu 0.5 --mem 64M --for 20s", "late");
    guest.as_user("alice", &format!("fairshare pause {id}")).expect_ok().stdout_has("is paused");
    guest.as_user("alice", &format!("fairshare wait {id}")).expect_code(3);
    assert_eq!(guest.job(id)["error"]["message"], "Its time was over", "{}", guest.job(id));
    guest.root("test -e ~alice/late").expect_ok();
});

guest_test!(a_command_in_the_foreground_is_paused_with_all_that_it_started, |guest: Guest| {
    let busy = "trap \": > ~/ended; exit 0\" TERM; (while :; do :; done) & touch up; while :; do :; done";
    let run = guest.spawn_as("alice", &format!("fairshare run --cpu 0.5 --mem 64M -- bash -c '{busy}'"));
    guest.await_cmd("test -e ~alice/up");
    let group = "fairshare.slice/fairshare-1001.slice/fairshare-1001-run1.slice";
    runs(&guest, group);
    guest.as_user("alice", "fairshare pause 1").expect_ok().stdout_has("is paused");
    guest.wait_until("what it has used to stay", || {
        let before = used(&guest, group);
        guest.root("sleep 1").expect_ok();
        used(&guest, group) == before
    });
    shown_as(&guest, 1, true);
    guest.kill_daemon();
    shown_as(&guest, 1, true);
    guest.as_user("alice", "fairshare resume 1").expect_ok().stdout_has("is running");
    runs(&guest, group);
    guest.as_user("alice", "fairshare pause 1").expect_ok();
    guest.as_user("alice", "fairshare cancel 1").expect_ok();
    guest.await_cmd("test -e ~alice/ended && test ! -d /sys/fs/cgroup/fairshare.slice/fairshare-1001.slice");
    drop(run);
});
