//! What hangs a daemon, or PID 1, or locks others out: done by a member, while another member is served.
//!
//! Who attacks is `hostile.py`, which shares no code with fairshare; the members' own command is who has to be served.

use std::time::{Duration, Instant};

use crate::guest::Guest;
use crate::run::Command;

/// Answers that another member waits for while an attack is under way.
const ROUNDS: u32 = 20;

impl Guest {
    /// Puts the attackers into the guest and has the daemon running.
    pub fn prepare_for_attacks(&self) {
        self.write_file("/usr/local/lib/hostile.py", include_str!("hostile.py"), 0o644);
        self.write_file("/usr/local/lib/exhausting.py", include_str!("exhausting.py"), 0o644);
        self.as_user("bob", "fairshare status").expect_ok();
    }

    /// Has no watchdog end the daemon, which on a slow host may do what it is asked for longer than that waits. One that hangs
    /// does not answer.
    pub fn without_watchdog(&self) {
        self.root("mkdir -p /run/systemd/system/fairshared.service.d").expect_ok();
        let dropin = "/run/systemd/system/fairshared.service.d/patient.conf";
        self.write_file(dropin, "[Service]\nWatchdogSec=0\n", 0o644);
        self.root("systemctl daemon-reload && systemctl try-restart fairshared.service").expect_ok();
    }

    /// A user's attack, to be run or spawned.
    pub fn hostile(&self, user: &str, what: &str) -> Command {
        self.command(&format!("exec python3 /usr/local/lib/hostile.py {what}")).user(user)
    }
}

guest_test!(descriptors_that_come_out_of_band_hold_up_nobody, |guest: Guest| {
    guest.prepare_for_attacks();
    let pid = guest.daemon_pid();
    guest.root("rm -f /tmp/over /tmp/under-way").expect_ok();
    let attack = guest.hostile("alice", "out_of_band").spawn();
    let said = guest.hostile("bob", &format!("answered {ROUNDS}")).run().expect_ok().text();
    eprintln!("{said}");
    // Work that brings descriptors with it: those of the attacker do not stand in its way.
    let submit =
        "id=$(fairshare submit --cpu 0.2 --mem 32M -- true) && fairshare wait $id && fairshare release";
    guest.as_user("bob", submit).expect_ok();
    // One that hangs is ended by its watchdog.
    assert_eq!(guest.daemon_pid(), pid, "{}", guest.report("the daemon did not stay"));
    guest.root("touch /tmp/over").expect_ok();
    attack.wait().expect_ok();
});

/// Says under which name the daemon is on the bus.
const NAME_ON_BUS: &str = "busctl list --no-legend | awk '$3 == \"fairshared\" { print $1; exit }'";

guest_test!(signals_with_which_a_stranger_floods_the_daemon_hold_up_nobody, |guest: Guest| {
    guest.without_watchdog();
    guest.prepare_for_attacks();
    let pid = guest.daemon_pid();
    let name = guest.root(NAME_ON_BUS).expect_ok().text();
    guest.root("rm -f /tmp/over /tmp/under-way").expect_ok();
    let attacks = [0; 2].map(|_| guest.hostile("mallory", &format!("bus_flood {name}")).spawn());
    guest.await_cmd("test -e /tmp/under-way");
    let said = guest.hostile("bob", &format!("answered {ROUNDS}")).run().expect_ok().text();
    eprintln!("{said}");
    // What systemd answers comes through beside all that.
    for _ in 0..3 {
        let works = "fairshare request --cpu 0.2 --mem 32M && fairshare run -- true && fairshare release";
        guest.as_user("bob", works).expect_ok();
    }
    assert_eq!(guest.daemon_pid(), pid, "{}", guest.report("the daemon did not stay"));
    assert_eq!(guest.root(NAME_ON_BUS).expect_ok().text(), name, "the daemon lost its connection to the bus");
    guest.root("touch /tmp/over").expect_ok();
    for attack in attacks {
        attack.wait().expect_ok();
    }
});

guest_test!(descriptors_that_a_stranger_sends_over_the_bus_hold_up_nobody, |guest: Guest| {
    guest.without_watchdog();
    guest.prepare_for_attacks();
    let pid = guest.daemon_pid().expect("the daemon runs");
    let name = guest.root(NAME_ON_BUS).expect_ok().text();
    assert!(name.starts_with(':'), "{name:?}");
    let held_by_bus = "ls /proc/$(systemctl show -P MainPID dbus.service)/fd | wc -l";
    let before: u32 = guest.root(held_by_bus).expect_ok().text().parse().expect("a number");
    guest.root("rm -f /tmp/over /tmp/under-way /tmp/sent /tmp/forwarded").expect_ok();
    // It stands still until nobody else has them, so that each close is its own.
    guest.root(&format!("kill -STOP {pid}")).expect_ok();
    let attack = guest.hostile("mallory", &format!("bus_descriptors {name}")).spawn();
    // The attacker's own connection and a passer-by's are descriptors as well; those that were sent are 64.
    guest.await_cmd(&format!("test -e /tmp/sent && test $({held_by_bus}) -le {}", before + 8));
    guest.root("touch /tmp/forwarded").expect_ok();
    guest.await_cmd("test -e /tmp/under-way");
    guest.root(&format!("kill -CONT {pid}")).expect_ok();
    let said = guest.hostile("bob", &format!("answered {ROUNDS}")).run().expect_ok().text();
    eprintln!("{said}");
    // What it asks of the bus is answered, and work that brings descriptors with it is done.
    let submit =
        "id=$(fairshare submit --cpu 0.2 --mem 32M -- true) && fairshare wait $id && fairshare release";
    guest.as_user("bob", submit).expect_ok();
    assert_eq!(guest.daemon_pid(), Some(pid), "{}", guest.report("the daemon did not stay"));
    assert_eq!(guest.root(NAME_ON_BUS).expect_ok().text(), name, "the daemon lost its connection to the bus");
    guest.root("touch /tmp/over").expect_ok();
    attack.wait().expect_ok();
});

