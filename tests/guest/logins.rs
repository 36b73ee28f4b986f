//! What is held outside of shares: logins of members, from their first process on, and whom nothing holds.

use crate::guest::Guest;

const POLICY: &str = "/etc/fairshare/policy.d/site.yaml";

/// What the kernel holds the logins of a user to: CPU, memory, tasks.
fn held(guest: &Guest, uid: u32) -> [String; 3] {
    ["cpu.max", "memory.max", "pids.max"]
        .map(|file| guest.cgroup(&format!("user.slice/user-{uid}.slice"), file))
}

/// What systemd says of a figure of a user's logins.
fn declared(guest: &Guest, uid: u32, property: &str) -> String {
    guest.property(&format!("user-{uid}.slice"), property)
}

/// Puts a policy in force.
fn policy(guest: &Guest, text: &str) {
    guest.write_file(POLICY, text, 0o644);
    guest.root("fairshare admin reload").expect_ok();
}

/// Waits until systemd was told to hold the logins of a user.
fn await_held(guest: &Guest, uid: u32) {
    guest.await_cmd(&format!(
        "grep -q TasksMax=256 /run/systemd/system.control/user-{uid}.slice.d/50-TasksMax.conf"
    ));
}

const HELD: [&str; 3] = ["50000 100000", "536870912", "256"];
const BASELINE: &str = "baseline: {cpu: 0.5, mem: 512M, tasks: 256}\n";

