//! What is over: shown, summed up, and tried under another policy.

use std::fs;

use fairshare::contract::{EndInfo, EndKind, EndPlace, History, HistoryAnswer};
use serde_json::Value;

use super::*;

const HOUR_MS: u64 = 3_600_000;
/// 2023-11-14, 22:13:20 in UTC.
const THEN_MS: u64 = 1_700_000_000_000;

/// A command of alice's, who had two CPUs and 4 GiB for half an hour after a wait of a minute.
fn end(job: u64, ended_ms: u64) -> EndInfo {
    let started = ended_ms - HOUR_MS / 2;
    EndInfo {
        kind: EndKind::Submit,
        job_id: Some(job),
        task: None,
        uid: 1000,
        user: Some("alice".to_owned()),
        name: None,
        state: JobState::Failed,
        cpu_milli: 2000,
        mem_bytes: 4 * GIB,
        tasks_max: 64,
        lease_ms: Some(HOUR_MS),
        created_ms: started - 60_000,
        waited_ms: 60_000,
        started_ms: Some(started),
        ended_ms,
        held_ms: Some(HOUR_MS / 2),
        exit_code: Some(3),
        signal: None,
        oom: Some(false),
        peak_mem_bytes: Some(2 * GIB),
        needed_bytes: Some(GIB),
        cpu_usec: Some(1_800_000_000),
        oom_kills: None,
    }
}

/// A request of bob's that was given up after two minutes.
fn given_up() -> EndInfo {
    EndInfo {
        kind: EndKind::Request,
        uid: 4_000_000_000,
        user: None,
        state: JobState::Cancelled,
        waited_ms: 120_000,
        started_ms: None,
        held_ms: None,
        exit_code: None,
        oom: None,
        peak_mem_bytes: None,
        needed_bytes: None,
        cpu_usec: None,
        ..end(8, THEN_MS + 3 * HOUR_MS)
    }
}

/// The standing allocation of a member who waited for it, and a command in it: three ends.
fn standing(asked_ms: u64, waited_ms: u64, held_ms: u64, like: &EndInfo) -> [EndInfo; 3] {
    let granted_ms = asked_ms + waited_ms;
    let request = EndInfo {
        kind: EndKind::Request,
        state: JobState::Done,
        created_ms: asked_ms,
        waited_ms,
        // The two are told by two looks at the clock.
        started_ms: Some(granted_ms + 3),
        ended_ms: granted_ms + 3,
        held_ms: None,
        cpu_usec: None,
        ..like.clone()
    };
    let inside = EndInfo { created_ms: granted_ms, waited_ms: 0, held_ms: None, ..like.clone() };
    let held = EndInfo {
        kind: EndKind::Standing,
        job_id: None,
        created_ms: granted_ms,
        waited_ms: 0,
        started_ms: Some(granted_ms),
        ended_ms: granted_ms + held_ms,
        held_ms: Some(held_ms),
        ..like.clone()
    };
    [request, inside, held]
}

fn told(history: Vec<EndInfo>) -> Next {
    Answer::History(HistoryAnswer { history, next: None }).into()
}

fn asked(daemon: &Daemon) -> Vec<History> {
    let history = |call| match call {
        Call::History(asked) => asked,
        other => panic!("{other:?}"),
    };
    daemon.calls().into_iter().map(history).collect()
}

#[test]
fn what_is_over_is_shown_in_a_table() {
    let daemon = Daemon::saying([told(vec![end(7, THEN_MS), given_up()])]);
    assert_eq!(
        shown(&daemon.run("history")),
        "\
ENDED                 KIND     JOB  USER            CPU  MEMORY   WAITED  LASTED  CPU TIME  NEEDED   NAME  END
2023-11-14T22:13:20Z  submit   7    alice           2    4.0 GiB  1m      30m     30m       1.0 GiB  -     exit 3
2023-11-15T01:13:20Z  request  8    uid 4000000000  2    4.0 GiB  2m      -       -         -        -     cancelled
"
    );
    assert_eq!(asked(&daemon), [History::default()]);
    let daemon = Daemon::saying([told(vec![])]);
    assert_eq!(shown(&daemon.run("history")), "Nothing is remembered of that time\n");
}

