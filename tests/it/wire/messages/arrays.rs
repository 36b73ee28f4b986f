//! Arrays and their tasks, what is run again, and what is done for a command while it runs, as they are answered.

use fairshare::contract::*;

use super::job_min;
use super::shares::{allocation_min, share_min};

#[rustfmt::skip]
pub fn answers() -> Vec<(&'static str, Answer)> {
    vec![
        ("job-array", Answer::Job(OneJob::of(JobInfo { array: Some(Box::new(ArrayInfo { tasks: 100, to_come: 80, at_work: 4, done: 15, failed: 1, at_once: Some(4), first: Some(0), step: Some(10) })), ..job_min(JobKind::Submit, JobState::Queued) }))),
        ("job-array-min", Answer::Job(OneJob::of(JobInfo { array: Some(Box::new(ArrayInfo { tasks: 1, to_come: 0, at_work: 0, done: 1, failed: 0, at_once: None, first: None, step: None })), ..job_min(JobKind::Submit, JobState::Done) }))),
        ("job-task", Answer::Job(OneJob::of(JobInfo { task: Some(Box::new(TaskInfo { job_id: 17, index: 3 })), ..job_min(JobKind::Submit, JobState::Running) }))),
        ("handed-task", Answer::Handed(Handed { handed: 1, cpu_milli: 500, mem_bytes: 64 << 20, task: Some(TaskInfo { job_id: 17, index: 3 }), tries: None })),
        ("handed-again", Answer::Handed(Handed { handed: 1, cpu_milli: 500, mem_bytes: 64 << 20, task: None, tries: Some(2) })),
        ("job-again", Answer::Job(OneJob::of(JobInfo { again: Some(Box::new(AgainInfo { retry: 3, failed: 1, requeue: true, tries: 2, last: Some("was interrupted".into()) })), ..job_min(JobKind::Submit, JobState::Queued) }))),
        ("job-again-min", Answer::Job(OneJob::of(JobInfo { again: Some(Box::new(AgainInfo { retry: 0, failed: 0, requeue: true, tries: 0, last: None })), ..job_min(JobKind::Submit, JobState::Running) }))),
        ("job-warned", Answer::Job(OneJob::of(JobInfo { warning: Some(Box::new(Warning { number: 10, before_ms: 300_000 })), oom_kills: Some(2), ..job_min(JobKind::Submit, JobState::Done) }))),
        ("share-paused", Answer::Share(HeldShare { share: ShareInfo { allocations: Some(vec![AllocationInfo { kind: AllocationKind::Job, job_id: Some(17), paused: Some(true), ..allocation_min() }]), ..share_min() } })),
    ]
}
