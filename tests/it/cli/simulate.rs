//! `fairshare policy simulate`: small traces of which every sum can be made by hand.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

use super::{complaint, fairshare, shown, text};

/// What can be handed out of the machine of these tests, 5 CPU and 5G, is 4 CPU and 4G.
const POLICY: &str =
    "defaults: {cpu: 1, mem: 1G}\nmax: {cpu: 4, mem: 4G}\nreserve: {cpu: 1, mem: 1G}\nlease: {max: 1h}\n";

/// - 0 s: ann has the whole machine, until 100 s. ben, then cid, wait; ann's second request comes with her first's end.
/// - 100 s: ben has the whole machine, after 90 s, until 200 s. cid and ann wait.
/// - 200 s: cid after 180 s, until 250 s, and ann after 170 s, until 210 s. ben's second is over the maximum.
const CSV: &str = "\
arrival_s,user,cpu,mem,wanted_s
0,ann,4,1G,100
10,ben,4,1G,100
# a comment
20,cid,1,1G,50
30,ann,2,1G,10
40,ben,5,1G,10
";

/// The same in the Standard Workload Format: memory is for each processor, in KiB, and users are numbers.
const SWF: &str = "\
; Version: 2.2
1  0 -1 100 4 -1 -1 4 100  262144 1 7 1 1 1 1 -1 -1
2 10 -1 100 4 -1 -1 4 100  262144 1 8 1 1 1 1 -1 -1
3 20 -1  50 1 -1 -1 1  50 1048576 1 9 1 1 1 1 -1 -1
4 30 -1  10 2 -1 -1 2  10  524288 1 7 1 1 1 1 -1 -1
5 40 -1  10 5 -1 -1 5  10  209715 1 8 1 1 1 1 -1 -1
";

/// What comes of this trace under this policy.
fn simulate(policy: &str, trace: &str, options: &str) -> Output {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("site.yaml"), policy).unwrap();
    fs::write(dir.path().join("trace"), trace).unwrap();
    let line = "policy simulate --cpus 5 --memory 5G --policy . --trace trace";
    fairshare(&format!("{line} {options}")).current_dir(dir.path()).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&shown(output)).unwrap()
}

#[track_caller]
fn close(value: &Value, expected: f64) {
    let value = value.as_f64().unwrap();
    assert!((value - expected).abs() < 1e-9, "{value}, not {expected}");
}

fn has_the_sums_of_the_trace(report: &Value, users: [&str; 3]) {
    for (name, figure) in [
        ("requests", 5),
        ("granted", 4),
        ("refused", 1),
        ("skipped", 0),
        // Waits of 0, 90, 170 and 180 s.
        ("wait_mean_ms", 110_000),
        ("wait_p95_ms", 180_000),
        ("wait_max_ms", 180_000),
        // cid was the first of theirs all the time.
        ("first_max_ms", 180_000),
        // ben, ann and cid wait while another has it all: but that is one piece, and nobody has more.
        ("envy_ms", 0),
        ("makespan_ms", 250_000),
    ] {
        assert_eq!(report[name], figure, "{name} of {report}");
    }
    close(&report["slowdown_mean"], (1.0 + 1.9 + 4.6 + 18.0) / 4.0);
    close(&report["utilisation_cpu"], (400.0 + 400.0 + 50.0 + 20.0) / 1000.0);
    close(&report["utilisation_mem"], (100.0 + 100.0 + 50.0 + 10.0) / 1000.0);
    assert_eq!(report["users"].as_array().map(Vec::len), Some(3));
    // The dominant share of the machine, times seconds: all of it for ann and ben, a quarter for cid, a half for ann.
    let all = 100.0 + 100.0 + 12.5 + 5.0;
    for (index, (requests, granted, wait_ms, cpu_seconds, dominant)) in
        [(2, 2, 85_000, 420.0, 105.0), (2, 1, 90_000, 400.0, 100.0), (1, 1, 180_000, 50.0, 12.5)]
            .into_iter()
            .enumerate()
    {
        let user = &report["users"][index];
        assert_eq!(user["user"], users[index]);
        assert_eq!((&user["requests"], &user["granted"]), (&requests.into(), &granted.into()), "{user}");
        assert_eq!(user["wait_mean_ms"], wait_ms, "{user}");
        close(&user["cpu_seconds"], cpu_seconds);
        close(&user["share"], dominant / all);
    }
}

#[test]
fn a_small_trace_comes_out_as_by_hand() {
    let report = json(&simulate(POLICY, CSV, "--json"));
    has_the_sums_of_the_trace(&report, ["ann", "ben", "cid"]);
    assert_eq!(report["refused_lines"][0]["line"], 7);
    let report = json(&simulate(POLICY, SWF, "--format swf --json"));
    has_the_sums_of_the_trace(&report, ["7", "8", "9"]);
    assert_eq!(report["refused_lines"][0]["line"], 6);
}

