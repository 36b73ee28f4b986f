//! Eviction: only where the policy says so, only for someone who waits, and not before it was announced.

use crate::guest::Guest;
use crate::run::Background;

const ALICE: &str = "fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice";
const CAROL: &str = "fairshare.slice/fairshare-1003.slice/fairshare-1003-own.slice";

/// A program that notes SIGTERM and does not end of it.
const STUBBORN: &str = "trap 'echo term > /tmp/term' TERM; echo > /tmp/set; while :; do sleep 1; done";

/// Alice's work is in a share whose lease is over, bob holds the rest, and carol follows what happens.
fn expired(guest: &Guest) -> Background {
    guest.write_file("/home/alice/work", STUBBORN, 0o644);
    let work = guest
        .command(
            "fairshare request --cpu 0.5 --mem 64M --for 1h > /dev/null && exec fairshare run -- bash work",
        )
        .user("alice")
        .spawn();
    guest.await_cmd("test -e /tmp/set");
    guest.as_user("bob", "fairshare request --cpu 1 --mem 64M --for 7d").expect_ok();
    // With 239 s to go both warnings are due, and it is 4 min for 59 s more, however slow the guest is.
    guest.go_on_later(3600 - 239);
    guest.logged("the lease of the standing allocation of uid 1001 ends in 4 min");
    guest.go_on_later(3600 + 60);
    guest.logged("the lease of the standing allocation of uid 1001 is over: work is inside");
    guest.as_user("alice", "fairshare status").expect_ok().stdout_has("lease ended");
    guest.follow_events();
    work
}

/// Carol asks for more than is left, and waits.
fn wait_for_room(guest: &Guest) {
    let call =
        r#"{"endpoint":"request_resources","body":{"cpu_milli":1000,"mem_bytes":67108864,"wait":true}}"#;
    guest.as_user("carol", &format!("echo '{call}' | fairshare json")).expect_ok().stdout_has("job_started");
}

guest_test!(an_expired_share_is_stopped_for_who_waits_where_the_policy_says_so, |guest: Guest| {
    guest.write_file("/etc/fairshare/policy.d/site.yaml", "dangerous: {evict: true}\n", 0o644);
    let work = expired(&guest);
    assert!(!guest.daemon_log().contains("is stopped in"), "announced while nobody waits");
    wait_for_room(&guest);
    guest.await_cmd(
        "grep '\"uid\":1001' /tmp/events | grep -q 'someone waits: what is inside is stopped in 5 min'",
    );
    guest.logged("the work in the standing allocation of uid 1001 is stopped in 5 min: someone waits");
    // Not a minute early; the announcement outlives the daemon, and is not made again.
    guest.go_on_later(3660 + 240);
    assert!(work.is_running(), "stopped before its time");
    assert_eq!(guest.daemon_log().matches("is stopped in").count(), 1, "{}", guest.daemon_log());
    guest.go_on_later(3660 + 330);
    guest.await_cmd("grep -q term /tmp/term");
    guest.await_cmd(&format!("test ! -d /sys/fs/cgroup/{ALICE}"));
    assert!(!work.is_running(), "SIGKILL did not come");
    guest.logged("stopped the standing allocation of uid 1001");
    guest.as_user("alice", "fairshare status").expect_ok().stdout_has("none");
    let jobs = guest.root("fairshare jobs --all --json").expect_ok().json();
    let stop = jobs["jobs"].as_array().unwrap().iter().find(|job| job["uid"] == 1001).cloned();
    assert_eq!(stop.map(|job| job["state"].clone()), Some("done".into()), "{jobs}");
    // Only that one.
    guest.as_user("bob", "fairshare status").expect_ok().stdout_has("1 CPU");
});

guest_test!(an_expired_share_is_left_alone_where_the_policy_says_nothing, |guest: Guest| {
    let work = expired(&guest);
    wait_for_room(&guest);
    guest.go_on_later(3600 + 100_000);
    let waiting = guest.as_user("carol", "fairshare jobs --json").expect_ok().json();
    assert_eq!(waiting["jobs"][0]["state"], "queued", "{waiting}");
    assert!(work.is_running());
    assert_eq!(guest.root("test ! -e /tmp/term").code, 0, "SIGTERM came");
    assert!(!guest.daemon_log().contains("is stopped in"), "{}", guest.daemon_log());
    guest.as_user("alice", "fairshare status").expect_ok().stdout_has("lease ended");
    // And with the last process the share goes, for nobody has to look for it.
    work.kill("KILL");
    guest.await_gone_before_the_sweep(ALICE);
});

