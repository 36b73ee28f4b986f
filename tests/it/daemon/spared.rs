//! What would kill somebody's work is looked at last, and again: between what was decided and what is done time passes.

use std::fs::{self, File};
use std::io::Write as _;

use fairshare::contract::{
    Amounts, Answer, Body, Call, JobStarted, JobStatus, List, OneJob, Release, ShareInfo,
};
use fairshare::testing::identity::{JobId, Uid, UnitName, Within};
use fairshare::wire::error::{Code, WireError};
use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;

use super::closing::others_are_answered;
use super::harness::{Daemon, Home, PATIENCE};
use super::raw::{Raw, release, request, resize_mem};
use super::strace::Tracer;
use super::systemd_faults::{own_slice, share_slice};
use super::works::{service, submitted};
use crate::poll::until;
use crate::stand_in::World;

/// Has a call decided, holds the daemon while it stores the intent, lets something happen, and lets it go on.
fn meanwhile(daemon: &Daemon, home: &Home, call: &Call, happens: impl FnOnce()) -> Result<Answer, WireError> {
    let mut raw = daemon.client();
    let tracer = Tracer::attach(daemon, home, "fsync", Some("fsync:signal=STOP:when=1"), &[]);
    raw.post(call);
    until("the intent to be written", PATIENCE, || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
        let state = stat.rsplit_once(") ").unwrap().1.chars().next();
        // A tracer stops it for moments too; but the file is there only between the decision and the end of its storing.
        let decided = home.state_dir().join("state.new").exists();
        (decided && matches!(state, Some('T' | 't'))).then_some(())
    });
    happens();
    tracer.detach();
    daemon.signal(Signal::CONT);
    match raw.response().expect("the daemon closed the connection").body {
        Body::Ok(answer) => Ok(answer),
        Body::Err(error) => Err(error),
        Body::Event(event) => panic!("an event: {event:?}"),
    }
}

fn held() -> (World, Home, Daemon, Raw) {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    world.take_calls();
    (world, home, daemon, raw)
}

fn called(world: &World, method: &str, unit: &str) -> bool {
    world.take_calls().iter().any(|call| *call == (method.to_owned(), unit.to_owned()))
}

#[test]
fn a_resize_under_what_is_in_use_is_refused() {
    let (world, _home, _daemon, mut raw) = held();
    world.write_cgroup_file(&own_slice(), "memory.current", &(48 << 20).to_string());
    let error = raw.refused(&resize_mem(32 << 20), Code::Busy);
    assert_eq!(error.message, "Memory in use (48.0 MiB) exceeds the new limit (32.0 MiB)");
    assert!(!called(&world, "SetUnitProperties", &own_slice()));
}

/// `memory.stat` with so many bytes of page cache, and so many of them dirty.
fn cache(bytes: u64, dirty: u64) -> String {
    format!("file {bytes}\nfile_dirty {dirty}\nfile_writeback 0\ninactive_file {bytes}\nactive_file 0")
}

fn limits_set(world: &World) -> usize {
    let set = ("SetUnitProperties".to_owned(), own_slice());
    world.take_calls().into_iter().filter(|call| *call == set).count()
}

/// PID 1 serves nobody while the kernel takes memory back: so a large cache goes in steps.
#[test]
fn page_cache_is_not_in_use_and_is_taken_back_in_steps() {
    let (world, home, _daemon, mut raw) = held();
    raw.granted(&resize_mem(256 << 20));
    world.take_calls();
    world.write_cgroup_file(&own_slice(), "memory.stat", &cache(240 << 20, 0));
    world.write_cgroup_file(&own_slice(), "memory.current", &(244 << 20).to_string());
    raw.granted(&resize_mem(70 << 20));
    assert_eq!(world.cgroup_file(&own_slice(), "memory.max").unwrap(), format!("{}\n", 70 << 20));
    assert_eq!(home.state().allocations[0].amount.mem.0, 70 << 20);
    assert_eq!(limits_set(&world), 3, "174 MiB were taken back, 64 MiB at most at once");
    // A program needs the rest, and a margin.
    let error = raw.refused(&resize_mem(8 << 20), Code::Busy);
    assert_eq!(error.message, "Memory in use (20.0 MiB) exceeds the new limit (8.0 MiB)");
}

