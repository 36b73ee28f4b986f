//! What a submitted command is refused for before anything is started, and that nothing of it stays.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use fairshare::client::{Client, ClientError, Deadlines};
use fairshare::contract::{Answer, Body, Call, JobList, JobState, JobStatus, Jobs, OneJob, Release, Submit};
use fairshare::testing::ledger::job::{JobKind, Work};
use fairshare::wire::error::{Code, WireError};
use fairshare::wire::os_text::OsText;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::events::own_uid;
use super::harness::{Daemon, Home, PATIENCE};
use super::history::remembered;
use super::raw::{Raw, request_for, request_frame, submission};
use super::users::{MEMBER, member};
use crate::poll::until;
use crate::stand_in::World;

fn refused(daemon: &Daemon, submission: Submit, streams: &[BorrowedFd<'_>]) -> WireError {
    let mut client = Client::connect(daemon.socket(), "test", "1", Deadlines::default()).unwrap();
    match client.call_with(&submission, streams) {
        Err(ClientError::Refused(error)) => error,
        other => panic!("{other:?}"),
    }
}

pub fn descriptors(daemon: &Daemon) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count()
}

#[test]
fn what_cannot_be_a_stream_is_refused_and_closed() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let before = descriptors(&daemon);
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    let (folder, read_only) = (File::open("/").unwrap(), File::open("/dev/null").unwrap());
    let write_only = File::options().write(true).open("/dev/null").unwrap();
    let (socket, _other) = UnixStream::pair().unwrap();
    let path: OwnedFd =
        rustix::fs::open("/dev/null", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
    let pidfd =
        rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty()).unwrap();
    for (streams, says) in [
        (vec![folder.as_fd()], "standard input is a folder"),
        (vec![null.as_fd(), socket.as_fd()], "standard output is a socket"),
        (vec![null.as_fd(), read_only.as_fd()], "standard output is not open for writing"),
        (vec![write_only.as_fd()], "standard input is not open for reading"),
        (vec![null.as_fd(), null.as_fd(), path.as_fd()], "standard error is only a path"),
        (vec![null.as_fd(), null.as_fd(), read_only.as_fd()], "standard error is not open for writing"),
        (vec![pidfd.as_fd()], "standard input is no file, pipe or terminal"),
    ] {
        let error = refused(&daemon, submission(), &streams);
        assert!(error.is(Code::BadRequest) && error.message.contains(says), "{says}: {error:?}");
    }
    // More than a client of ours would send.
    let mut raw = daemon.client();
    let many = [null.as_fd(); 40];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(40))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&many)));
    let frame = request_frame(9, &Call::Submit(submission()));
    sendmsg(&raw.stream, &[IoSlice::new(&frame)], &mut control, SendFlags::empty()).unwrap();
    let Body::Err(error) = raw.response().unwrap().body else { panic!("taken") };
    assert!(error.is(Code::BadRequest) && error.message.contains("More than 3"), "{error:?}");
    drop(raw);
    until("the descriptors to be closed", PATIENCE, || (descriptors(&daemon) <= before).then_some(()));
    assert_eq!(world.take_calls().iter().filter(|(method, _)| method == "StartTransientUnit").count(), 0);
}

