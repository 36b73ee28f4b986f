//! Arrays and their tasks, as they are typed and named.

use std::fmt;
use std::str::FromStr;

use super::exit::{Exit, Failure};
use super::link::Link;
use super::whom::Whom;
use crate::contract::{ArrayRange, JobInfo, JobList, TaskInfo};

/// A job as its member knows it: by its number, or as the task of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// The job of this number.
    Job(u64),
    /// A task: of which array, and for which index.
    Task(TaskInfo),
}

/// The indices of an array, as `submit --array` takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Indices(pub ArrayRange);

impl Named {
    fn task(&self) -> Option<&TaskInfo> {
        match self {
            Self::Job(_) => None,
            Self::Task(task) => Some(task),
        }
    }
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = match text.split_once('_') {
            None => number(text).map(Self::Job),
            Some((job, index)) => {
                number(job).zip(number(index)).map(|(job_id, index)| Self::Task(TaskInfo { job_id, index }))
            }
        };
        named.ok_or_else(|| "a job is a number like 17, and a task of an array one like 17_3".to_owned())
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(job) => job.fmt(f),
            Self::Task(task) => task.fmt(f),
        }
    }
}

impl FromStr for Indices {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| -> Result<u64, String> {
            self::number(text).ok_or_else(|| {
                "indices are like 1-100, in steps like 0-90:10, with no more than 4 at work at a time like 1-100%4"
                    .to_owned()
            })
        };
        let (text, at_once) = parted(text, '%');
        let (text, step) = parted(text, ':');
        let (first, last) = parted(text, '-');
        Ok(Self(ArrayRange {
            first: number(first)?,
            last: number(last.unwrap_or(first))?,
            step: step.map(number).transpose()?,
            at_once: at_once.map(number).transpose()?,
        }))
    }
}

/// A number without a sign.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn parted(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, after)| (before, Some(after)))
}

/// The numbers by which the daemon knows these jobs: those of tasks it is asked for.
///
/// # Errors
/// A task is named that has not begun or is not remembered, or no daemon answers.
pub fn numbers(link: &mut Link, named: &[Named]) -> Result<Vec<u64>, Failure> {
    let tasks: Vec<&TaskInfo> = named.iter().filter_map(Named::task).collect();
    let mut known = Vec::new();
    if !tasks.is_empty() {
        known = link.ask(&JobList { all: None }, &Whom::Me)?.jobs;
        // An admin is shown everybody's.
        if tasks.iter().any(|task| job_of(&known, task).is_none())
            && let Ok(all) = link.try_ask(&JobList { all: Some(true) })?
        {
            known = all.jobs;
        }
    }
    let number = |named: &Named| match named {
        Named::Job(job) => Ok(*job),
        Named::Task(task) => job_of(&known, task).ok_or_else(|| {
            Failure::new(Exit::TRY_AGAIN, format!("No task {named} has begun, or is remembered")).hint(
                format!("`fairshare jobs` shows how many tasks of job {} are still to come", task.job_id),
            )
        }),
    };
    named.iter().map(number).collect()
}

/// The job that is a task; of several the last.
fn job_of(known: &[JobInfo], task: &TaskInfo) -> Option<u64> {
    known.iter().rfind(|job| job.task.as_deref() == Some(task)).map(|job| job.job_id)
}

/// The number by which the daemon knows one job, where one is named.
///
/// # Errors
/// Those of [`numbers`].
pub fn number_of(link: &mut Link, named: Option<Named>) -> Result<Option<u64>, Failure> {
    Ok(numbers(link, named.as_slice())?.first().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_typed_as_batch_systems_have_them() {
        let range = |first, last, step, at_once| Ok(Indices(ArrayRange { first, last, step, at_once }));
        assert_eq!("1-100".parse(), range(1, 100, None, None));
        assert_eq!("0-90:10%4".parse(), range(0, 90, Some(10), Some(4)));
        assert_eq!("7%1".parse(), range(7, 7, None, Some(1)));
        for wrong in ["", "-", "1-", "-3", "1-2-3", "1,3", "a", "1-3%", "1-3:", "1-3%2:1", "+1-3"] {
            assert!(wrong.parse::<Indices>().unwrap_err().contains("like 1-100"), "{wrong}");
        }
    }

    #[test]
    fn a_task_is_named_by_its_array_and_its_index() {
        assert_eq!("17".parse(), Ok(Named::Job(17)));
        assert_eq!("17_3".parse(), Ok(Named::Task(TaskInfo { job_id: 17, index: 3 })));
        assert_eq!("17_3".parse::<Named>().unwrap().to_string(), "17_3");
        for wrong in ["", "_", "17_", "_3", "17_3_1", "+17", "x"] {
            assert!(wrong.parse::<Named>().unwrap_err().contains("17_3"), "{wrong}");
        }
    }
}
