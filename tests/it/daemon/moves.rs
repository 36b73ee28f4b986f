//! Processes that are to be moved: whose they are, and that they may end at any moment.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::time::Duration;

use fairshare::contract::{
    Amounts, Answer, Attach, Body, Call, InUnit, JobStarted, JobStatus, OneJob, Release, Resize, Run,
};
use fairshare::wire::error::Code;

use super::harness::{Home, PATIENCE};
use super::raw::{Raw, release, request};
use super::systemd_faults::{own_slice, share_slice};
use crate::poll::until;
use crate::stand_in::{Verb, World};

/// A process that does nothing. Ends with the value.
struct Idle(Child);

impl Idle {
    fn start() -> Self {
        Self(Command::new("sleep").arg("600").spawn().unwrap())
    }

    fn of(uid: u32) -> Self {
        Self(Command::new("sleep").arg("600").uid(uid).gid(uid).spawn().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn end(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn attach(pids: &[u32]) -> Call {
    Call::Attach(Attach { pids: pids.iter().map(|pid| u64::from(*pid)).collect() })
}

fn moved(raw: &mut Raw, call: &Call) -> String {
    entered(raw, call).unit
}

fn entered(raw: &mut Raw, call: &Call) -> InUnit {
    match raw.ask(call) {
        Ok(Answer::Unit(entered)) => entered,
        other => panic!("not moved: {other:?}"),
    }
}

#[test]
fn a_process_that_systemd_did_not_move_is_not_said_to_be_inside() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let process = Idle::start();
    world.faults.moves_nobody();
    let error = raw.refused(&attach(&[process.pid()]), Code::Systemd);
    assert_eq!(error.message, "A process could not be moved");
    world.faults.clear();
    moved(&mut raw, &attach(&[process.pid()]));
}

#[test]
fn a_process_is_moved_and_keeps_the_share_from_being_given_back() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let mut idle = Idle::start();
    let error = raw.refused(&attach(&[idle.pid()]), Code::NotFound);
    assert_eq!(error.message, "No share is held");
    raw.granted(&request());
    let unit = moved(&mut raw, &attach(&[idle.pid()]));
    assert!(world.unit(&unit).unwrap().pids.contains(&idle.pid()));
    let error = raw.refused(&release(), Code::Busy);
    assert_eq!(error.message, "1 process is inside the share");
    let named = error.more().unwrap();
    assert!(named.starts_with(&format!("sleep (pid {}), since ", idle.pid())), "{named}");
    idle.end();
    until("the share to be empty", PATIENCE, || world.unit(&unit).is_none().then_some(()));
    assert!(raw.released());
}

#[test]
fn run_moves_the_caller() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let unit = moved(&mut raw, &Call::Run(Run::default()));
    assert!(world.unit(&unit).unwrap().pids.contains(&std::process::id()));
    // Numbers are not used twice, by the next daemon neither.
    daemon.kill();
    let daemon = home.activate();
    let second = moved(&mut daemon.client(), &Call::Run(Run::default()));
    assert_ne!(unit, second);
}

#[test]
fn who_enters_is_told_how_much_the_share_has_by_then() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    let held = raw.granted(&request());
    let has = |entered: InUnit| (entered.cpu_milli, entered.mem_bytes);
    assert_eq!(has(entered(&mut raw, &Call::Run(Run::default()))), (held.cpu_milli, held.mem_bytes));
    let to = Amounts { cpu_milli: Some(750), mem_bytes: Some(96 << 20), ..Amounts::default() };
    raw.granted(&Call::Resize(Resize { for_uid: None, ..Resize::of(to) }));
    let idle = Idle::start();
    assert_eq!(has(entered(&mut raw, &attach(&[idle.pid()]))), (750, 96 << 20));
}

#[test]
fn what_is_not_the_callers_is_not_moved() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    world.take_calls();
    for pid in [0, 1, u64::from(u32::MAX), u64::MAX] {
        let error = raw.refused(&Call::Attach(Attach { pids: vec![pid] }), Code::BadRequest);
        assert_eq!(error.message, format!("pids: {pid} is not a process id"));
    }
    let mut ended = Idle::start();
    ended.end();
    let error = raw.refused(&attach(&[ended.pid()]), Code::NotFound);
    assert_eq!(error.message, format!("There is no process {}", ended.pid()));
    // One of many is enough.
    let own = Idle::start();
    if rustix::process::getuid().is_root() {
        let foreign = Idle::of(4001);
        let error = raw.refused(&attach(&[own.pid(), foreign.pid()]), Code::Forbidden);
        assert_eq!(error.message, format!("Process {} is not your own", foreign.pid()));
    }
    let started: Vec<_> =
        world.take_calls().into_iter().filter(|(method, _)| method == "StartTransientUnit").collect();
    assert_eq!(started, [], "systemd was asked to move them");
}

