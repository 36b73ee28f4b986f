//! What is shown, to a person and to a program.

use std::fs;

use fairshare::contract::{
    Answer, AuditAnswer, Call, Check, Finding, FindingKind, HealthAnswer, HeldShare, IoInfo, Jobs, KeyInfo,
    List, ListAnswer, PolicyAnswer, ShareInfo, Status, StatusAnswer,
};
use fairshare::wire::error::Code;

use super::*;

#[test]
fn status_shows_the_share_and_the_machine_from_one_answer() {
    let daemon = Daemon::saying([status()]);
    assert_eq!(
        shown(&daemon.run("status")),
        "Your share  2 CPU (37m used)   8.0 GiB (3.0 in use)   37 tasks   no lease\n\
         Machine     6 of 15 CPU and 20 of 62 GiB held by 3 members\n"
    );
    assert_eq!(daemon.heard(), [Heard::Connected, Heard::Asked(Call::Status(Status { for_uid: None }))]);
}

#[test]
fn status_has_a_line_for_each_allocation() {
    let of_job = AllocationInfo {
        kind: AllocationKind::Job,
        job_id: Some(17),
        cpu_milli: 500,
        unit: "fairshare-1000-job17.slice".into(),
        ..standing()
    };
    let share = ShareInfo {
        cpu_milli: 2500,
        mem_bytes: 16 * GIB,
        allocations: Some(vec![standing(), of_job]),
        ..share()
    };
    let queued = |job_id, name: Option<&str>, place| JobInfo {
        job_id,
        kind: JobKind::Submit,
        name: name.map(str::to_owned),
        place,
        ..job(JobState::Queued)
    };
    let train = JobInfo { job_id: 17, name: Some("train\x1b[2J".into()), ..job(JobState::Running) };
    let jobs = [train, queued(21, None, None), queued(19, None, Some(4)), queued(18, Some("sweep"), Some(2))];
    let jobs = jobs.into_iter().chain([queued(22, None, None), queued(23, None, None)]).collect();
    let daemon = Daemon::saying([
        Answer::Status(StatusAnswer { share: Some(share), capacity: capacity() }).into(),
        Answer::Jobs(Jobs { jobs, jobs_left_out: None }).into(),
    ]);
    let shown = shown(&daemon.run("status"));
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "Your share  2.5 CPU (37m used)   16.0 GiB (3.0 in use)   37 tasks");
    assert_eq!(lines[1], "  standing  2 CPU     8.0 GiB   no lease");
    assert!(lines[2].starts_with("  job 17    0.5 CPU   8.0 GiB   train\\u{1b}[2J, runs for "), "{shown}");
    assert_eq!(lines[3], "Waiting     job 18 sweep: place 2");
    assert_eq!(lines[4], "            job 19: place 4");
    assert_eq!(lines[5], "            job 21: in the queue");
    assert_eq!(lines[6], "            and 2 more: `fairshare jobs --state queued`");
    assert!(lines[7].starts_with("Machine     "), "{shown}");
}

#[test]
fn status_on_a_terminal_looks_twice_and_shows_cpu_in_use() {
    let mut later = share();
    if let Some(usage) = &mut later.usage {
        usage.cpu_usec += 100_000_000_000;
    }
    let daemon = Daemon::saying([
        status(),
        Answer::Status(StatusAnswer { share: Some(later), capacity: capacity() }).into(),
    ]);
    let shown = on_terminal(&daemon, "status", &[]);
    assert!(shown.contains("in use)   8.0 GiB") && !shown.contains("used)"), "{shown}");
    assert_eq!(daemon.heard().len(), 3);
}

#[test]
fn status_without_a_share_says_how_to_take_one() {
    let daemon = Daemon::saying([Answer::Status(StatusAnswer { share: None, capacity: capacity() }).into()]);
    let shown = shown(&daemon.run("status"));
    assert!(shown.starts_with("Your share  none (`fairshare request` takes one"), "{shown}");
}

