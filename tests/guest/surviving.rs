//! Nothing is lost and nothing dies: crashes, drift, foreign hands, torn state, reboots. Every row of the table
//! "After a crash" of the design has its place here, by the log line that it leaves.

use serde_json::Value;

use crate::guest::Guest;
use crate::run::PATIENCE;

const ALICE: &str = "fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice";
const BOB: &str = "fairshare.slice/fairshare-1002.slice/fairshare-1002-own.slice";

/// Makes a slice as an older fairshare would have left it.
fn slice(guest: &Guest, uid: &str, cpu_percent: u32, mem: &str) {
    // What keeps a slice without units is that it was started by itself: so does StartTransientUnit.
    guest
        .root(&format!(
            "busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager \
             StartTransientUnit 'ssa(sv)a(sa(sv))' fairshare-{uid}-own.slice fail 3 \
             CPUQuotaPerSecUSec t {}0000 MemoryMax t $(numfmt --from=iec {mem}) TasksMax t 77 0 &&
             until systemctl -q is-active fairshare-{uid}-own.slice; do sleep 0.1; done",
            cpu_percent
        ))
        .expect_ok();
}

fn shares(guest: &Guest) -> Vec<(u64, u64, u64)> {
    let json = guest.root("fairshare status --all --json").expect_ok().json();
    let figure = |share: &Value, name: &str| share[name].as_u64().unwrap();
    let shares = json["shares"].as_array().unwrap();
    shares.iter().map(|s| (figure(s, "uid"), figure(s, "cpu_milli"), figure(s, "mem_bytes") >> 20)).collect()
}

/// When systemd last did something to these slices, and how often it made them.
fn touched(guest: &Guest) -> String {
    let properties = "Id,InvocationID,ActiveEnterTimestampMonotonic,StateChangeTimestampMonotonic,CPUQuotaPerSecUSec,MemoryMax,TasksMax";
    guest
        .root(&format!("systemctl show -p {properties} fairshare-1001-own.slice fairshare-1002-own.slice"))
        .text()
}

