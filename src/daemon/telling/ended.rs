//! What is over, as the history has it.

use crate::cgroup::Spent;
use crate::contract::{EndInfo, EndKind, JobInfo, JobState};
use crate::history::Ended;
use crate::identity::Purpose;
use crate::ledger::Now;
use crate::ledger::allocation::Allocation;
use crate::ledger::job::{Job, JobKind};
use crate::quantity::Amount;

/// How a job ended, which is shown like this; nothing where it is not over, or only gave something back. What its allocation
/// has `spent` is told where the job itself does not say.
pub fn of_job(job: &Job, shown: JobInfo, spent: Option<Spent>) -> Option<Ended> {
    let kind = match job.kind {
        JobKind::Request(_) => EndKind::Request,
        JobKind::Submit(_) => EndKind::Submit,
        JobKind::Run(_) => EndKind::Run,
        JobKind::Release => return None,
    };
    let ended_ms = shown.ended_ms?;
    let (ask, within) = match &job.kind {
        JobKind::Submit(work) => (work.ask.as_ref(), Some((work.limits, work.time_limit_ms))),
        other => (other.ask(), None),
    };
    let amount = match (ask, within) {
        (Some(ask), _) => ask.amount,
        (None, Some((limits, _))) => limits.or(Amount::default()),
        (None, None) => Amount::default(),
    };
    let holds = ask.is_some() && kind != EndKind::Request;
    let began_ms = shown.started_ms.unwrap_or(ended_ms);
    // Between two tries of a job there are pauses as well: nobody has counted how much of that was for want of room.
    let waited_ms = if job.tries() > 0 { 0 } else { began_ms.saturating_sub(shown.created_ms) };
    let end = EndInfo {
        kind,
        job_id: Some(shown.job_id),
        task: shown.task.map(|task| *task),
        uid: shown.uid,
        user: ask.and_then(|ask| ask.user.clone()),
        name: shown.name,
        state: shown.state,
        cpu_milli: amount.cpu.0,
        mem_bytes: amount.mem.0,
        tasks_max: amount.tasks.0,
        lease_ms: within.map_or_else(|| ask.and_then(|ask| ask.lease_ms), |(_, limit)| limit),
        created_ms: shown.created_ms,
        waited_ms,
        started_ms: shown.started_ms,
        ended_ms,
        held_ms: shown.started_ms.filter(|_| holds).map(|started| ended_ms.saturating_sub(started)),
        exit_code: shown.exit_code,
        signal: shown.signal,
        oom: shown.oom.or(spent.map(|spent| spent.oom_kills > 0)),
        peak_mem_bytes: shown.peak_mem_bytes.or(peak(spent)),
        needed_bytes: shown.needed_bytes,
        cpu_usec: shown.cpu_usec.or(spent.map(|spent| spent.cpu_usec)),
        oom_kills: shown.oom_kills.or(spent.and_then(Spent::kills)),
    };
    // Each try is another end.
    Some(Ended { end, begun_ms: job.created.wall_ms.saturating_add(job.tries()) })
}

/// How an allocation ended that no job tells of.
pub fn of_allocation(was: &Allocation, now: Now, spent: Option<Spent>) -> Ended {
    let (kind, job_id) = match was.id.purpose {
        Purpose::Standing => (EndKind::Standing, None),
        Purpose::Job(job) => (EndKind::Submit, Some(job.0)),
        Purpose::Run(job) => (EndKind::Run, Some(job.0)),
    };
    let granted_ms = was.granted.wall_ms_at(now);
    let end = EndInfo {
        kind,
        job_id,
        task: None,
        uid: was.id.uid.get().into(),
        user: was.user.clone(),
        name: None,
        // What was not given back went with its slice: somebody stopped that, or the machine was started anew.
        state: if was.phase.gives_back() { JobState::Done } else { JobState::Interrupted },
        cpu_milli: was.amount.cpu.0,
        mem_bytes: was.amount.mem.0,
        tasks_max: was.amount.tasks.0,
        lease_ms: was.lease.map(|lease| lease.length_ms),
        created_ms: granted_ms,
        waited_ms: 0,
        started_ms: Some(granted_ms),
        ended_ms: now.wall_ms,
        held_ms: Some(now.wall_ms.saturating_sub(granted_ms)),
        exit_code: None,
        signal: None,
        oom: spent.map(|spent| spent.oom_kills > 0),
        peak_mem_bytes: peak(spent),
        needed_bytes: None,
        cpu_usec: spent.map(|spent| spent.cpu_usec),
        oom_kills: spent.and_then(Spent::kills),
    };
    Ended { end, begun_ms: was.granted.wall_ms }
}

fn peak(spent: Option<Spent>) -> Option<u64> {
    spent.and_then(|spent| spent.mem_peak).map(|peak| peak.0).filter(|peak| *peak > 0)
}
