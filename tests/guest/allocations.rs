//! Work that brings its own room: what each piece has, what all of it comes to, and what waits.

use crate::guest::Guest;

const UNITS: &str = "systemctl list-units --all --no-legend 'fairshare-1001*' | wc -l";

impl Guest {
    /// What the kernel holds of a unit below alice's slice.
    fn held(&self, unit: &str, file: &str) -> String {
        let slice = "/sys/fs/cgroup/fairshare.slice/fairshare-1001.slice";
        self.root(&format!("cat {slice}/{unit}/{file}")).expect_ok().text()
    }
}

guest_test!(each_command_has_the_room_that_it_asked_for, |guest: Guest| {
    // Two of them would not fit into what one has.
    let eats = "python3 -c \"x=bytearray(110<<20); open('$N','w'); import time; time.sleep(600)\"";
    let submit = |name: &str| {
        let eats = eats.replace("$N", name);
        let command = format!("fairshare submit --cpu 0.25 --mem 150M --tasks 20 -- {eats}");
        guest.as_user("alice", &command).expect_ok().text().parse::<u64>().unwrap()
    };
    guest.as_user("alice", "fairshare request --cpu 0.5 --mem 64M").expect_ok();
    let (one, other) = (submit("one"), submit("other"));
    guest.await_cmd("test -e ~alice/one -a -e ~alice/other");
    for job in [one, other] {
        let slice = format!("fairshare-1001-job{job}.slice");
        assert_eq!(guest.held(&slice, "memory.max"), (150 << 20).to_string());
        assert_eq!(guest.held(&slice, "cpu.max"), "25000 100000");
        assert_eq!(guest.held(&slice, "cpu.weight"), "25");
        assert_eq!(guest.held(&slice, "memory.low"), (150 << 20).to_string());
        assert_eq!(guest.held(&slice, "pids.max"), "20");
    }
    assert_eq!(guest.held("fairshare-1001-own.slice", "cpu.max"), "50000 100000");
    assert_eq!(guest.held("fairshare-1001-own.slice", "memory.max"), (64 << 20).to_string());
    // Around them the sum is promised.
    assert_eq!(guest.held("", "cpu.max"), "100000 100000");
    assert_eq!(guest.held("", "cpu.weight"), "100");
    assert_eq!(guest.held("", "memory.low"), (364 << 20).to_string());
    let status = guest.as_user("alice", "fairshare status").expect_ok();
    status.stdout_has("Your share  1 CPU").stdout_has("standing").stdout_has(&format!("job {one}"));
    guest.as_user("alice", "fairshare release").expect_ok();
    assert_eq!(guest.held("", "cpu.weight"), "50");
    assert_eq!(guest.held("", "memory.low"), (300 << 20).to_string());
    guest.as_user("alice", &format!("fairshare cancel {one} {other}")).expect_ok();
    guest.await_cmd(&format!("test $({UNITS}) = 0"));
    guest.as_user("alice", "fairshare status").expect_ok().stdout_has("Your share  none");
});

guest_test!(what_a_member_may_hold_bounds_the_sum_and_the_rest_waits, |guest: Guest| {
    let policy = "defaults: {cpu: 0.5, mem: 64M}\nmax: {cpu: 1, mem: 300M}\n";
    guest.write_file("/etc/fairshare/policy.d/max.yaml", policy, 0o644);
    guest.as_user("alice", "fairshare request --cpu 0.5 --mem 100M").expect_ok();
    guest
        .as_user("alice", "fairshare submit --no-wait --cpu 0.75 --mem 100M -- true")
        .expect_code(75)
        .stderr_has("Requested CPU (0.75) and what you hold (0.5) exceed maximum allowed (1)");
    guest.as_user("alice", "fairshare submit --cpu 1.25 --mem 100M -- true").expect_code(1);
    // Ten in a loop: each waits for its room, and each runs.
    let ten = "for n in 1 2 3 4 5 6 7 8 9 10; do \
               fairshare submit --cpu 0.25 --mem 50M -- sh -c \"echo $n >> order\" 2>/dev/null || exit; done";
    let jobs = guest.as_user("alice", ten).expect_ok().text();
    let jobs = jobs.split_whitespace().collect::<Vec<_>>().join(" ");
    guest.as_user("alice", &format!("fairshare wait {jobs}")).expect_ok();
    let order = guest.as_user("alice", "sort -n order | tr '\\n' ' '").expect_ok().text();
    assert_eq!(order.trim(), "1 2 3 4 5 6 7 8 9 10");
    guest.as_user("alice", "fairshare release").expect_ok();
    guest.await_cmd(&format!("test $({UNITS}) = 0"));
    // What a command runs stays in it, and takes nothing more.
    let nested = "id=$(fairshare submit --cpu 0.25 --mem 64M --output nested -- \
                  fairshare run -- sh -c 'cat /proc/self/cgroup; echo $FAIRSHARE_MEM_BYTES; fairshare status --json') &&
                  fairshare wait $id; cat nested";
    let nested = guest.as_user("alice", nested).expect_ok();
    let nested = nested.stdout_has(".service\n67108864\n").stdout_has("\"kind\":\"job\"");
    assert!(
        !nested.stdout().contains("standing") && !nested.stdout().contains("-run"),
        "{}",
        nested.stdout()
    );
});