#[test]
fn the_table_says_the_same_to_a_person() {
    assert_eq!(
        shown(&simulate(POLICY, CSV, "")),
        "\
Requests        5 (4 granted, 1 refused, 0 lines left out)
Wait, mean      1m 50s
Wait, p95       3m
Wait, max       3m
First, max      3m
Envy            0s
Slowdown, mean  6.38
CPU held        87.0 %
Memory held     26.0 %
Lasted          4m 10s

USER  REQUESTS  GRANTED  WAIT, MEAN  CPU TIME  SHARE
ann   2         2        1m 25s      420 s     48.3 %
ben   2         1        1m 30s      400 s     46.0 %
cid   1         1        3m          50 s      5.7 %

Refused
  line 7: Requested CPU (5) exceeds maximum allowed (4)
"
    );
}

#[test]
fn bad_lines_are_named_and_refused_or_left_out_as_asked() {
    let bad = format!("{CSV}50,dan,1,1G\n60,e\x1b[2J,1,1G,soon\n");
    let refused = complaint(&simulate(POLICY, &bad, ""), 1);
    assert_eq!(
        refused,
        "fairshare: trace: line 8: 4 fields, and there must be 5: arrival_s,user,cpu,mem,wanted_s\n  \
         hint: mend the line, or leave such lines out with `--skip-bad-lines`\n"
    );
    let table = shown(&simulate(POLICY, &bad, "--skip-bad-lines"));
    assert!(table.starts_with("Requests        5 (4 granted, 1 refused, 2 lines left out)\n"), "{table}");
    let named = "\n\nLeft out\n  line 8: 4 fields, and there must be 5: arrival_s,user,cpu,mem,wanted_s\n  \
                 line 9: wanted_s: \"soon\" is no number of seconds over 0\n";
    assert!(table.ends_with(named), "{table}");
    let report = json(&simulate(POLICY, &bad, "--skip-bad-lines --json"));
    assert_eq!((&report["granted"], &report["skipped"]), (&4.into(), &2.into()));
    assert_eq!(report["skipped_lines"][1]["line"], 9);

    let bad = format!("{SWF}6 60\n");
    let refused = complaint(&simulate(POLICY, &bad, "--format swf"), 1);
    assert!(
        refused.contains("trace: line 7: 2 fields, and the Standard Workload Format has 18"),
        "{refused}"
    );
    let report = json(&simulate(POLICY, &bad, "--format swf --skip-bad-lines --json"));
    assert_eq!((&report["granted"], &report["skipped"]), (&4.into(), &1.into()));
    // One format read as the other is nothing but bad lines.
    assert!(complaint(&simulate(POLICY, SWF, ""), 1).contains("line 1: "));
}

#[test]
fn a_name_that_would_drive_a_terminal_is_only_shown() {
    let table = shown(&simulate(POLICY, "0,e\x1b[2J,1,1G,10\n", ""));
    assert!(table.contains(r"e\u{1b}[2J  1 "), "{table}");
}

#[test]
fn a_trace_of_nothing_is_a_report_of_nothing() {
    let report = json(&simulate(POLICY, "arrival_s,user,cpu,mem,wanted_s\n", "--json"));
    for name in ["requests", "wait_mean_ms", "wait_p95_ms", "wait_max_ms", "makespan_ms"] {
        assert_eq!(report[name], 0, "{report}");
    }
    close(&report["utilisation_cpu"], 0.0);
}

#[test]
fn what_cannot_be_simulated_is_said() {
    let without = fairshare("policy simulate --policy /nowhere/policy.d --trace /dev/null").output().unwrap();
    assert!(complaint(&without, 1).contains("/nowhere/policy.d"), "{}", text(&without.stderr));
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("site.yaml"), POLICY).unwrap();
    let missing =
        fairshare("policy simulate --policy . --trace none").current_dir(dir.path()).output().unwrap();
    assert!(complaint(&missing, 1).contains("none: No such file"), "{}", text(&missing.stderr));
    let bad = simulate("defaults: {cpu: 1, mem: 1G}\nmax: {cpu: 0.5, mem: 1G}\n", CSV, "");
    assert!(complaint(&bad, 1).contains("site.yaml:2:12: max.cpu"), "{}", text(&bad.stderr));
    let small = simulate(&POLICY.replace("reserve: {cpu: 1", "reserve: {cpu: 5"), CSV, "");
    let said = complaint(&small, 1);
    assert!(
        said.contains("leaves nothing of this machine") && said.contains("hint: name a larger"),
        "{said}"
    );
    for usage in ["--trace", "--format xml --trace t", "--cpus 0 --trace t", ""] {
        assert_eq!(fairshare(&format!("policy simulate {usage}")).output().unwrap().status.code(), Some(2));
    }
}

