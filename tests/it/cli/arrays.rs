//! Arrays, as they are submitted, shown and named.

use std::fs::{self, File};

use fairshare::contract::{
    Answer, ArrayInfo, ArrayRange, Call, JobAlter, JobCancel, JobInfo, JobKind, JobList, JobStarted,
    JobStatus, Jobs, OneJob, Submit, TaskInfo,
};

use super::*;

fn own() -> u64 {
    rustix::process::getuid().as_raw().into()
}

fn array(state: JobState, at_work: u64) -> JobInfo {
    let tasks = ArrayInfo {
        tasks: 20,
        to_come: 12,
        at_work,
        done: 3,
        failed: 1,
        at_once: None,
        first: Some(1),
        step: Some(1),
    };
    JobInfo {
        job_id: 19,
        uid: own(),
        kind: JobKind::Submit,
        place: Some(2),
        array: Some(Box::new(tasks)),
        ..job(state)
    }
}

fn task(job_id: u64, index: u64) -> JobInfo {
    let task = Some(Box::new(TaskInfo { job_id: 19, index }));
    JobInfo { job_id, uid: own(), kind: JobKind::Submit, exit_code: Some(0), task, ..job(JobState::Done) }
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
        ("submit --array 5-1 -- true", "the first index, 5, is more than the last, 1"),
        ("submit --array 1-10%0 -- true", "%0 would have no task at work"),
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
    let output = Daemon::saying([listed()]).run("output 19_9");
    let said = complaint(&output, 75);
    assert!(said.contains("Task 19_9 has not begun") && said.contains("all that is still to come"), "{said}");
}

#[test]
fn what_an_array_has_not_is_refused_for_good_and_what_is_to_come_for_now() {
    let daemon = |listed| Daemon::saying([Answer::Jobs(Jobs { jobs: listed, jobs_left_out: None }).into()]);
    let waits = || vec![array(JobState::Queued, 4)];
    let stepped = ArrayInfo {
        tasks: 20,
        to_come: 12,
        at_work: 4,
        done: 3,
        failed: 1,
        at_once: None,
        first: Some(0),
        step: Some(5),
    };
    let stepped = JobInfo { array: Some(Box::new(stepped)), ..array(JobState::Running, 4) };
    for (jobs, task, exit, says) in [
        (waits(), "19_99", 1, "array 19 has no task 99: its indices are 1 to 20\n"),
        (waits(), "19_0", 1, "its indices are 1 to 20\n"),
        (
            vec![stepped.clone()],
            "19_96",
            1,
            "array 19 has no task 96: its indices are 0 to 95 in steps of 5\n",
        ),
        (vec![stepped.clone()], "19_44", 1, "array 19 has no task 44"),
        (vec![stepped.clone()], "19_35", 1, "Task 19_35 never began, or is remembered no more"),
        (vec![stepped], "19_40", 75, "Task 19_40 has not begun"),
        (waits(), "19_9", 75, "`fairshare jobs --hold 19`"),
        (vec![array(JobState::Cancelled, 0)], "19_9", 1, "Task 19_9 never began"),
        (vec![task(19, 3)], "19_9", 1, "job 19 is no array"),
    ] {
        for line in
            ["cancel", "pause", "resume", "output", "resize --cpu 1 --job", "jobs --hold", "jobs --first"]
        {
            let said = complaint(&daemon(jobs.clone()).run(&format!("{line} {task}")), exit);
            assert!(said.contains(says), "{line} {task}: {said}");
        }
    }
    let said = complaint(&daemon(waits()).run("submit --after 19_9 -- true"), 75);
    assert!(said.contains("Task 19_9 has not begun"), "{said}");
    let no_job = WireError::new(Code::NotFound, "No such job");
    let daemon = Daemon::saying([listed(), no_job.clone().into(), no_job.into()]);
    assert!(complaint(&daemon.run("wait 8_1"), 1).contains("job 8_1: No such job"));
}

