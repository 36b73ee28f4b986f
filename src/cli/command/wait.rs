//! `fairshare wait`: until jobs have ended.

use std::collections::BTreeSet;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::watch::{self, RECONNECT_AFTER, Waited};
use crate::cli::args::JobNumbers;
use crate::cli::array;
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
    let ids = array::numbers(&mut link, &args.ids)?;
    if let [id] = *ids {
        return match watch::watch(&mut link, socket, id, None, |_| {})? {
            Waited::Ended(job) => {
                watch::note_kills(&job);
                watch::outcome(&job, &Whom::Me)
            }
            // Neither can be: there is no time, and signals have their usual effect.
            Waited::TimeOver | Waited::Interrupted => Ok(Exit::TRY_AGAIN),
        };
    }
    let left: BTreeSet<u64> = ids.into_iter().collect();
    let mut several = Several { link, all: left.len(), left, worst: Exit::DONE };
    let mut events = several.follow(socket, false)?;
    while !several.left.is_empty() {
        match events.next_within(Duration::MAX) {
            Ok(Some(EventInfo { job: Some(job), .. })) => several.see(&job),
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

/// Jobs that are waited for over one connection, whatever their number.
struct Several {
    link: Link,
    /// Those that have not ended.
    left: BTreeSet<u64>,
    /// How many there were.
    all: usize,
    /// The largest status of those that have.
    worst: Exit,
}

impl Several {
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
        let mut others = false;
        for id in self.left.clone() {
            match self.link.try_ask(&JobStatus { job_id: id })? {
                Ok(answer) => {
                    self.see(&answer.job);
                    others |= self.left.contains(&id) && answer.job.uid != own;
                }
                Err(error) => {
                    self.left.remove(&id);
                    self.failed(&link::refused(&error, Endpoint::JobStatus, &Whom::Me));
                }
            }
        }
        Ok(others)
    }

    /// Takes what is said of a job, which may be none of these.
    fn see(&mut self, job: &JobInfo) {
        if !watch::has_ended(job) || !self.left.remove(&job.job_id) {
            return;
        }
        watch::note_kills(job);
        match watch::outcome(job, &Whom::Me) {
            Ok(exit) => {
                let of = format!("{} of {} are over", self.all - self.left.len(), self.all);
                note(&format!("job {} ended with exit {}; {of}", job.number(), exit.0));
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
