//! What is handed to a command: to its own process only, over that process's own connection, and no longer the daemon's than
//! it takes.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc;

use fairshare::client::{Client, ClientError, Deadlines};
use fairshare::contract::handover::{BECOME, Handover};
use fairshare::contract::{Amounts, Answer, Call, JobCancel, JobStarted, JobState, Release, Submit};
use fairshare::wire::error::{Code, WireError};
use fairshare::wire::os_text::OsText;
use rustix::process::Signal;

use super::harness::{Daemon, Home, PATIENCE};
use super::leaves::held_by;
use super::raw::{Raw, request, request_for, submission};
use super::submit::descriptors;
use super::works::{alone, job, runs, service, stops, submitted};
use crate::poll::until;
use crate::root::is_root;
use crate::stand_in::{Verb, World};

pub(super) fn client(daemon: &Daemon) -> Client {
    Client::connect(daemon.socket(), "test", "1", Deadlines::default()).unwrap()
}

/// This process is that of a command from now on.
fn become_process_of(world: &World, job: u64) {
    until("the process", PATIENCE, || runs(world, job).then_some(()));
    world.pretend_processes(&service(job), &[std::process::id()]);
}

/// What the process of a command fetches, and the connection that it came on.
fn fetched(world: &World, daemon: &Daemon, job: u64) -> (Client, Vec<File>) {
    become_process_of(world, job);
    let mut client = client(daemon);
    let files = client.job_fetch(job).unwrap().1.into_iter().map(File::from).collect();
    world.pretend_processes(&service(job), &[]);
    (client, files)
}

fn refused(daemon: &Daemon, job: u64) -> WireError {
    match client(daemon).job_fetch(job) {
        Err(ClientError::Refused(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn handover(mut file: &File) -> Handover {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    Handover::decode(&bytes).unwrap()
}

/// They are files of the member's, which may take as long as they like to be closed: the bus and systemd close what they are
/// sent while everybody waits.
#[test]
fn what_a_command_reads_and_writes_goes_to_its_process_and_not_over_the_bus() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    daemon.client().granted(&request());
    let files = [(); 3].map(|()| tempfile::tempfile().unwrap());
    let streams = files.each_ref().map(|file| file.as_fd());
    let argv = vec!["secret".into()];
    let id = client(&daemon).call_with(&Submit { argv, ..submission() }, &streams).unwrap().job_started;
    let (_connection, handed) = fetched(&world, &daemon, id);
    let inode = |file: &File| file.metadata().unwrap().ino();
    assert_eq!(handed[1..].iter().map(inode).collect::<Vec<_>>(), files.each_ref().map(inode));
    assert_eq!(handover(&handed[0]).argv, ["secret".into()]);
    let unit = world.unit(&service(id)).unwrap();
    for stream in ["StandardInput", "StandardOutput", "StandardError"] {
        assert_eq!(unit.text(stream), Some("null"), "{stream}");
    }
    let socket = daemon.socket().to_str().unwrap();
    assert_eq!(world.program(&service(id)).unwrap(), ["fairshare", BECOME, &id.to_string(), socket]);
}

#[test]
fn nobody_but_the_process_of_a_command_fetches_it_and_nobody_twice() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let id = submitted(&world, &mut raw, Amounts::default());
    // A process of the same member, outside; and in the cgroup of another command of theirs.
    let other = submitted(&world, &mut raw, Amounts::default());
    let forbidden = refused(&daemon, id);
    assert!(forbidden.is(Code::Forbidden), "{forbidden:?}");
    become_process_of(&world, other);
    assert!(refused(&daemon, id).is(Code::Forbidden));
    assert!(refused(&daemon, 4711).is(Code::Forbidden), "whether there is such a job is told");
    // It is still there for whom it is for.
    let (_connection, handed) = fetched(&world, &daemon, id);
    assert_eq!(handed.len(), 1);
    become_process_of(&world, id);
    let again = refused(&daemon, id);
    assert!(again.is(Code::NotFound), "{again:?}");
    assert_eq!(job(&mut raw, id).state, JobState::Running);
}

/// Programs that ask the machine how much there is are told of all of it.
#[test]
fn a_command_is_told_how_much_it_has() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let held = raw.granted(&request());
    let own = Amounts { cpu_milli: Some(250), mem_bytes: Some(16 << 20), ..Amounts::default() };
    for (amounts, expected) in
        [(Amounts::default(), (held.cpu_milli, held.mem_bytes)), (own, (250, 16 << 20))]
    {
        let id = submitted(&world, &mut raw, amounts);
        become_process_of(&world, id);
        let (handed, _) = client(&daemon).job_fetch(id).unwrap();
        assert_eq!((handed.cpu_milli, handed.mem_bytes), expected);
        world.pretend_processes(&service(id), &[]);
    }
}

/// The process is there as soon as systemd has started it, and that may be before the kernel was seen to hold the limits.
#[test]
fn a_process_that_comes_before_its_limits_hold_waits_for_them() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    world.faults.kernel_holds("memory.max", "max");
    let amounts = Amounts { mem_bytes: Some(16 << 20), ..Amounts::default() };
    let id = submitted(&world, &mut raw, amounts);
    become_process_of(&world, id);
    let mut process = client(&daemon);
    let fetch = std::thread::spawn(move || process.job_fetch(id).map(|(_, descriptors)| descriptors.len()));
    // Neither is a call that comes later.
    for _ in 0..20 {
        raw.status();
    }
    let slice = service(id).replace(".service", ".slice");
    assert!(
        !fetch.is_finished(),
        "answered although memory.max is {:?}",
        world.cgroup_file(&slice, "memory.max")
    );
    world.write_cgroup_file(&slice, "memory.max", "16777216");
    assert_eq!(fetch.join().unwrap().unwrap(), 1);
}

