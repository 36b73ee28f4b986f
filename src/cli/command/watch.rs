//! Waiting for a job: `wait`, and `request --wait`.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::conditions;
use crate::cli::exit::{Exit, Failure};
use crate::cli::link::{self, Link};
use crate::cli::render;
use crate::cli::tell::note;
use crate::cli::whom::Whom;
use crate::client::{ClientError, Events};
use crate::contract::{Endpoint, EventInfo, JobInfo, JobState, JobStatus};
use crate::sys::signals;

/// How soon a signal is seen, where one is looked for.
const SEEN_WITHIN: Duration = Duration::from_millis(200);

/// How long after a lost connection the next one is made: a daemon that fails again and again is not to be
/// kept busy by those who wait for it.
pub const RECONNECT_AFTER: Duration = Duration::from_millis(200);

/// How the waiting ended.
#[derive(Debug)]
pub enum Waited {
    /// The job has ended, or is as it was to be.
    Ended(Box<JobInfo>),
    /// The time is over.
    TimeOver,
    /// This process was asked to end ([`signals::note_end`]).
    Interrupted,
}

/// Waits until the job has ended, over restarts of the daemon. `changed` is told of the job at first and
/// whenever something about it changes.
///
/// # Errors
/// Refused, as where there is no such job, or no daemon answers.
pub fn watch(
    link: &mut Link,
    socket: &Path,
    job_id: u64,
    until: Option<Instant>,
    changed: impl FnMut(&JobInfo),
) -> Result<Waited, Failure> {
    watch_until(link, socket, job_id, until, has_ended, changed)
}

/// The same until the job is so, which [`Waited::Ended`] has then.
///
/// # Errors
/// Those of [`watch`].
pub fn watch_until(
    link: &mut Link,
    socket: &Path,
    job_id: u64,
    until: Option<Instant>,
    over: impl Fn(&JobInfo) -> bool,
    mut changed: impl FnMut(&JobInfo),
) -> Result<Waited, Failure> {
    // Before the job is looked at, so that its end cannot fall between the two.
    let events = link::subscribe(socket, false, Some(job_id))?;
    let mut watch = Watch { link, socket, job_id, events };
    let mut job = look(watch.link, job_id)?;
    loop {
        changed(&job);
        if over(&job) {
            return Ok(Waited::Ended(Box::new(job)));
        }
        match watch.next(until)? {
            Some(next) => job = next,
            None if signals::asked_to_end() => return Ok(Waited::Interrupted),
            None => return Ok(Waited::TimeOver),
        }
    }
}

/// What is said where a request was taken back, for its time was over or this process was asked to end: of that it dies here.
pub fn given_up(waited: &Waited, most: Option<Duration>) -> Failure {
    if matches!(waited, Waited::Interrupted) {
        note("interrupted; the request was taken back");
        signals::die_as_asked();
        return Failure::new(Exit::TRY_AGAIN, "interrupted");
    }
    let most = render::span(most.unwrap_or_default());
    Failure::new(Exit::TRY_AGAIN, format!("no room within {most}; the request was taken back"))
        .hint("ask for less, wait longer, or see `fairshare status`")
}

/// What has been told of the place of a job that waits.
#[derive(Debug, Default)]
pub struct Told(Option<String>);

impl Told {
    /// Tells where the job stands in the queue, where that has changed.
    pub fn tell(&mut self, job: &JobInfo) {
        let place = conditions::place(job, render::now_ms());
        if job.state == JobState::Queued && self.0.as_ref() != Some(&place) {
            let said = if place.is_empty() { "in the queue" } else { place.as_str() };
            note(&format!("waiting as job {}: {said}", job.number()));
            self.0 = Some(place);
        }
    }
}

struct Watch<'a> {
    link: &'a mut Link,
    socket: &'a Path,
    job_id: u64,
    events: Events,
}

impl Watch<'_> {
    /// The job after something about it changed; none where it is no longer to be waited for.
    fn next(&mut self, until: Option<Instant>) -> Result<Option<JobInfo>, Failure> {
        let pause = if signals::end_is_noted() { SEEN_WITHIN } else { Duration::MAX };
        loop {
            let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            if signals::asked_to_end() || left.is_zero() {
                return Ok(None);
            }
            match self.events.next_within(left.min(pause)) {
                Ok(Some(EventInfo { job: Some(job), .. })) if job.job_id == self.job_id => {
                    return Ok(Some(job));
                }
                // Some events were left out, and one of them may have been the end.
                Ok(Some(EventInfo { lagged: Some(_), .. })) => return look(self.link, self.job_id).map(Some),
                Ok(_) => {}
                // The daemon is restarting: the job lives on in its state file.
                Err(ClientError::Closed | ClientError::Refused(_)) => {
                    thread::sleep(RECONNECT_AFTER);
                    self.events = link::subscribe(self.socket, false, Some(self.job_id))?;
                    return look(self.link, self.job_id).map(Some);
                }
                Err(error) => return Err(link::fault(error)),
            }
        }
    }
}

fn look(link: &mut Link, job_id: u64) -> Result<JobInfo, Failure> {
    link.ask(&JobStatus { job_id }, &Whom::Me).map(|answer| answer.job)
}

/// Whether nothing will happen to the job any more.
pub fn has_ended(job: &JobInfo) -> bool {
    !matches!(job.state, JobState::Queued | JobState::Running)
}

/// Says what the kernel has killed of a job whose exit code alone does not tell that.
pub fn note_kills(job: &JobInfo) {
    if let (Some(kills), Some(_)) = (job.oom_kills, job.exit_code) {
        let of = render::counted(kills, "process", "processes");
        note(&format!("job {}: the kernel killed {of} of it for want of memory", job.number()));
    }
}

/// How a job that has ended ended: with the status of its command, where it had one that ran.
///
/// # Errors
/// It did not do what it was for, and why.
pub fn outcome(job: &JobInfo, whom: &Whom) -> Result<Exit, Failure> {
    // What had ended well, and was ended before what it left behind had, did not do all that it was for.
    if let Some(code) = job.exit_code.filter(|code| *code != 0 || job.state == JobState::Done) {
        return Ok(Exit(u8::try_from(code).unwrap_or(u8::MAX)));
    }
    let shows = if matches!(whom, Whom::Me) { "fairshare jobs" } else { "fairshare jobs --all" };
    let fail = |exit, how: &str| {
        Err(Failure::new(exit, format!("job {} {how}", job.number())).hint(format!("`{shows}` shows it")))
    };
    if let Some(signal) = job.signal {
        // As a shell has it (POSIX, Shell Command Language, 2.8.2).
        let exit =
            Exit(u8::try_from(signal).ok().and_then(|signal| signal.checked_add(128)).unwrap_or(u8::MAX));
        let how = match &job.error {
            _ if job.oom == Some(true) => "was killed: it was out of memory".to_owned(),
            _ if job.state == JobState::Cancelled => "was cancelled".to_owned(),
            Some(error) => format!("was ended. {}", render::safe(&error.message)),
            None => format!("was ended by signal {signal}"),
        };
        return fail(exit, &how);
    }
    match (&job.error, job.state) {
        (_, JobState::Done) => Ok(Exit::DONE),
        (Some(error), _) => Err(link::refused(error, Endpoint::JobStatus, whom)),
        (None, JobState::Cancelled) => fail(Exit::REFUSED, "was cancelled"),
        (None, JobState::Interrupted) => {
            fail(Exit::TRY_AGAIN, "was interrupted: the daemon was restarted meanwhile")
        }
        (None, _) => fail(Exit::REFUSED, "failed"),
    }
}