guest_test!(a_login_is_held_from_its_first_process_and_root_and_admins_are_free, |guest: Guest| {
    let before = declared(&guest, 1001, "TasksMax");
    // Of bob's logins the administrator has said something: that stays, and the rest is held.
    guest
        .root(
            "mkdir -p /etc/systemd/system/user-1002.slice.d
             printf '[Slice]\\nMemoryMax=900M\\n' > /etc/systemd/system/user-1002.slice.d/mine.conf
             systemctl daemon-reload; groupadd wheel; usermod -aG wheel carol",
        )
        .expect_ok();
    assert!(!guest.cgroup_exists("user.slice/user-1001.slice"), "there is no login, and no cgroup of one");
    policy(&guest, &format!("{BASELINE}groups: {{wheel: {{role: admin}}}}\n"));
    for uid in [1001, 1002] {
        await_held(&guest, uid);
    }

    let within =
        "cd /sys/fs/cgroup/user.slice/user-$(id -u).slice; cat cpu.max memory.max pids.max /proc/self/cgroup";
    let login = |user: &str| {
        let said = guest.command(within).user(user).login().run().expect_ok().stdout();
        said.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let alice = login("alice");
    assert_eq!(alice[..3], HELD);
    assert!(alice[3].starts_with("0::/user.slice/user-1001.slice/session-"), "{alice:?}");
    assert_eq!(login("bob")[..3], ["50000 100000", &(900u64 << 20).to_string(), "256"]);
    guest.root("fairshare health").expect_ok().stdout_has("user-1002.slice has MemoryMax from a drop-in");
    // Nobody holds an admin, root, or who is no member.
    for (user, uid) in [("carol", 1003), ("mallory", 1666), ("root", 0)] {
        let free = login(user);
        assert_eq!(free[..2], ["max 100000", "max"], "{user}");
        assert_eq!(free[2], before, "{user}");
        guest.root(&format!("! test -e /run/systemd/system.control/user-{uid}.slice.d")).expect_ok();
    }

    // What a member starts outside of the session stays in the login, and is held with it.
    let linger = guest.command("sleep 1000").user("alice").login().spawn();
    guest.await_cmd("pgrep -u alice -x systemd");
    let users_own = guest.root("cat /proc/$(pgrep -u alice -x systemd)/cgroup").text();
    assert!(users_own.starts_with("0::/user.slice/user-1001.slice/user@1001.service"), "{users_own}");
    assert_eq!(held(&guest, 1001), HELD);

    // A share is held to its own figures, whatever its member's logins are.
    guest.as_user("alice", "fairshare request --cpu 1 --mem 64M").expect_ok();
    assert_eq!(
        guest.cgroup("fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice", "memory.max"),
        "67108864"
    );
    assert_eq!(held(&guest, 1001), HELD);

    // A daemon that comes back sets what it set, and a reload without a baseline gives back what was before.
    guest.kill_daemon();
    guest.root("fairshare health").expect_ok();
    assert_eq!(held(&guest, 1001), HELD);
    policy(&guest, "");
    guest.await_cmd("grep -qx max /sys/fs/cgroup/user.slice/user-1001.slice/memory.max");
    assert_eq!(held(&guest, 1001), ["max 100000", "max", &before]);
    guest.await_cmd(&format!("test $(systemctl show -P TasksMax user-1002.slice) = {before}"));
    assert_eq!(declared(&guest, 1002, "MemoryMax"), (900u64 << 20).to_string());
    assert!(linger.is_running());
});

guest_test!(logins_are_held_after_a_reboot_without_a_client_and_free_after_removal, |guest: Guest| {
    let before = declared(&guest, 1001, "TasksMax");
    guest.write_file(POLICY, BASELINE, 0o644);
    guest.reboot();
    guest.await_running();
    guest.await_cmd("systemctl -q is-active fairshared.service");
    await_held(&guest, 1001);
    // Whom the group does not list is held at the login: logind tells of it.
    guest.root("usermod -g fairshare mallory").expect_ok();
    let work = guest.command("exec sleep 1000").user("mallory").login().spawn();
    guest.await_cmd("grep -qx 256 /sys/fs/cgroup/user.slice/user-1666.slice/pids.max");
    assert_eq!(held(&guest, 1666), HELD);
    // Who leaves the group gets back what they had, logged in or not.
    guest.root("usermod -g mallory mallory; gpasswd -d bob fairshare; fairshare admin reload").expect_ok();
    guest.await_cmd("grep -qx max /sys/fs/cgroup/user.slice/user-1666.slice/memory.max");
    assert_eq!(held(&guest, 1666), ["max 100000", "max", &before]);
    guest.await_cmd(&format!("test $(systemctl show -P TasksMax user-1002.slice) = {before}"));
    assert_eq!(declared(&guest, 1001, "TasksMax"), "256");

    // The removal takes exactly what was fairshare's, from running logins too, and what a daemon left that died while it told
    // systemd.
    let login = guest.command("exec sleep 1000").user("alice").login().spawn();
    guest.await_cmd("grep -qx 256 /sys/fs/cgroup/user.slice/user-1001.slice/pids.max");
    assert_eq!(held(&guest, 1001), HELD);
    guest
        .root(
            "systemctl stop fairshared.service
             sed -i 's/^MemoryMax=.*/MemoryMax=1073741824 was 18446744073709551615 telling/' \
                 /run/fairshared/outside/user-1001.slice
             systemctl set-property --runtime user-1003.slice TasksMax=77 IOWeight=50",
        )
        .expect_ok();
    guest.command("DEBIAN_FRONTEND=noninteractive dpkg -r fairshare").run().expect_ok();
    assert_eq!(declared(&guest, 1001, "TasksMax"), before);
    assert_eq!(declared(&guest, 1001, "MemoryMax"), "infinity");
    assert_eq!(declared(&guest, 1003, "TasksMax"), "77", "the administrator's went");
    assert_eq!(declared(&guest, 1003, "CPUQuotaPerSecUSec"), "infinity");
    let left = guest.root("ls -R /run/systemd/system.control/user-* /run/fairshared 2> /dev/null").text();
    let gone = ["user-1001", "CPUQuota", "MemoryMax", "outside"];
    assert!(!gone.iter().any(|name| left.contains(name)) && left.contains("IOWeight"), "{left}");
    for uid in [1001, 1666] {
        assert_eq!(held(&guest, uid), ["max 100000", "max", &before], "{uid}");
    }
    assert!(work.is_running() && login.is_running());
});

guest_test!(a_running_login_above_the_figure_is_not_killed, |guest: Guest| {
    let hog = "exec python3 -c 'import time; b = b\"x\" * (600 << 20); open(\"/tmp/full\", \"w\"); time.sleep(1000)'";
    let hog = guest.command(hog).user("alice").login().spawn();
    guest.await_cmd("test -e /tmp/full");
    guest.root("systemd-run --unit=batch --slice=docker.slice sleep 1000").expect_ok();
    let others = "others: {docker.slice: {cpu: 0.2, tasks: 64}, nowhere.service: {mem: 1G}}\n";
    policy(&guest, &format!("baseline: {{mem: 256M}}\nlogins: {{mem: 300M}}\n{others}"));
    guest.await_cmd("! grep -qx max /sys/fs/cgroup/user.slice/user-1001.slice/memory.max");
    guest.await_cmd("! grep -qx max /sys/fs/cgroup/user.slice/memory.max");
    let limit = || guest.cgroup("user.slice/user-1001.slice", "memory.max").parse::<u64>().unwrap() >> 20;
    assert!((600..700).contains(&limit()), "{}", limit());
    guest.root("fairshare health").expect_ok().stdout_has("user-1001.slice is held to");
    assert!(hog.is_running());
    // Of the units beside logins, one that is not installed is told.
    guest.root("fairshare health").expect_ok().stdout_has("nowhere.service is not there");
    let docker = ["cpu.max", "pids.max"].map(|file| guest.cgroup("docker.slice", file));
    assert_eq!(docker, ["20000 100000", "64"]);
    // The limit follows what is in use, down to the figure: at each look, and at a start.
    guest.root("pkill -KILL -u alice python3").expect_ok();
    guest.await_cmd("test $(cat /sys/fs/cgroup/user.slice/memory.current) -lt $((100 << 20))");
    guest.kill_daemon();
    guest.root("fairshare health").expect_ok();
    guest.await_cmd(
        "test $(cat /sys/fs/cgroup/user.slice/user-1001.slice/memory.max || echo 0) -le $((256 << 20))",
    );
    guest.await_cmd(&format!("grep -qx {} /sys/fs/cgroup/user.slice/memory.max", 300 << 20));
    guest.root("! grep -q '^oom_kill [1-9]' /sys/fs/cgroup/user.slice/memory.events").expect_ok();
});

guest_test!(a_broken_daemon_lets_everybody_log_in, |guest: Guest| {
    policy(&guest, BASELINE);
    await_held(&guest, 1001);
    // A policy that cannot be read changes nothing of what is held, and nobody is kept out.
    guest.write_file(POLICY, "baseline: {cpu: 0.01}\n", 0o644);
    guest.root("systemctl restart fairshared.service").expect_ok();
    guest.root("fairshare health").expect_code(1).stdout_has("site.yaml:1");
    for user in ["alice", "mallory"] {
        guest.command("true").user(user).login().run().expect_ok();
    }
    assert_eq!(declared(&guest, 1001, "TasksMax"), "256");
    // Nor is anybody by a daemon that ends at once, at boot either.
    guest.write_file(POLICY, BASELINE, 0o644);
    guest.root("cp --remove-destination /usr/bin/false /usr/sbin/fairshared && sync").expect_ok();
    guest.reboot();
    for user in ["alice", "bob", "root"] {
        guest.command("true").user(user).login().run().expect_ok();
    }
    assert_eq!(declared(&guest, 1001, "MemoryMax"), "infinity");
});

/// Two hundred users more, all of them members: m3001 to m3200.
const MANY: &str = r#"
    seq 3001 3200 | awk '{ print "m" $1 ":x:" $1 ":" $1 "::/:/bin/sh" }' >> /etc/passwd
    sed -i "s/^fairshare:.*/&$(seq -f ,m%g 3001 3200 | tr -d '\n')/" /etc/group
    test $(getent group fairshare | tr , '\n' | wc -l) -ge 200"#;

/// Those of them that systemd was told of: their last figure's drop-ins.
const TOLD: &str =
    "grep -lsx TasksMax=256 /run/systemd/system.control/user-3*.slice.d/50-TasksMax.conf | sort";

guest_test!(two_hundred_members_are_held_and_what_was_set_stays_where_the_daemon_dies, |guest: Guest| {
    guest.root(MANY).expect_ok();
    policy(&guest, BASELINE);
    let killed = guest.root(&format!(
        "until {TOLD} > before; test $(wc -l < before) -ge 20; do sleep 0.01; done
         systemctl kill --kill-who=main -s KILL fairshared.service; {TOLD} | tee before"
    ));
    let before = killed.expect_ok().text();
    let told = before.lines().count();
    assert!((20..200).contains(&told), "{before}");
    // Who comes after goes on, and at no time has anybody less than before. Twenty at a time: all of them may take minutes.
    for so_many in (told..200).step_by(20).skip(1).chain([200]) {
        let fewer = "comm -23 before now | grep . && exit 1";
        let come =
            format!("until {TOLD} > now; {fewer}; test $(wc -l < now) -ge {so_many}; do sleep 0.1; done");
        guest.root(&come).expect_ok();
    }
    guest.root("test $(wc -l < now) -eq 200").expect_ok();
    guest.root("fairshare health").expect_ok();
    // Of those who are not logged in systemd keeps nothing in mind.
    guest.await_cmd("test -z \"$(systemctl list-units --all --no-legend 'user-3*.slice')\"");
    let within = "cd /sys/fs/cgroup/user.slice/user-$(id -u).slice && cat cpu.max memory.max pids.max";
    for user in ["m3001", "m3200"] {
        let said = guest.command(within).user(user).login().run().expect_ok().stdout();
        assert_eq!(said.lines().collect::<Vec<_>>(), HELD, "{user}");
    }

    // At the next look the one who has something else is held again, and of nobody else systemd is told anything.
    let login = guest.command("exec sleep 1000").user("m3200").login().spawn();
    guest.await_cmd("grep -qx 256 /sys/fs/cgroup/user.slice/user-3200.slice/pids.max");
    let others = "stat -c '%n %i' /run/systemd/system.control/user-3*/50-TasksMax.conf | grep -v user-3200";
    let before = guest.root(others).expect_ok().text();
    guest.root("systemctl set-property --runtime user-3200.slice TasksMax=77").expect_ok();
    guest.await_cmd("grep -qx 256 /sys/fs/cgroup/user.slice/user-3200.slice/pids.max");
    assert_eq!(guest.root(others).expect_ok().text(), before);
    assert!(login.is_running());
});

guest_test!(who_becomes_a_member_while_logged_in_is_held_within_a_minute, |guest: Guest| {
    policy(&guest, BASELINE);
    await_held(&guest, 1001);
    let work = guest.command("exec sleep 1000").user("mallory").login().spawn();
    guest.await_cmd("test -e /sys/fs/cgroup/user.slice/user-1666.slice");
    guest.root("grep -qx max /sys/fs/cgroup/user.slice/user-1666.slice/memory.max").expect_ok();
    guest.root("usermod --append --groups fairshare mallory").expect_ok();
    guest.await_cmd("grep -qx 256 /sys/fs/cgroup/user.slice/user-1666.slice/pids.max");
    assert_eq!(held(&guest, 1666), HELD);
    assert!(work.is_running());
});
