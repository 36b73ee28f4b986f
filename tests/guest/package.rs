//! The package: installed, upgraded under running work, removed without stopping anyone's, purged, installed again.

use crate::guest::{Guest, deb_under_test};

const ALICE: &str = "fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice";

/// The same package with a higher version, made in the guest: `/root/next.deb`.
/// Puts a package of a later version into the guest, as `/root/next.deb`.
pub fn make_next_version(guest: &Guest) {
    guest.put(&deb_under_test(), "/root/this.deb");
    let repack = "cd /root && dpkg-deb -R this.deb next && sed -i 's/^Version:.*/Version: 99.0/' next/DEBIAN/control &&
        printf '# of the next version\\n' >> next/lib/systemd/system/fairshared.service 2>/dev/null ||
        printf '# of the next version\\n' >> next/usr/lib/systemd/system/fairshared.service
        dpkg-deb --root-owner-group -Znone -b next next.deb";
    guest.root(repack).expect_ok();
}

/// Has dpkg do this, and shows what it says.
pub fn dpkg(guest: &Guest, what: &str) -> crate::run::Ran {
    let command = format!("DEBIAN_FRONTEND=noninteractive dpkg {what}");
    let ran = guest.command(&command).run().expect_ok();
    eprintln!("$ dpkg {what}\n{}{}", ran.stdout(), ran.stderr());
    ran
}

guest_test!(an_upgrade_loses_no_connection_no_share_and_no_work, |guest: Guest| {
    // As installed: the socket enabled and started, the service neither.
    assert_eq!(guest.root("systemctl is-enabled fairshared.socket").text(), "enabled");
    assert_eq!(guest.root("systemctl is-active fairshared.socket").text(), "active");
    assert_eq!(guest.root("systemctl is-active fairshared.service").text(), "inactive");
    assert_eq!(guest.root("systemctl is-enabled fairshared.service").text(), "static");
    guest.root("systemctl is-system-running").expect_ok();

    make_next_version(&guest);
    let work = guest
        .command("fairshare request --cpu 0.5 --mem 128M > /dev/null && exec fairshare run -- sleep 1000")
        .user("alice")
        .spawn();
    guest.await_cmd(&format!("grep -qx 'populated 1' /sys/fs/cgroup/{ALICE}/cgroup.events"));
    let submit = "fairshare submit --output /dev/null -- sh -c 'until test -e /tmp/enough; do sleep 0.2; done; exit 7'";
    let job = guest.as_user("alice", submit).expect_ok().text();
    let daemon = guest.daemon_pid().expect("a daemon");
    let socket = guest.property("fairshared.socket", "ActiveEnterTimestampMonotonic");
    guest.root("echo '# of this machine' >> /etc/fairshare/policy.d/default.yaml").expect_ok();
    let asking = guest
        .command(
            "asked=0; while ! test -e /tmp/enough; do fairshare status > /tmp/said 2>&1 && grep -q '0.5 CPU' /tmp/said ||
             { cat /tmp/said; exit 1; }; asked=$((asked + 1)); done; echo asked $asked times",
        )
        .user("alice")
        .spawn();
    dpkg(&guest, "-i /root/next.deb");
    guest.root("touch /tmp/enough").expect_ok();
    let asked = asking.wait().expect_ok().text();
    eprintln!("{asked}");
    assert!(!asked.starts_with("asked 0 "));
    assert_ne!(guest.daemon_pid(), Some(daemon), "the old daemon still runs");
    assert!(guest.daemon_pid().is_some());
    assert_eq!(
        guest.property("fairshared.socket", "ActiveEnterTimestampMonotonic"),
        socket,
        "the socket was restarted"
    );
    assert_eq!(guest.property("fairshared.service", "NeedDaemonReload"), "no");
    guest.root("grep -q '# of this machine' /etc/fairshare/policy.d/default.yaml").expect_ok();
    assert!(work.is_running());
    assert_eq!(guest.cgroup(ALICE, "memory.max"), (128u64 << 20).to_string());
    guest.as_user("alice", &format!("fairshare wait {job}")).expect_code(7);

    // Where the daemon does not run, an upgrade does not start it.
    guest.root("systemctl stop fairshared.service").expect_ok();
    dpkg(&guest, "-i /root/next.deb");
    assert_eq!(guest.daemon_pid(), None);
    guest.as_user("alice", "fairshare status").expect_ok().stdout_has("0.5 CPU");
});

