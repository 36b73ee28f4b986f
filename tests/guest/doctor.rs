//! `fairshare doctor`: whether what was promised is kept, and each way out of shares and logins.

use crate::guest::Guest;
use crate::run::Ran;

const SITE: &str = "reserve: {cpu: 0.5, mem: 512M}\nbaseline: {cpu: 1, mem: 512M}\n\
                    others: {held.service: {tasks: 64}}\n";

/// Has root start a program of alice's in a unit of the system's, with or without a session.
fn unit(name: &str, how: &str) -> String {
    format!("systemd-run --quiet --unit={name} {how}")
}

/// What a member types in a login.
fn typed(guest: &Guest, user: &str, command: &str) -> Ran {
    guest.command(command).user(user).login().run()
}

guest_test!(doctor_finds_each_way_out_and_nothing_else, |guest: Guest| {
    guest.write_file("/etc/fairshare/policy.d/site.yaml", SITE, 0o644);
    guest.root("usermod --append --groups sudo bob").expect_ok();
    guest.root(&unit("held", "--uid=bob sleep 1005")).expect_ok();
    // In the share, and in a login.
    let _inside = guest
        .command("fairshare request --cpu 0.5 --mem 64M > /dev/null && exec fairshare run -- sleep 1001")
        .user("alice")
        .spawn();
    let _left = guest.command("exec sleep 1002").user("alice").login().spawn();
    // Root's, and alice's by whose login it is, as cron starts them.
    guest.root(&unit("cronlike", "sh -c 'echo 1001 > /proc/self/loginuid; exec sleep 1003'")).expect_ok();
    guest.root(&unit("batch", "--uid=alice sleep 1004")).expect_ok();
    guest.root(&unit("strangers", "--uid=mallory sleep 1006")).expect_ok();
    for sleep in 1001..=1006 {
        guest.await_cmd(&format!("pgrep -fx '(/usr/bin/)?sleep {sleep}'"));
    }
    guest.await_cmd("test $(cat /sys/fs/cgroup/system.slice/held.service/pids.max) = 64");
    guest.await_cmd("test $(cat /sys/fs/cgroup/user.slice/user-1001.slice/memory.max) = 536870912");

    let ran = guest.root("fairshare doctor").expect_code(1);
    let said = ran.text();
    let lines = |kind: &str| said.lines().filter(|line| line.starts_with(kind)).count();
    assert_eq!((lines("OUTSIDE"), lines("held"), lines("FAULT")), (2, 1, 0), "{said}");
    let alices = "OUTSIDE  alice: 1 process, ";
    for (begin, end) in [
        (alices, " in system.slice/cronlike.service"),
        (alices, " in system.slice/batch.service"),
        (
            "held     bob: 1 process, ",
            " in system.slice/held.service, which the policy holds (others: held.service)",
        ),
        ("left     alice: ", " in the login and not in the share, held to 1 CPU, 512.0 MiB"),
        ("ok       fairshare.slice: 1.5 CPU and ", " of all others"),
        ("ok       the kernel holds the one share ", "to what was promised, and to no more"),
        ("note     bob: in the group sudo, ", "with which one can be root, whom nothing holds"),
    ] {
        let found = said.lines().any(|line| line.starts_with(begin) && line.ends_with(end));
        assert!(found, "no {begin:?}…{end:?} in\n{said}");
    }
    assert!(!said.contains("mallory") && !said.contains("carol: "), "{said}");

    // To a member: what is the member's own, and what to type.
    let said = typed(&guest, "alice", "fairshare doctor").expect_code(1).text();
    assert!(said.contains("OUTSIDE  you: 1 process, ") && !said.contains("bob"), "{said}");
    assert!(said.contains("ok       the kernel holds your share to what was promised"), "{said}");
    let batch = guest.root("systemctl show --property=MainPID --value batch").text();
    assert!(said.contains(&format!("hint: fairshare attach {batch}")), "{said}");
    typed(&guest, "alice", "fairshare attach --all").expect_ok().stdout_has("Moved ");
    let moved = guest.root(
        "grep -l fairshare-1001 $(pgrep -fx '(/usr/bin/)?sleep 100[1-4]' | sed 's:.*:/proc/&/cgroup:')",
    );
    assert_eq!(moved.text().lines().count(), 3, "{}", moved.text());
    // What remains is root's: whom it was started by is no reason to move it.
    let said = typed(&guest, "alice", "fairshare doctor").expect_code(1).text();
    assert_eq!(said.matches("OUTSIDE").count(), 1, "{said}");
    assert!(said.contains("cronlike.service"), "{said}");
    typed(&guest, "carol", "fairshare doctor").expect_ok().stdout_lacks("OUTSIDE");
});
