//! What there is only so much of on a machine: no member uses it up.

use crate::guest::Guest;
use crate::run::Command;

/// Answers that another member waits for while an attack is under way.
const ROUNDS: u32 = 20;

impl Guest {
    /// What a user does to use it up, to be run or spawned.
    fn exhausting(&self, user: &str, what: &str) -> Command {
        self.command(&format!("exec python3 /usr/local/lib/exhausting.py {what}")).user(user)
    }
}

/// The unit's own bound, `MemoryHigh=`: over it the kernel slows the daemon down.
const MEMORY_HIGH: u64 = 64 << 20;

/// Commands that each of three members has waiting: as many as there is room for, and one.
const LARGE: u32 = 13;

guest_test!(submissions_that_wait_take_no_more_memory_than_the_daemon_has, |guest: Guest| {
    guest.without_watchdog();
    guest.prepare_for_attacks();
    guest.root("rm -f /tmp/under-way /tmp/stopping").expect_ok();
    let users = ["alice", "bob", "carol"];
    for user in users {
        guest.as_user(user, "fairshare request --cpu 0.25 --mem 64M").expect_ok();
        let deaf =
            "exec fairshare run -- sh -c 'trap : TERM; touch /tmp/deaf-$USER; while :; do sleep 1; done'";
        guest.command(deaf).user(user).spawn();
    }
    let attacks = users.map(|user| guest.exhausting(user, &format!("submissions {LARGE}")).spawn());
    for (user, uid) in users.iter().zip(1001..) {
        guest.await_cmd(&format!("test -e /tmp/deaf-{user} -a -e /tmp/ready-{uid}"));
    }
    // All of them are stopping for ten seconds, and what is submitted in that time has to wait.
    let stop = "runuser -u $user -- fairshare release --stop > /dev/null 2>&1 &";
    guest.root(&format!("for user in {}; do {stop} done", users.join(" "))).expect_ok();
    guest.await_cmd(
        "test $(fairshare jobs --all --json | grep -o '\"release\"' | wc -l) = 3 && touch /tmp/stopping",
    );
    let pid = guest.daemon_pid();
    let said = guest.hostile("root", &format!("answered {ROUNDS}")).run().expect_ok().text();
    eprintln!("{said}");
    let answers = attacks.map(|attack| attack.wait().expect_ok().text());
    eprintln!("{answers:#?}");
    assert_eq!(guest.daemon_pid(), pid, "{}", guest.report("the daemon did not stay"));
    let group = "system.slice/fairshared.service";
    let peak = guest.cgroup(group, "memory.peak");
    let high =
        guest.root(&format!("awk '$1 == \"high\" {{ print $2 }}' /sys/fs/cgroup/{group}/memory.events"));
    let said = format!("peak {peak}, over MemoryHigh {} times", high.text());
    eprintln!("{said}");
    assert!(peak.parse::<u64>().is_ok_and(|peak| peak < MEMORY_HIGH), "{}", guest.report(&said));
    assert_eq!(high.text(), "0", "{}", guest.report(&said));
    guest.as_user("bob", "fairshare health").expect_ok();
});

/// Scopes that a member may have (`SCOPES_MAX`), and processes that one wants to have in a scope each.
const SCOPES_MAX: usize = 256;
const PROCESSES: usize = 290;

/// Calls in which they are asked for: after the first 256 there are ten a second (`STARTS_MAX`), so that 5000 take eight minutes.
const ATTACHES: usize = 320;

/// What is left of root's watches, of which systemd takes two for a scope.
const WATCHES_LEFT: u32 = 560;

guest_test!(scopes_of_a_member_leave_root_watches_to_have, |guest: Guest| {
    guest.prepare_for_attacks();
    let pid = guest.daemon_pid();
    guest.as_user("alice", "fairshare request --cpu 1 --mem 256M").expect_ok();
    let watches = guest.exhausting("root", "watches").run().expect_ok().text();
    let watches: u32 = watches.parse().expect("a number");
    guest.root(&format!("sysctl -q fs.inotify.max_user_watches={}", watches + WATCHES_LEFT)).expect_ok();
    guest.root("rm -f /tmp/over /tmp/under-way /tmp/attached").expect_ok();
    let attack = guest.exhausting("alice", &format!("attaches {PROCESSES} {ATTACHES}")).spawn();
    let said = guest.hostile("bob", &format!("answered {ROUNDS}")).run().expect_ok().text();
    eprintln!("{said}");
    guest.await_cmd("test -e /tmp/attached");
    guest.exhausting("root", "watch").run().expect_ok();
    let scopes = guest.root("systemctl list-units --no-legend 'fairshare-1001-*.scope' | wc -l").expect_ok();
    assert_eq!(scopes.text().parse(), Ok(SCOPES_MAX), "scopes");
    guest.root("systemctl daemon-reload").expect_ok();
    guest.as_user("bob", "fairshare run --cpu 0.2 --mem 32M -- true").expect_ok();
    assert_eq!(guest.daemon_pid(), pid, "{}", guest.report("the daemon did not stay"));
    guest.root("touch /tmp/over").expect_ok();
    let said = attack.wait().expect_ok().text();
    // 6 is Busy.
    assert_eq!(said, format!("{SCOPES_MAX} moved\n{} refused 6", ATTACHES - SCOPES_MAX));
});
