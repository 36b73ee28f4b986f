//! Who may do what, from the kernel's word: endpoint × role, asked by a client that is not ours.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::guest::Guest;

/// The roles, least first, by who has them below; an outsider cannot even connect.
const WHO: [(&str, usize); 6] =
    [("root", 3), ("bob", 3), ("carol", 3), ("alice", 2), ("erin", 1), ("mallory", 0)];
const ROLES: [&str; 4] = ["none", "read_only", "operator", "admin"];

/// Each call with the least role that may make it. Order matters: a share is taken before it is used.
const CALLS: [(&str, &str, usize); 32] = [
    ("ping", "{}", 1),
    ("health", "{}", 1),
    ("status", "{}", 1),
    ("list", "{}", 1),
    ("policy", "{}", 1),
    ("job_status", r#"{"job_id": 999}"#, 1),
    ("job_list", "{}", 1),
    ("request_resources", r#"{"cpu_milli": 500, "mem_bytes": 134217728}"#, 2),
    ("resize", r#"{"cpu_milli": 600}"#, 2),
    ("renew", r#"{"lease_ms": 3600000}"#, 2),
    ("attach", r#"{"pids": ["CHILD"]}"#, 2),
    ("run", "{}", 2),
    ("release", "{}", 2),
    ("submit", r#"{"argv": ["true"], "cwd": "/", "env": {}}"#, 2),
    ("job_cancel", r#"{"job_id": 999}"#, 2),
    ("job_alter", r#"{"job_id": 999, "hold": true}"#, 2),
    ("status", r#"{"for_uid": 1003}"#, 3),
    ("policy", r#"{"for_uid": 1003}"#, 3),
    ("request_resources", r#"{"for_uid": 1666, "cpu_milli": 100, "mem_bytes": 67108864}"#, 3),
    ("resize", r#"{"for_uid": 1666, "cpu_milli": 200}"#, 3),
    ("renew", r#"{"for_uid": 1666, "lease_ms": 60000}"#, 3),
    ("release", r#"{"for_uid": 1666}"#, 3),
    // Alice's: her own uid names nobody else, whatever her role.
    ("status", r#"{"for_uid": 1001}"#, 3),
    ("job_list", r#"{"all": true}"#, 3),
    ("reload", "{}", 3),
    ("drain", "{}", 3),
    ("undrain", "{}", 3),
    // Nobody is 4294967295: setuid(2) takes it for "leave as it is".
    ("status", r#"{"for_uid": 4294967295}"#, 3),
    ("history", "{}", 1),
    ("history", r#"{"for_uid": 1003}"#, 3),
    ("subscribe", r#"{"all": true}"#, 3),
    ("subscribe", "{}", 1),
];

/// Those that are answered well when the role is enough; the others are about a job that there is not, or end the answers.
const ANSWERED_WELL: [&str; 17] = [
    "ping",
    "health",
    "status",
    "list",
    "policy",
    "job_list",
    "history",
    "request_resources",
    "resize",
    "attach",
    "run",
    "reload",
    "release",
    "renew",
    "submit",
    "drain",
    "undrain",
];
const FORBIDDEN: u64 = 4;

guest_test!(every_endpoint_takes_its_role_whoever_asks, |guest: Guest| {
    let policy = "users: {bob: {role: admin}}\ngroups: {staff: {role: admin}, students: {role: read_only}}\n";
    guest.write_file("/etc/fairshare/policy.d/roles.yaml", policy, 0o644);
    guest.root("useradd -m -u 1004 -G fairshare,students erin && usermod -aG staff carol").expect_ok();
    guest.write_file("/usr/local/lib/raw.py", include_str!("raw.py"), 0o644);
    let calls: String = CALLS.iter().map(|(endpoint, body, _)| format!("{endpoint} {body}\n")).collect();
    for (user, role) in WHO {
        let ran = guest.command("python3 /usr/local/lib/raw.py").user(user).stdin(&calls).run().expect_ok();
        let text = ran.text();
        let mut lines = text.lines();
        if role == 0 {
            assert_eq!(text, "EACCES", "{user}");
            continue;
        }
        let uid: BTreeMap<_, _> =
            [("root", 0), ("bob", 1002), ("carol", 1003), ("alice", 1001), ("erin", 1004)].into();
        assert_eq!(lines.next(), Some(format!("role {} {}", ROLES[role], uid[user]).as_str()));
        let mut failures = Vec::new();
        for (endpoint, body, least) in CALLS {
            let line = lines.next().unwrap_or_default();
            let code: Option<u64> = line.split(' ').nth(1).and_then(|code| code.parse().ok());
            let code = code.unwrap_or_else(|| panic!("{user}: {endpoint} {body}: {line:?}\n{text}"));
            let in_use = endpoint == "release" && body == "{}";
            let own = user == "alice" && body.contains("1001");
            let good = match (own || role >= least, ANSWERED_WELL.contains(&endpoint)) {
                (false, _) => code == FORBIDDEN,
                // The client itself is inside: Busy.
                (true, true) if in_use => code == 6,
                (true, true) if body.contains("4294967295") => code == 1,
                (true, true) => code == 0,
                (true, false) => code != FORBIDDEN,
            };
            if !good {
                failures.push(format!("{user} ({}): {body}: {line}", ROLES[role]));
            }
        }
        assert!(failures.is_empty(), "{}", guest.report(&failures.join("\n")));
        guest.root(&format!("fairshare admin release --user {user} --stop")).expect_ok();
    }
    // What an admin does for others is written down under the admin's own name.
    let journal = guest.journal("fairshared.service");
    assert!(journal.iter().any(|entry| {
        entry.field("ENDPOINT") == Some("resize")
            && entry.field("PEER_UID") == Some("1002")
            && entry.field("UNIT") == Some("fairshare-1666.slice")
    }));

    // The same through the command.
    guest
        .as_user("bob", "fairshare admin request --user mallory --cpu 0.5 --mem 64M")
        .expect_ok()
        .stdout_has("mallory");
    assert_eq!(
        guest.cgroup("fairshare.slice/fairshare-1666.slice/fairshare-1666-own.slice", "cpu.max"),
        "50000 100000"
    );
    guest.as_user("carol", "fairshare admin release --user 1666").expect_ok();
    guest
        .as_user("bob", "fairshare admin request --user nobody-here")
        .expect_code(1)
        .stderr_has("nobody-here");
    for refused in ["admin resize --user bob --cpu 1", "admin reload", "admin release --user bob"] {
        guest
            .as_user("alice", &format!("fairshare {refused}"))
            .expect_code(77)
            .stderr_has("role")
            .stderr_has("hint:");
    }
    guest.as_user("erin", "fairshare status").expect_ok();
    let refused = guest.as_user("erin", "fairshare run -- true").expect_code(77).stderr_has("read_only");
    eprintln!("{}", refused.stderr());
});

guest_test!(the_largest_user_ids_hold_shares, |guest: Guest| {
    for uid in ["2147483647", "2147483648", "4294967294"] {
        guest.root(&format!("useradd -M -d / -u {uid} -G fairshare u{uid}")).expect_ok();
        let run = format!(
            "setpriv --reuid {uid} --regid {uid} --init-groups sh -c 'fairshare request --cpu 0.5 --mem 64M && fairshare run -- cat /proc/self/cgroup'"
        );
        guest
            .root(&run)
            .expect_ok()
            .stdout_has(&format!("/fairshare-{uid}-own.slice/fairshare-{uid}-own-run"));
        assert_eq!(
            guest.cgroup(
                &format!("fairshare.slice/fairshare-{uid}.slice/fairshare-{uid}-own.slice"),
                "memory.max"
            ),
            "67108864"
        );
    }
    guest.kill_daemon();
    let all = guest.as_user("alice", "fairshare status --all").expect_ok();
    all.stdout_has("u2147483647").stdout_has("u2147483648").stdout_has("u4294967294").stdout_has("3 members");
    guest.root("fairshare admin release --user 4294967294").expect_ok();
    guest.root("fairshare admin release --user 4294967295").expect_code(1);
});

guest_test!(an_id_of_a_container_is_no_member_whatever_its_groups, |guest: Guest| {
    let gid = guest.root("getent group fairshare | cut -d: -f3").expect_ok().text();
    let as_it = format!("setpriv --reuid=100001 --regid=100001 --groups={gid} fairshare");
    for call in ["request --cpu 0.5 --mem 64M", "status", "run -- true"] {
        guest.root(&format!("{as_it} {call}")).expect_code(77).stderr_has("no account");
    }
    assert!(!guest.cgroup_exists("fairshare.slice/fairshare-100001.slice/fairshare-100001-own.slice"));
    // A member's own container: its ids keep the member's groups. The member is who they are outside.
    guest.root("echo alice:100000:65536 | tee /etc/subuid > /etc/subgid").expect_ok();
    let container = "unshare --user --map-auto --map-root-user";
    let request = "fairshare request --cpu 0.5 --mem 64M";
    for id in [1, 77, 65_000] {
        let as_it = format!("{container} setpriv --reuid={id} --keep-groups {request}");
        guest.as_user("alice", &as_it).expect_code(77).stderr_has("no account");
    }
    guest.as_user("alice", &format!("{container} {request}")).expect_ok();
    assert!(guest.cgroup_exists("fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice"));
});

guest_test!(who_is_no_admin_any_more_is_none_on_an_open_connection, |guest: Guest| {
    let policy = |text: &str| {
        guest.write_file("/etc/fairshare/policy.d/roles.yaml", text, 0o644);
        guest.root("fairshare admin reload").expect_ok();
    };
    policy("users: {bob: {role: admin}}\n");
    guest.write_file("/usr/local/lib/raw.py", include_str!("raw.py"), 0o644);
    guest.root("mkfifo -m 666 /run/calls").expect_ok();
    // Somebody who writes must always be there: else the end of the calls is read.
    let _open = guest.spawn_as("root", "sleep 1000 > /run/calls");
    let _bob = guest.spawn_as("bob", "python3 -u /usr/local/lib/raw.py < /run/calls > /tmp/bob.txt");
    let call = |line: &str| drop(guest.root(&format!("echo '{line}' > /run/calls")).expect_ok());
    call("drain {}");
    call("undrain {}");
    guest.await_cmd("grep -q '^undrain 0' /tmp/bob.txt");
    policy("");
    for endpoint in ["drain", "reload"] {
        call(&format!("{endpoint} {{}}"));
        guest.await_cmd(&format!("grep -q '^{endpoint} {FORBIDDEN}' /tmp/bob.txt"));
    }
    guest
        .as_user("alice", "fairshare request --cpu 0.5 --mem 64M > /dev/null && fairshare run -- true")
        .expect_ok();
});

guest_test!(root_drains_with_all_places_of_members_taken, |guest: Guest| {
    guest.write_file("/usr/local/lib/places.py", include_str!("places.py"), 0o644);
    let _members = guest.spawn_as("root", "python3 -u /usr/local/lib/places.py > /run/places.txt 2>&1");
    guest.await_cmd("grep -q 'taken' /run/places.txt");
    let said = String::from_utf8(guest.read_file("/run/places.txt")).unwrap();
    assert!(said.contains("taken 1008") && said.contains("refused 6"), "{}", guest.report(&said));
    for call in ["drain", "undrain", "reload"] {
        guest.root(&format!("fairshare admin {call}")).expect_ok();
    }
    let daemon = guest.daemon_pid().unwrap();
    eprintln!("{}", guest.root(&format!("grep -E 'VmHWM|VmRSS|Threads' /proc/{daemon}/status")).text());
});

// A parallel build whose every compiler runs in the share: as many connections at once as one user has, none refused.
guest_test!(forty_runs_at_once_are_all_served, |guest: Guest| {
    guest.as_user("alice", "fairshare request --cpu 1 --mem 500M --tasks 1000").expect_ok();
    let runs = "seq 80 | xargs -P 40 -I{} fairshare run -- true";
    guest.command(runs).user("alice").within(Duration::from_secs(600)).run().expect_ok();
});
