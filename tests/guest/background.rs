//! Jobs of cron and at: outside of logins, and logins where the package's profile of PAM is enabled.

use crate::guest::Guest;

const SITE: &str = "baseline: {cpu: 0.5, mem: 512M, tasks: 256}\n";

/// Has cron and at start a job of alice's each, and cron one of root's; answers where the three are.
fn jobs(guest: &Guest) -> [String; 3] {
    // Each is told by how long it sleeps. Those of the last time end with their own sleep, and cron's are started anew with cron.
    guest
        .root(
            "pkill -f '^sleep 300[123]$'
             echo '@reboot exec sleep 3001' | crontab -u alice -
             echo '@reboot exec sleep 3002' | crontab -
             rm -f /run/crond.reboot; systemctl restart cron.service atd.service",
        )
        .expect_ok();
    guest.as_user("alice", "echo 'exec sleep 3003' | at now").expect_ok();
    [3001, 3002, 3003].map(|seconds| {
        let place = format!("cat /proc/$(pgrep -fx 'sleep {seconds}')/cgroup");
        guest.await_cmd(&place).text()
    })
}

guest_test!(jobs_of_cron_and_at_are_logins_with_the_profile_of_pam, |guest: Guest| {
    guest.write_file("/etc/fairshare/policy.d/site.yaml", SITE, 0o644);
    guest.root("fairshare admin reload; usermod --append --groups students bob").expect_ok();
    guest.await_cmd("grep -q 256 /run/systemd/system.control/user-1001.slice.d/50-TasksMax.conf");

    // As installed: where they have always been, and that is told with what helps.
    let [cron, at] = ["cron", "atd"].map(|name| format!("0::/system.slice/{name}.service"));
    assert_eq!(jobs(&guest), [cron.clone(), cron.clone(), at.clone()]);
    let said = guest.root("fairshare doctor").expect_code(1).text();
    for unit in ["cron", "atd"] {
        let found = said.lines().any(|line| {
            line.starts_with("OUTSIDE  alice: ")
                && line.ends_with(&format!(" in system.slice/{unit}.service"))
        });
        assert!(found, "{unit}: {said}");
    }
    let hint = "hint: `pam-auth-update --enable fairshare-background` has its jobs be logins";
    assert_eq!((said.matches("OUTSIDE").count(), said.matches(hint).count()), (2, 2), "{said}");

    // As that hint says.
    guest.root("DEBIAN_FRONTEND=noninteractive pam-auth-update --enable fairshare-background").expect_ok();
    let [of_cron, of_root, of_at] = jobs(&guest);
    for place in [&of_cron, &of_at] {
        assert!(place.starts_with("0::/user.slice/user-1001.slice/session-"), "{place}");
    }
    assert_eq!(of_root, cron);
    let held =
        ["cpu.max", "memory.max", "pids.max"].map(|file| guest.cgroup("user.slice/user-1001.slice", file));
    assert_eq!(held, ["50000 100000", "536870912", "256"]);
    guest.root("fairshare doctor").expect_ok().stdout_lacks("OUTSIDE");
    // In a job there is a share as in any login.
    let run = "fairshare run --cpu 0.5 --mem 64M -- cat /proc/self/cgroup > said";
    guest.as_user("alice", &format!("echo '{run}' | at now")).expect_ok();
    guest.await_cmd(
        "grep -q '^0::/fairshare.slice/fairshare-1001.slice/fairshare-1001-run1.slice/' /home/alice/said",
    );

    // What the removal leaves lets everybody log in, and jobs are where they were before. Those that run go on.
    guest
        .root("DEBIAN_FRONTEND=noninteractive dpkg -r fairshare && ! grep -r cron:atd /etc/pam.d")
        .expect_ok();
    guest.root("pgrep -fx 'sleep 3001' && pgrep -fx 'sleep 3003'").expect_ok();
    for user in ["alice", "mallory", "root"] {
        guest.command("true").user(user).login().run().expect_ok();
    }
    assert_eq!(jobs(&guest), [cron.clone(), cron, at]);
});
