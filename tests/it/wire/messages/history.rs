//! How jobs and allocations ended.

use fairshare::contract::*;

pub fn calls() -> Vec<(&'static str, Call)> {
    let full = History {
        since_ms: Some(1_700_000_000_000),
        until_ms: Some(1_700_086_400_000),
        for_uid: Some(1001),
        all: Some(false),
        limit: Some(100),
        after: Some(EndPlace { ended_ms: 1_700_000_360_000, number: 7 }),
    };
    vec![("history-min", Call::History(History::default())), ("history-full", Call::History(full))]
}

pub fn answers() -> Vec<(&'static str, Answer)> {
    let none = HistoryAnswer { history: vec![], next: None };
    let next = Some(EndPlace { ended_ms: 1_700_003_960_000, number: 17 });
    let some = HistoryAnswer { history: ends(), next };
    vec![("history-min", Answer::History(none)), ("history-full", Answer::History(some))]
}

/// One of each kind, and of each state.
fn ends() -> Vec<EndInfo> {
    let min = |kind, state| EndInfo {
        kind,
        job_id: None,
        task: None,
        uid: 1001,
        user: None,
        name: None,
        state,
        cpu_milli: 0,
        mem_bytes: 0,
        tasks_max: 0,
        lease_ms: None,
        created_ms: 1_700_000_000_000,
        waited_ms: 0,
        started_ms: None,
        ended_ms: 1_700_000_360_000,
        held_ms: None,
        exit_code: None,
        signal: None,
        oom: None,
        peak_mem_bytes: None,
        needed_bytes: None,
        cpu_usec: None,
        oom_kills: None,
    };
    let full = EndInfo {
        job_id: Some(17),
        task: Some(TaskInfo { job_id: 16, index: 3 }),
        user: Some("alice".to_owned()),
        name: Some("nightly".to_owned()),
        cpu_milli: 2000,
        mem_bytes: 8 << 30,
        tasks_max: 4096,
        lease_ms: Some(7_200_000),
        waited_ms: 360_000,
        started_ms: Some(1_700_000_360_000),
        ended_ms: 1_700_003_960_000,
        held_ms: Some(3_600_000),
        exit_code: Some(3),
        signal: Some(9),
        oom: Some(true),
        peak_mem_bytes: Some(4 << 30),
        needed_bytes: Some(1 << 30),
        cpu_usec: Some(12_345_678),
        oom_kills: Some(2),
        ..min(EndKind::Submit, JobState::Failed)
    };
    vec![
        full,
        min(EndKind::Request, JobState::Cancelled),
        min(EndKind::Run, JobState::Interrupted),
        min(EndKind::Standing, JobState::Done),
    ]
}
