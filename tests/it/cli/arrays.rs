//! Arrays, as they are submitted, shown and named.

use std::fs::{self, File};

use fairshare::contract::{
    Answer, ArrayInfo, ArrayRange, Call, JobCancel, JobInfo, JobKind, JobList, JobStarted, JobStatus, Jobs,
    OneJob, Submit, TaskInfo,
};

use super::*;

fn array(state: JobState, at_work: u64) -> JobInfo {
    let tasks = ArrayInfo { tasks: 20, to_come: 12, at_work, done: 3, failed: 1, at_once: None };
    JobInfo { job_id: 19, kind: JobKind::Submit, place: Some(2), array: Some(Box::new(tasks)), ..job(state) }
}

fn task(job_id: u64, index: u64) -> JobInfo {
    let task = Some(Box::new(TaskInfo { job_id: 19, index }));
    let uid = rustix::process::getuid().as_raw().into();
    JobInfo { job_id, uid, kind: JobKind::Submit, exit_code: Some(0), task, ..job(JobState::Done) }
}

fn listed() -> Next {
    // A task that has been made anew is the later one.
    let jobs = vec![array(JobState::Queued, 4), task(20, 3), task(21, 4), task(22, 3)];
    Answer::Jobs(Jobs { jobs, jobs_left_out: None }).into()
}

fn one(job: JobInfo) -> Next {
    Answer::Job(OneJob::of(job)).into()
}

#[test]
fn an_array_is_submitted_as_one_job() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::saying([Answer::JobStarted(JobStarted { job_started: 19 }).into()]);
    let mut command = daemon.command("submit --array 1-20:2%4 -- true");
    let output = command.current_dir(folder.path()).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "19\n".to_owned()));
    let said = "fairshare: job 19: the outputs of its tasks go to fairshare-19_INDEX.out\n";
    assert_eq!(text(&output.stderr), said);
    let Some(Call::Submit(Submit { array, wait, .. })) = daemon.calls().pop() else { panic!() };
    let range = ArrayRange { first: 1, last: 20, step: Some(2), at_once: Some(4) };
    assert_eq!((array, wait), (Some(range), Some(true)));
}

#[test]
fn what_an_array_cannot_be_is_said_before_it_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::saying([]);
    for (line, says) in [
        ("submit --array 1,3 -- true", "like 1-100"),
        ("submit --array 1-3 --in-share -- true", "cannot be used with"),
        ("submit --array 1-3 --no-wait -- true", "cannot be used with"),
    ] {
        let output = daemon.command(line).current_dir(folder.path()).output().unwrap();
        assert!(complaint(&output, 2).contains(says), "{output:?}");
    }
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let _both = File::options().read(true).write(true).open(&fifo).unwrap();
    let mut command = daemon.command("submit --array 1-3 --input fifo -- true");
    let output = command.current_dir(folder.path()).output().unwrap();
    assert!(complaint(&output, 2).contains("no pipe or terminal to share"), "{output:?}");
    assert!(fs::exists(&fifo).unwrap() && daemon.calls().is_empty());
}

#[test]
fn tasks_are_shown_and_named_by_their_array() {
    let shown = text(&Daemon::saying([listed()]).run("jobs").stdout);
    assert!(shown.contains("3 of 20 done, 1 failed, 4 at work; place 2"), "{shown}");
    for number in ["19 ", "19_3 ", "19_4 "] {
        assert!(shown.lines().any(|line| line.trim_start().starts_with(number)), "{number}: {shown}");
    }
    let daemon = Daemon::saying([listed(), one(task(22, 3)), one(task(21, 4))]);
    let output = daemon.run("cancel 19_3 19_4");
    assert_eq!(text(&output.stdout), "Job 19_3 is done\nJob 19_4 is done\n");
    let cancel = |job_id| Call::JobCancel(JobCancel { job_id });
    assert_eq!(daemon.calls(), [Call::JobList(JobList { all: None }), cancel(22), cancel(21)]);
    let output = Daemon::saying([listed(), listed()]).run("output 19_9");
    let said = complaint(&output, 75);
    assert!(said.contains("No task 19_9 has begun") && said.contains("still to come"), "{said}");
}

#[test]
fn who_cancels_an_array_hears_that_its_tasks_are_being_ended() {
    let output = Daemon::saying([one(array(JobState::Running, 4))]).run("cancel 19");
    let said = "Job 19: 4 of its tasks are being ended, and no more begin\n";
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), said));
    let output = Daemon::saying([one(array(JobState::Cancelled, 0))]).run("cancel 19");
    assert_eq!(text(&output.stdout), "Job 19 is cancelled\n");
}

#[test]
fn each_task_has_an_output_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    fs::write(&path, "third\n").unwrap();
    let output = Some(path.to_str().unwrap().to_owned());
    let told: Next = Answer::Job(OneJob { job: task(22, 3), output }).into();
    let daemon = Daemon::saying([listed(), told]);
    assert_eq!(text(&daemon.run("output 19_3").stdout), "third\n");
    assert_eq!(daemon.calls().pop(), Some(Call::JobStatus(JobStatus { job_id: 22 })));
    let said = complaint(&Daemon::saying([one(array(JobState::Running, 1))]).run("output 19"), 1);
    assert!(said.contains("each of its 20 tasks has an output of its own"), "{said}");
    assert!(said.contains("`fairshare output 19_INDEX`"), "{said}");
}
