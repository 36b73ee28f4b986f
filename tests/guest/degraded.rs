//! A bad policy: degraded and not dead, the old one kept at a reload; and the daemon by hand.

use crate::guest::Guest;

const POLICY: &str = "/etc/fairshare/policy.d/site.yaml";
const BAD: &str = "max: {cpu: 4}\nusers:\n  alice: {max: {cpus: 2}}\n";

guest_test!(a_bad_policy_degrades_at_start_and_changes_nothing_at_reload, |guest: Guest| {
    guest.as_user("alice", "fairshare request --cpu 0.5 --mem 64M").expect_ok();
    guest.write_file(POLICY, BAD, 0o644);
    // The reload is refused, whichever way it is asked for: the old policy stays.
    let refused = guest.root("fairshare admin reload").expect_code(1);
    eprintln!("{}", refused.stderr());
    refused
        .stderr_has("old one stays in force")
        .stderr_has("site.yaml:3")
        .stderr_has("cpus")
        .stderr_has("hint: mend it");
    guest.root("systemctl reload fairshared.service").expect_code(1);
    assert_eq!(
        guest.property("fairshared.service", "ActiveState"),
        "active",
        "a refused reload ended the daemon"
    );
    // A signal can only be answered in the journal.
    guest.root("systemctl kill -s HUP fairshared.service").expect_ok();
    guest.await_cmd(
        "test $(journalctl -u fairshared -o cat | grep -c 'the old one stays in force: /etc') -eq 3",
    );
    guest.as_user("bob", "fairshare policy show --json").expect_ok().stdout_has("\"cpu_milli\":8000");
    guest.as_user("bob", "fairshare request --cpu 0.5 --mem 64M && fairshare run -- true").expect_ok();
    guest.as_user("bob", "fairshare health").expect_ok();
    let checked = guest.as_user("bob", "fairshare policy check").expect_code(1).stderr_has("site.yaml:3");
    eprintln!("{}", checked.stderr());

    // The same at a start.
    guest.root("systemctl restart fairshared.service").expect_ok();
    guest.as_user("alice", "fairshare status").expect_ok().stdout_has("0.5 CPU");
    // Whether members may see who holds what is the policy's word, and there is none: then they may not.
    let all = guest.as_user("alice", "fairshare status --all").expect_ok().stdout_lacks("bob");
    eprintln!("{}", all.stdout_has("held by 2 members").text());
    guest.root("fairshare status --all").expect_ok().stdout_has("bob");
    let health = guest.as_user("alice", "fairshare health").expect_code(1);
    eprintln!("{}", health.text());
    health.stdout_has("FAULT  policy").stdout_has("site.yaml:3").stdout_has("not healthy");
    for change in ["request", "run -- true", "resize --cpu 1", "release", "policy show"] {
        let refused = guest.as_user("alice", &format!("fairshare {change}")).expect_code(75);
        let refused = refused.stderr_has("site.yaml:3").stderr_has("hint:");
        if change == "request" {
            eprintln!("{}", refused.stderr());
        }
    }
    let status = guest.property("fairshared.service", "StatusText");
    assert!(status.contains("degraded, 2 shares kept") && status.contains("site.yaml:3"), "{status}");
    assert_eq!(guest.property("fairshared.service", "NRestarts"), "0");
    assert_eq!(
        guest.cgroup("fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice", "memory.max"),
        "67108864"
    );

    guest.root(&format!("rm {POLICY}; systemctl reload fairshared.service")).expect_ok();
    assert_eq!(guest.property("fairshared.service", "StatusText"), "2 shares");
    guest.as_user("alice", "fairshare health").expect_ok();
    guest.as_user("alice", "fairshare resize --cpu 1").expect_ok();
    // A lower maximum takes nothing from a share that is held.
    guest.write_file(POLICY, "max: {cpu: 0.25}\ndefaults: {cpu: 0.25}\n", 0o644);
    guest.root("fairshare admin reload").expect_ok().stdout_has("in force");
    assert_eq!(
        guest.cgroup("fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice", "cpu.max"),
        "100000 100000"
    );
    guest.as_user("alice", "fairshare run -- true").expect_ok();
    guest.as_user("carol", "fairshare request --cpu 0.5").expect_code(1).stderr_has("maximum allowed (0.25)");
});

