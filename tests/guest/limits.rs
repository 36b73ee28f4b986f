//! What a share says is what the kernel enforces, and on that share only.

use crate::guest::Guest;

const ALICE: &str = "fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice";
const BOB: &str = "fairshare.slice/fairshare-1002.slice/fairshare-1002-own.slice";

/// A figure of a cgroup file with lines like `nr_throttled 7`.
fn figure(guest: &Guest, group: &str, file: &str, name: &str) -> u64 {
    let text = guest.cgroup(group, file);
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in {file}:\n{text}")).parse().unwrap()
}

guest_test!(a_program_is_held_to_its_share_and_nobody_else_notices, |guest: Guest| {
    let bobs = guest
        .command("fairshare request --cpu 0.5 --mem 256M > /dev/null && exec fairshare run -- sleep 1000")
        .user("bob")
        .spawn();
    guest.await_cmd(&format!("grep -qx 'populated 1' /sys/fs/cgroup/{BOB}/cgroup.events"));
    let daemon = guest.daemon_pid();

    // Memory: the kernel kills the program that is over, and nothing beside it: not even the shell that started it.
    guest
        .as_user(
            "alice",
            "fairshare request --cpu 1 --mem 96M --tasks 24 > /dev/null && fairshare run -- \
             bash -c 'python3 -c \"b = b\\\"x\\\" * (300 << 20)\"; echo the shell saw $?'",
        )
        .expect_ok()
        .stdout_has("the shell saw 137");
    assert!(figure(&guest, ALICE, "memory.events", "oom_kill") >= 1);
    assert_eq!(figure(&guest, BOB, "memory.events", "oom_kill"), 0);
    guest.as_user("alice", "fairshare status").expect_ok().stdout_has("1 process killed out of memory");

    // CPU: a program that would take all gets a fifth of one, within what one period of 100 ms can be off.
    guest.as_user("alice", "fairshare resize --cpu 0.2").expect_ok();
    let script = "before=$(awk '/^usage_usec/ { print $2 }' /sys/fs/cgroup/fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice/cpu.stat)
        start=$EPOCHREALTIME
        fairshare run -- timeout 3 sh -c 'while :; do :; done'
        end=$EPOCHREALTIME
        after=$(awk '/^usage_usec/ { print $2 }' /sys/fs/cgroup/fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice/cpu.stat)
        echo $((after - before)) $((${end/./} - ${start/./}))";
    let ran = guest.as_user("alice", script).expect_ok().text();
    let (used, wall) = ran.split_once(' ').unwrap();
    let (used, wall): (u64, u64) = (used.parse().unwrap(), wall.parse().unwrap());
    assert!(figure(&guest, ALICE, "cpu.stat", "nr_throttled") > 0);
    assert!(used <= wall / 5 + 200_000, "{used} µs of CPU in {wall} µs with a quota of 0.2 CPU");

    guest.as_user("alice", "fairshare resize --cpu 1").expect_ok();
    // Tasks: who forks without end is refused by the kernel, and the others can still fork.
    let bomb = "import os, sys, time
children = 0
try:
    while children < 500:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        children += 1
except BlockingIOError:
    pass
print(children)
sys.stdout.flush()
os.killpg(0, 9)";
    guest.write_file("/home/alice/bomb.py", bomb, 0o644);
    let ran = guest.as_user("alice", "setsid --wait fairshare run -- python3 bomb.py");
    let children: u64 = ran.text().parse().unwrap();
    assert!((1..24).contains(&children), "{children} children with 24 tasks allowed");

    assert!(bobs.is_running(), "bob's program died of what alice did");
    assert_eq!(guest.daemon_pid(), daemon);
    assert_eq!(guest.property("fairshared.service", "NRestarts"), "0");
});

