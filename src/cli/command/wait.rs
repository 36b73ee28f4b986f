//! `fairshare wait`: until jobs have ended.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::watch::{self, RECONNECT_AFTER, Waited};
use crate::cli::args::JobNumbers;
use crate::cli::array::{self, Found, Named};
use crate::cli::exit::{Exit, Failure};
use crate::cli::link::{self, Link};
use crate::cli::tell::{note, tell};
use crate::cli::whom::{self, Whom};
use crate::client::{ClientError, Events};
use crate::contract::{Endpoint, EventInfo, JobInfo, JobStatus};

/// Waits until the jobs have ended, and ends as they did: one with its command's own status, of several with the largest.
///
/// # Errors
/// Refused, no daemon answers, or the one job did not do what it was for.
pub fn run(args: &JobNumbers, socket: &Path) -> Result<Exit, Failure> {
    let mut link = Link::new(socket);
    let alone = if args.ids.len() == 1 { array::find(&mut link, &args.ids)?.pop() } else { None };
    match alone {
        Some(Found::Job(id)) => return one(&mut link, socket, id),
        Some(Found::None(failure)) => return Err(failure),
        Some(Found::ToCome { .. }) | None => {}
    }
    let to_find: BTreeSet<Named> = args.ids.iter().copied().collect();
    let (all, left) = (to_find.len(), BTreeMap::new());
    let mut several = Several { link, to_find, left, all, worst: Exit::DONE };
    let mut events = several.follow(socket, false)?;
    while !several.is_over() {
        match events.next_within(Duration::MAX) {
            Ok(Some(EventInfo { job: Some(job), .. })) => several.hear(&job)?,
            // Some events were left out, and one of them may have been an end.
            Ok(Some(EventInfo { lagged: Some(_), .. })) => several.look().map(|_| ())?,
            Ok(_) => {}
            // The daemon is restarting: jobs live on in its state file.
            Err(ClientError::Closed | ClientError::Refused(_)) => {
                thread::sleep(RECONNECT_AFTER);
                events = several.follow(socket, false)?;
            }
            Err(error) => return Err(link::fault(error)),
        }
    }
    Ok(several.worst)
}

fn one(link: &mut Link, socket: &Path, id: u64) -> Result<Exit, Failure> {
    match watch::watch(link, socket, id, None, |_| {})? {
        Waited::Ended(job) => {
            watch::note_kills(&job);
            watch::outcome(&job, &Whom::Me)
        }
        // Neither can be: there is no time, and signals have their usual effect.
        Waited::TimeOver | Waited::Interrupted => Ok(Exit::TRY_AGAIN),
    }
}

/// Jobs that are waited for over one connection, whatever their number.
struct Several {
    link: Link,
    /// Those that are not found yet: at first all, then tasks that have not begun.
    to_find: BTreeSet<Named>,
    /// Those that are found and have not ended, as they were named.
    left: BTreeMap<u64, Named>,
    /// How many there were.
    all: usize,
    /// The largest status of those that have.
    worst: Exit,
}

impl Several {
    fn is_over(&self) -> bool {
        self.left.is_empty() && self.to_find.is_empty()
    }

    /// Follows what happens to the caller's jobs, or to everybody's, and looks at these: in that order, so that no end falls
    /// between the two.
    fn follow(&mut self, socket: &Path, everybodys: bool) -> Result<Events, Failure> {
        let events = link::subscribe(socket, everybodys, None)?;
        if self.look()? && !everybodys {
            return self.follow(socket, true);
        }
        Ok(events)
    }

    /// Looks at those that are left. Answers whether one of them is somebody else's.
    fn look(&mut self) -> Result<bool, Failure> {
        let own = whom::own_uid();
        let mut others = self.find()?;
        for (id, named) in self.left.clone() {
            match self.link.try_ask(&JobStatus { job_id: id })? {
                Ok(answer) => {
                    self.see(&answer.job);
                    others |= self.left.contains_key(&id) && answer.job.uid != own;
                }
                Err(error) => {
                    self.left.remove(&id);
                    let refused = self.link.refused(&error, Endpoint::JobStatus, &Whom::Me);
                    let message = format!("job {named}: {}", refused.message);
                    self.failed(&Failure { message, ..refused });
                }
            }
        }
        Ok(others)
    }

    /// Finds what is there of those that are not found yet. Answers whether one of those still to come is somebody else's.
    fn find(&mut self) -> Result<bool, Failure> {
        let (own, mut others) = (whom::own_uid(), false);
        let named: Vec<Named> = mem::take(&mut self.to_find).into_iter().collect();
        for (named, found) in named.iter().zip(array::find(&mut self.link, &named)?) {
            match found {
                Found::Job(id) => {
                    self.left.insert(id, *named);
                }
                Found::ToCome { uid, .. } => {
                    self.to_find.insert(*named);
                    others |= uid != own;
                }
                Found::None(failure) => self.failed(&failure),
            }
        }
        Ok(others)
    }

    /// Hears what has become of a job: a task that was to come may be it, or of its array none may come any more.
    fn hear(&mut self, job: &JobInfo) -> Result<(), Failure> {
        if let Some(task) = job.task.as_deref().map(|task| Named::Task(*task))
            && self.to_find.remove(&task)
        {
            self.left.insert(job.job_id, task);
        }
        let is_of = |named: &Named| matches!(named, Named::Task(task) if task.job_id == job.job_id);
        if watch::has_ended(job) && self.to_find.iter().any(is_of) {
            self.find()?;
        }
        self.see(job);
        Ok(())
    }

    /// Takes what is said of a job, which may be none of these.
    fn see(&mut self, job: &JobInfo) {
        if !watch::has_ended(job) || self.left.remove(&job.job_id).is_none() {
            return;
        }
        watch::note_kills(job);
        match watch::outcome(job, &Whom::Me) {
            Ok(exit) => {
                if self.all > 1 {
                    let over = self.all - self.left.len() - self.to_find.len();
                    let of = format!("{over} of {} are over", self.all);
                    note(&format!("job {} ended with exit {}; {of}", job.number(), exit.0));
                }
                self.ended(exit);
            }
            Err(failure) => self.failed(&failure),
        }
    }

    fn failed(&mut self, failure: &Failure) {
        tell(failure);
        self.ended(failure.exit);
    }

    fn ended(&mut self, exit: Exit) {
        self.worst = Exit(self.worst.0.max(exit.0));
    }
}
