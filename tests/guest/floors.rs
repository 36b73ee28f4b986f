//! A share is a floor: what was promised is had against everything on the machine, logins and system services too.

use crate::guest::Guest;
use crate::image::Release;
use crate::slot::Slot;

pub const ALICE: &str = "fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice";
pub const BOB: &str = "fairshare.slice/fairshare-1002.slice/fairshare-1002-own.slice";

/// As [`hogs`], for where commands of the test itself are: those go first, and what is there has no less in all.
fn polite_hogs(count: usize) -> String {
    format!("renice -n 19 $$ > /dev/null; {}", hogs(count))
}

/// Two processors, less the half that the system keeps.
const SITE: &str = "reserve: {cpu: 0.5, mem: 512M}\n";

/// So many programs that never rest.
pub fn hogs(count: usize) -> String {
    format!("for hog in $(seq {count}); do while :; do :; done & done; wait")
}

/// Whether what is in this group works: it has had half a second of CPU.
pub fn is_busy(group: &str) -> String {
    format!("test $(sed -n 's/^usage_usec //p' /sys/fs/cgroup/{group}/cpu.stat) -gt 500000")
}

/// A guest that has the host's processors for itself: what one of them has not got from the host it has not got to give.
fn alone(release: Release) -> Guest {
    let _slot = Slot::take_all();
    Guest::installed(release)
}

/// How often it is measured whether a promise is kept. A host that gives its processors to somebody else spoils a window; a promise
/// that is not kept is not kept in any.
const WINDOWS: usize = 6;

/// What these groups had in the first window in which each had so much, in thousandths of a CPU.
fn had_at_least<const N: usize>(guest: &Guest, promised: [(&str, u64); N]) {
    let mut seen = Vec::new();
    for _ in 0..WINDOWS {
        let had = had(guest, promised.map(|(group, _)| group));
        if had.iter().zip(&promised).all(|(had, (_, least))| had >= least) {
            return;
        }
        seen.push(had);
    }
    panic!("in thousandths of a CPU, promised was {promised:?}, and {seen:?} were had");
}

/// How many thousandths of a CPU each of these groups had in ten seconds.
fn had<const N: usize>(guest: &Guest, groups: [&str; N]) -> [u64; N] {
    // Without another process, which would have to wait for a processor: `usage_usec` is in the first line.
    let read = |list: &str| {
        format!("for group in {list}; do read -r _ used < /sys/fs/cgroup/$group/cpu.stat; echo $used; done")
    };
    let list = groups.join(" ");
    let script = format!(
        "{0}; start=${{EPOCHREALTIME/./}}; sleep 10; {0}; echo $((${{EPOCHREALTIME/./}} - start))",
        read(&list)
    );
    let text = guest.root(&script).expect_ok().text();
    let figures: Vec<u64> = text.lines().map(|line| line.trim().parse().unwrap()).collect();
    let wall = figures[2 * N];
    std::array::from_fn(|at| (figures[N + at] - figures[at]) * 1000 / wall)
}

guest_test!(floors_hold_against_logins_and_services, alone, |guest: Guest| {
    guest.write_file("/etc/fairshare/policy.d/site.yaml", SITE, 0o644);
    let run = |cpu: &str| {
        format!(
            "fairshare request --cpu {cpu} --mem 64M > /dev/null && exec fairshare run -- bash -c '{}'",
            hogs(4)
        )
    };
    let _alices = guest.command(&run("1")).user("alice").spawn();
    let _bobs = guest.command(&run("0.5")).user("bob").spawn();
    for group in [ALICE, BOB] {
        guest.await_cmd(&format!("grep -qx 'populated 1' /sys/fs/cgroup/{group}/cgroup.events"));
    }
    let _service = guest.command(&polite_hogs(2)).spawn();
    let _login = guest.command(&hogs(2)).user("carol").login().spawn();
    for group in [ALICE, BOB, "user.slice/user-1003.slice"] {
        guest.await_cmd(&is_busy(group));
    }
    had_at_least(&guest, [(ALICE, 950), (BOB, 475)]);

    // An admin has the services weigh more: so do the shares, from the next grant on.
    let weight = || guest.cgroup("fairshare.slice", "cpu.weight").parse::<u64>().unwrap();
    let before = weight();
    guest.root("systemctl set-property --runtime system.slice CPUWeight=500").expect_ok();
    guest.as_user("alice", "fairshare resize --mem 80M").expect_ok();
    // 400 more beside 1.5 of 2 CPUs.
    guest.wait_until("the weight of all shares follows", || weight() >= before + 1200);
});

