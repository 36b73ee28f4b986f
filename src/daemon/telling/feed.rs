//! What happens, to whoever follows it. Nobody is waited for: who reads too slowly is told how much was missed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::contract::{AllocationInfo, EventInfo, JobInfo, ShareInfo};
use crate::daemon::clock;
use crate::identity::{JobId, Uid};
use crate::policy::Role;
use crate::serving::peer::Peer;
use crate::serving::service::Stream;

/// Events that a follower may be behind before it is told `lagged`. Its own: what others have happen to them makes nobody lag.
pub const EVENTS_BEHIND_MAX: usize = 1024;

/// Who hears what happens.
#[derive(Debug, Default)]
pub struct Feed {
    followers: Vec<Following>,
}

/// One follower.
#[derive(Debug)]
struct Following {
    interest: Interest,
    peer: Arc<Peer>,
    outlet: Outlet,
}

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

/// Where what concerns one follower goes. Counts what it misses: without an order to anything else, for all is on one thread.
#[derive(Debug)]
pub struct Outlet {
    sender: mpsc::Sender<Arc<EventInfo>>,
    missed: Arc<AtomicU64>,
}

/// Where one follower hears it.
pub struct Follower {
    receiver: mpsc::Receiver<Arc<EventInfo>>,
    missed: Arc<AtomicU64>,
}

/// The two ends of what one follower hears.
pub fn pair() -> (Outlet, Follower) {
    let (sender, receiver) = mpsc::channel(EVENTS_BEHIND_MAX);
    let missed = Arc::new(AtomicU64::new(0));
    (Outlet { sender, missed: Arc::clone(&missed) }, Follower { receiver, missed })
}

impl Feed {
    /// Follows from now on.
    pub fn add(&mut self, interest: Interest, peer: Arc<Peer>, outlet: Outlet) {
        self.followers.retain(|following| !following.outlet.sender.is_closed());
        self.followers.push(Following { interest, peer, outlet });
    }

    /// Ends what no role covers any more: whoever follows everybody, and is no admin by `role`.
    pub fn revoke(&mut self, role: impl Fn(&Peer) -> Role) {
        self.followers.retain(|following| !following.interest.all || role(&following.peer) == Role::Admin);
    }

    /// Something happened to a member's share, or to one of its allocations.
    pub fn share(
        &mut self,
        kind: &str,
        uid: Uid,
        (share, allocation): (Option<ShareInfo>, Option<AllocationInfo>),
        message: Option<String>,
    ) {
        let about = event(kind, Some(uid), None);
        self.send(Some(uid), None, EventInfo { share, allocation, message, ..about });
    }

    /// A job has got on.
    pub fn job(&mut self, uid: Uid, job: JobInfo) {
        let id = JobId(job.job_id);
        self.send(Some(uid), Some(id), EventInfo { job: Some(job), ..event("job", Some(uid), Some(id)) });
    }

    /// Something happened that concerns everybody.
    pub fn everybody(&mut self, kind: &str, message: Option<String>) {
        self.send(None, None, EventInfo { message, ..event(kind, None, None) });
    }

    fn send(&mut self, uid: Option<Uid>, job: Option<JobId>, info: EventInfo) {
        let info = Arc::new(info);
        self.followers
            .retain(|Following { interest, outlet, .. }| !interest.covers(uid, job) || outlet.tell(&info));
    }
}

impl Outlet {
    /// Whether somebody is still there to be told.
    fn tell(&self, info: &Arc<EventInfo>) -> bool {
        // After the first that was missed none is told before the follower knows of it.
        if self.missed.load(Ordering::Relaxed) == 0 {
            match self.sender.try_send(Arc::clone(info)) {
                Ok(()) => return true,
                Err(mpsc::error::TrySendError::Closed(_)) => return false,
                Err(mpsc::error::TrySendError::Full(_)) => {}
            }
        }
        self.missed.fetch_add(1, Ordering::Relaxed);
        !self.sender.is_closed()
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
        allocation: None,
        message: None,
        lagged: None,
    }
}

impl Interest {
    /// `None` concerns everybody.
    fn covers(&self, uid: Option<Uid>, job: Option<JobId>) -> bool {
        let concerns = self.all || uid.is_none_or(|uid| uid == self.uid);
        concerns && self.job.is_none_or(|wanted| job == Some(wanted))
    }
}

impl Stream for Follower {
    type Event = EventInfo;

    /// The next event, or how many were missed; then it goes on from the present. Ends with the daemon, and where the
    /// follower's role does not cover any more what it follows ([`Feed::revoke`]).
    ///
    /// Cancel safe: no event is lost when the future is dropped.
    async fn next(&mut self) -> Option<EventInfo> {
        let info = self.receiver.recv().await?;
        let missed = self.missed.swap(0, Ordering::Relaxed);
        if missed == 0 {
            return Some(EventInfo::clone(&info));
        }
        // What still waits is as old as it can be: who began with that would lag again at once.
        let mut lagged = missed.saturating_add(1);
        while self.receiver.try_recv().is_ok() {
            lagged = lagged.saturating_add(1);
        }
        Some(EventInfo { lagged: Some(lagged), ..event("lagged", None, None) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Gid;

    fn follow(feed: &mut Feed, uid: u64) -> Follower {
        let (outlet, follower) = pair();
        let uid = Uid::new(uid).expect("a user");
        let peer = Peer { uid, gid: Gid::ROOT, pid: 1, groups: Vec::new(), connected_boot_ms: 0 };
        feed.add(Interest { uid, all: false, job: None }, Arc::new(peer), outlet);
        follower
    }

    #[tokio::test]
    async fn who_is_1024_events_behind_misses_none_and_one_more_is_too_many() {
        let mut feed = Feed::default();
        let (mut near, mut far) = (follow(&mut feed, 0), follow(&mut feed, 0));
        for number in 0..1024 {
            feed.everybody(&number.to_string(), None);
        }
        for number in 0..1024 {
            assert_eq!(near.next().await.unwrap().kind, number.to_string());
        }
        for number in 1024..1026 {
            feed.everybody(&number.to_string(), None);
            assert_eq!(near.next().await.unwrap().kind, number.to_string());
        }
        assert_eq!(far.next().await.unwrap().lagged, Some(1026));
        feed.everybody("the present", None);
        assert_eq!(far.next().await.unwrap().kind, "the present");
    }

    #[tokio::test]
    async fn nobody_lags_for_what_happens_to_others() {
        let mut feed = Feed::default();
        let (mut one, mut other) = (follow(&mut feed, 1), follow(&mut feed, 2));
        feed.share("granted", Uid::new(1).expect("a user"), (None, None), None);
        for _ in 0..2000 {
            feed.share("renewed", Uid::new(2).expect("a user"), (None, None), None);
        }
        assert_eq!(one.next().await.unwrap().kind, "granted");
        assert_eq!(other.next().await.unwrap().lagged, Some(2000));
    }

    #[tokio::test]
    async fn who_has_gone_is_forgotten() {
        let mut feed = Feed::default();
        drop(follow(&mut feed, 1));
        feed.everybody("drained", None);
        assert!(feed.followers.is_empty());
        drop(follow(&mut feed, 1));
        let _one = follow(&mut feed, 1);
        assert_eq!(feed.followers.len(), 1);
    }
}
