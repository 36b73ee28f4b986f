//! How jobs and allocations ended, as it is remembered: once, of each member, by one daemon after another.

use std::fs;
use std::path::PathBuf;

use fairshare::contract::{
    Amounts, Answer, Call, Check, EndInfo, EndKind, EndPlace, History, HistoryAnswer, JobCancel, JobState,
};
use fairshare::testing::identity::{JobId, Uid};
use fairshare::testing::ledger::job::{self, Job, JobEnd, JobKind};
use fairshare::testing::ledger::{Image, Now};
use fairshare::wire::error::Code;

use super::events::own_uid;
use super::harness::{Daemon, Home, PATIENCE, image};
use super::raw::{Raw, leased, request, request_for};
use super::users::{MEMBER, member};
use super::works::{alone, over, service, submitted};
use crate::poll::until;
use crate::stand_in::World;

fn page(raw: &mut Raw, asked: History) -> HistoryAnswer {
    match raw.ask(&Call::History(asked)) {
        Ok(Answer::History(answer)) => answer,
        other => panic!("{other:?}"),
    }
}

pub(super) fn own(raw: &mut Raw) -> Vec<EndInfo> {
    page(raw, History::default()).history
}

fn everybodys(raw: &mut Raw) -> Vec<EndInfo> {
    page(raw, History { all: Some(true), ..History::default() }).history
}

fn kinds(ends: &[EndInfo]) -> Vec<(EndKind, Option<u64>, JobState)> {
    ends.iter().map(|end| (end.kind, end.job_id, end.state)).collect()
}

fn file(home: &Home) -> PathBuf {
    home.state_dir().join("history/history.redb")
}

/// A request that waits, for a share in a world that has room for one.
fn waits(raw: &mut Raw) -> u64 {
    let Call::RequestResources(request) = request() else { panic!("no request") };
    let call = Call::RequestResources(fairshare::contract::RequestResources { wait: Some(true), ..request });
    raw.started(&call)
}

/// Jobs of the past, as a state remembers them.
pub(super) fn remembered(count: u64) -> Image {
    let ended = |id: u64| {
        let (created, ended) = (Now::new(0, 1_700_000_000_000 + id), Now::new(0, 1_700_000_060_000 + id));
        let uid = Uid::new(u64::from(MEMBER)).unwrap();
        let state = job::JobState::Ended { started: None, ended, end: JobEnd::Done };
        Job { id: JobId(id), uid, kind: JobKind::Release, created, state }
    };
    Image { next_job: count + 1, jobs: (1..=count).map(|id| ended(id).into()).collect(), ..image(Vec::new()) }
}

#[test]
fn what_has_ended_is_told_with_what_it_had() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    assert_eq!(own(&mut raw), []);
    let share = raw.granted(&leased(3_600_000));
    let inside = submitted(&world, &mut raw, Amounts::default());
    world.end_service(&service(inside), 3);
    over(&mut raw, inside);
    assert!(raw.released());
    let amounts = Amounts { cpu_milli: Some(500), mem_bytes: Some(16 << 20), ..Amounts::default() };
    let by_itself = submitted(&world, &mut raw, amounts);
    world.end_service(&alone(by_itself), 0);
    over(&mut raw, by_itself);
    let ends = own(&mut raw);
    assert_eq!(
        kinds(&ends),
        [
            (EndKind::Submit, Some(inside), JobState::Failed),
            (EndKind::Standing, None, JobState::Done),
            (EndKind::Submit, Some(by_itself), JobState::Done),
        ]
    );
    let [inside, standing, by_itself] = ends.as_slice() else { panic!("{ends:?}") };
    assert!(ends.iter().all(|end| end.uid == own_uid() && end.created_ms <= end.ended_ms));
    // Room is counted once: what worked in the standing allocation held none of its own.
    assert_eq!((inside.exit_code, inside.held_ms, inside.cpu_milli), (Some(3), None, 0));
    let figures = (standing.cpu_milli, standing.mem_bytes, standing.tasks_max, standing.lease_ms);
    assert_eq!(figures, (share.cpu_milli, share.mem_bytes, share.tasks_max, Some(3_600_000)));
    assert_eq!(standing.held_ms, Some(standing.ended_ms - standing.started_ms.unwrap()));
    assert_eq!((by_itself.cpu_milli, by_itself.mem_bytes), (500, 16 << 20));
    assert!(by_itself.held_ms.is_some() && by_itself.exit_code == Some(0) && by_itself.cpu_usec.is_some());
    let until_then = History { until_ms: Some(inside.created_ms), ..History::default() };
    assert_eq!(page(&mut raw, until_then).history, []);
}