guest_test!(an_ended_share_has_no_cpu_that_others_want_and_kills_nobody, |guest: Guest| {
    // Alice: a busy loop, and a program that sleeps on 100 MiB and then wants all there is.
    let eats = "x=bytearray(100<<20); open('/tmp/set','w'); import os,time\nwhile not os.path.exists('/tmp/eat'): time.sleep(0.1)\ny=[]\nwhile True: y.append(bytearray(16<<20))";
    guest.write_file("/home/alice/eats.py", eats, 0o644);
    let work = "fairshare request --cpu 1 --mem 512M --for 1h > /dev/null && exec fairshare run -- sh -c 'python3 eats.py & while :; do :; done'";
    let alices = guest.command(work).user("alice").spawn();
    guest.await_cmd("test -e /tmp/set");
    guest.go_on_later(3600 + 60);
    guest.logged("the lease of the standing allocation of uid 1001 is over: work is inside");
    guest.await_cmd(&format!("grep -qx 1 /sys/fs/cgroup/{ALICE}/cpu.idle"));
    let figure = |file: &str| guest.cgroup(ALICE, file).parse::<u64>().unwrap();
    guest.await_cmd(&format!("test $(cat /sys/fs/cgroup/{ALICE}/memory.max) -lt $((200 << 20))"));
    let kept = figure("memory.max");
    assert!(kept >= figure("memory.current") && kept > 100 << 20, "{kept}");
    assert_eq!(
        guest.cgroup(ALICE, "memory.events").lines().find(|line| line.starts_with("oom_kill ")),
        Some("oom_kill 0")
    );
    // Carol has the CPU: what alice's loop gets beside carol's two is next to nothing.
    let loops = "fairshare request --cpu 1.5 --mem 200M --for 1h > /dev/null && exec fairshare run -- sh -c 'python3 -c \"x=bytearray(150<<20); import time; open(\\\"/tmp/carol\\\",\\\"w\\\"); time.sleep(1000)\" & for loop in 1 2; do while test ! -e /tmp/rest; do :; done & done; wait'";
    let carols = guest.command(loops).user("carol").spawn();
    guest.await_cmd("test -e /tmp/carol");
    let spent = |share: &str| {
        let stat = guest.cgroup(share, "cpu.stat");
        let line = stat.lines().find_map(|line| line.strip_prefix("usage_usec ")).unwrap();
        line.parse::<u64>().unwrap()
    };
    let before = (spent(ALICE), spent(CAROL));
    guest.await_cmd(&format!(
        "test $(sed -n 's/usage_usec //p' /sys/fs/cgroup/{CAROL}/cpu.stat) -gt {}",
        before.1 + 4_000_000
    ));
    let (alice, carol) = (spent(ALICE) - before.0, spent(CAROL) - before.1);
    eprintln!("alice's expired share had {alice} us beside carol's {carol} us");
    // 1.5 CPUs are handed out in all: alice has what carol's quota leaves, and nothing of what she wants.
    assert!(carol >= 4_000_000 && alice * 5 < carol, "alice {alice}, carol {carol}");
    // Alice wants all memory: it is her own that the kernel kills in. Without the CPU she would not get to it.
    guest.root("touch /tmp/rest /tmp/eat").expect_ok();
    guest.await_cmd(&format!("grep -q 'oom_kill [1-9]' /sys/fs/cgroup/{ALICE}/memory.events"));
    assert!(guest.cgroup(CAROL, "memory.events").contains("oom_kill 0"), "carol's work was killed");
    assert!(figure("memory.max") == kept && alices.is_running() && carols.is_running());
    // Room for all of it again: it is as before.
    guest
        .as_user("alice", "fairshare renew --for 59s")
        .expect_code(1)
        .stderr_has("shorter than the least (1m)");
    guest.as_user("carol", "fairshare release --stop").expect_ok();
    guest.as_user("alice", "fairshare renew --for 2h").expect_ok();
    assert_eq!((guest.cgroup(ALICE, "cpu.idle"), figure("memory.max")), ("0".to_owned(), 512 << 20));
});