#[test]
fn what_is_needed_is_told_apart_from_page_cache() {
    let (world, _home, _daemon, mut raw) = held();
    let stat = format!("anon {}\nkernel 4096\nsock 0\nshmem 0\n{}", 3 << 20, cache(40 << 20, 0));
    world.write_cgroup_file(&share_slice(), "memory.stat", &stat);
    world.write_cgroup_file(&share_slice(), "memory.current", &(44 << 20).to_string());
    let told = |share: ShareInfo| share.usage.map(|usage| (usage.mem_bytes, usage.needed_bytes));
    let expected = Some((44 << 20, Some((3 << 20) + 4096)));
    assert_eq!(told(raw.status().0.unwrap()), expected);
    let Ok(Answer::List(list)) = raw.ask(&Call::List(List {})) else { panic!("no list") };
    assert_eq!(list.shares.into_iter().map(told).collect::<Vec<_>>(), [expected]);
}

/// Whoever sets the limit would wait until a disk has written it.
#[test]
fn page_cache_that_is_dirty_is_in_use() {
    let (world, _home, _daemon, mut raw) = held();
    world.write_cgroup_file(&own_slice(), "memory.stat", &cache(48 << 20, 32 << 20));
    world.write_cgroup_file(&own_slice(), "memory.current", &(48 << 20).to_string());
    let error = raw.refused(&resize_mem(40 << 20), Code::Busy);
    assert_eq!(error.message, "Memory in use (48.0 MiB) exceeds the new limit (40.0 MiB)");
    assert_eq!(limits_set(&world), 0);
}

#[test]
fn a_resize_that_fails_on_its_way_sets_back_what_was() {
    let (world, home, _daemon, mut raw) = held();
    raw.granted(&resize_mem(256 << 20));
    world.take_calls();
    world.write_cgroup_file(&own_slice(), "memory.stat", &cache(240 << 20, 0));
    world.write_cgroup_file(&own_slice(), "memory.current", &(244 << 20).to_string());
    world.faults.kernel_holds("memory.max", &(256_u64 << 20).to_string());
    raw.refused(&resize_mem(70 << 20), Code::Systemd);
    assert_eq!(limits_set(&world), 2, "one on the way, and the one back");
    assert_eq!(world.unit(&own_slice()).unwrap().figure("MemoryMax"), Some(256 << 20));
    assert_eq!(home.state().allocations[0].amount.mem.0, 256 << 20);
    assert!(raw.healthy());
}

#[test]
fn a_resize_looks_again_when_its_intent_is_stored() {
    let (world, home, daemon, mut raw) = held();
    let grows = || world.write_cgroup_file(&own_slice(), "memory.current", &(48 << 20).to_string());
    let error = meanwhile(&daemon, &home, &resize_mem(32 << 20), grows).unwrap_err();
    assert!(error.is(Code::Busy), "{error:?}");
    assert_eq!(error.message, "Memory in use (48.0 MiB) exceeds the new limit (32.0 MiB)");
    assert!(!called(&world, "SetUnitProperties", &own_slice()), "the kernel would have killed");
    assert_eq!(raw.status().0.unwrap().mem_bytes, 64 << 20);
    assert_eq!(home.state().allocations[0].amount.mem.0, 64 << 20);
    assert!(raw.healthy());
    raw.granted(&resize_mem(96 << 20));
}

#[test]
fn a_release_looks_again_when_its_intent_is_stored() {
    let (world, home, daemon, mut raw) = held();
    let enters = || world.pretend_processes(&own_slice(), &[4_194_000]);
    let error = meanwhile(&daemon, &home, &release(), enters).unwrap_err();
    assert!(error.is(Code::Busy), "{error:?}");
    assert_eq!(error.message, "Processes have entered the share");
    assert!(!called(&world, "StopUnit", &own_slice()), "systemd would have killed");
    assert!(raw.status().0.is_some());
    world.pretend_processes(&own_slice(), &[]);
    assert!(raw.released());
}