#[test]
fn a_request_that_was_given_up_is_told_without_room() {
    let world = World::start();
    let mut home = Home::of_one_cpu(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request_for(MEMBER.into()));
    let id = waits(&mut raw);
    raw.ask(&Call::JobCancel(JobCancel { job_id: id })).unwrap();
    let ends = own(&mut raw);
    assert_eq!(kinds(&ends), [(EndKind::Request, Some(id), JobState::Cancelled)]);
    assert_eq!((ends[0].started_ms, ends[0].held_ms, ends[0].cpu_milli), (None, None, 1000));
}

#[test]
fn members_are_told_of_their_own_and_admins_of_all() {
    if own_uid() != 0 {
        return;
    }
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut root = daemon.client();
    for uid in [MEMBER, MEMBER + 1] {
        root.granted(&request_for(uid.into()));
        let call = fairshare::contract::Release { job_id: None, stop: None, for_uid: Some(uid.into()) };
        root.ask(&Call::Release(call)).unwrap();
    }
    let of = |ends: Vec<EndInfo>| ends.into_iter().map(|end| end.uid).collect::<Vec<_>>();
    assert_eq!(own(&mut root), []);
    assert_eq!(of(everybodys(&mut root)), [u64::from(MEMBER), u64::from(MEMBER) + 1]);
    let named = History { for_uid: Some(u64::from(MEMBER) + 1), ..History::default() };
    assert_eq!(of(page(&mut root, named.clone()).history), [u64::from(MEMBER) + 1]);
    let answer = member(&daemon, MEMBER).ask(&Call::History(History::default()));
    let Ok(Answer::History(answer)) = answer else { panic!("{answer:?}") };
    assert_eq!(of(answer.history), [u64::from(MEMBER)]);
    for asked in [named.clone(), History { all: Some(true), ..History::default() }] {
        let error = member(&daemon, MEMBER).ask(&Call::History(asked)).unwrap_err();
        assert!(error.is(Code::Forbidden), "{error:?}");
    }
    root.refused(&Call::History(History { all: Some(true), ..named }), Code::BadRequest);
    root.refused(&Call::History(History { limit: Some(0), ..History::default() }), Code::BadRequest);
}

#[test]
fn pages_leave_nothing_out() {
    let world = World::start();
    let mut home = Home::new(&world);
    let mut state = remembered(25);
    for job in &mut state.jobs {
        let job = std::sync::Arc::make_mut(job);
        job.kind = JobKind::Submit(Box::default());
    }
    home.set_image(&state);
    // Nothing is too old here.
    home.set_policy(&format!("{}history: {{keep: 90 years}}\n", super::harness::POLICY));
    let daemon = home.activate();
    let mut raw = daemon.client();
    let mut asked = History { for_uid: Some(MEMBER.into()), limit: Some(10), ..History::default() };
    let mut found = Vec::new();
    for expected in [10, 10, 5] {
        let answer = page(&mut raw, asked.clone());
        assert_eq!(answer.history.len(), expected);
        found.extend(answer.history.iter().filter_map(|end| end.job_id));
        asked.after = answer.next;
        let last = answer.history.last().map(|end| end.ended_ms).unwrap();
        assert_eq!(answer.next.map(|EndPlace { ended_ms, .. }| ended_ms), (expected == 10).then_some(last));
    }
    assert_eq!(found, (1..=25).collect::<Vec<u64>>());
    // What is not to be kept as long is forgotten with the next policy that says so.
    home.set_policy(&format!("{}history: {{keep: 30d}}\n", super::harness::POLICY));
    raw.ask(&Call::Reload(fairshare::contract::Reload {})).unwrap();
    until("the old to go", PATIENCE, || everybodys(&mut raw).is_empty().then_some(()));
}