#[test]
fn what_is_asked_for_goes_out_page_after_page() {
    let next = Some(EndPlace { ended_ms: THEN_MS, number: 7 });
    let daemon = Daemon::saying([
        Answer::History(HistoryAnswer { history: vec![end(7, THEN_MS)], next }).into(),
        told(vec![end(8, THEN_MS + 1)]),
    ]);
    let output = daemon.run("history --since 7d --until 1h --user root --json");
    let json: Value = serde_json::from_str(&shown(&output)).unwrap();
    let jobs: Vec<_> = json["history"].as_array().unwrap().iter().map(|end| &end["job_id"]).collect();
    assert_eq!((jobs, &json["next"]), (vec![&7.into(), &8.into()], &Value::Null));
    let [first, second] = asked(&daemon).try_into().unwrap();
    assert_eq!((first.for_uid, first.all, first.after, second.after), (Some(0), None, None, next));
    assert_eq!(History { after: next, ..first.clone() }, second);
    let (since, until) = (first.since_ms.unwrap(), first.until_ms.unwrap());
    assert_eq!((until - since) / HOUR_MS, 7 * 24 - 1);
    let daemon = Daemon::saying([told(vec![])]);
    daemon.run("history --all");
    assert_eq!(asked(&daemon), [History { all: Some(true), ..History::default() }]);
    let daemon = Daemon::saying([Code::Forbidden.into()]);
    complaint(&daemon.run("history --all"), 77);
    for line in ["history --csv --json", "history --all --user root", "history --since 7"] {
        assert_eq!(daemon.run(line).status.code(), Some(2), "{line}");
    }
}

/// A name with commas, quotes and a line of its own is one field; nothing in it does anything to a terminal or a spreadsheet.
#[test]
fn values_are_separated_by_commas_and_nothing_else() {
    let named = EndInfo { name: Some("=a, \"b\"\n\x1b[2J".to_owned()), ..end(7, THEN_MS) };
    let daemon = Daemon::saying([told(vec![named, given_up()])]);
    assert_eq!(
        shown(&daemon.run("history --csv")),
        "\
ended,kind,job,uid,user,name,state,exit_code,signal,oom,cpu,mem_bytes,tasks,asked_s,created,waited_s,started,held_s,cpu_s,needed_bytes,peak_mem_bytes,oom_kills
2023-11-14T22:13:20Z,submit,7,1000,alice,\"'=a, \"\"b\"\"\\u{a}\\u{1b}[2J\",failed,3,,false,2,4294967296,64,3600.000,2023-11-14T21:42:20Z,60.000,2023-11-14T21:43:20Z,1800.000,1800.000,1073741824,2147483648,
2023-11-15T01:13:20Z,request,8,4000000000,uid 4000000000,,cancelled,,,,2,4294967296,64,3600.000,2023-11-15T00:42:20Z,120.000,,,,,,
"
    );
}

#[test]
fn what_was_held_and_used_is_summed_up() {
    let ends = || told(vec![end(7, THEN_MS), end(9, THEN_MS + 24 * HOUR_MS), given_up()]);
    let daemon = Daemon::saying([ends()]);
    assert_eq!(
        shown(&daemon.run("usage")),
        "\
USER            ENDS  CPU HELD  CPU USED  MEMORY HELD  WAIT, MEAN  WAIT, MAX
alice           2     2.00 h    1.00 h    4.00 GiB h   1m          1m
uid 4000000000  1     0.00 h    0.00 h    0.00 GiB h   0s          0s
"
    );
    let [asked] = asked(&daemon).try_into().unwrap();
    assert!(asked.since_ms.is_some() && asked.until_ms.is_none() && asked.all.is_none());
    let by_day = Daemon::saying([ends()]);
    assert_eq!(
        shown(&by_day.run("usage --by day --all --csv")),
        "\
day,ends,cpu_held_hours,cpu_used_hours,mem_held_gib_hours,wait_mean_s,wait_max_s
2023-11-14,1,1.000000,0.500000,2.000000,60.000,60.000
2023-11-15,2,1.000000,0.500000,2.000000,60.000,60.000
"
    );
    // The command is in the figures of the allocation that it worked in, and who waited is told by the request.
    let like = EndInfo { user: Some("carol".to_owned()), ..end(7, THEN_MS) };
    let daemon = Daemon::saying([told(standing(THEN_MS, 120_000, HOUR_MS, &like).into())]);
    let line = shown(&daemon.run("usage")).lines().last().unwrap().to_owned();
    assert_eq!(line, "carol  3     2.00 h    0.50 h    4.00 GiB h   1m          2m");
    let of_root = EndInfo { uid: 0, user: Some("root".to_owned()), ..end(7, THEN_MS) };
    let daemon = Daemon::saying([told(vec![of_root])]);
    let json: Value = serde_json::from_str(&shown(&daemon.run("usage --by group --json"))).unwrap();
    let lines = json["usage"].as_array().unwrap();
    let root = lines.iter().find(|line| line["of"] == "root").expect("root's group");
    assert_eq!(
        (&json["by"], &root["ends"], &root["cpu_held_hours"]),
        (&"group".into(), &1.into(), &1.0.into())
    );
    assert_eq!(shown(&Daemon::saying([told(vec![])]).run("usage")), "Nothing has ended in that time\n");
}