/// Who has ended meanwhile keeps nobody else out.
#[test]
fn of_many_those_that_have_ended_are_left_out() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let (own, mut ended) = (Idle::start(), Idle::start());
    ended.end();
    let unit = moved(&mut raw, &attach(&[ended.pid(), own.pid()]));
    assert_eq!(world.unit(&unit).unwrap().pids, [own.pid()].into());
}

/// Each scope costs PID 1 a unit and root two inotify watches.
#[test]
fn a_share_has_a_bounded_number_of_scopes() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let uid = rustix::process::getuid().as_raw();
    let scope = |run: u32| {
        let slices = world.cgroup_root().join("fairshare.slice").join(share_slice()).join(own_slice());
        slices.join(format!("fairshare-{uid}-own-run{}.scope", 1000 + run))
    };
    (0..256).for_each(|run| std::fs::create_dir(scope(run)).unwrap());
    let own = Idle::start();
    world.take_calls();
    for call in [attach(&[own.pid()]), Call::Run(Run::default())] {
        let error = raw.refused(&call, Code::Busy);
        assert_eq!(error.message, "256 commands and attachments of yours are in the share already");
    }
    assert!(world.take_calls().iter().all(|(method, _)| method != "StartTransientUnit"));
    std::fs::remove_dir(scope(255)).unwrap();
    moved(&mut raw, &attach(&[own.pid()]));
}

/// The id of a thread is not that of a process, and moving it would move its whole process.
#[test]
fn a_thread_is_no_process() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    // A test runs in a thread of its own.
    let thread = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
    assert_ne!(thread, std::process::id());
    let error = raw.ask(&attach(&[thread])).unwrap_err();
    assert!(error.is(Code::NotFound) || error.is(Code::BadRequest), "{error:?}");
}

#[test]
fn a_process_that_ends_while_it_is_moved_is_said_to_be_gone() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    for early in [true, false] {
        // Before systemd looks at the process, and after.
        let held = (!early).then(|| world.faults.hold_job(Verb::Start));
        if early {
            world.faults.delay("StartTransientUnit", Duration::from_millis(700));
        }
        world.take_calls();
        let mut idle = Idle::start();
        raw.post(&attach(&[idle.pid()]));
        if !early {
            until("the call", PATIENCE, || {
                world.take_calls().iter().any(|(method, _)| method == "StartTransientUnit").then_some(())
            });
        }
        idle.end();
        drop(held);
        let response = raw.response().unwrap();
        let Body::Err(error) = response.body else { panic!("moved: {response:?}") };
        assert!(error.is(Code::NotFound), "{error:?}");
        assert_eq!(error.message, format!("There is no process {}", idle.pid()));
        world.faults.clear();
    }
    assert!(world.unit(&own_slice()).is_some());
    until("the share to be empty", PATIENCE, || (raw.ask(&release()).is_ok()).then_some(()));
    assert!(raw.healthy());
}

#[test]
fn stopping_a_busy_share_is_a_job_that_ends() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let mut idle = Idle::start();
    moved(&mut raw, &attach(&[idle.pid()]));
    let answer = raw.ask(&Call::Release(Release { job_id: None, stop: Some(true), for_uid: None })).unwrap();
    let Answer::JobStarted(JobStarted { job_started }) = answer else { panic!("no job: {answer:?}") };
    until("the process to end", PATIENCE, || idle.0.try_wait().unwrap());
    let job = until("the job to end", PATIENCE, || {
        match raw.ask(&Call::JobStatus(JobStatus { job_id: job_started })) {
            Ok(Answer::Job(OneJob { job, .. })) => job.ended_ms.map(|_| job),
            other => panic!("no job: {other:?}"),
        }
    });
    assert_eq!(format!("{:?}", job.state), "Done");
    assert!(raw.status().0.is_none() && world.unit(&own_slice()).is_none());
}