/// As `at(1)` does: a member whose files are nobody else's has them so in the background too.
#[test]
fn a_command_creates_files_as_who_submitted_it() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    daemon.client().granted(&request());
    let folder = tempfile::tempdir().unwrap();
    for umask in [0o077, 0o002] {
        let submit = format!("umask {umask:o}; exec \"$@\"");
        let ran = Command::new("sh")
            .args(["-c", &submit, "sh", env!("CARGO_BIN_EXE_fairshare"), "submit", "--socket"])
            .args([daemon.socket(), Path::new("true")])
            .current_dir(&folder)
            .output()
            .unwrap();
        let id = String::from_utf8(ran.stdout).unwrap().trim().parse().unwrap();
        let (_connection, handed) = fetched(&world, &daemon, id);
        assert_eq!(handover(&handed[0]).umask, umask);
    }
}

#[test]
fn what_a_command_came_with_is_let_go_as_soon_as_it_was_fetched_or_is_over() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    daemon.client().granted(&request());
    let mut client = client(&daemon);
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    let before = descriptors(&daemon);
    let ids: Vec<u64> =
        (0..20).map(|_| client.call_with(&submission(), &[null.as_fd(); 3]).unwrap().job_started).collect();
    // One half is fetched by processes that go on with their connections, the other half ends without.
    let (fetch, end) = ids.split_at(10);
    let held: Vec<_> = fetch.iter().map(|id| fetched(&world, &daemon, *id)).collect();
    for id in end {
        until("all to run", PATIENCE, || runs(&world, *id).then_some(()));
        world.end_service(&service(*id), 0);
    }
    // Of each that was fetched the connection and the file are left.
    until("descriptors to be closed", PATIENCE, || {
        (descriptors(&daemon) <= before + 2 * held.len() + 1).then_some(())
    });
    drop(held);
    until("the connections to be closed", PATIENCE, || (descriptors(&daemon) <= before + 1).then_some(()));
}

/// The process is its member's own: what it was handed it may hold for as long as it likes.
#[test]
fn what_was_fetched_is_no_memory_of_the_daemons_whoever_still_holds_it() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let id = submitted(&world, &mut raw, Amounts::default());
    let (connection, mut handed) = fetched(&world, &daemon, id);
    let file = handed.remove(0);
    let bytes = || file.metadata().unwrap().len();
    assert!(bytes() > 0, "gone before it was read");
    drop(connection);
    until("the bytes to go", PATIENCE, || (bytes() == 0).then_some(()));
    file.set_len(1).expect_err("it can be filled again");
}

/// 1310720 bytes of one member's, as fairshare-protocol(7) says.
#[test]
fn what_was_not_fetched_takes_room_that_a_member_has_only_so_much_of() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let env = BTreeMap::from([("LARGE".into(), "x".repeat(300 << 10).into())]);
    let large = Call::Submit(Submit { env, ..submission() });
    let mut taken = Vec::new();
    for _ in 0..4 {
        let Ok(Answer::JobStarted(JobStarted { job_started })) = raw.ask(&large) else { panic!("not taken") };
        taken.push(job_started);
    }
    raw.refused(&large, Code::Busy);
    // What was fetched takes room until it was read.
    let (connection, _handed) = fetched(&world, &daemon, taken[0]);
    raw.refused(&large, Code::Busy);
    drop(connection);
    until("room", PATIENCE, || raw.ask(&large).ok());
}