/// What is remembered is the same trace as the file that says the same.
#[test]
fn a_policy_is_tried_on_what_is_remembered() {
    const POLICY: &str =
        "defaults: {cpu: 1, mem: 1G}\nmax: {cpu: 4, mem: 4G}\nreserve: {cpu: 1, mem: 1G}\nlease: {max: 1h}\n";
    const CSV: &str = "0,ann,4,1G,100\n10,ben,4,1G,100\n20,cid,1,1G,50\n30,ann,2,1G,10\n";
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("site.yaml"), POLICY).unwrap();
    fs::write(dir.path().join("trace"), CSV).unwrap();
    let line = |rest: &str| format!("policy simulate --cpus 5 --memory 5G --policy . --json {rest}");
    let of_file = fairshare(&line("--trace trace")).current_dir(dir.path()).output().unwrap();
    let ended = |at_s: u64, (user, uid): (&str, u64), cpu: u64, runs_s: u64| EndInfo {
        uid,
        user: Some(user.to_owned()),
        cpu_milli: cpu * 1000,
        mem_bytes: GIB,
        created_ms: THEN_MS + at_s * 1000,
        held_ms: Some(runs_s * 1000),
        lease_ms: Some(runs_s * 1000),
        ..end(at_s, THEN_MS + HOUR_MS)
    };
    let (ann, ben, cid) = (("ann", 1001), ("ben", 1002), ("cid", 1003));
    let mut ends = vec![ended(30, ann, 2, 10), ended(10, ben, 4, 100), ended(0, ann, 4, 100)];
    // Of a standing allocation it is the request that says when it was asked for.
    let [request, _, held] = standing(THEN_MS + 20_000, 5000, 50_000, &ended(20, cid, 1, 50));
    ends.extend([request, held]);
    let everybodys = Daemon::saying([told(vec![]), told(ends.clone())]);
    let of_history =
        |daemon: &Daemon| daemon.command(&line("--from-history")).current_dir(dir.path()).output().unwrap();
    let figures: [Value; 2] =
        [&of_file, &of_history(&everybodys)].map(|output| serde_json::from_str(&shown(output)).unwrap());
    assert_eq!(figures[0], figures[1]);
    assert_eq!(asked(&everybodys).iter().map(|asked| asked.all).collect::<Vec<_>>(), [Some(true); 2]);
    // Who is no admin tries it on their own. What held no room is left out, and counted.
    ends.push(EndInfo { created_ms: THEN_MS, ..given_up() });
    let own = Daemon::saying([Code::Forbidden.into(), told(ends)]);
    let report: Value = serde_json::from_str(&shown(&of_history(&own))).unwrap();
    assert_eq!((&report["requests"], &report["skipped"]), (&4.into(), &1.into()));
    assert_eq!(asked(&own).last().unwrap().all, None);
    let nothing = Daemon::saying([told(vec![]), told(vec![])]);
    assert!(complaint(&of_history(&nothing), 1).contains("nothing is remembered"));
    assert_eq!(everybodys.run("policy simulate --from-history --trace x").status.code(), Some(2));
    assert_eq!(everybodys.run("policy simulate").status.code(), Some(2));
}