guest_test!(by_hand_it_serves_a_socket_of_its_own_and_a_bad_policy_ends_it, |guest: Guest| {
    guest.as_user("alice", "fairshare request --cpu 0.5 --mem 64M").expect_ok();
    // While systemd's daemon runs there is no second one on the same state.
    let second = guest.root("fairshared /etc/fairshare/policy.d /run/x.sock").expect_code(78);
    eprintln!("{}", second.stderr());
    assert!(!second.stderr().contains('\x1b'), "colours where no terminal is: {:?}", second.stderr());
    second.stderr_has("another fairshared is using this state");
    guest.root("systemctl stop fairshared.socket fairshared.service").expect_ok();
    let by_hand = guest.command("RUST_LOG=debug exec fairshared /etc/fairshare/policy.d /run/x.sock").spawn();
    guest.await_cmd("test -S /run/x.sock && fairshare --socket /run/x.sock health");
    assert_eq!(guest.root("stat -c '%U:%G %a' /run/x.sock").text(), "root:fairshare 660");
    guest.as_user("alice", "FAIRSHARE_SOCKET=/run/x.sock fairshare status").expect_ok().stdout_has("0.5 CPU");
    guest
        .as_user("bob", "fairshare --socket /run/x.sock run --cpu 0.5 --mem 64M -- cat /proc/self/cgroup")
        .expect_ok()
        .stdout_has("/fairshare-1002-run1.slice/");
    guest
        .as_user(
            "bob",
            "export FAIRSHARE_SOCKET=/run/x.sock
             fairshare request --cpu 0.5 --mem 64M > /dev/null && exec fairshare run -- cat /proc/self/cgroup",
        )
        .expect_ok()
        .stdout_has("/fairshare-1002-own.slice/");
    by_hand.kill("INT");
    let ended = by_hand.wait().expect_ok();
    ended
        .stderr_has("1 share held")
        .stderr_has("DEBUG")
        .stderr_has("run of uid 1002: ok")
        .stderr_has("request_resources of uid 1002: ok");
    guest.root("! test -e /run/x.sock").expect_ok();

    guest.write_file(POLICY, BAD, 0o644);
    let ended = guest.root("fairshared /etc/fairshare/policy.d /run/x.sock").expect_code(78);
    eprintln!("{}", ended.stderr());
    ended.stderr_has("site.yaml:3").stderr_has("cpus");
    guest.root("fairshared /no/such/folder /run/x.sock").expect_code(78).stderr_has("/no/such/folder");
    guest.root("fairshared --nonsense").expect_code(2);
    guest.root(&format!("rm {POLICY}; systemctl start fairshared.socket")).expect_ok();
    assert_eq!(guest.as_user("alice", "fairshare status --all --json").json()["capacity"]["shares"], 2);
});

guest_test!(on_a_full_disk_what_is_held_is_given_back, |guest: Guest| {
    // A disk of its own: on a full one that it shares with the journal, that deletes old files to go on, and there is room.
    let disk =
        "mkdir -pm 700 /var/lib/fairshare && mount -t tmpfs -o size=16m,mode=700 tmpfs /var/lib/fairshare";
    guest.root(disk).expect_ok();
    guest.as_user("alice", "fairshare request --cpu 0.5 --mem 64M").expect_ok();
    let job = guest.as_user("alice", "fairshare submit --output /dev/null -- sleep 600").expect_ok().text();
    let short =
        "fairshare submit --output /dev/null -- sh -c 'until test -e /run/full; do sleep 0.1; done; exit 3'";
    let ends = guest.as_user("alice", short).expect_ok().text();
    guest
        .root(
            "for size in 1M 64K 4K; do
                 at=0; while fallocate -l $size /var/lib/fairshare/fill.$size.$at 2>/dev/null; do at=$((at + 1)); done
             done",
        )
        .expect_ok();
    // Before anything ends: what a command that ended had on the disk is free again.
    guest.as_user("bob", "fairshare request --cpu 0.5 --mem 64M").expect_code(75);
    guest.root("touch /run/full").expect_ok();
    guest.as_user("alice", &format!("fairshare wait {ends}")).expect_code(3);
    guest.as_user("alice", &format!("fairshare cancel {job}")).expect_ok();
    guest
        .as_user("alice", "fairshare release && fairshare status")
        .expect_ok()
        .stdout_has("Your share  none");
    // And is remembered so.
    guest.kill_daemon();
    guest.root("rm /var/lib/fairshare/fill.*").expect_ok();
    guest.as_user("alice", "fairshare status").expect_ok().stdout_has("Your share  none");
    guest.as_user("bob", "fairshare request --cpu 0.5 --mem 64M && fairshare health").expect_ok();
});