guest_test!(a_removal_stops_nobodys_work_and_a_purge_leaves_the_group, |guest: Guest| {
    let work = guest
        .command("fairshare request --cpu 0.5 --mem 128M > /dev/null && exec fairshare run -- sleep 1000")
        .user("alice")
        .spawn();
    guest.await_cmd(&format!("grep -qx 'populated 1' /sys/fs/cgroup/{ALICE}/cgroup.events"));
    guest.as_user("bob", "fairshare request --cpu 0.25 --mem 64M").expect_ok();
    guest.put(&deb_under_test(), "/root/this.deb");
    dpkg(&guest, "-r fairshare").stdout_has("left alone");
    // Where nothing is said of the CPU any more systemd takes the controller away, and the files with it.
    for group in [ALICE, "fairshare.slice"] {
        for (file, free) in [
            ("cpu.max", "max 100000"),
            ("cpu.weight", "100"),
            ("memory.max", "max"),
            ("memory.swap.max", "max"),
            ("memory.low", "0"),
            ("pids.max", "max"),
        ] {
            let held =
                guest.root(&format!("cat /sys/fs/cgroup/{group}/{file} 2> /dev/null || echo {free}")).text();
            assert_eq!(held.trim(), free, "{group}: {file}");
        }
    }
    guest.root(&format!("test -d /sys/fs/cgroup/{ALICE}")).expect_ok();
    assert!(
        !guest.cgroup_exists("fairshare.slice/fairshare-1002.slice/fairshare-1002-own.slice"),
        "an empty share stayed"
    );
    assert!(work.is_running());
    assert_eq!(guest.daemon_pid(), None);
    guest.root("! test -e /run/fairshare.sock && test -e /etc/fairshare/policy.d/default.yaml").expect_ok();

    // Installed again: the share is what the state remembers, and the work is in it.
    dpkg(&guest, "-i /root/this.deb");
    guest.as_user("alice", "fairshare status").expect_ok().stdout_has("0.5 CPU");
    assert_eq!(guest.cgroup(ALICE, "memory.max"), (128u64 << 20).to_string());
    assert!(work.is_running());

    // Purged with the share busy, and installed again: adopted with what the policy allows.
    dpkg(&guest, "-P fairshare");
    assert!(work.is_running());
    guest
        .root("for at in /etc/fairshare /var/lib/fairshare /run/fairshare.sock /usr/bin/fairshare /usr/sbin/fairshared; do
                   ! test -e $at || { echo $at; exit 1; }
               done
               ! ls /etc/systemd/system/*/fairshared* /run/systemd/system*/fairshared* 2> /dev/null
               ! systemctl list-unit-files --no-legend 'fairshare*' | grep -v transient
               getent group fairshare")
        .expect_ok();
    let left = guest.root("find / -xdev -name '*fairshare*' -not -path '/proc/*' -not -path '/root/*' -not -path '/var/log/*' -not -path '/run/systemd/transient/*' -not -path '/tmp/*'");
    eprintln!("left after purge:\n{}", left.text());
    dpkg(&guest, "-i /root/this.deb");
    guest.as_user("alice", "fairshare status").expect_ok().stdout_has("8 CPU");
    assert_eq!(guest.cgroup(ALICE, "cpu.max"), "800000 100000");
    assert!(work.is_running());
    guest.as_user("alice", "fairshare release --stop").expect_ok();
    dpkg(&guest, "-P fairshare");
    assert!(!guest.cgroup_exists("fairshare.slice"), "the last slice stayed");
    guest.root("systemctl is-system-running").expect_ok();
});

guest_test!(a_command_that_waits_keeps_its_place_through_kills_an_upgrade_and_a_reboot, |guest: Guest| {
    make_next_version(&guest);
    guest.as_user("bob", "fairshare request --cpu 1 --mem 64M").expect_ok();
    let submit = "WORD=xyzzy fairshare submit --cpu 1 --mem 64M -- sh -c 'echo $WORD >> ran; umask; pwd'";
    let id = guest.as_user("alice", &format!("umask 027; {submit}")).expect_ok().text();
    let waits = || {
        let job = guest.job(id.parse().unwrap());
        assert_eq!((job["state"].as_str(), job["place"].as_u64()), (Some("queued"), Some(1)), "{job}");
    };
    // Nobody but root sees what it is to run.
    guest.root(&format!("stat -c %a /var/lib/fairshare/jobs/{id}")).stdout_has("600");
    guest.as_user("bob", &format!("cat /var/lib/fairshare/jobs/{id}")).expect_code(1);
    for _ in 0..5 {
        let daemon = guest.daemon_pid().expect("a daemon");
        guest.root(&format!("kill -9 {daemon}")).expect_ok();
        waits();
    }
    dpkg(&guest, "-i /root/next.deb");
    waits();
    guest.reboot();
    guest.await_running();
    waits();
    guest.as_user("bob", "fairshare release").expect_ok();
    let said = format!("fairshare wait {id} && cat ran fairshare-{id}.out");
    guest.as_user("alice", &said).expect_ok().stdout_has("xyzzy\n0027\n/home/alice\n");
    guest.as_user("alice", "wc -l < ran").stdout_has("1\n");
    guest.await_cmd("test -z \"$(ls /var/lib/fairshare/jobs)\"");
});
