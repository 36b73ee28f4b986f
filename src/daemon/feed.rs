//! What happens, to whoever follows it. Nobody is waited for: who reads too slowly is told how much was missed.

use std::sync::Arc;

use tokio::sync::broadcast;

use super::clock;
use crate::identity::{JobId, Uid};
use crate::wire::answer::{EventInfo, JobInfo, ShareInfo};

/// Events that a follower may be behind before it is told `lagged`.
pub const EVENTS_BEHIND_MAX: usize = 1024;

/// Something that happened, and whom it concerns: `None` is everybody.
#[derive(Debug)]
pub struct Happening {
    uid: Option<Uid>,
    job: Option<JobId>,
    info: EventInfo,
}

/// Where events go out. Clones share it.
#[derive(Debug, Clone)]
pub struct Feed(broadcast::Sender<Arc<Happening>>);

/// What one follower wants to hear of.
#[derive(Debug, Clone, Copy)]
pub struct Interest {
    /// The follower.
    pub uid: Uid,
    /// Everybody's, not only the follower's own.
    pub all: bool,
    /// Only this job's.
    pub job: Option<JobId>,
}

/// One follower's place in the feed.
pub struct Follower {
    receiver: broadcast::Receiver<Arc<Happening>>,
    interest: Interest,
}

impl Feed {
    /// A feed that nobody follows yet.
    pub fn new() -> Self {
        Self(broadcast::Sender::new(EVENTS_BEHIND_MAX))
    }

    /// Follows from now on.
    pub fn follow(&self, interest: Interest) -> Follower {
        Follower { receiver: self.0.subscribe(), interest }
    }

    /// Something happened to a member's share.
    pub fn share(&self, kind: &str, uid: Uid, share: Option<ShareInfo>, message: Option<String>) {
        let info = EventInfo { share, message, ..event(kind, Some(uid), None) };
        self.send(Happening { uid: Some(uid), job: None, info });
    }

    /// A job has got on.
    pub fn job(&self, uid: Uid, job: JobInfo) {
        let id = JobId(job.job_id);
        let info = EventInfo { job: Some(job), ..event("job", Some(uid), Some(id)) };
        self.send(Happening { uid: Some(uid), job: Some(id), info });
    }

    /// Something happened that concerns everybody.
    pub fn everybody(&self, kind: &str, message: Option<String>) {
        self.send(Happening { uid: None, job: None, info: EventInfo { message, ..event(kind, None, None) } });
    }

    fn send(&self, happening: Happening) {
        // Nobody follows: nobody is told.
        let _ = self.0.send(Arc::new(happening));
    }
}

fn event(kind: &str, uid: Option<Uid>, job: Option<JobId>) -> EventInfo {
    EventInfo {
        at_ms: clock::now().wall_ms,
        kind: kind.to_owned(),
        uid: uid.map(|uid| uid.get().into()),
        job_id: job.map(|job| job.0),
        job: None,
        share: None,
        message: None,
        lagged: None,
    }
}

impl Interest {
    fn covers(&self, happening: &Happening) -> bool {
        let concerns = self.all || happening.uid.is_none_or(|uid| uid == self.uid);
        concerns && self.job.is_none_or(|job| happening.job == Some(job))
    }
}

impl Follower {
    /// The next event of interest, or how many were missed, of whomever; then it goes on from the present.
    /// Ends only with the daemon.
    ///
    /// Cancel safe: no event is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<EventInfo> {
        loop {
            match self.receiver.recv().await {
                Ok(happening) if self.interest.covers(&happening) => return Some(happening.info.clone()),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    // What still waits is as old as it can be: who began with that would lag again at once.
                    let waiting = u64::try_from(self.receiver.len()).unwrap_or(u64::MAX);
                    self.receiver = self.receiver.resubscribe();
                    let lagged = Some(missed.saturating_add(waiting));
                    return Some(EventInfo { lagged, ..event("lagged", None, None) });
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_1024_events_behind_misses_none_and_one_more_is_too_many() {
        let feed = Feed::new();
        let interest = Interest { uid: Uid::ROOT, all: false, job: None };
        let (mut near, mut far) = (feed.follow(interest), feed.follow(interest));
        for number in 0..1024 {
            feed.everybody(&number.to_string(), None);
        }
        for number in 0..1024 {
            assert_eq!(near.next().await.unwrap().kind, number.to_string());
        }
        feed.everybody("1024", None);
        assert_eq!(near.next().await.unwrap().kind, "1024");
        assert_eq!(far.next().await.unwrap().lagged, Some(1025));
        feed.everybody("the present", None);
        assert_eq!(far.next().await.unwrap().kind, "the present");
    }
}