guest_test!(a_killed_daemon_comes_back_to_what_it_left, |guest: Guest| {
    let work = guest
        .command("fairshare request --cpu 0.5 --mem 128M > /dev/null && exec fairshare run -- sleep 1000")
        .user("alice")
        .spawn();
    guest.as_user("bob", "fairshare request --cpu 0.25 --mem 64M").expect_ok();
    guest.await_cmd(&format!("grep -qx 'populated 1' /sys/fs/cgroup/{ALICE}/cgroup.events"));
    let held = shares(&guest);
    assert_eq!(held, [(1001, 500, 128), (1002, 250, 64)]);
    let before = touched(&guest);
    let place = guest.root(&format!("cat /proc/{}/cgroup", work.pid)).text();
    for _ in 0..2 {
        guest.kill_daemon();
        assert_eq!(shares(&guest), held);
    }
    assert_eq!(touched(&guest), before, "slices in order were touched");
    assert_eq!(guest.root(&format!("cat /proc/{}/cgroup", work.pid)).text(), place);
    // The next scope does not take a name that is in use.
    guest.as_user("alice", "fairshare run -- true").expect_ok();
    assert!(work.is_running());
    let log = guest.daemon_log();
    for word in ["drifted", "dropped", "adopting", "making", "finishing", "forgot"] {
        assert!(!log.contains(word), "{word:?} is in\n{log}");
    }

    // Limits changed behind our back, through systemd and past it, while the daemon is dead.
    let socket = "systemctl stop fairshared.service";
    guest
        .root(&format!(
            "{socket}; systemctl set-property --runtime fairshare-1001-own.slice MemoryMax=512M TasksMax=9
             echo '200000 100000' > /sys/fs/cgroup/{BOB}/cpu.max"
        ))
        .expect_ok();
    assert_eq!(shares(&guest), held);
    assert_eq!(guest.cgroup(ALICE, "memory.max"), (128u64 << 20).to_string());
    assert_eq!(guest.cgroup(ALICE, "pids.max"), "4096");
    assert_eq!(guest.cgroup(BOB, "cpu.max"), "25000 100000");
    guest.logged("fairshare-1001-own.slice has drifted from its share: setting its limits again");
    guest.logged("fairshare-1002-own.slice has drifted from its share: setting its limits again");

    // Where setting the memory again would make a program die, it is not: the rest is, and health says so.
    let hog = "exec python3 -c 'b = b\"x\" * (200 << 20); import time; time.sleep(1000)'";
    guest
        .root(&format!(
            "{socket}; systemctl set-property --runtime fairshare-1001-own.slice MemoryMax=512M TasksMax=9"
        ))
        .expect_ok();
    let attached = format!(
        "echo 0 > /sys/fs/cgroup/{ALICE}/$(ls /sys/fs/cgroup/{ALICE} | grep scope | head -n 1)/cgroup.procs; {hog}"
    );
    let hog = guest.command(&attached).spawn();
    guest.await_cmd(&format!("test $(cat /sys/fs/cgroup/{ALICE}/memory.current) -gt $((200 << 20))"));
    let health = guest.as_user("alice", "fairshare health").expect_code(1).stdout_has("FAULT  limits");
    eprintln!("{}", health.text());
    assert!(hog.is_running(), "a start killed a program");
    assert_eq!(guest.cgroup(ALICE, "memory.max"), (512u64 << 20).to_string());
    let told: Vec<String> = guest
        .journal("fairshared.service")
        .iter()
        .rev()
        .take(8)
        .map(|entry| entry.message().to_owned())
        .collect();
    assert_eq!(guest.cgroup(ALICE, "pids.max"), "4096", "{told:#?}");
    hog.kill("KILL");
    guest.await_cmd(&format!("test $(cat /sys/fs/cgroup/{ALICE}/memory.current) -lt $((100 << 20))"));
    guest.kill_daemon();
    guest.as_user("alice", "fairshare health").expect_ok();
    assert_eq!(guest.cgroup(ALICE, "memory.max"), (128u64 << 20).to_string());

    // A slice stopped behind our back: while the daemon is dead, and while it lives.
    guest.root(&format!("{socket}; systemctl stop fairshare-1002-own.slice")).expect_ok();
    assert_eq!(shares(&guest), [(1001, 500, 128)]);
    guest.logged(
        "dropped the standing allocation of uid 1002: fairshare-1002-own.slice was stopped by someone else",
    );
    guest.as_user("bob", "fairshare request --cpu 0.25 --mem 64M").expect_ok();
    guest.root("systemctl stop fairshare-1002-own.slice").expect_ok();
    guest.await_cmd("! fairshare status --all | grep -q bob");
    assert!(work.is_running());
});

