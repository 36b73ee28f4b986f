//! Arrays and their tasks, as they are typed and named.

use std::fmt;
use std::str::FromStr;

use super::exit::{Exit, Failure};
use super::link::Link;
use super::whom::Whom;
use crate::contract::{Addressed, ArrayRange, JobInfo, JobList, JobState, JobStatus, TaskInfo};
use crate::quantity::{ARRAY_INDEX_MAX, ARRAY_TASKS_MAX};
use crate::wire::error::Code;

/// A job as its member knows it: by its number, or as the task of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
        let range = ArrayRange {
            first: number(first)?,
            last: number(last.unwrap_or(first))?,
            step: step.map(number).transpose()?,
            at_once: at_once.map(number).transpose()?,
        };
        checked(range).map(Self)
    }
}

/// The same, where there is such an array.
fn checked(range: ArrayRange) -> Result<ArrayRange, String> {
    let ArrayRange { first, last, step, at_once } = range;
    let step = step.unwrap_or(1);
    if first > last {
        return Err(format!("the first index, {first}, is more than the last, {last}"));
    }
    if last > ARRAY_INDEX_MAX {
        return Err(format!("{ARRAY_INDEX_MAX} is the largest index"));
    }
    if at_once == Some(0) {
        return Err("%0 would have no task at work: leave it out, or let one at a time with %1".to_owned());
    }
    match (last - first).checked_div(step) {
        None => Err(":0 is no step: leave it out for each index, or take every second with :2".to_owned()),
        Some(more) if more >= ARRAY_TASKS_MAX => Err(format!(
            "these are {} indices, and an array has {ARRAY_TASKS_MAX} at most",
            more.saturating_add(1)
        )),
        Some(_) => Ok(range),
    }
}

/// A number without a sign.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn parted(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, after)| (before, Some(after)))
}

/// What a job that was named turns out to be.
#[derive(Debug)]
pub enum Found {
    /// The job of this number; whether there is one of a number that was typed is not looked at.
    Job(u64),
    /// A task that has not begun.
    ToCome {
        /// As it was named.
        task: TaskInfo,
        /// Whose array it is of.
        uid: u64,
    },
    /// No job, and why.
    None(Failure),
}

impl Found {
    /// The number by which the daemon knows it.
    ///
    /// # Errors
    /// It is none, or has not begun.
    pub fn number(self) -> Result<u64, Failure> {
        match self {
            Self::Job(job) => Ok(job),
            Self::ToCome { task, .. } => {
                Err(Failure::new(Exit::TRY_AGAIN, format!("Task {task} has not begun")).hint(format!(
                    "`fairshare wait {task}` waits for its end; `fairshare jobs --hold {job}` and `fairshare cancel {job}` are \
                     for all that is still to come",
                    job = task.job_id
                )))
            }
            Self::None(failure) => Err(failure),
        }
    }
}

/// What each of these is: of tasks the daemon is asked.
///
/// # Errors
/// No daemon answers, or it does not say which jobs there are.
pub fn find(link: &mut Link, named: &[Named]) -> Result<Vec<Found>, Failure> {
    let tasks: Vec<&TaskInfo> = named.iter().filter_map(Named::task).collect();
    let mut known = Vec::new();
    if !tasks.is_empty() {
        known = link.ask(&JobList { all: None }, &Whom::Me)?.jobs;
        let is_own = |task: &TaskInfo| job_of(&known, task).is_some() || array_of(&known, task).is_some();
        // An admin is shown everybody's.
        if !tasks.iter().all(|task| is_own(task))
            && let Ok(all) = link.try_ask(&JobList { all: Some(true) })?
        {
            known = all.jobs;
        }
    }
    named.iter().map(|named| of(link, &known, named)).collect()
}

fn of(link: &mut Link, known: &[JobInfo], named: &Named) -> Result<Found, Failure> {
    let task = match named {
        Named::Job(job) => return Ok(Found::Job(*job)),
        Named::Task(task) => task,
    };
    if let Some(job) = job_of(known, task) {
        return Ok(Found::Job(job));
    }
    if let Some(array) = array_of(known, task) {
        return Ok(not_there(array, *task));
    }
    // What is over may be left out of a long list.
    let call = JobStatus { job_id: task.job_id };
    Ok(match link.try_ask(&call)? {
        Ok(answer) => not_there(&answer.job, *task),
        Err(error) => {
            let refused = link.refused(&error, JobStatus::ENDPOINT, &Whom::Me);
            Found::None(Failure { message: format!("job {named}: {}", refused.message), ..refused })
        }
    })
}

