//! What all shares use, as a list shows it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::contract::{Answer, ListAnswer, ShareInfo, Usage};
use crate::daemon::telling::fit::{ALLOCATION_BYTES_MAX, SHARE_BYTES_MAX, Space};
use crate::daemon::telling::reply::Reply;
use crate::daemon::telling::shown::Shown;
use crate::identity::Uid;

/// How old the figures of a list may be: many who ask at once cost one reading.
pub const USAGES_FRESH: Duration = Duration::from_secs(1);

/// What all shares use, read not long ago, and the lists that wait for a reading.
#[derive(Debug, Default)]
pub struct Usages {
    read: BTreeMap<Uid, Usage>,
    read_at: Option<Instant>,
    /// Who waits, and the only member whose share they may see where it is not all.
    waiting: Vec<(Reply, Option<Uid>)>,
}

impl Usages {
    /// Answers a list, or keeps it until all figures have been read; whether that is to be begun.
    pub fn wants_reading(&mut self, reply: Reply, only: Option<Uid>, shown: &Shown<'_>) -> bool {
        if self.read_at.is_some_and(|at| at.elapsed() < USAGES_FRESH) {
            reply.send(Ok(self.list(shown, only)));
            return false;
        }
        self.waiting.push((reply, only));
        self.waiting.len() == 1
    }

    /// Takes a reading, and answers the lists that waited for it.
    pub fn arrived(&mut self, read: BTreeMap<Uid, Usage>, shown: &Shown<'_>) {
        (self.read, self.read_at) = (read, Some(Instant::now()));
        for (reply, only) in std::mem::take(&mut self.waiting) {
            reply.send(Ok(self.list(shown, only)));
        }
    }

    fn list(&self, shown: &Shown<'_>, only: Option<Uid>) -> Answer {
        let visible = shown.ledger.shares().keys().filter(|uid| only.is_none_or(|only| only == **uid));
        let in_use =
            |uid: &Uid| Some(ShareInfo { usage: self.read.get(uid).cloned(), ..shown.share_in_full(*uid)? });
        let mut shares: Vec<ShareInfo> = visible.filter_map(in_use).collect();
        let allocations = |share: &ShareInfo| share.allocations.as_ref().map_or(0, Vec::len);
        let most = shares.iter().map(allocations).max().unwrap_or_default();
        let most = SHARE_BYTES_MAX.saturating_add(most.saturating_mul(ALLOCATION_BYTES_MAX));
        let shares_left_out = Space::of_a_frame().first(&mut shares, most);
        Answer::List(ListAnswer { shares, capacity: shown.capacity(), shares_left_out })
    }
}