#[test]
fn status_of_all_is_a_table_and_hostile_names_are_only_shown() {
    let hostile = ShareInfo { user: Some("mallory\x1b[2J\nroot\u{9b}31m".into()), ..share() };
    let daemon = Daemon::saying([Answer::List(ListAnswer {
        shares: vec![share(), hostile],
        capacity: capacity(),
        shares_left_out: Some(9),
    })
    .into()]);
    let shown = shown(&daemon.run("status --all"));
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 5, "{shown}");
    assert!(lines[0].starts_with("USER  "), "{shown}");
    assert!(lines[2].starts_with(r"mallory\u{1b}[2J\u{a}root\u{9b}31m  2  "), "{shown}");
    assert_eq!(lines[3], "Not shown: 9 shares", "{shown}");
    assert!(lines[4].starts_with("Machine  "), "{shown}");
    assert_eq!(daemon.calls(), [Call::List(List {})]);
}

#[test]
fn json_is_what_the_contract_answers_on_one_line() {
    for (line, answer, keys) in [
        (
            "status --json",
            Answer::Status(StatusAnswer { share: Some(share()), capacity: capacity() }),
            vec!["capacity", "share"],
        ),
        (
            "status --json",
            Answer::Status(StatusAnswer { share: None, capacity: capacity() }),
            vec!["capacity", "share"],
        ),
        (
            "status --all --json",
            Answer::List(ListAnswer { shares: vec![share()], capacity: capacity(), shares_left_out: None }),
            vec!["capacity", "shares"],
        ),
        ("request --json", Answer::Share(HeldShare { share: share() }), vec!["share"]),
        ("resize --cpu 2 --json", Answer::Share(HeldShare { share: share() }), vec!["share"]),
        (
            "health --json",
            Answer::Health(HealthAnswer { healthy: true, checks: vec![] }),
            vec!["checks", "healthy"],
        ),
        ("policy show --json", Answer::Policy(PolicyAnswer { policy: policy() }), vec!["policy"]),
    ] {
        let daemon = Daemon::saying([answer.clone().into()]);
        let shown = shown(&daemon.run(line));
        assert_eq!(shown.matches('\n').count(), 1, "{line}: {shown}");
        let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(value, serde_json::to_value(&answer).unwrap());
        let mut found: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        found.sort_unstable();
        assert_eq!(found, keys, "{line}");
    }
}