#[test]
fn what_cannot_be_executed_is_refused_by_name() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let env = |name: &str, value: &[u8]| BTreeMap::from([(name.into(), value.to_vec().into())]);
    let bytes = |bytes: &[u8]| OsText::from(bytes.to_vec());
    for (wrong, says) in [
        (Submit { argv: vec!["a".into(), "b\0".into()], ..submission() }, "argv[1]"),
        (Submit { argv: vec![OsText::default()], ..submission() }, "argv[0]"),
        (Submit { argv: vec!["a".into(), "b".into(), bytes(b"\xe9\0")], ..submission() }, "argv[2]"),
        (Submit { cwd: bytes(b"\xe9/"), ..submission() }, "cwd"),
        (Submit { cwd: bytes(b"/\xe9\0"), ..submission() }, "cwd"),
        (Submit { env: env("A", b"\xe9\0"), ..submission() }, "the variable \"A\""),
        (
            Submit { env: BTreeMap::from([(bytes(b"\x9b\xe9="), OsText::default())]), ..submission() },
            r#"the variable "\x9b\xe9=""#,
        ),
        (Submit { cwd: "home".into(), ..submission() }, "cwd"),
        (Submit { env: env("A=B", b"c"), ..submission() }, "env"),
        (Submit { env: env("A", b"c\0d"), ..submission() }, "env"),
        (Submit { lease_ms: Some(0), ..submission() }, "longer than 0"),
    ] {
        let error = refused(&daemon, wrong, &[]);
        assert!(error.is(Code::BadRequest) && error.message.contains(says), "{says}: {error:?}");
    }
    let mut client = daemon.client();
    let ok = client.ask(&Call::JobList(JobList { all: None })).unwrap();
    assert!(matches!(ok, Answer::Jobs(Jobs { jobs, .. }) if jobs.is_empty()));
}

/// What waits is in the daemon's memory, and the bus has nothing to do with it.
#[test]
fn a_command_that_waits_is_still_there_when_the_bus_comes_back() {
    let mut world = World::start();
    let mut home = Home::new(&world);
    home.set_policy("defaults: {cpu: 1, mem: 64M, tasks: 100}\nmax: {cpu: 1, mem: 64M, tasks: 100}\nreserve: {cpu: 1, mem: 1M}\n");
    home.set_cpus("0-1");
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request_for(1));
    let mut client = Client::connect(daemon.socket(), "test", "1", Deadlines::default()).unwrap();
    let id = client.call(&Submit { wait: Some(true), ..submission() }).unwrap().job_started;
    let state = |raw: &mut Raw| match raw.ask(&Call::JobStatus(JobStatus { job_id: id })).unwrap() {
        Answer::Job(OneJob { job, .. }) => job.state,
        other => panic!("{other:?}"),
    };
    assert_eq!(state(&mut raw), JobState::Queued);
    world.kill_bus();
    until("the loss to be noticed", PATIENCE, || (!raw.healthy()).then_some(()));
    world.restart_bus();
    until("health", PATIENCE, || raw.healthy().then_some(()));
    assert_eq!(state(&mut raw), JobState::Queued);
    raw.ask(&Call::Release(Release { job_id: None, stop: None, for_uid: Some(1) })).unwrap();
    until("its start", PATIENCE, || (state(&mut raw) != JobState::Queued).then_some(()));
    let unit = format!("fairshare-{}-job{id}.service", rustix::process::getuid().as_raw());
    until("its unit to be asked for", PATIENCE, || {
        let mut calls = world.take_calls().into_iter();
        calls.any(|call| format!("{call:?}").contains(&unit)).then_some(())
    });
}

/// The name is the member's own choice. An administrator who opened it would open what they chose, a device or a pipe.
#[test]
fn where_a_member_writes_is_told_to_no_admin() {
    if own_uid() != 0 {
        return;
    }
    let world = World::start();
    let mut home = Home::new(&world);
    let mut state = remembered(1);
    let work = Work { output: Some("/dev/watchdog-%j".into()), ..Work::default() };
    Arc::make_mut(&mut state.jobs[0]).kind = JobKind::Submit(Box::new(work));
    home.set_image(&state);
    let daemon = home.activate();
    let told = |mut raw: Raw| match raw.ask(&Call::JobStatus(JobStatus { job_id: 1 })) {
        Ok(Answer::Job(OneJob { job, output })) => (job.job_id, output),
        other => panic!("{other:?}"),
    };
    assert_eq!(told(member(&daemon, MEMBER)), (1, Some("/dev/watchdog-1".to_owned())));
    assert_eq!(told(daemon.client()), (1, None));
}