/// What the state remembers is brought again by each daemon.
#[test]
fn what_has_ended_is_there_once_after_kill_9() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let id = submitted(&world, &mut raw, Amounts::default());
    world.end_service(&service(id), 0);
    over(&mut raw, id);
    let told = own(&mut raw);
    assert_eq!(kinds(&told), [(EndKind::Submit, Some(id), JobState::Done)]);
    until("the state to say so", PATIENCE, || home.state().jobs.iter().all(|job| job.ended()).then_some(()));
    daemon.kill();
    let daemon = home.activate();
    assert_eq!(own(&mut daemon.client()), told);
    // As where a daemon died before the history was written.
    daemon.kill();
    fs::remove_file(file(&home)).unwrap();
    let daemon = home.activate();
    assert_eq!(own(&mut daemon.client()), told);
    daemon.stop();
    let daemon = home.activate();
    assert_eq!(own(&mut daemon.client()), told);
}

fn check(daemon: &Daemon) -> Check {
    daemon.client().check("history")
}

#[test]
fn a_damaged_history_is_put_aside_and_said() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    assert!(raw.released());
    assert_eq!(own(&mut raw).len(), 1);
    assert_eq!(check(&daemon), Check { name: "history".to_owned(), ok: true, detail: None });
    daemon.kill();
    let whole = fs::read(file(&home)).unwrap();
    fs::write(file(&home), &whole[..whole.len() / 2]).unwrap();
    let daemon = home.activate();
    let mut raw = daemon.client();
    assert_eq!(own(&mut raw), []);
    let said = until("word of it", PATIENCE, || check(&daemon).detail);
    assert!(said.contains("it is damaged") && said.contains("it is kept as history.damaged-"), "{said}");
    daemon.wait_logged("it is kept as history.damaged-");
    let aside = fs::read_dir(home.state_dir().join("history")).unwrap().map(|entry| entry.unwrap().path());
    let aside = aside.filter(|path| path.to_string_lossy().contains("damaged-")).collect::<Vec<_>>();
    assert_eq!(aside.len(), 1);
    assert_eq!(fs::read(&aside[0]).unwrap().len(), whole.len() / 2);
    // All else goes on, and what ends from now on is remembered.
    assert!(raw.healthy());
    raw.granted(&request());
    assert!(raw.released());
    assert_eq!(own(&mut raw).len(), 1);
}

#[test]
fn where_it_cannot_be_written_all_else_goes_on_and_it_is_said_and_made_up_for() {
    let world = World::start();
    let mut home = Home::new(&world);
    let in_the_way = home.state_dir().join("history");
    fs::write(&in_the_way, "a file").unwrap();
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    assert!(raw.released());
    raw.refused(&Call::History(History::default()), Code::Io);
    let check = until("word of it", PATIENCE, || Some(check(&daemon)).filter(|check| !check.ok));
    let said = check.detail.unwrap();
    assert!(said.contains("cannot open the folder") && said.contains("history"), "{said}");
    until("the end to wait", PATIENCE, || {
        raw.check("history").detail.filter(|said| said.contains("ends that wait to be written: 1"))
    });
    fs::remove_file(&in_the_way).unwrap();
    let ends = until("the history", PATIENCE, || {
        let answer = raw.ask(&Call::History(History::default()));
        answer.ok().filter(|_| raw.check("history").ok)
    });
    let Answer::History(answer) = ends else { panic!("{ends:?}") };
    assert_eq!(kinds(&answer.history), [(EndKind::Standing, None, JobState::Done)]);
    daemon.wait_logged("the history is written again");
}