guest_test!(a_command_in_the_foreground_has_room_of_its_own_that_goes_with_it, |guest: Guest| {
    let run = "exec fairshare run --cpu 0.25 --mem 100M --tasks 50 --for 1h -- sleep 1000";
    let work = guest.command(run).user("alice").spawn();
    guest.await_cmd("pgrep -u alice -fx 'sleep 1000'");
    let slice = "fairshare-1001-run1.slice";
    assert_eq!(guest.held(slice, "cpu.max"), "25000 100000");
    assert_eq!(guest.held(slice, "memory.max"), (100 << 20).to_string());
    assert_eq!(guest.held(slice, "memory.swap.max"), "0");
    assert_eq!(guest.held(slice, "pids.max"), "50");
    let status = guest.as_user("alice", "fairshare status").expect_ok();
    status.stdout_has("Your share  0.25 CPU").stdout_has("job 1").stdout_has("lease ends in");
    // The next daemon has it as it is, and its member can change it.
    guest.kill_daemon();
    guest.as_user("alice", "fairshare jobs").expect_ok().stdout_has("run").stdout_has("running");
    guest.as_user("alice", "fairshare resize --job 1 --cpu 0.5").expect_ok().stdout_has("0.5 CPU");
    assert_eq!(guest.held(slice, "cpu.max"), "50000 100000");
    guest.as_user("alice", "fairshare renew --job 1 --for 150m").expect_ok().stdout_has("lease ends in 2h ");
    assert!(work.is_running());
    // What it is that goes on is said to who gives back what they do not hold.
    let released = guest.as_user("alice", "fairshare release").expect_ok();
    released.stderr_has("sleep (pid ").stderr_has("`fairshare release --stop --job 1`");
    guest.as_user("bob", "fairshare release --stop --job 1").expect_code(1).stderr_has("No such job");
    guest.as_user("alice", "fairshare cancel 1").expect_ok();
    guest.await_cmd(&format!("test $({UNITS}) = 0"));
    assert!(!work.is_running());
    guest.as_user("alice", "fairshare status").expect_ok().stdout_has("Your share  none");

    // It ends as its command, and within it everything stays.
    guest.as_user("alice", "fairshare run --cpu 0.25 --mem 64M -- sh -c 'exit 7'").expect_code(7);
    let eats = "fairshare run --cpu 0.25 --mem 64M -- python3 -c 'bytearray(100 << 20)'";
    guest.as_user("alice", eats).expect_code(137);
    let nested = "fairshare run --cpu 0.25 --mem 64M -- fairshare run --cpu 1 --mem 300M -- \
                  sh -c 'cat /proc/self/cgroup; echo $FAIRSHARE_KIND $FAIRSHARE_MEM_BYTES'";
    guest.as_user("alice", nested).expect_ok().stdout_has("-run5-run").stdout_has("\nrun 67108864\n");
    // What it leaves behind keeps its room, and no longer.
    guest.as_user("alice", "fairshare run --own -- sh -c 'setsid sleep 1001 > /dev/null 2>&1 &'").expect_ok();
    guest.as_user("alice", "fairshare status").expect_ok().stdout_has("job 6");
    guest.root("pkill -fx 'sleep 1001'").expect_ok();
    guest.await_cmd(&format!("test $({UNITS}) = 0"));
});

guest_test!(who_waits_in_the_foreground_goes_in_when_there_is_room, |guest: Guest| {
    guest.as_user("alice", "fairshare request --cpu 1.5 --mem 64M").expect_ok();
    let run = "exec fairshare run --wait --cpu 0.5 --mem 64M -- cat /proc/self/cgroup";
    guest.as_user("bob", "fairshare run --cpu 0.5 --mem 64M -- true").expect_code(75);
    let waits = guest.command(run).user("bob").spawn();
    let queued = "runuser -u bob -- fairshare jobs --state queued | grep -c queued";
    guest.await_cmd(&format!("test $({queued}) = 1"));
    // Who is interrupted leaves the queue.
    let other = guest.command(run).user("bob").spawn();
    guest.await_cmd(&format!("test $({queued}) = 2"));
    other.kill("INT");
    guest.await_cmd(&format!("test $({queued}) = 1"));
    // Nobody else's place is lost with the daemon.
    guest.kill_daemon();
    guest.as_user("alice", "fairshare release").expect_ok();
    let ran = waits.wait().expect_ok();
    ran.stderr_has("waiting as job 1: place 1")
        .stdout_has("/fairshare-1002-run1.slice/fairshare-1002-run1-run");
    guest.await_cmd("! systemctl list-units --all --no-legend | grep -q fairshare-1002");
});