guest_test!(all_shares_together_are_bounded, |guest: Guest| {
    guest.write_file("/etc/fairshare/policy.d/site.yaml", "reserve: {cpu: 0.5, mem: 512M}\n", 0o644);
    guest.as_user("alice", "fairshare request --cpu 0.5 --mem 64M").expect_ok();
    // Two processors less the reserve; the memory depends on what the kernel left of 1536 MiB.
    guest.await_cmd("grep -qx '30000 20000' /sys/fs/cgroup/fairshare.slice/cpu.max");
    let total = guest.root("awk '/^MemTotal/ { print $2 * 1024 }' /proc/meminfo").text();
    let total: u64 = total.parse().unwrap();
    assert_eq!(guest.cgroup("fairshare.slice", "memory.max"), (total - (512 << 20)).to_string());
    let answer = guest.as_user("alice", "fairshare status --json").expect_ok().json();
    assert_eq!(answer["capacity"]["cpu_milli"], 1500);
    assert_eq!(answer["capacity"]["mem_bytes"], total - (512 << 20));
    assert_eq!(answer["capacity"]["free_cpu_milli"], 1000);
    assert_eq!(answer["capacity"]["shares"], 1);
});

guest_test!(who_follows_hears_of_tasks_that_wait_for_a_cpu, |guest: Guest| {
    guest.follow_events();
    // Two that never rest, in the tenth of a CPU: the kernel holds both back most of the time.
    let busy = "while :; do :; done";
    let command = format!(
        "fairshare request --cpu 0.1 --mem 64M > /dev/null && exec fairshare run -- sh -c '{busy} & {busy}'"
    );
    let work = guest.command(&command).user("alice").spawn();
    guest.await_cmd("grep -q '\"kind\":\"pressure\"' /tmp/events");
    let told = guest.root("grep '\"kind\":\"pressure\"' /tmp/events").expect_ok().json();
    assert_eq!(told["uid"], 1001);
    let message = told["message"].as_str().unwrap();
    // What is only looked at each minute is told with its figure.
    assert_eq!(message, "waited for a CPU for at least 60 % of the last ten seconds");
    assert!(work.is_running());
});

guest_test!(what_work_leaves_in_memory_is_not_promised_to_others, |guest: Guest| {
    guest.write_file("/etc/fairshare/policy.d/site.yaml", "reserve: {cpu: 0.5, mem: 256M}\n", 0o644);
    let leaves = "fairshare request --cpu 0.25 --mem 500M > /dev/null && fairshare run -- sh -c 'head -c 400M /dev/zero > /dev/shm/left'";
    guest.as_user("alice", leaves).expect_ok();
    let free = || {
        let status = guest.as_user("bob", "fairshare status --json").expect_ok().json();
        status["capacity"]["free_mem_bytes"].as_u64().unwrap()
    };
    let held = free();
    guest
        .as_user("alice", "fairshare release")
        .expect_ok()
        .stderr_has("/dev/shm/left (400.0 MiB) is yours and stays in memory until it is removed");
    guest.as_user("bob", "fairshare status").expect_ok().stdout_has("Left over   400 MiB of files in memory");
    let left = free();
    assert!(left >= held + (99 << 20) && left <= held + (101 << 20), "{held} and then {left}");
    let asks = format!("fairshare request --cpu 0.25 --mem {}", left + (64 << 20));
    guest.as_user("bob", &asks).expect_code(75);
    // What is granted is there: the kernel kills nobody in any share for what alice left.
    let works = format!(
        "fairshare request --cpu 0.25 --mem {left} > /dev/null && fairshare run -- \
         python3 -c 'all = bytearray({left} - (24 << 20)); all[::4096] = bytes(len(all[::4096]))'"
    );
    guest.as_user("bob", &works).expect_ok();
    guest.as_user("bob", "fairshare release").expect_ok();
    guest.root("rm /dev/shm/left").expect_ok();
    guest.wait_until("it is free again", || free() >= left + (399 << 20));
    guest.as_user("bob", &asks).expect_ok();
});
