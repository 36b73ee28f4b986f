//! Jobs as they are shown, and how they ended.

use crate::contract as wire;
use crate::contract::handover::{HowEnded, numbered};
use crate::identity::{UnitName, Within};
use crate::ledger::Now;
use crate::ledger::again::Again;
use crate::ledger::apart::{Apart, Left};
use crate::ledger::array::{Array, Task};
use crate::ledger::care::Warning;
use crate::ledger::job::{Cause, Exit, Job, JobEnd, JobKind, JobState, Ran, Work};
use crate::ledger::queue::Place;
use crate::quantity::Amount;
use crate::wire::error::{Code, WireError};

/// The file that a job's output goes to, where it is remembered; of an array each task has one.
pub fn output(job: &Job) -> Option<String> {
    let work = job.work().filter(|work| work.array.is_none())?;
    let number = work.task.map_or_else(|| job.id.to_string(), |of| task(of).to_string());
    let name = numbered(work.output.as_ref()?.as_bytes(), &number);
    String::from_utf8(name).ok()
}

/// A job as it is shown at `now`; where it is a submitted command, with its units within this.
pub fn shown(job: &Job, within: Within, now: Now) -> wire::JobInfo {
    let (state, started, ended, error) = match &job.state {
        JobState::Queued { .. } => (wire::JobState::Queued, None, None, None),
        JobState::Running { started } => (wire::JobState::Running, Some(*started), None, None),
        JobState::Ended { started, ended, end } => {
            let (state, error) = outcome(&job.kind, *started, end);
            (state, *started, Some(*ended), error)
        }
    };
    let work = job.work();
    let ran = match &job.state {
        JobState::Ended { end: JobEnd::Ran(ran), .. } => Some(*ran),
        _ => None,
    };
    let (exit_code, signal) = ran.map_or((None, None), |ran| exit(ran.exit));
    let unit = match job.kind {
        JobKind::Submit(_) => UnitName::JobService(job.uid, within, job.id),
        JobKind::Run(_) => UnitName::RunSlice(job.uid, job.id),
        JobKind::Request(_) | JobKind::Release => UnitName::Own(job.uid),
    };
    wire::JobInfo {
        job_id: job.id.0,
        uid: job.uid.get().into(),
        kind: match job.kind {
            JobKind::Request(_) => wire::JobKind::Request,
            JobKind::Release => wire::JobKind::Release,
            JobKind::Submit(_) => wire::JobKind::Submit,
            JobKind::Run(_) => wire::JobKind::Run,
        },
        state,
        created_ms: job.created.wall_ms_at(now),
        started_ms: started.map(|at| at.wall_ms_at(now)),
        ended_ms: ended.map(|at| at.wall_ms_at(now)),
        name: work.and_then(|work| work.name.clone()),
        unit: job.array().is_none().then(|| unit.to_string()),
        place: None,
        starts_ms: None,
        exit_code,
        signal,
        oom: ran.map(|ran| ran.cause == Some(Cause::Memory)),
        peak_mem_bytes: ran.and_then(|ran| ran.peak).map(|peak| peak.0),
        needed_bytes: ran.and_then(|ran| ran.needed).map(|needed| needed.0),
        mem_limit_bytes: ran.and_then(|ran| ran.mem_limit).map(|limit| limit.0),
        cpu_usec: ran.and_then(|ran| ran.cpu_usec),
        error: error.map(Box::new),
        waits_for: None,
        array: job.array().map(|array| Box::new(self::array(array))),
        task: job.task().map(|of| Box::new(task(of))),
        paused: None,
        about: None,
        limits: job.queued().then(|| job.kind.ask()).flatten().map(|ask| Box::new(amounts(ask.amount))),
        starts_after: None,
        again: work.and_then(again),
        warning: work.and_then(|work| work.care.warning).map(|of| Box::new(warning(of))),
        oom_kills: ran.and_then(|ran| ran.oom_kills),
    }
}

/// How often a command is run again, and was, as it is shown.
fn again(work: &Work) -> Option<Box<wire::AgainInfo>> {
    let Again { retries, requeue, failed, tries } = work.again?;
    let last = work.last.as_ref().map(|end| end.words());
    Some(Box::new(wire::AgainInfo { retry: retries, failed, requeue, tries, last }))
}

/// How a command ended, for what is run at its end.
pub fn how_ended(job: &Job, end: &JobEnd) -> HowEnded {
    let started = match job.state {
        JobState::Running { started } => Some(started),
        JobState::Queued { .. } | JobState::Ended { .. } => None,
    };
    let (state, _) = outcome(&job.kind, started, end);
    let (exit_code, signal) = match end {
        JobEnd::Ran(ran) => exit(ran.exit),
        _ => (None, None),
    };
    HowEnded { state: state.name().to_owned(), exit_code, signal }
}