guest_test!(slices_that_no_state_remembers_are_adopted_or_reported, |guest: Guest| {
    let work = guest
        .command("fairshare request --cpu 0.5 --mem 128M > /dev/null && exec fairshare run -- sleep 1000")
        .user("alice")
        .spawn();
    guest.await_cmd(&format!("grep -qx 'populated 1' /sys/fs/cgroup/{ALICE}/cgroup.events"));
    guest.root("systemctl stop fairshared.service").expect_ok();
    slice(&guest, "1002", 75, "96M");
    slice(&guest, "5555", 10, "32M");
    slice(&guest, "7777", 10, "32M");
    let strays =
        guest.command("exec systemd-run -q --scope --slice=fairshare-7777-own.slice sleep 1000").spawn();
    guest.await_cmd(
        "grep -qx 'populated 1' /sys/fs/cgroup/fairshare.slice/fairshare-7777.slice/fairshare-7777-own.slice/cgroup.events",
    );
    let before = touched(&guest);

    // The state is gone: everything is what systemd says.
    guest.root("rm /var/lib/fairshare/state").expect_ok();
    assert_eq!(shares(&guest), [(1001, 500, 128), (1002, 750, 96)]);
    guest.root("fairshare status --all").expect_ok().stdout_has("bob");
    guest.logged("adopting fairshare-1001-own.slice, which no state remembers");
    guest.logged("stopping fairshare-5555-own.slice: it is empty, and nobody has uid 5555");
    guest.logged("keeping fairshare-7777-own.slice: nobody has uid 7777, and processes are inside");
    assert!(!guest.cgroup_exists("fairshare.slice/fairshare-5555.slice/fairshare-5555-own.slice"));
    // Whose slices they are is an admin's to know.
    let health = guest.as_user("bob", "fairshare health").expect_code(1).stdout_has("strays").text();
    assert!(!health.contains("7777"), "{health}");
    guest.root("fairshare health").expect_code(1).stdout_has("fairshare-7777-own.slice");
    assert!(strays.is_running() && work.is_running());
    let ids = |text: &str| text.lines().filter(|line| line.starts_with("InvocationID")).collect::<String>();
    assert_eq!(ids(&touched(&guest)), ids(&before), "an adopted slice was made anew");
    strays.kill("KILL");

    // The state is torn: kept aside, everything adopted again.
    guest.root("systemctl stop fairshared.service; truncate -s -7 /var/lib/fairshare/state").expect_ok();
    assert_eq!(shares(&guest), [(1001, 500, 128), (1002, 750, 96)]);
    guest.root("ls /var/lib/fairshare").expect_ok().stdout_has("state.corrupt-");
    assert!(
        guest
            .journal("fairshared.service")
            .iter()
            .any(|entry| { entry.priority() == 3 && entry.message().contains("the state file is damaged") })
    );
    guest.as_user("alice", "fairshare health").expect_ok();

    // The state is of a newer version: left alone, shares stay, nothing is granted.
    guest
        .root(
            "systemctl stop fairshared.service; cd /var/lib/fairshare
             python3 - <<'END'
import struct, zlib
data = bytearray(open('state', 'rb').read())
data[8:12] = struct.pack('>I', 999)
data[16:20] = struct.pack('>I', zlib.crc32(bytes(data[:16]) + bytes(data[20:])))
open('state', 'wb').write(data)
END
             sha256sum state > /root/state.sum",
        )
        .expect_ok();
    let health = guest.as_user("alice", "fairshare health").expect_code(1).stdout_has("version 999");
    eprintln!("{}", health.stdout_has("ok     bus").text());
    guest.as_user("carol", "fairshare request").expect_code(75).stderr_has("version 999");
    guest.as_user("alice", "fairshare status").expect_ok().stdout_has("0.5 CPU");
    guest.root("cd /var/lib/fairshare; sha256sum -c /root/state.sum").expect_ok();
    guest.root("rm /var/lib/fairshare/state; fairshare admin reload").expect_ok();
    guest.await_cmd("fairshare health");
    assert_eq!(shares(&guest).len(), 2);
    assert!(work.is_running());
});