/// Each comes with more than the fourth part of what a member has room for.
#[test]
fn a_command_that_is_cancelled_while_it_waits_gives_its_room_back() {
    if !is_root() {
        return; // an admin has somebody else hold the share that is waited for
    }
    let world = World::start();
    let mut home = Home::of_one_cpu(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request_for(1));
    let env = BTreeMap::from([("LARGE".into(), "x".repeat(330 << 10).into())]);
    let large = Call::Submit(Submit { env, wait: Some(true), ..submission() });
    for _ in 0..8 {
        let Ok(Answer::JobStarted(JobStarted { job_started })) = raw.ask(&large) else { panic!("not taken") };
        assert!(raw.ask(&Call::JobCancel(JobCancel { job_id: job_started })).is_ok());
    }
}

/// 98 KiB on the wire each, and 35 times as much as text by text.
#[test]
fn what_waits_takes_as_much_of_the_daemons_memory_as_it_has_bytes() {
    const MANY: u16 = 16_384;
    const CONNECTIONS: usize = 15;
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    // The member's turn lasts until that has ended.
    let held = world.faults.hold_job(Verb::Stop);
    world.take_calls();
    raw.post(&Call::Release(Release { job_id: None, stop: None, for_uid: None }));
    until("the share to be stopped", PATIENCE, || stops(&world.take_calls()).then_some(()));
    let mut argv = vec![OsText::default(); MANY.into()];
    argv[0] = "true".into();
    let env = (0..MANY).map(|number| (format!("{number:03x}").into(), OsText::default())).collect();
    let submit = Call::Submit(Submit { argv, env, ..submission() });
    let (_, before) = held_by(daemon.pid());
    let (answered, answers) = mpsc::channel();
    let threads: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (mut raw, submit, answered) = (daemon.client(), submit.clone(), answered.clone());
            std::thread::spawn(move || answered.send(raw.ask(&submit)).unwrap())
        })
        .collect();
    // Of which there is room for others.
    let first = answers.recv_timeout(PATIENCE).expect("all of them wait");
    assert!(first.as_ref().is_err_and(|error| error.is(Code::Busy)), "{first:?}");
    let (_, now) = held_by(daemon.pid());
    assert!(now < before + (8 << 10), "{before} KiB, and {now} KiB with what waits");
    drop(held);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// A command that runs from now on, and that no other daemon can hand over.
fn with_descriptors(world: &World, daemon: &Daemon) -> u64 {
    let null = File::open("/dev/null").unwrap();
    let submit = Submit { in_share: Some(true), ..submission() };
    let id = client(daemon).call_with(&submit, &[null.as_fd()]).unwrap().job_started;
    until("the command to run", PATIENCE, || runs(world, id).then_some(()));
    id
}

/// It came with descriptors, which went with the daemon that had them.
#[test]
fn a_command_whose_daemon_died_before_it_was_fetched_is_interrupted() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let [lost, outside] = [(); 2].map(|()| with_descriptors(&world, &daemon));
    daemon.kill();
    let daemon = home.activate();
    // Who is no process of it changes nothing.
    assert!(refused(&daemon, outside).is(Code::Forbidden));
    become_process_of(&world, lost);
    let error = refused(&daemon, lost);
    assert!(
        error.is(Code::Interrupted) && error.message.contains("before the command was started"),
        "{error:?}"
    );
    // Told when it is stored.
    let stored = home.state().jobs.into_iter().find(|job| job.id.0 == lost);
    assert!(stored.is_some_and(|job| job.ended()));
    // As the process ends, which has not become it.
    world.pretend_processes(&service(lost), &[]);
    world.end_service(&service(lost), 69);
    let mut raw = daemon.client();
    let ended = job(&mut raw, lost);
    assert_eq!((ended.state, ended.exit_code, ended.started_ms), (JobState::Interrupted, None, None));
    assert!(ended.error.unwrap().message.contains("before the command was started"));
    until("the units to go", PATIENCE, || world.unit(&service(lost)).is_none().then_some(()));
    assert_eq!(job(&mut raw, outside).state, JobState::Running);
}

#[test]
fn a_command_that_was_fetched_goes_on_without_its_daemon() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let id = submitted(&world, &mut raw, Amounts::default());
    let (_connection, handed) = fetched(&world, &daemon, id);
    daemon.stop();
    // However late it reads: a daemon that stops takes nothing back.
    assert_eq!(handover(&handed[0]).argv, ["true".into()]);
    let daemon = home.activate();
    world.end_service(&service(id), 3);
    let mut raw = daemon.client();
    let ended = until("its end", PATIENCE, || Some(job(&mut raw, id)).filter(|job| job.ended_ms.is_some()));
    assert_eq!(ended.exit_code, Some(3));
}