#[test]
fn what_sigkill_does_not_end_keeps_its_share() {
    let (world, _home, _daemon, mut raw) = held();
    world.pretend_processes(&own_slice(), &[4_194_000]);
    world.faults.unkillable();
    let Ok(Answer::JobStarted(JobStarted { job_started })) =
        raw.ask(&Call::Release(Release { job_id: None, stop: Some(true), for_uid: None }))
    else {
        panic!("no job")
    };
    let job = until("the job to end", PATIENCE, || {
        match raw.ask(&Call::JobStatus(JobStatus { job_id: job_started })) {
            Ok(Answer::Job(OneJob { job, .. })) => job.ended_ms.map(|_| job),
            other => panic!("no job: {other:?}"),
        }
    });
    let why = job.error.unwrap().more().unwrap();
    assert!(why.contains("1 process is still in") && why.contains("pid 4194000"), "{why}");
    assert!(raw.status().0.is_some(), "room that is in use was given away");
}

/// It still uses what it used: whoever waits for its room or its end waits for that too.
#[test]
fn a_command_is_not_over_while_what_nobody_can_end_is_in_it() {
    let (world, _home, daemon, mut raw) = held();
    let id = submitted(&world, &mut raw, Amounts::default());
    let own = Uid::new(rustix::process::getuid().as_raw().into()).unwrap();
    let slice = UnitName::JobSlice(own, Within::Own, JobId(id)).to_string();
    world.pretend_processes(&slice, &[4_194_000]);
    world.end_service(&service(id), 0);
    let mut ended = || match raw.ask(&Call::JobStatus(JobStatus { job_id: id })) {
        Ok(Answer::Job(OneJob { job, .. })) => job.ended_ms,
        other => panic!("no job: {other:?}"),
    };
    until("the look at who is inside", PATIENCE, || {
        (ended().is_some() || daemon.logs().contains("1 process is still in")).then_some(())
    });
    assert_eq!(ended(), None);
    world.pretend_processes(&slice, &[]);
    until("the command's end", PATIENCE, ended);
}

/// Who is inside is read from as many files as the member has made cgroups: nobody else waits for that.
#[test]
fn while_it_is_looked_who_is_still_inside_others_are_served() {
    let (world, _home, daemon, mut raw) = held();
    world.pretend_processes(&own_slice(), &[4_194_000]);
    world.faults.unkillable();
    // Whoever reads it stands still until the test writes.
    let procs = world.cgroup_root().join("fairshare.slice").join(share_slice()).join(own_slice());
    let procs = procs.join("cgroup.procs");
    fs::remove_file(&procs).unwrap();
    nix::unistd::mkfifo(&procs, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let job = raw.started(&Call::Release(Release { job_id: None, stop: Some(true), for_uid: None }));
    // It can be opened for writing as soon as somebody reads.
    let flags = OFlags::WRONLY | OFlags::NONBLOCK;
    let mut writer = until("somebody to look", PATIENCE, || {
        rustix::fs::open(&procs, flags, Mode::empty()).ok().map(File::from)
    });
    others_are_answered(&daemon);
    writer.write_all(b"4194000\n").unwrap();
    drop(writer);
    until("the job to end", PATIENCE, || {
        // Whoever looks again, as a daemon on a busy machine may, stands still as well.
        if let Ok(again) = rustix::fs::open(&procs, flags, Mode::empty()) {
            // They may have gone since: then nobody stands still.
            let _ = File::from(again).write_all(b"4194000\n");
        }
        match raw.ask(&Call::JobStatus(JobStatus { job_id: job })) {
            Ok(Answer::Job(OneJob { job, .. })) => job.ended_ms.map(drop),
            other => panic!("no job: {other:?}"),
        }
    });
}

/// A file that cannot be read is not a file that says that nobody is inside.
#[test]
fn what_cannot_be_read_is_not_empty() {
    let (world, _home, daemon, mut raw) = held();
    world.pretend_processes(&own_slice(), &[4_194_000]);
    world.write_cgroup_file(&own_slice(), "cgroup.events", "nonsense");
    world.faults.unkillable();
    raw.refused(&release(), Code::Internal);
    raw.ask(&Call::Release(Release { job_id: None, stop: Some(true), for_uid: None })).unwrap_err();
    assert!(raw.status().0.is_some());
    daemon.wait_logged("nonsense");
}