guest_test!(
    a_command_that_is_stopped_before_it_takes_anything_leaves_nothing_with_systemd,
    |guest: Guest| {
        guest.prepare_for_attacks();
        guest.write_file("/home/alice/stuck.py", include_str!("stuck.py"), 0o644);
        guest.as_user("alice", "fairshare request --cpu 0.5 --mem 64M").expect_ok();
        let pid = guest.daemon_pid();
        let in_flight = "python3 /usr/local/lib/hostile.py in_flight 1";
        let before = guest.root(in_flight).expect_ok().text();
        let attack = "exec python3 stuck.py --write python3 /usr/local/lib/hostile.py stopped_job stuck/file";
        let attack = guest.command(attack).user("alice").spawn();
        guest.await_cmd("test -e /tmp/under-way");
        // Those of others are on their way there for a moment.
        guest.await_cmd(&format!("now=$({in_flight}); echo $now; test $now -le {before}"));
        guest.root("touch /tmp/over").expect_ok();
        guest.await_cmd("test -e /tmp/killed");
        // Dead, and cleared away by who owns it, while the file's close may hang for ever.
        guest.await_cmd("test -z \"$(systemctl list-units --all --no-legend 'fairshare-*-job*.service')\"");
        guest.await_cmd("! grep -q '^State:.D' /proc/1/status");
        guest.as_user("bob", "fairshare run --cpu 0.2 --mem 32M -- true").expect_ok();
        assert_eq!(guest.daemon_pid(), pid, "the daemon did not stay");
        attack.kill("KILL");
        guest.as_user("alice", "fairshare health").expect_ok();
    }
);

/// How long a member may have to ask again after a restart, where a machine is not emulated.
const SERVED_AGAIN_WITHIN: Duration = Duration::from_secs(30);

guest_test!(a_close_that_hangs_keeps_no_daemon_from_its_state, |guest: Guest| {
    guest.write_file("/home/alice/stuck.py", include_str!("stuck.py"), 0o644);
    guest.as_user("alice", "fairshare request --cpu 0.5 --mem 64M").expect_ok();
    let served_after = |end: &str| {
        guest.root(end).expect_ok();
        let began = Instant::now();
        guest.await_cmd("runuser -u bob -- fairshare run --cpu 0.2 --mem 32M -- true");
        let took = began.elapsed();
        guest.as_user("bob", "fairshare health && fairshare release").expect_ok();
        took
    };
    let hang = || {
        let submit = "rm -f closing; exec python3 stuck.py fairshare submit --output stuck/file -- true";
        let stuck = guest.command(submit).user("alice").spawn();
        guest.await_cmd("test -e ~alice/closing");
        stuck
    };
    let restart = "systemctl restart --no-block fairshared.service";
    let undisturbed = served_after(restart);
    let stuck = hang();
    let took = served_after(restart);
    eprintln!("{took:?}, undisturbed {undisturbed:?}");
    let bound = SERVED_AGAIN_WITHIN + undisturbed * 2;
    assert!(took <= bound, "{}", guest.report(&format!("served again after {took:?} > {bound:?}")));
    stuck.kill("KILL");

    // A crash is what systemd hears of by the watchdog only, where a thread cannot end. The next daemon has the state at once.
    guest.root("mkdir -p /run/systemd/system/fairshared.service.d").expect_ok();
    let sooner = "[Service]\nTimeoutStopSec=1s\n";
    guest.write_file("/run/systemd/system/fairshared.service.d/sooner.conf", sooner, 0o644);
    guest.root("systemctl daemon-reload").expect_ok();
    let stuck = hang();
    let took = served_after("systemctl kill --signal=KILL fairshared.service");
    eprintln!("after a crash: {took:?}");
    stuck.kill("KILL");
});

/// Tasks that the machine can have, in this guest: it has a hundred at rest.
const THREADS_MAX: u32 = 1000;

guest_test!(tasks_of_members_leave_root_enough_to_log_in, |guest: Guest| {
    guest.prepare_for_attacks();
    guest
        .root(&format!("sysctl -q kernel.threads-max={THREADS_MAX} && systemctl restart fairshared.service"))
        .expect_ok();
    for user in ["alice", "bob"] {
        // As many as all members together may have.
        let request = format!("fairshare request --cpu 0.5 --mem 128M --tasks {}", THREADS_MAX / 4 * 3);
        guest.as_user(user, &request).expect_ok();
    }
    let root = guest.hostile("root", "forks 77").spawn();
    let bombs = ["alice", "bob"].map(|user| {
        let bomb = "exec fairshare run -- python3 /usr/local/lib/hostile.py bomb";
        guest.command(bomb).user(user).spawn()
    });
    // It ends the attack as well.
    let said = root.wait().expect_ok().text();
    eprintln!("{said}");
    assert!(said.ends_with("members, 0 forks failed, login 0"), "{}", guest.report(&said));
    for bomb in bombs {
        bomb.wait();
    }
    let bound: u32 = guest.cgroup("fairshare.slice", "pids.max").parse().expect("a number");
    assert!(bound <= THREADS_MAX / 4 * 3, "{bound}");
    guest.as_user("carol", "fairshare status").expect_ok();
});
