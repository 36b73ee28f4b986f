//! What all shares use, as a list shows it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::contract::{Answer, CapacityInfo, ListAnswer, ShareInfo, Usage};
use crate::daemon::clock;
use crate::daemon::telling::answer;
use crate::daemon::telling::reply::Reply;
use crate::identity::Uid;
use crate::ledger::Ledger;
use crate::ledger::share::{Phase, Share};

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
    pub fn wants_reading(
        &mut self,
        reply: Reply,
        only: Option<Uid>,
        ledger: &Ledger,
        capacity: CapacityInfo,
    ) -> bool {
        if self.read_at.is_some_and(|at| at.elapsed() < USAGES_FRESH) {
            reply.send(Ok(self.list(ledger, capacity, only)));
            return false;
        }
        self.waiting.push((reply, only));
        self.waiting.len() == 1
    }

    /// Takes a reading, and answers the lists that waited for it.
    pub fn arrived(&mut self, read: BTreeMap<Uid, Usage>, ledger: &Ledger, capacity: CapacityInfo) {
        (self.read, self.read_at) = (read, Some(Instant::now()));
        for (reply, only) in std::mem::take(&mut self.waiting) {
            reply.send(Ok(self.list(ledger, capacity, only)));
        }
    }

    fn list(&self, ledger: &Ledger, capacity: CapacityInfo, only: Option<Uid>) -> Answer {
        let visible = ledger.shares().values().filter(|share| only.is_none_or(|uid| share.uid == uid));
        let visible = visible.filter(|share| is_held(share));
        let now = clock::now();
        let shown = |share: &Share| {
            let ends = share.lease.map(|lease| ledger.wall_ms(now, lease.ends));
            answer::share(share, ends, self.read.get(&share.uid).cloned())
        };
        let shares: Vec<ShareInfo> = visible.map(shown).collect();
        Answer::List(ListAnswer { shares, capacity })
    }
}

/// Whether the member has it: what is still being made is not enforced, and may come to nothing.
pub fn is_held(share: &Share) -> bool {
    !matches!(share.phase, Phase::Granting { .. })
}