/// However little of it the command itself may use, as inside a share.
#[test]
fn the_machine_that_is_not_named_is_all_of_this_one() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("site.yaml"),
        "defaults: {cpu: 0.5, mem: 8M}\nmax: {cpu: 1, mem: 8M}\nreserve: {cpu: 0.01, mem: 1M}\n",
    )
    .unwrap();
    fs::write(dir.path().join("trace"), "arrival_s,user,cpu,mem,wanted_s\n0,ann,0.5,4M,100\n").unwrap();
    let simulate = |program: &str, arguments: &[&str]| {
        let output = Command::new(program)
            .args(arguments)
            .args(["policy", "simulate", "--policy", ".", "--trace", "trace", "--json"])
            .current_dir(dir.path())
            .output()
            .unwrap();
        json(&output)
    };
    let allowed = rustix::thread::sched_getaffinity(None).unwrap();
    let one = (0..rustix::thread::CpuSet::MAX_CPU).find(|cpu| allowed.is_set(*cpu)).unwrap().to_string();
    let fairshare = env!("CARGO_BIN_EXE_fairshare");
    assert_eq!(simulate("taskset", &["-c", &one, fairshare]), simulate(fairshare, &[]));
}

/// Each has the whole machine for 10 s: they wait 0, 10, … 190 s. Of 20 waits the nearest rank of 95 % is the 19th.
#[test]
fn the_95th_percentile_is_a_wait_that_somebody_had() {
    let trace: String = (0..20).map(|number| format!("0,user{number},4,1G,10\n")).collect();
    let report = json(&simulate(POLICY, &trace, "--json"));
    assert_eq!((&report["wait_p95_ms"], &report["wait_max_ms"]), (&180_000.into(), &190_000.into()));
}

/// ben waits 29 s for 1 s of work, which counts as 10 s: three times as long, and not thirty. Less than once is once.
#[test]
fn what_runs_for_moments_does_not_make_the_slowdown() {
    let report = json(&simulate(POLICY, "0,ann,4,1G,29\n0,ben,4,1G,1\n100,cid,1,1G,1\n", "--json"));
    close(&report["slowdown_mean"], (1.0 + 3.0 + 1.0) / 3.0);
}

/// As a member has to, who wants more time than the policy allows.
#[test]
fn a_wanted_time_over_the_longest_lease_is_cut_to_it() {
    let report = json(&simulate(POLICY, "0,ann,1,1G,7200\n", "--json"));
    assert_eq!((&report["granted"], &report["refused"]), (&1.into(), &0.into()), "{report}");
}

/// User 7 stays beyond the time that was asked for, and keeps no CPU from then on, at 120 s. User 8, who has used much, comes
/// at this moment before user 9, who has used nothing: whoever finds room waits for nobody.
#[test]
fn a_lease_that_ends_at_the_moment_of_a_request_has_ended() {
    let trace = "\
1   0 -1   50 4 -1 -1 4 60 262144 1 8 1 1 1 1 -1 -1
2  60 -1 1000 4 -1 -1 4 60 262144 1 7 1 1 1 1 -1 -1
3 120 -1   10 4 -1 -1 4 60 262144 1 8 1 1 1 1 -1 -1
4 120 -1   10 4 -1 -1 4 60 262144 1 9 1 1 1 1 -1 -1
";
    let report = json(&simulate(POLICY, trace, "--format swf --json"));
    let waited = |index: usize| (&report["users"][index]["user"], &report["users"][index]["wait_mean_ms"]);
    assert_eq!(waited(0), (&"8".into(), &0.into()), "{report}");
    assert_eq!(waited(2), (&"9".into(), &10_000.into()), "{report}");
}

/// ann has the machine for 100 s, ben after her; then it is cid's turn, who has used nothing, and not again ann's, who came first.
#[test]
fn both_orders_are_shown_beside_each_other() {
    let trace = "\
arrival_s,user,cpu,mem,wanted_s
0,ann,4,1G,100
10,ben,4,1G,100
20,ann,4,1G,100
30,cid,4,1G,10
";
    assert_eq!(
        shown(&simulate(POLICY, trace, "--compare")),
        "                FAIR     FCFS     RATIO
Wait, mean      1m 52s   2m 15s   0.83
Wait, p95       3m 10s   4m 30s   0.70
Wait, max       3m 10s   4m 30s   0.70
First, max      3m 10s   4m 30s   0.70
Envy            0s       0s       -
Slowdown, mean  5.95     8.43     0.71
CPU held        100.0 %  100.0 %  1.00
Lasted          5m 10s   5m 10s   1.00
"
    );
    let alone = json(&simulate(POLICY, trace, "--order fcfs --json"));
    let both = json(&simulate(POLICY, trace, "--compare --json"));
    assert_eq!(both["fcfs"], alone);
    assert_eq!(both["fair"], json(&simulate(POLICY, trace, "--json")));
}
