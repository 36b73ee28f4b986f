//! Who waits for room, and so makes time contested: whose next request the machine could hold and their own bounds allow.
//!
//! Who only waits for something of their own to end does not count: nobody else has what they want (6-fairness.md "The key").

use super::counted::room::Room;
use super::fairness::ACCOUNTS_MAX;
use super::queue::Waiting;
use super::{Ledger, Rules, Time};
use crate::identity::Uid;
use crate::policy::Weight;
use crate::time::milliseconds;

impl Ledger {
    /// Time has come to this: everything is counted until then.
    pub(super) fn pass(&mut self, time: Time) {
        let moved = self.books.fairness.pass(time);
        if self.forget_trifles() || moved {
            self.queue.rekey_all(&self.books);
        }
    }

    /// What a member holds or waits for is another.
    pub(super) fn recount(&mut self, uid: Uid) {
        let contends = self.contends(uid);
        self.books.fairness.wait(uid, contends);
        self.books.fairness.leave(uid);
        self.queue.rekey(uid, &self.books);
    }

    /// The policy or the machine is another.
    pub(super) fn recount_all(&mut self) {
        self.members_waiting().into_iter().for_each(|uid| self.recount(uid));
        self.queue.rekey_all(&self.books);
    }

    /// What a member weighs who waits for room.
    pub(super) fn contends(&self, uid: Uid) -> Option<Weight> {
        let next = self.next_possible(uid)?;
        (!self.is_held_back(next, &self.share_of(uid))).then_some(next.weight)
    }

    /// The first that a member waits for and the machine can hold. Until it is known what there is each can be held.
    pub(super) fn next_possible(&self, uid: Uid) -> Option<&Waiting> {
        let whole = self.books.capacity.whole();
        let possible = |waiting: &&Waiting| whole == Room::NONE || waiting.need().fits(whole);
        self.queue.waiting_of(uid).find(possible)
    }

    /// Accounts that are worth nothing are forgotten whenever there are twice as many as were worth something.
    fn forget_trifles(&mut self) -> bool {
        let accounts = |ledger: &Self| ledger.books.fairness.lags().accounts.len();
        if accounts(self) <= self.accounts_max {
            return false;
        }
        let forgotten = self.books.fairness.forget_trifles();
        self.accounts_max = accounts(self).saturating_mul(2).max(ACCOUNTS_MAX);
        forgotten
    }

    /// Nobody holds or waits by their account alone.
    pub(super) fn strike_absent(&mut self) {
        let uids: Vec<Uid> = self.books.fairness.lags().accounts.keys().copied().collect();
        for uid in uids {
            if !self.books.shares.contains_key(&uid) {
                self.books.fairness.hold(uid, 0);
            }
            if self.queue.len_of(uid) == 0 {
                self.books.fairness.wait(uid, None);
            }
            self.books.fairness.leave(uid);
        }
    }

    pub(super) fn set_rules(&mut self, rules: Rules) {
        (self.rules, self.resumed) = (Some(rules), false);
        self.books.fairness.set_pace(milliseconds(rules.half_life), milliseconds(rules.tau));
        self.recount_all();
    }

    /// The accounts are those of who holds and waits.
    pub(super) fn audit_lags(&self) {
        let fairness = &self.books.fairness;
        fairness.assert_summed();
        for (uid, account) in &fairness.lags().accounts {
            assert!(account.rate == 0 || self.books.shares.contains_key(uid), "uid {uid} holds nothing");
            // Until the policy has spoken who waited waits.
            let waits = self.contends(*uid).is_some();
            assert!(self.resumed || account.waits == waits, "uid {uid} waits: {waits}");
        }
    }
}
