//! What is said to a member of their own key: what they hold, what they are counted as having held, and who comes before them.

use super::queue::Waiting;
use super::time::Time;
use super::{Ledger, Order};
use crate::identity::{JobId, Uid};
use crate::policy::Weight;

/// One member's key among those of who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToldKey {
    /// The part of the machine that they hold, in `2^-32`.
    pub held: u64,
    /// The part that they are counted as having held on average while somebody waited, in `2^-32`; `None`: nobody has.
    pub had: Option<u64>,
    /// Whether they wait for room.
    pub waits: bool,
    /// How many other members do.
    pub others: usize,
    /// How many of those come before them, or would if they asked now.
    pub before: usize,
}

/// What goes before all, what has waited for patience, and the rest by key; and of equals who has been first for longest.
type Rank = (u8, u128, Time, JobId);

impl Ledger {
    /// What there is to say to a member of their own key, who has this weight; nothing where keys order nobody. O(members who
    /// wait).
    pub fn told_key(&self, uid: Uid, weight: Weight) -> Option<ToldKey> {
        self.rules.filter(|rules| rules.order == Order::Fair)?;
        let fairness = &self.books.fairness;
        let own = self.contender(uid);
        let rank = match own {
            Some(first) => self.rank(first),
            // Who has the same key has waited for longer.
            None => (2, fairness.key_of_a_comer(uid, weight), self.clock.last, JobId(u64::MAX)),
        };
        let others = self.queue.members().filter(|other| *other != uid);
        let ranks: Vec<Rank> =
            others.filter_map(|other| self.contender(other)).map(|first| self.rank(first)).collect();
        Some(ToldKey {
            held: fairness.rate(uid),
            had: fairness.average(uid, weight),
            waits: own.is_some(),
            others: ranks.len(),
            before: ranks.iter().filter(|other| **other < rank).count(),
        })
    }

    /// What a member waits for room with: what has the reservation where it is theirs, or the first that the machine could hold.
    fn contender(&self, uid: Uid) -> Option<&Waiting> {
        if self.has_the_reservation(uid) {
            let reserved = self.queue.waiting_of(uid).find(|waiting| self.reserved == Some(waiting.job))?;
            return (!self.is_held_back(reserved, &self.share_of(uid))).then_some(reserved);
        }
        self.books.fairness.waits(uid).then(|| self.next_possible(uid)).flatten()
    }

    fn has_the_reservation(&self, uid: Uid) -> bool {
        self.reserved.and_then(|reserved| self.queue.whose(reserved)) == Some(uid)
    }

    fn rank(&self, first: &Waiting) -> Rank {
        let Waiting { job, uid, since, weight, .. } = *first;
        if self.has_the_reservation(uid) {
            (0, 0, since, job)
        } else if self.clock.last.since(since) >= self.patience_ms() {
            (1, 0, since, job)
        } else {
            (2, self.books.fairness.key(uid, weight), since, job)
        }
    }
}
