//! The command line, and what needs no daemon.

use std::fs;

use super::*;

#[test]
fn usage_errors_end_with_2_and_call_nobody() {
    let daemon = Daemon::saying([]);
    for (line, says) in [
        ("request --cpu x", "write CPUs like 2 or 0.5"),
        ("request --cpu -1", "write CPUs like 2 or 0.5"),
        ("request --cpu 0", "CPU must be from 0.01"),
        ("request --cpu 0.015", "steps of 0.01"),
        ("request --mem 8X", "like 8G or 1.5G"),
        ("request --mem 1B", "4 KiB (one page)"),
        ("request --mem 4096", "4096 bytes are less than any program needs: did you mean 4096M?"),
        ("run --mem 65536 true", "did you mean 65536M?"),
        ("resize --mem 200m", "did you mean 200M?"),
        ("submit --cpu 250m true", "did you mean 0.25?"),
        ("request --cpu 25%", "did you mean 0.25?"),
        ("request --tasks 0", "tasks must be from 1"),
        ("request --for 8", "8 of what? Write 8s, 8m or 8h"),
        ("request --for 02:30", "write 02:30:00, or 2m 30s"),
        ("request --for 0s", "longer than nothing"),
        ("renew", "--for <DUR>"),
        ("request --wait=x", "90m, 8h, 7d or 1-12:00:00"),
        ("request --wait 5m", "unexpected argument '5m'"),
        ("wait", "<ID>"),
        ("cancel x", "invalid"),
        ("request 4", "unexpected argument"),
        ("resize", "--cpu <N>"),
        ("run", "<CMD>"),
        ("run --cup 2 make", "--cup"),
        ("submit", "<CMD>"),
        ("submit --name= true", "1 to 64 bytes, and has 0"),
        ("attach", "<PID>"),
        ("attach 0", "0 is not in"),
        ("attach x", "invalid"),
        ("admin release", "--user"),
        ("completions ksh", "bash, zsh, fish"),
        ("sttus", "similar subcommand exists: 'status'"),
    ] {
        let complaint = complaint(&daemon.run(line), 2);
        assert!(complaint.contains(says), "{line}: {complaint}");
        assert!(
            complaint.trim_end().lines().last().unwrap().starts_with("  hint: `fairshare "),
            "{complaint}"
        );
    }
    for line in ["", "policy", "admin"] {
        assert_eq!(daemon.run(line).status.code(), Some(2), "{line}");
    }
    let too_long = format!("submit --name {} true", "x".repeat(65));
    assert!(complaint(&daemon.run(&too_long), 2).contains("1 to 64 bytes, and has 65"));
    assert_eq!(daemon.heard(), []);
}

#[test]
fn an_unknown_user_is_refused_before_anybody_is_called() {
    let daemon = Daemon::saying([]);
    let complaint = complaint(&daemon.run("admin release --user nobody-of-that-name"), 1);
    assert!(complaint.contains("there is no user \"nobody-of-that-name\""), "{complaint}");
    assert_eq!(daemon.heard(), []);
}

#[test]
fn policy_check_needs_no_daemon_and_names_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("default.yaml");
    fs::write(&file, "defaults: {cpu: 2, mem: 8G}\nmax: {cpu: 8, mem: 32G}\n").unwrap();
    let check = || fairshare("policy check").arg(dir.path()).output().unwrap();
    assert!(shown(&check()).contains("right; 2 CPU, 8.0 GiB and 4096 tasks by default"));
    fs::write(dir.path().join("site.yml"), "max: {cpu: 4}\n").unwrap();
    let noted = String::from_utf8(check().stderr).unwrap();
    assert!(noted.contains("left out: site.yml (only *.yaml is read)"), "{noted}");
    fs::write(&file, "defaults: {cpu: 2, mem: 8G}\nmax: {cpu: 1, mem: 32G}\n").unwrap();
    let complaint = complaint(&check(), 1);
    assert!(complaint.contains("default.yaml:2:"), "{complaint}");
}

#[test]
fn help_version_completions_and_the_man_page_are_there() {
    for (line, says) in [
        ("--help", "Examples:\n  fairshare run"),
        ("-h", "Usage: fairshare"),
        ("run --help", "126 where it cannot be executed"),
        ("admin release -h", "--user <NAME>"),
        ("--version", concat!("fairshare ", env!("CARGO_PKG_VERSION"))),
        ("completions bash", "complete -F _fairshare"),
        ("completions zsh", "#compdef fairshare"),
        ("completions fish", "complete -c fairshare"),
        ("completions man", "\n.SH \"EXIT STATUS\"\n"),
    ] {
        let shown = shown(&fairshare(line).output().unwrap());
        assert!(shown.contains(says), "{line}: {shown}");
    }
}