guest_test!(idle_cpu_is_lent_and_comes_back_without_the_daemon, alone, |guest: Guest| {
    guest.write_file("/etc/fairshare/policy.d/site.yaml", format!("{SITE}burst: {{cpu: all}}\n"), 0o644);
    let run = |cpu: &str, first: &str| {
        format!(
            "fairshare request --cpu {cpu} --mem 64M > /dev/null && exec fairshare run -- bash -c '{first} {}'",
            hogs(4)
        )
    };
    let _bobs = guest.command(&run("1", "until test -e /tmp/go; do sleep 1; done;")).user("bob").spawn();
    let _alices = guest.command(&run("0.5", "")).user("alice").spawn();
    guest.await_cmd(&is_busy(ALICE));
    had_at_least(&guest, [(ALICE, 1425)]);
    let said = guest.as_user("alice", "fairshare status").expect_ok().text();
    assert!(said.contains("Your share  0.5 CPU, up to 1.5 while nobody wants them ("), "{said}");

    // From here on the kernel is alone with it.
    guest.root("systemctl stop fairshared.socket fairshared.service && touch /tmp/go").expect_ok();
    guest.await_cmd(&is_busy(BOB));
    had_at_least(&guest, [(BOB, 950), (ALICE, 475)]);
});

// With the multi-generational LRU, which Debian 13 has on, the kernel takes protected memory back nearly as soon as any other:
// fairshared(8) says how it is switched off.
guest_test!(memory_of_a_share_is_the_last_to_be_taken_back, |guest: Guest| {
    guest
        .root("if test -e /sys/kernel/mm/lru_gen/enabled; then echo n > /sys/kernel/mm/lru_gen/enabled; fi")
        .expect_ok();
    guest.root("head -c 100M /dev/urandom > /home/alice/read; chown alice /home/alice/read").expect_ok();
    guest.root("head -c 300M /dev/zero > /var/tmp/read; sync; echo 3 > /proc/sys/vm/drop_caches").expect_ok();
    let reads = "fairshare request --cpu 0.5 --mem 256M > /dev/null && exec fairshare run -- sh -c 'cat read > /dev/null; touch done; sleep 1000'";
    let _alices = guest.command(reads).user("alice").spawn();
    guest.await_cmd("test -e /home/alice/done && cat /var/tmp/read > /dev/null");
    let cached = || {
        let stat = guest.cgroup(ALICE, "memory.stat");
        let line = stat.lines().find_map(|line| line.strip_prefix("file ")).unwrap();
        line.parse::<u64>().unwrap()
    };
    let before = cached();
    assert!(before > 95 << 20, "{before}");
    // A login takes all that is free, and a third of what is cached for nobody's share.
    let takes = "import time
free = int(open('/proc/meminfo').read().split('MemFree:')[1].split()[0]) << 10
taken = bytearray(free + (120 << 20))
taken[::4096] = bytes(len(taken[::4096]))
open('/tmp/taken', 'w')
time.sleep(1000)";
    guest.write_file("/home/carol/takes.py", takes, 0o644);
    let _login = guest.command("exec python3 takes.py").user("carol").login().spawn();
    guest.await_cmd("test -e /tmp/taken");
    let after = cached();
    assert!(after * 10 >= before * 9, "of {before} bytes of alice's files {after} were left");
});
