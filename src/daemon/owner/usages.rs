//! What all shares use, as a list shows it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::contract::{Answer, ListAnswer, ShareInfo, Usage};
use crate::daemon::telling::fit::{SHARE_BYTES_MAX, Space};
use crate::daemon::telling::reply::Reply;
use crate::daemon::telling::shown::{Shown, is_held};
use crate::identity::Uid;
use crate::ledger::share::Share;

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
        let visible = shown.ledger.shares().values();
        let visible = visible.filter(|share| only.is_none_or(|uid| share.uid == uid) && is_held(share));
        let in_use =
            |share: &Share| ShareInfo { usage: self.read.get(&share.uid).cloned(), ..shown.share(share) };
        let mut shares = visible.map(in_use).collect();
        let shares_left_out = Space::of_a_frame().first(&mut shares, SHARE_BYTES_MAX);
        Answer::List(ListAnswer { shares, capacity: shown.capacity(), shares_left_out })
    }
}