/// What a command exited with, and which signal killed it.
fn exit(exit: Exit) -> (Option<u64>, Option<u64>) {
    match exit {
        Exit::Code(code) => (Some(code.into()), None),
        Exit::Signal(signal) => (None, Some(signal.into())),
        Exit::Unknown => (None, None),
    }
}

/// What warns a command, as it is shown.
fn warning(warning: Warning) -> wire::Warning {
    wire::Warning { number: warning.signal.into(), before_ms: warning.before_ms }
}

/// How the tasks of an array stand, as it is shown.
fn array(array: &Array) -> wire::ArrayInfo {
    let (first, _, step) = array.indices.parts();
    wire::ArrayInfo {
        tasks: array.indices.count(),
        to_come: array.to_come(),
        at_work: array.at_work,
        done: array.done,
        failed: array.failed,
        at_once: array.at_once,
        first: Some(first),
        step: Some(step),
    }
}

/// Of which array a job is a task, as it is shown.
pub fn task(task: Task) -> wire::TaskInfo {
    wire::TaskInfo { job_id: task.of.0, index: task.index }
}

/// All three figures, as they are shown where some of them may be left out.
fn amounts(amount: Amount) -> wire::Amounts {
    let Amount { cpu, mem, tasks } = amount;
    wire::Amounts { cpu_milli: Some(cpu.0), mem_bytes: Some(mem.0), tasks_max: Some(tasks.0) }
}

/// What a submitted command waits for before it waits for room, as it is shown: no time is told but `begin_ms`.
pub fn waits_for(apart: &Apart, begin_ms: Option<u64>) -> wire::WaitsFor {
    let after: Vec<u64> = apart.awaited().into_iter().map(|job| job.0).collect();
    wire::WaitsFor {
        after: Some(after).filter(|after| !after.is_empty()),
        begin_ms,
        hold: apart.held.then_some(true),
        last_try: (apart.left != Left::default()).then_some(true),
        ..wire::WaitsFor::default()
    }
}

/// What a job in the queue waits for, as it is shown: something of its member's own, or room, for which nobody waits while the
/// machine is drained.
pub fn waits_in_line(place: &Place, draining: bool) -> Option<wire::WaitsFor> {
    let own = place.held_back;
    let waits_for = wire::WaitsFor {
        room: (own.is_none() && !draining).then_some(true),
        max: own.and_then(|own| own.max.then_some(true)),
        running: own.and_then(|own| own.running.then_some(true)),
        ..wire::WaitsFor::default()
    };
    (waits_for != wire::WaitsFor::default()).then_some(waits_for)
}

/// How a job ended, as it is shown.
fn outcome(kind: &JobKind, started: Option<Now>, end: &JobEnd) -> (wire::JobState, Option<WireError>) {
    let failed = |error| (wire::JobState::Failed, Some(error));
    match end {
        JobEnd::Done => (wire::JobState::Done, None),
        JobEnd::Cancelled => (wire::JobState::Cancelled, None),
        JobEnd::Unreached(why) => (wire::JobState::Cancelled, Some(WireError::new(Code::Cancelled, why))),
        JobEnd::Refused(why) => failed(
            WireError::new(Code::OverLimit, "The policy has changed and no longer allows this").detail(why),
        ),
        JobEnd::Ran(ran) => ended_work(ran),
        JobEnd::Failed(why) => {
            let what = match kind {
                JobKind::Request(_) | JobKind::Run(_) => "The share could not be made",
                JobKind::Release => "The share could not be stopped",
                JobKind::Submit(_) => "The command could not be started",
            };
            failed(WireError::new(Code::Systemd, what).detail(why))
        }
        JobEnd::Interrupted => {
            let what = match (kind, started) {
                (JobKind::Submit(_), Some(_)) => {
                    "Nothing is known of how it ended, or whether it began: the daemon or the machine was restarted"
                }
                (JobKind::Submit(_), None) => "The daemon restarted before the command was started",
                (JobKind::Run(_), Some(_)) => "The machine was restarted while the command ran",
                (JobKind::Request(_) | JobKind::Release | JobKind::Run(_), _) => {
                    "The daemon restarted while the job ran"
                }
            };
            (wire::JobState::Interrupted, Some(WireError::new(Code::Interrupted, what)))
        }
    }
}

/// How a submitted command ended, as it is shown: done where it said so itself.
fn ended_work(ran: &Ran) -> (wire::JobState, Option<WireError>) {
    match (ran.cause, ran.exit) {
        (Some(Cause::Cancelled), _) => (wire::JobState::Cancelled, None),
        (Some(Cause::Time), _) => {
            (wire::JobState::Failed, Some(WireError::new(Code::Timeout, "Its time was over")))
        }
        (Some(Cause::Outside), _) => {
            let error = WireError::new(
                Code::Cancelled,
                "It was stopped from outside, as `systemctl stop` does, or a release of its share",
            );
            (wire::JobState::Failed, Some(error))
        }
        (None, Exit::Code(0)) => (wire::JobState::Done, None),
        (None | Some(Cause::Memory), _) => (wire::JobState::Failed, None),
    }
}