#[test]
fn a_task_that_is_not_found_keeps_no_other_from_its_turn() {
    for (verb, answer) in [
        ("cancel", "Job 19_3 is done\nJob 19_4 is done\n"),
        ("pause", "Job 19_3 is done\nJob 19_4 is done\n"),
    ] {
        let daemon = Daemon::saying([listed(), one(task(22, 3)), one(task(21, 4))]);
        let output = daemon.run(&format!("{verb} 19_3 19_99 19_19 19_4"));
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(75), answer));
        let said = text(&output.stderr);
        assert!(said.contains("has no task 99") && said.contains("Task 19_19 has not begun"), "{said}");
        assert_eq!(daemon.calls().len(), 3, "the other two were to be asked for");
    }
}

#[test]
fn what_is_refused_of_a_task_names_it_as_it_was_typed() {
    let over = WireError::new(Code::NotFound, "Job 22 is over: only what is at work can be paused");
    let said = complaint(&Daemon::saying([listed(), over.clone().into()]).run("pause 19_3"), 1);
    assert!(said.starts_with("fairshare: Job 19_3 is over: "), "{said}");
    let roomless = WireError::new(Code::NotFound, "Job 22 has no allocation of its own now");
    for line in ["resize --cpu 1", "renew --for 1h", "release"] {
        let said = complaint(
            &Daemon::saying([listed(), roomless.clone().into()]).run(&format!("{line} --job 19_3")),
            1,
        );
        assert!(said.starts_with("fairshare: Job 19_3 has no allocation of its own now\n"), "{said}");
        assert!(
            said.contains("of an array each task that is at work") && !said.contains("takes a share"),
            "{said}"
        );
    }
    let said = text(&Daemon::saying([listed(), over.clone().into(), over.into()]).run("pause 19_3 8").stderr);
    assert!(
        said.contains("fairshare: job 19_3: Job 19_3 is over") && said.contains("job 8: Job 22 is"),
        "{said}"
    );
}

#[test]
fn a_task_is_taken_wherever_a_job_is() {
    let daemon = Daemon::saying([listed(), one(task(22, 3))]);
    assert_eq!(text(&daemon.run("jobs --first 19_3").stdout), "Job 19_3 is done\n");
    let first = JobAlter { job_id: 22, first: Some(true), ..JobAlter::default() };
    assert_eq!(daemon.calls().pop(), Some(Call::JobAlter(first)));
    let folder = tempfile::tempdir().unwrap();
    let started = Answer::JobStarted(JobStarted { job_started: 30 });
    let daemon = Daemon::saying([listed(), listed(), started.into()]);
    let mut command = daemon.command("submit --after 19_4,7 --after-any 19_3 -- true");
    assert!(command.current_dir(folder.path()).output().unwrap().status.success());
    let Some(Call::Submit(Submit { after, after_any, .. })) = daemon.calls().pop() else { panic!() };
    assert_eq!((after, after_any), (Some(vec![21, 7]), Some(vec![22])));
    let said = complaint(&Daemon::saying([]).run("submit --after x -- true"), 2);
    assert!(said.contains("a task of an array one like 17_3"), "{said}");
}

#[test]
fn a_task_that_is_to_come_is_waited_for() {
    let begun = JobInfo { exit_code: None, ..task(30, 9) };
    let events = |end: JobInfo| {
        let told = |job: JobInfo| EventInfo { job_id: Some(job.job_id), job: Some(job), ..event("job") };
        Next::Streams(
            vec![told(JobInfo { state: JobState::Running, ..begun.clone() }), told(end)],
            Then::Waits,
        )
    };
    let failed = JobInfo { state: JobState::Failed, exit_code: Some(3), ..begun.clone() };
    let daemon = Daemon::saying([listed(), events(failed.clone()), listed()]);
    let output = daemon.run("wait 19_9");
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(3), ""));
    let daemon = Daemon::saying([events(failed), listed(), one(task(22, 3))]);
    let output = daemon.run("wait 19_3 19_9 19_77");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        said.contains("has no task 77") && said.contains("job 19_9 ended with exit 3; 3 of 3 are over"),
        "{said}"
    );
    // It is cancelled before it has begun.
    let over = || array(JobState::Cancelled, 0);
    let told = EventInfo { job_id: Some(19), job: Some(over()), ..event("job") };
    let gone = Answer::Jobs(Jobs { jobs: vec![over()], jobs_left_out: None });
    let daemon = Daemon::saying([listed(), Next::Streams(vec![told], Then::Waits), listed(), gone.into()]);
    assert!(complaint(&daemon.run("wait 19_9"), 1).contains("Task 19_9 never began"));
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
