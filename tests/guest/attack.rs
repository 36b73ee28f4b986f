//! A member who does what a member can, while another one works: the daemon stays small, open and sober.

use crate::guest::Guest;

/// In one sitting, the one last for which its user is shut out.
const ATTACKS: [&str; 10] =
    ["silent", "lengths", "drip", "hoard", "descriptors", "leave", "pipeline", "claims", "texts", "garbage"];
const MEMORY_MAX_KIB: u64 = 64 << 10;

fn descriptors(guest: &Guest) -> usize {
    let pid = guest.daemon_pid().expect("no daemon");
    guest.root(&format!("ls /proc/{pid}/fd")).expect_ok().stdout().lines().count()
}

guest_test!(a_hostile_member_is_nobody_elses_trouble, |guest: Guest| {
    guest.write_file("/usr/local/lib/attack.py", include_str!("../data/attack.py"), 0o644);
    guest.as_user("bob", "fairshare request --cpu 0.5 --mem 64M").expect_ok();
    let pid = guest.daemon_pid();
    let before = descriptors(&guest);
    for attack in ATTACKS {
        let attacker =
            guest.command(&format!("python3 /usr/local/lib/attack.py {attack}")).user("alice").spawn();
        loop {
            guest.as_user("bob", "fairshare status").expect_ok();
            if !attacker.is_running() {
                break;
            }
        }
        attacker.wait().expect_ok().stdout_has("done");
        guest.wait_until("the descriptors to come back", || descriptors(&guest) <= before);
        assert_eq!(guest.daemon_pid(), pid, "{attack} ended the daemon");
    }
    let status = guest.root(&format!("cat /proc/{}/status", pid.expect("no daemon"))).expect_ok().stdout();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("no VmHWM");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(peak < MEMORY_MAX_KIB, "{peak} KiB");

    // A field of its own, a line of its own, or a terminal's command would be the attacker's.
    let journal = guest.journal("fairshared.service");
    for entry in &journal {
        assert!(
            !entry.message().contains(['\n', '\r', '\u{1b}', '\u{9b}', '\u{202e}']),
            "{:?}",
            entry.message()
        );
        assert!(entry.message().len() < 4096);
        assert_ne!(entry.field("EVIL"), Some("granted"));
    }
    assert!(journal.len() < 2000, "{} lines", journal.len());
});

guest_test!(a_daemon_that_dies_at_every_connection_leaves_the_socket_open, |guest: Guest| {
    for _ in 0..20 {
        guest.as_user("bob", "fairshare status").expect_ok();
        guest.kill_daemon();
    }
    assert_eq!(guest.property("fairshared.socket", "ActiveState"), "active");
    guest.as_user("bob", "fairshare status").expect_ok();
});
