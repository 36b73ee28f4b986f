//! What a follower hears: each kind of event, a member their own and an admin all.

use crate::guest::Guest;

/// The kind of an event, as it is in a line of `--json`.
fn kind(line: &str) -> Option<&str> {
    line.split_once("\"kind\":\"")?.1.split('"').next()
}

guest_test!(each_kind_of_event_is_told_to_who_may_know, |guest: Guest| {
    guest.follow_events();
    let alices = guest.spawn_as("alice", "exec fairshare events > events");
    guest.await_cmd("journalctl --sync; journalctl -u fairshared | grep -q 'subscribe of uid 1001: ok'");
    let bobs = "for i in 1 2 3; do fairshare request --cpu 0.1 --mem 32M && fairshare release || exit; done";
    guest.as_user("bob", bobs).expect_ok();
    // What ends in less than ten minutes is expiring from the start.
    let takes = "fairshare request --cpu 0.5 --mem 64M --for 30m && fairshare resize --cpu 0.6 && fairshare renew --for 60s";
    guest.as_user("alice", takes).expect_ok();
    let eats = "id=$(fairshare submit -- python3 -c \"x='a'*200000000\"); fairshare wait $id";
    guest.as_user("alice", eats).expect_code(137);
    guest.root("fairshare admin drain && fairshare admin undrain").expect_ok();
    guest.write_file("/etc/fairshare/policy.d/site.yaml", "defaults: {cpu: 0.5, mem: 32M}\n", 0o644);
    guest.root("fairshare admin reload").expect_ok();
    guest.await_cmd("grep -q released ~alice/events");
    let told = guest.as_user("alice", "cat events").text();
    let kinds: Vec<&str> = told.lines().filter_map(|line| line.split("  ").nth(1)).collect();
    for kind in [
        "granted",
        "resized",
        "renewed",
        "expiring",
        "job",
        "oom",
        "drained",
        "undrained",
        "policy",
        "expired",
        "released",
    ] {
        assert!(kinds.contains(&kind), "{kind} is not in\n{told}");
    }
    assert!(!told.contains("bob"), "what is another member's:\n{told}");
    let all = guest.root("cat /tmp/events").text();
    for uid in [1001, 1002] {
        assert!(all.contains(&format!("\"uid\":{uid}")), "{uid} is not in\n{all}");
    }
    // The kernel wakes who waits for pressure in a cgroup that is removed: nothing of it is told.
    let of_bob = all.lines().filter(|line| line.contains("\"uid\":1002"));
    let kinds: Vec<&str> = of_bob.map(|line| kind(line).unwrap_or_else(|| panic!("{line}"))).collect();
    assert_eq!(kinds, ["granted", "released"].repeat(3), "{all}");
    alices.kill("TERM");
});
