//! Changes of the ledger as events: what a follower hears follows from how a share was and how it is.

use super::answer;
use super::event_loop::EventLoop;
use crate::identity::Uid;
use crate::ledger::share::{Phase, Share};

impl EventLoop {
    /// Tells followers how a member's share has changed since it was `before`.
    pub(super) fn announce(&self, uid: Uid, before: Option<&Share>) {
        let after = self.ledger.share(uid);
        let shown = after.or(before).map(|share| answer::share(share, None));
        let kind = match (before, after) {
            (Some(before), Some(after))
                if before.phase == Phase::Granting && after.phase == Phase::Active =>
            {
                Some("granted")
            }
            (None, Some(after)) if after.phase == Phase::Active => Some("granted"),
            (Some(before), Some(after)) if before.amount != after.amount => Some("resized"),
            // A grant that failed was never anybody's.
            (Some(before), None) if before.phase != Phase::Granting => Some("released"),
            _ => None,
        };
        if let Some(kind) = kind {
            self.feed.share(kind, uid, shown, None);
        }
        if let Some(Share { phase: Phase::Stopping { job }, .. }) = before
            && let Some(job) = self.ledger.jobs().get(job)
        {
            self.feed.job(uid, answer::job(job));
        }
    }
}