/// What a task is that is not among the jobs that are known, where its array is.
fn not_there(job: &JobInfo, task: TaskInfo) -> Found {
    let none = |message: String| Found::None(Failure::new(Exit::REFUSED, message));
    let Some(array) = &job.array else {
        return none(format!("job {} is no array: it has no task {}", task.job_id, task.index));
    };
    let to_come = match array.first.zip(array.step) {
        Some((first, step)) => {
            let nth = |count: u64| first.saturating_add(count.saturating_mul(step));
            let last = nth(array.tasks.saturating_sub(1));
            let is_in = (first..=last).contains(&task.index)
                && task.index.saturating_sub(first).checked_rem(step) == Some(0);
            if !is_in {
                let steps = if step > 1 { format!(" in steps of {step}") } else { String::new() };
                return none(format!(
                    "array {} has no task {}: its indices are {first} to {last}{steps}",
                    task.job_id, task.index
                ));
            }
            // Each is made in its turn.
            array.to_come > 0 && task.index >= nth(array.tasks.saturating_sub(array.to_come))
        }
        None => array.to_come > 0,
    };
    if to_come && matches!(job.state, JobState::Queued | JobState::Running) {
        return Found::ToCome { task, uid: job.uid };
    }
    none(format!("Task {task} never began, or is remembered no more"))
}

/// The number by which the daemon knows each, or why it has none.
///
/// # Errors
/// Those of [`find`].
pub fn numbers(link: &mut Link, named: &[Named]) -> Result<Vec<Result<u64, Failure>>, Failure> {
    Ok(find(link, named)?.into_iter().map(Found::number).collect())
}

/// The job that is a task; of several the last.
fn job_of(known: &[JobInfo], task: &TaskInfo) -> Option<u64> {
    known.iter().rfind(|job| job.task.as_deref() == Some(task)).map(|job| job.job_id)
}

fn array_of<'a>(known: &'a [JobInfo], task: &TaskInfo) -> Option<&'a JobInfo> {
    known.iter().find(|job| job.job_id == task.job_id)
}

/// The number by which the daemon knows one job, where one is named.
///
/// # Errors
/// It is none, or has not begun; those of [`find`].
pub fn number_of(link: &mut Link, named: Option<Named>) -> Result<Option<u64>, Failure> {
    find(link, named.as_slice())?.pop().map(Found::number).transpose()
}

/// All their numbers.
///
/// # Errors
/// One is none, or has not begun; those of [`find`].
pub fn all_numbers(link: &mut Link, named: &[Named]) -> Result<Vec<u64>, Failure> {
    find(link, named)?.into_iter().map(Found::number).collect()
}

/// The answer to a call about the allocation of a job, or where none is named about the standing one.
///
/// # Errors
/// It was refused, which is told of the job as it was typed; or there was no answer.
pub fn ask_of<E: Addressed>(
    link: &mut Link,
    call: &E,
    whom: &Whom,
    job: Option<(u64, Named)>,
) -> Result<E::Answer, Failure> {
    let error = match link.try_ask(call)? {
        Ok(answer) => return Ok(answer),
        Err(error) => error,
    };
    let refused = link.refused(&error, E::ENDPOINT, whom);
    let Some((job_id, named)) = job else { return Err(refused) };
    let refused = if error.is(Code::NotFound) {
        refused.hint(format!(
            "`{}` shows which jobs have room of their own: of an array each task that is at work, as 17_3",
            whom.status()
        ))
    } else {
        refused
    };
    Err(renamed(refused, job_id, named))
}

/// What was said of the job of this number, with the name that was typed for it.
pub fn renamed(failure: Failure, job_id: u64, named: Named) -> Failure {
    let (plain, typed) = (job_id.to_string(), named.to_string());
    let of = |text: &str| {
        let mut parts = text.split("ob ");
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |said, part| match part.strip_prefix(&plain) {
            Some(rest) if !rest.starts_with(|next: char| next.is_ascii_digit() || next == '_') => {
                format!("{said}ob {typed}{rest}")
            }
            _ => format!("{said}ob {part}"),
        })
    };
    let message = of(&failure.message);
    Failure {
        message,
        detail: failure.detail.as_deref().map(of),
        hint: failure.hint.as_deref().map(of),
        ..failure
    }
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
    fn what_no_array_can_be_is_said_in_the_words_that_were_typed() {
        for (wrong, says) in [
            ("5-1", "the first index, 5, is more than the last, 1"),
            ("1-10:0", ":0 is no step"),
            ("1-20000", "20000 indices, and an array has 10000"),
            ("1-10%0", "%0 would have no task at work"),
            ("0-4294967296:4294967296", "4294967295 is the largest index"),
        ] {
            assert!(wrong.parse::<Indices>().unwrap_err().contains(says), "{wrong}");
        }
        for right in ["0-9999", "1-20000:2", "4294967295", "7-7:9%1"] {
            assert!(right.parse::<Indices>().is_ok(), "{right}");
        }
    }

    #[test]
    fn what_is_said_of_a_task_names_it_as_it_was_typed() {
        let task = "33_1".parse().unwrap();
        let of = |text: &str| renamed(Failure::new(Exit::REFUSED, text).hint(text), 34, task);
        for (said, told) in [
            ("Job 34 is over, as job 34 was", "Job 33_1 is over, as job 33_1 was"),
            ("Nothing of job 34", "Nothing of job 33_1"),
            ("Job 345, job 34_2 and 34 of them", "Job 345, job 34_2 and 34 of them"),
            ("No such job", "No such job"),
        ] {
            assert_eq!(of(said), Failure::new(Exit::REFUSED, told).hint(told));
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