guest_test!(a_share_outlives_a_reboot_and_a_power_cut, |guest: Guest| {
    guest
        .as_user(
            "alice",
            "fairshare request --cpu 0.5 --mem 128M --tasks 99 > /dev/null && fairshare run -- true",
        )
        .expect_ok();
    guest.as_user("bob", "fairshare request --cpu 0.25 --mem 64M").expect_ok();
    guest.as_user("bob", "fairshare release").expect_ok();
    guest.reboot();
    guest.await_running();
    assert_eq!(guest.daemon_pid(), None);
    guest.root("systemctl is-active fairshared.socket").expect_ok();
    guest.as_user("alice", "fairshare status").expect_ok().stdout_has("0.5 CPU");
    assert_eq!(guest.cgroup(ALICE, "memory.max"), (128u64 << 20).to_string());
    assert_eq!(guest.cgroup(ALICE, "pids.max"), "99");
    guest.logged("making fairshare-1001-own.slice again after a reboot");
    assert!(!guest.cgroup_exists(BOB), "a share that was released came back");

    // What was answered is on the disk, whatever comes then.
    guest.as_user("alice", "fairshare resize --cpu 0.75").expect_ok();
    // And in the middle of a change there is a share that is enforced, or none: bob takes and gives without end.
    let restless = "while :; do fairshare request --cpu 0.25 --mem 64M; fairshare resize --cpu 0.5; fairshare release; done";
    let _restless =
        guest.command(&format!("touch /tmp/at-it; {restless} > /dev/null 2>&1")).user("bob").spawn();
    guest.await_cmd("test -e /tmp/at-it && journalctl -u fairshared | grep -q 'release of uid 1002: ok'");
    guest.power_cut();
    guest.await_running();
    let held = shares(&guest);
    assert_eq!(held.first(), Some(&(1001, 750, 128)));
    assert_eq!(guest.cgroup(ALICE, "cpu.max"), "75000 100000");
    match held.get(1) {
        None => assert!(!guest.cgroup_exists(BOB), "a slice that nobody remembers"),
        Some((1002, cpu, 64)) => assert_eq!(guest.cgroup(BOB, "cpu.max"), format!("{} 100000", cpu * 100)),
        other => panic!("{other:?}"),
    }
    guest.as_user("alice", "fairshare health").expect_ok();
    guest
        .as_user("bob", "fairshare release && fairshare request --cpu 0.25 --mem 64M && fairshare release")
        .expect_ok();
});

guest_test!(systemd_and_the_bus_may_be_restarted_under_it, |guest: Guest| {
    let work = guest
        .command("fairshare request --cpu 0.5 --mem 128M > /dev/null && exec fairshare run -- sleep 1000")
        .user("alice")
        .spawn();
    guest.await_cmd(&format!("grep -qx 'populated 1' /sys/fs/cgroup/{ALICE}/cgroup.events"));
    let pid = guest.daemon_pid();
    for command in ["systemctl daemon-reload", "systemctl daemon-reexec"] {
        guest.root(command).expect_ok();
        assert_eq!(guest.cgroup(ALICE, "memory.max"), (128u64 << 20).to_string(), "{command}");
        guest.as_user("bob", "fairshare run --cpu 0.5 --mem 64M -- true").expect_ok();
        guest.as_user("alice", "fairshare resize --cpu 0.75 && fairshare resize --cpu 0.5").expect_ok();
        guest.as_user("bob", "fairshare release").expect_ok();
        guest.as_user("alice", "fairshare health").expect_ok();
    }
    assert_eq!(guest.daemon_pid(), pid);

    // The bus away: degraded, and by itself well again. The shares hold all the time.
    guest.root("systemctl stop dbus.socket dbus.service").expect_ok();
    guest
        .as_user(
            "alice",
            "for i in $(seq 100); do fairshare health > said && sleep 0.1 || break; done; cat said",
        )
        .expect_ok()
        .stdout_has("FAULT  bus");
    let refused = guest.as_user("bob", "fairshare request").expect_code(75).stderr_has("hint:");
    eprintln!("{}", refused.stderr());
    guest.as_user("alice", "fairshare status").expect_ok().stdout_has("0.5 CPU");
    assert!(work.is_running());
    guest.root("systemctl start dbus.socket dbus.service").expect_ok();
    guest.await_cmd("fairshare health");
    guest.as_user("bob", "fairshare run --cpu 0.5 --mem 64M -- true").expect_ok();
    guest.root("systemctl restart dbus.service").expect_ok();
    guest.await_cmd("fairshare health");
    guest.command("fairshare run --cpu 0.5 --mem 64M -- true").user("bob").until_ok(PATIENCE);
    assert_eq!(guest.daemon_pid(), pid, "the daemon did not stay");
    assert!(work.is_running());
});