/// Its descriptors come back when it has gone with them.
#[test]
fn the_process_waits_while_the_daemon_is_restarted_and_then_is_told() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let id = with_descriptors(&world, &daemon);
    daemon.signal(Signal::STOP);
    let program = world.program(&service(id)).unwrap();
    let mut shim = Command::new(env!("CARGO_BIN_EXE_fairshare")).args(&program[1..]).spawn().unwrap();
    world.pretend_processes(&service(id), &[shim.id()]);
    daemon.kill();
    let _daemon = home.activate();
    let status = until("the process to end", PATIENCE, || shim.try_wait().unwrap());
    assert_eq!(status.code(), Some(69));
    let mut raw = Raw::hello(&home.socket());
    assert_eq!(job(&mut raw, id).state, JobState::Interrupted);
}

/// Lets the process that systemd would start become the command, and waits for its end.
pub(super) fn becomes(world: &World, daemon: &Daemon, job: u64) -> ExitStatus {
    becoming(world, daemon, job).wait().unwrap()
}

/// The same, of a command that exits with 0 where that is not over: what systemd says of its end is said by who calls this.
pub(super) fn begins(world: &World, daemon: &Daemon, job: u64) {
    assert_eq!(becomes(world, daemon, job).code(), Some(0));
    let unit = [service(job), alone(job)].into_iter().find(|name| world.unit(name).is_some()).unwrap();
    world.pretend_processes(&unit, &[]);
}

/// The process that systemd would start, on its way to become the command.
pub(super) fn becoming(world: &World, daemon: &Daemon, job: u64) -> Child {
    until("the process", PATIENCE, || runs(world, job).then_some(()));
    let names = [service(job), alone(job)];
    let unit = names.into_iter().find(|name| world.unit(name).is_some()).unwrap();
    let program = world.program(&unit).unwrap();
    daemon.signal(Signal::STOP);
    let shim = Command::new(env!("CARGO_BIN_EXE_fairshare")).args(&program[1..]).spawn().unwrap();
    world.pretend_processes(&unit, &[shim.id()]);
    daemon.signal(Signal::CONT);
    shim
}

/// The whole way, with the process that systemd starts.
#[test]
fn the_process_becomes_the_command() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    daemon.client().granted(&request());
    let mut output = tempfile::tempfile().unwrap();
    let null = File::open("/dev/null").unwrap();
    let argv = ["sh", "-c", "echo out; echo err >&2; pwd; exit 7"].map(Into::into).to_vec();
    let submission = Submit { argv, cwd: "/usr".into(), ..submission() };
    let id = client(&daemon).call_with(&submission, &[null.as_fd(), output.as_fd()]).unwrap().job_started;
    assert_eq!(becomes(&world, &daemon, id).code(), Some(7));
    let mut said = String::new();
    output.rewind().unwrap();
    output.read_to_string(&mut said).unwrap();
    assert_eq!(said, "out\nerr\n/usr\n");
}

/// As files have been called in Latin-1.
#[test]
fn a_command_whose_words_are_not_utf_8_is_submitted_and_run_as_it_was_typed() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    daemon.client().granted(&request());
    let folder = tempfile::tempdir().unwrap();
    let [inner, file, name, value] =
        [&b"donn\xe9es"[..], b"caf\xe9", b"V\xe9", b"w\xff"].map(OsStr::from_bytes);
    let inner = folder.path().join(inner);
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(inner.join(file), "hi").unwrap();
    let mut submit = Command::new(env!("CARGO_BIN_EXE_fairshare"));
    submit.args(["submit", "--output", "out", "--", "cat"]).arg(file);
    submit.args(["/proc/self/cmdline", "/proc/self/environ"]);
    submit.env("FAIRSHARE_SOCKET", daemon.socket()).env(name, value).current_dir(&inner);
    let submitted = submit.output().unwrap();
    assert!(submitted.status.success(), "{submitted:?}");
    let id = str::from_utf8(&submitted.stdout).unwrap().trim().parse().unwrap();
    assert_eq!(becomes(&world, &daemon, id).code(), Some(0));
    let said = std::fs::read(inner.join("out")).unwrap();
    let rest = said.strip_prefix(b"hicat\0caf\xe9\0/proc/self/cmdline\0/proc/self/environ\0").unwrap();
    assert!(rest.split(|byte| *byte == 0).any(|variable| variable == b"V\xe9=w\xff"), "{said:?}");
}
