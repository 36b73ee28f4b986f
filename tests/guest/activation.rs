//! The daemon as systemd runs it: started by the first client, boxed in, watched, heard in the journal.

use crate::guest::Guest;

guest_test!(the_first_client_starts_the_daemon_which_is_boxed_in_and_logs_fields, |guest: Guest| {
    assert_eq!(guest.daemon_pid(), None, "the daemon runs before anyone asked");
    assert_eq!(guest.root("stat -c '%U:%G %a' /run/fairshare.sock").text(), "root:fairshare 660");
    guest.as_user("alice", "fairshare status").expect_ok().stdout_has("Your share  none");
    let pid = guest.daemon_pid().expect("a client came, and no daemon");

    let shown = guest
        .root("systemctl show fairshared.service -p ActiveState,SubState,StatusText,NRestarts,WatchdogUSec")
        .text();
    for line in
        ["ActiveState=active", "SubState=running", "StatusText=0 shares", "NRestarts=0", "WatchdogUSec=20s"]
    {
        assert!(shown.lines().any(|found| found == line), "{line} is not in\n{shown}");
    }
    let status = guest.root(&format!("cat /proc/{pid}/status")).text();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        line.unwrap_or_else(|| panic!("no {name} in\n{status}")).trim().to_owned()
    };
    assert_eq!(field("Uid"), "0\t0\t0\t0");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!((field("NoNewPrivs"), field("Seccomp")), ("1".to_owned(), "2".to_owned()));
    let rss_kib: u64 = field("RssAnon").trim_end_matches(" kB").trim().parse().unwrap();
    assert!(rss_kib < 8192, "the daemon has {rss_kib} KiB of its own before it did anything");

    guest
        .as_user("alice", "fairshare request --cpu 0.5 --mem 64M > /dev/null && fairshare run -- true")
        .expect_ok();
    assert_eq!(guest.property("fairshared.service", "StatusText"), "1 share");
    let journal = guest.journal("fairshared.service");
    let run = journal
        .iter()
        .find(|entry| entry.field("ENDPOINT") == Some("run") && { entry.field("RESULT_CODE") == Some("0") });
    let run = run.unwrap_or_else(|| panic!("{}", guest.report("no run in the journal")));
    assert_eq!(run.field("PEER_UID"), Some("1001"));
    assert_eq!(run.field("SYSLOG_IDENTIFIER"), Some("fairshared"));
    for number in ["REQUEST_ID", "PEER_PID", "DURATION_MS"] {
        assert!(run.field(number).is_some_and(|text| text.parse::<u64>().is_ok()), "{number}: {:?}", run.0);
    }
    // journald keeps UNIT for itself in some tools' eyes; the field is ours all the same.
    assert!(run.field("UNIT").is_some_and(|unit| unit.starts_with("fairshare-1001-own-run")), "{:?}", run.0);
    let granted = journal.iter().find(|entry| entry.field("ENDPOINT") == Some("request_resources"));
    assert_eq!(granted.and_then(|entry| entry.field("UNIT")), Some("fairshare-1001.slice"));
    guest.as_user("alice", "fairshare release && fairshare status").expect_ok();
    let journal = guest.journal("fairshared.service");
    let endpoints: Vec<&str> = journal.iter().filter_map(|entry| entry.field("ENDPOINT")).collect();
    assert_eq!(endpoints.last(), Some(&"release"), "a release is news, a question is not");
    assert!(journal.iter().all(|entry| entry.priority() > 4), "warnings in a run without faults");
});

guest_test!(a_daemon_that_hangs_is_replaced_and_one_that_is_stopped_ends_well, |guest: Guest| {
    guest
        .root(
            "mkdir -p /run/systemd/system/fairshared.service.d
             printf '[Service]\\nWatchdogSec=4s\\nEnvironment=RUST_LOG=debug FAIRSHARE_CPUS_ONLINE=/run/online\\n' \
             > /run/systemd/system/fairshared.service.d/soon.conf
             cp /sys/devices/system/cpu/online /run/online
             systemctl daemon-reload",
        )
        .expect_ok();
    guest.as_user("alice", "fairshare request --cpu 1 --mem 64M").expect_ok();
    guest.logged("gave up executing programs");
    // It says that it lives, by itself, without anyone asking it something.
    let said = guest.property("fairshared.service", "WatchdogTimestampMonotonic");
    guest.await_cmd(
        &format!(
            "test $(systemctl show fairshared.service -p WatchdogTimestampMonotonic --value) -gt $(({said} + 1000000))"
        ));
    let pid = guest.daemon_pid().expect("a daemon");
    // Only the loop hangs: it opens the list of CPUs, which is a pipe that nobody writes to. Every other thread lives on.
    guest.root("mkfifo /run/pipe; mv /run/pipe /run/online").expect_ok();
    guest.as_user("alice", "timeout 2 fairshare status").expect_code(124);
    guest.root("cp /sys/devices/system/cpu/online /run/file; mv /run/file /run/online").expect_ok();
    guest.await_cmd("test $(systemctl show fairshared.service -p NRestarts --value) -ge 1");
    guest.as_user("alice", "fairshare status").expect_ok().stdout_has("1 CPU");
    assert_ne!(guest.daemon_pid(), Some(pid));

    guest.root("systemctl stop fairshared.service").expect_ok();
    let ended = guest.root("systemctl show fairshared.service -p Result,ExecMainCode,ExecMainStatus").text();
    for line in ["Result=success", "ExecMainCode=1", "ExecMainStatus=0"] {
        assert!(ended.lines().any(|found| found == line), "{line} is not in\n{ended}");
    }
    assert_eq!(
        guest.property("fairshare-1001-own.slice", "ActiveState"),
        "active",
        "the share went with the daemon"
    );
    guest.as_user("alice", "fairshare status").expect_ok().stdout_has("1 CPU");
});