#[test]
fn json_escapes_what_would_drive_a_terminal() {
    let hostile = ShareInfo { user: Some("m\x1b\u{9b}\u{202e}".into()), ..share() };
    let daemon = Daemon::saying([Answer::Share(HeldShare { share: hostile }).into()]);
    let shown = shown(&daemon.run("request --json"));
    assert!(shown.contains(r#""m\u001b\u009b\u202e""#), "{shown}");
}

#[test]
fn an_error_under_json_is_told_on_standard_error_alone() {
    let daemon = Daemon::saying([Code::AlreadyAllocated.into()]);
    complaint(&daemon.run("request --json"), 1);
}

#[test]
fn policy_show_says_what_holds_for_me() {
    let daemon = Daemon::saying([Answer::Policy(PolicyAnswer { policy: policy() }).into()]);
    assert_eq!(
        shown(&daemon.run("policy show")),
        "\
Your role  operator (you may have a share)
Default    2 CPU   8.0 GiB   4096 tasks
At most    8 CPU   32.0 GiB   32768 tasks
Lease      ends after 8h unless asked otherwise, after 7d at the latest
Idle       an empty standing allocation is released after 30m
Burst      a share never uses more CPU than its own
I/O        a share's has no bound
Sandboxes  what runs in one may not enter a share, nor submit
"
    );
    let io = IoInfo {
        read_bytes: Some(200 << 20),
        write_bytes: Some(100 << 20),
        read_ops: None,
        write_ops: Some(2000),
        on: vec!["/home".into(), "/srv\x07".into()],
    };
    let open =
        PolicyInfo { from_sandboxes: true, burst_cpu_milli: Some(15_500), io: Some(io.clone()), ..policy() };
    let daemon = Daemon::saying([Answer::Policy(PolicyAnswer { policy: open }).into()]);
    let said = shown(&daemon.run("policy show"));
    assert!(said.ends_with("Sandboxes  what runs in one may enter a share, and submit\n"), "{said}");
    assert!(said.contains("\nBurst      a share may use up to 15.5 CPU while nobody wants them\n"), "{said}");
    let bound = "\nI/O        a share reads at most 200.0 MiB/s and writes at most 100.0 MiB/s and 2000 times a second, \
                 on each disk of /home, /srv\\u{7}\n";
    assert!(said.contains(bound), "{said}");
    let io = IoInfo { write_bytes: None, write_ops: None, on: vec!["/home".into()], ..io };
    let daemon =
        Daemon::saying([
            Answer::Policy(PolicyAnswer { policy: PolicyInfo { io: Some(io), ..policy() } }).into()
        ]);
    let said = shown(&daemon.run("policy show"));
    assert!(
        said.contains("\nI/O        a share reads at most 200.0 MiB/s, on the disk of /home\n"),
        "{said}"
    );
}

#[test]
fn policy_show_says_whose_turn_it_is() {
    let key =
        |had_milli, waits, others, before| KeyInfo { held_milli: 120, had_milli, waits, others, before };
    for (key, says) in [
        (
            key(Some(44), true, 7, 3),
            "you hold 12 % now and count as having held 4.4 % on average of late, while somebody waited: \
             3 of 7 other members who wait come before you",
        ),
        (key(None, true, 2, 1), "you hold 12 % now: 1 of 2 other members who wait comes before you"),
        (key(None, false, 2, 0), "you hold 12 % now: none of 2 members who wait would come before you"),
        (key(None, true, 0, 0), "you hold 12 % now: nobody else waits"),
    ] {
        let policy = PolicyInfo { key: Some(key), ..policy() };
        let daemon = Daemon::saying([Answer::Policy(PolicyAnswer { policy }).into()]);
        let said = shown(&daemon.run("policy show"));
        assert!(said.ends_with(&format!("\nYour turn  {says}\n")), "{said}");
    }
}

#[test]
fn health_ends_with_1_when_the_daemon_is_not_well() {
    let check = |name: &str, ok, detail: Option<&str>| Check {
        name: name.into(),
        ok,
        detail: detail.map(Into::into),
    };
    let well = Answer::Health(HealthAnswer { healthy: true, checks: vec![check("bus", true, None)] });
    let ill = Answer::Health(HealthAnswer {
        healthy: false,
        checks: vec![check("bus", true, None), check("policy", false, Some("default.yaml:3:1\x07"))],
    });
    assert_eq!(shown(&Daemon::saying([well.into()]).run("health")), "ok     bus\nhealthy\n");
    let output = Daemon::saying([ill.into()]).run("health");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "ok     bus\nFAULT  policy: default.yaml:3:1\\u{7}\nnot healthy\n");
}

#[test]
fn doctor_ends_with_1_where_work_is_outside_or_a_promise_is_broken() {
    let one = |kind, hint: Option<&str>| {
        let finding = Finding { hint: hint.map(Into::into), ..Finding::new(kind, "what it is\x07") };
        Answer::Audit(AuditAnswer { findings: vec![finding], findings_left_out: None })
    };
    for (kind, said, code) in [
        (FindingKind::Kept, "ok", 0),
        (FindingKind::Held, "held", 0),
        (FindingKind::Left, "left", 0),
        (FindingKind::Note, "note", 0),
        (FindingKind::Unknown, "unknown", 1),
        (FindingKind::Outside, "OUTSIDE", 1),
        (FindingKind::Broken, "FAULT", 1),
    ] {
        let output = Daemon::saying([one(kind, Some("do that")).into()]).run("doctor");
        assert_eq!(output.status.code(), Some(code), "{kind:?}");
        let shown = format!("{said:<7}  what it is\\u{{7}}\n         hint: do that\n");
        assert_eq!(text(&output.stdout), shown);
        let output = Daemon::saying([one(kind, None).into()]).run("doctor --json");
        assert_eq!(output.status.code(), Some(code), "{kind:?}");
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    for line in ["status", "status --all", "health", "completions bash"] {
        let daemon = match line {
            "status --all" => Daemon::saying([Answer::List(ListAnswer {
                shares: vec![share()],
                capacity: capacity(),
                shares_left_out: None,
            })
            .into()]),
            "health" => {
                Daemon::saying([Answer::Health(HealthAnswer { healthy: true, checks: vec![] }).into()])
            }
            _ => Daemon::saying([status()]),
        };
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = daemon.command(line).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()), "{line}");
    }
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = Daemon::saying([status()]).command("status").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "a full disk is one");
    assert!(text(&output.stderr).contains("cannot write the output"), "{}", text(&output.stderr));
}
