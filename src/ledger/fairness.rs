//! How far each member is ahead of those who wait: the lag, and the key that orders the queue (6-fairness.md "The key").
//!
//! The key of a member `u` of weight `w` is `h/w + a/tau`. `h` is the dominant share that is held: the largest fraction of any
//! resource (Ghodsi et al., "Dominant Resource Fairness", NSDI 2011). The lag `a` grows by `h/w - theta` while somebody waits,
//! `theta` being `Σh / Σw` over those who wait, and is halved each half-life. Who begins to wait is no further behind than half
//! of a fair share times tau: what nobody else wanted costs nothing, and being away earns little.
//!
//! **Coordinates.** What is counted is multiplied by [`growth`] instead of being halved, and counted while somebody waits only:
//! *contested* is the sum of growth over that time. An account has what its member had in it, `∫ h/w`, and the *level* is
//! `∫ theta`. The lag is the difference of the two, at the growth of the moment. The level is the same for all, so that keys are
//! compared without it: an account changes only where its member holds, waits or ends something, the level with each command,
//! and the order of two members who hold nothing never changes. The key of a member who waits never falls but by what they
//! do themselves: a key that was noted is a lower bound of the key of now ([`super::queue`]). When growth nears `2^16` the
//! epoch moves, which is a shift of every account.
//!
//! All in integers, so that the same commands give the same order on any machine. Accounts count `2^-80` of (whole machine ×
//! half-life / ln 2). Every change of what is held makes an account wrong by at most one unit, every command the level by one,
//! and a move of the epoch each by one more: with a half-life of four days one unit is less than a picosecond of the machine.

use std::collections::BTreeMap;

use super::counted::growth::{GROWTH_BITS, growth};
use super::counted::room::Room;
use super::time::Time;
use crate::identity::Uid;
use crate::policy::Weight;

/// How many accounts are kept before those worth less than a second of the machine are forgotten.
pub(super) const ACCOUNTS_MAX: usize = 1024;
/// Half-lives after which the epoch moves.
const EPOCH_HALF_LIVES: u64 = 16;
/// What was so many half-lives ago is worth nothing in these integers.
const FORGOTTEN_HALF_LIVES: u64 = 128;
/// ln 2, in millionths: while time is short beside the half-life, growth is `ln 2 / half_life` of itself.
const LN_2_MILLIONTHS: u128 = 693_147;
/// A dominant share of 1.
const RATE_ONE: u128 = 1 << 32;
/// How much who begins to wait may be behind, in fair shares for tau: a half (6-fairness.md "The key", `credit`).
const CREDIT: u128 = RATE_ONE / 2;
/// No account and no level exceeds this: 100 held for ever, at the end of an epoch.
const ACCOUNT_MAX: u128 = 1 << 112;
/// Bits after the point of what tau makes of a share that is held now.
const TAU_BITS: u32 = 20;
/// The most that tau makes of it. Lags are then worth nothing beside what is held now: the order is that of the moment.
const TAU_MAX: u128 = 1024 << TAU_BITS;
/// A weight of 1.
const WEIGHT_ONE: u128 = 1000;

/// One member's account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Account {
    /// What the member had while somebody waited, for their weight, or was said to have had when they began to wait.
    pub had: u128,
    /// How much of contested time is in it.
    pub since: u128,
    /// The part of the machine that they hold, in `2^-32`.
    pub rate: u64,
    /// What they weigh, as far as it is known.
    pub weight: Weight,
    /// Whether they wait for room.
    pub waits: bool,
}

/// What is remembered of who is ahead of whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lags {
    /// After how long a lag counts half, in milliseconds; at least 1.
    pub half_life_ms: u64,
    /// For how long somebody must be ahead by a share to weigh as much as one who holds it now, in milliseconds.
    pub tau_ms: u64,
    /// From when growth is counted.
    pub epoch: Time,
    /// Until when everything is counted.
    pub last: Time,
    /// Growth, summed while somebody waited.
    pub contested: u128,
    /// What those who waited had on average, for their weight: whoever had as much has a lag of 0.
    pub level: u128,
    /// Of whoever holds or waits, and of who had something.
    pub accounts: BTreeMap<Uid, Account>,
}

/// Sums over accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sums {
    /// Members who wait.
    waiting: usize,
    /// What those hold.
    waiting_rate: u128,
    /// What those weigh, in thousandths.
    waiting_weight: u128,
    /// What all weigh who hold or wait.
    weight: u128,
}

/// Who is ahead of whom, and how far.
#[derive(Debug, Clone)]
pub struct Fairness {
    lags: Lags,
    sums: Sums,
    /// Growth at `lags.last`.
    grown: u128,
}

/// The dominant share of `held` in a machine of `whole`, in `2^-32`, at most 1.
pub fn dominant(held: Room, whole: Room) -> u64 {
    let part = |held: u128, whole: u128| (held.min(whole) * RATE_ONE).checked_div(whole).unwrap_or(0);
    u64::try_from(part(held.cpu, whole.cpu).max(part(held.mem, whole.mem))).unwrap_or(u64::MAX)
}

/// The more is weighed by so many thousandths the less it counts.
fn by_weight(counted: u128, milli: u128) -> u128 {
    counted.saturating_mul(WEIGHT_ONE).checked_div(milli).unwrap_or(counted)
}

impl Account {
    fn milli(&self) -> u128 {
        u128::from(self.weight.milli())
    }

    /// What the member had until so much of contested time.
    fn had_by(&self, contested: u128) -> u128 {
        let passed = contested.saturating_sub(self.since);
        let had = by_weight(passed.saturating_mul(self.rate.into()), self.milli());
        self.had.saturating_add(had).min(ACCOUNT_MAX)
    }

    /// Whether the member holds or waits.
    fn is_present(&self) -> bool {
        self.waits || self.rate > 0
    }
}

impl Lags {
    /// Nobody is ahead of anybody.
    pub fn new(half_life_ms: u64, tau_ms: u64) -> Self {
        Self {
            half_life_ms: half_life_ms.max(1),
            tau_ms,
            epoch: Time(0),
            last: Time(0),
            contested: 0,
            level: 0,
            accounts: BTreeMap::new(),
        }
    }

    /// Everything in other units; accounts that nothing is left of go.
    fn scale(&mut self, scaled: impl Fn(u128) -> u128) {
        (self.contested, self.level) = (scaled(self.contested), scaled(self.level));
        self.accounts.retain(|_, account| {
            (account.had, account.since) = (scaled(account.had), scaled(account.since));
            account.had > 0 || account.is_present()
        });
    }
}

impl Sums {
    fn add(&mut self, account: &Account) {
        if account.waits {
            self.waiting += 1;
            self.waiting_rate += u128::from(account.rate);
            self.waiting_weight += account.milli();
        }
        if account.is_present() {
            self.weight += account.milli();
        }
    }

    fn less(&mut self, account: &Account) {
        if account.waits {
            self.waiting -= 1;
            self.waiting_rate -= u128::from(account.rate);
            self.waiting_weight -= account.milli();
        }
        if account.is_present() {
            self.weight -= account.milli();
        }
    }
}

impl Fairness {
    /// Goes on from what was remembered.
    pub fn new(lags: Lags) -> Self {
        let mut sums = Sums::default();
        lags.accounts.values().for_each(|account| sums.add(account));
        let grown = growth(lags.last.since(lags.epoch), lags.half_life_ms);
        Self { lags, sums, grown }
    }

    /// What is to be remembered.
    pub fn lags(&self) -> &Lags {
        &self.lags
    }

    /// Counts until `now`; whether everything is in other units since, so that every key is another.
    pub(super) fn pass(&mut self, now: Time) -> bool {
        let half_life_ms = self.lags.half_life_ms;
        let mut moved = false;
        let forgotten = now.before(half_life_ms.saturating_mul(FORGOTTEN_HALF_LIVES));
        if self.lags.last < forgotten {
            self.lags.scale(|_| 0);
            (self.lags.epoch, self.lags.last) = (forgotten, forgotten);
            (self.grown, moved) = (growth(0, half_life_ms), true);
        }
        loop {
            let end = self.lags.epoch.after(half_life_ms.saturating_mul(EPOCH_HALF_LIVES));
            if now < end || end == Time(u64::MAX) {
                self.count(now);
                return moved;
            }
            self.count(end);
            self.lags.scale(|counted| counted >> EPOCH_HALF_LIVES);
            (self.lags.epoch, self.grown, moved) = (end, growth(0, half_life_ms), true);
        }
    }

    /// Counts until `until`, which is in this epoch.
    fn count(&mut self, until: Time) {
        if until <= self.lags.last {
            return;
        }
        let grown = growth(until.since(self.lags.epoch), self.lags.half_life_ms);
        let more = grown.saturating_sub(self.grown);
        (self.grown, self.lags.last) = (grown, until);
        if self.sums.waiting > 0 {
            self.lags.contested = self.lags.contested.saturating_add(more);
            let theirs = by_weight(more.saturating_mul(self.sums.waiting_rate), self.sums.waiting_weight);
            self.lags.level = self.lags.level.saturating_add(theirs).min(ACCOUNT_MAX);
        }
    }

    /// Changes an account, with what was counted until now in it.
    fn change(&mut self, uid: Uid, change: impl FnOnce(&mut Account)) {
        let account = self.lags.accounts.entry(uid).or_default();
        self.sums.less(account);
        (account.had, account.since) = (account.had_by(self.lags.contested), self.lags.contested);
        change(account);
        self.sums.add(account);
    }

    /// A member holds this part of the machine from now on.
    pub(super) fn hold(&mut self, uid: Uid, rate: u64) {
        self.change(uid, |account| account.rate = rate);
    }

    /// A member weighs so much from now on.
    pub(super) fn weigh(&mut self, uid: Uid, weight: Weight) {
        self.change(uid, |account| account.weight = weight);
    }

    /// A member waits for room from now on, with this weight, or does not. Who begins to is not further behind than the credit.
    pub(super) fn wait(&mut self, uid: Uid, waits: Option<Weight>) {
        let waited = self.waits(uid);
        if waits.is_none() && !waited {
            return;
        }
        self.change(uid, |account| {
            (account.waits, account.weight) = (waits.is_some(), waits.unwrap_or(account.weight));
        });
        if !waited {
            let least = self.least(self.sums.weight);
            self.change(uid, |account| account.had = account.had.max(least));
        }
    }

    /// The least account of who begins to wait, where all who hold or wait weigh so many thousandths together.
    fn least(&self, weight: u128) -> u128 {
        self.lags.level.saturating_sub(self.held_now(CREDIT, weight))
    }

    /// The key that a member would have who does not wait and begins to now.
    pub(super) fn key_of_a_comer(&self, uid: Uid, weight: Weight) -> u128 {
        let account = self.lags.accounts.get(&uid).filter(|account| account.is_present());
        let others = self.sums.weight.saturating_sub(account.map_or(0, Account::milli));
        let had = self.had(uid).max(self.least(others.saturating_add(weight.milli().into())));
        had.saturating_add(self.weighs(self.rate(uid), weight))
    }

    /// The part of the machine that a member of this weight had on average while somebody waited, in `2^-32`: what was a half-life
    /// ago counts half. Who came back to wait is counted as having had no less than the credit leaves them. `None` where nobody has
    /// waited of late.
    pub(super) fn average(&self, uid: Uid, weight: Weight) -> Option<u64> {
        let for_weight = self.had(uid).checked_div(self.lags.contested)?;
        let had = for_weight.saturating_mul(weight.milli().into()) / WEIGHT_ONE;
        u64::try_from(had.min(RATE_ONE)).ok()
    }

    /// Forgets a member of whom there is nothing to know.
    pub(super) fn leave(&mut self, uid: Uid) {
        let account = self.lags.accounts.get(&uid).copied().unwrap_or_default();
        if !account.is_present() && account.had == 0 {
            self.lags.accounts.remove(&uid);
        }
    }

    /// Whether a member waits for room.
    pub fn waits(&self, uid: Uid) -> bool {
        self.lags.accounts.get(&uid).is_some_and(|account| account.waits)
    }

    /// The part of the machine that a member holds, in `2^-32`.
    pub fn rate(&self, uid: Uid) -> u64 {
        self.lags.accounts.get(&uid).map_or(0, |account| account.rate)
    }

    /// Forgets the accounts of who neither holds nor waits that are worth less than a second of the whole machine at this moment;
    /// whether there were any.
    pub(super) fn forget_trifles(&mut self) -> bool {
        let second = self.second();
        let before = self.lags.accounts.len();
        self.lags.accounts.retain(|_, account| account.is_present() || account.had >= second);
        self.lags.accounts.len() < before
    }

    /// What a member had while somebody waited, for their weight, and as much as it is worth at this moment, in milliseconds of
    /// the whole machine.
    pub fn worth_ms(&self, uid: Uid) -> u64 {
        self.in_ms(self.had(uid))
    }

    /// How far a member is ahead of those who wait, or behind, in milliseconds of the whole machine.
    pub fn lag_ms(&self, uid: Uid) -> i64 {
        let (had, level) = (self.had(uid), self.lags.level);
        let ahead = i64::try_from(self.in_ms(had.saturating_sub(level))).unwrap_or(i64::MAX);
        let behind = i64::try_from(self.in_ms(level.saturating_sub(had))).unwrap_or(i64::MAX);
        ahead - behind
    }

    fn had(&self, uid: Uid) -> u128 {
        self.lags.accounts.get(&uid).map_or(0, |account| account.had_by(self.lags.contested))
    }

    fn in_ms(&self, counted: u128) -> u64 {
        let ms = counted.saturating_mul(1000).checked_div(self.second()).unwrap_or(0);
        u64::try_from(ms).unwrap_or(u64::MAX)
    }

    /// A second of the whole machine, had at this moment, as an account has it.
    fn second(&self) -> u128 {
        let ms_of_half_life = RATE_ONE * LN_2_MILLIONTHS / 1000;
        self.grown.saturating_mul(ms_of_half_life) / u128::from(self.lags.half_life_ms)
    }

    /// What orders those who wait, the least first: what is held now, and what was had while somebody waited. In units of the
    /// epoch, in which what is held now weighs more from moment to moment.
    pub(super) fn key(&self, uid: Uid, weight: Weight) -> u128 {
        self.had(uid).saturating_add(self.weighs(self.rate(uid), weight))
    }

    /// What holding this part of the machine now makes of a key: as much as being ahead by it for tau.
    pub(super) fn weighs(&self, rate: u64, weight: Weight) -> u128 {
        self.held_now(rate.into(), weight.milli().into())
    }

    fn held_now(&self, rate: u128, milli: u128) -> u128 {
        let Lags { half_life_ms, tau_ms, .. } = self.lags;
        let tau = (u128::from(tau_ms) << TAU_BITS) * LN_2_MILLIONTHS / 1_000_000 / u128::from(half_life_ms);
        by_weight(self.grown.saturating_mul(rate).saturating_mul(tau.min(TAU_MAX)) >> TAU_BITS, milli)
    }

    /// Another half-life and tau from now on: lags stay as large as they are at this moment. Whether they are others.
    pub(super) fn set_pace(&mut self, half_life_ms: u64, tau_ms: u64) -> bool {
        let half_life_ms = half_life_ms.max(1);
        if (half_life_ms, tau_ms) == (self.lags.half_life_ms, self.lags.tau_ms) {
            return false;
        }
        if half_life_ms != self.lags.half_life_ms {
            let (old, new) = (u128::from(self.lags.half_life_ms), u128::from(half_life_ms));
            // What has grown by less than 2^17 and counts less than 2^112 is here under 2^80, and no half-life is over 2^64.
            let grown = (self.grown >> (GROWTH_BITS / 2)).max(1);
            let scaled = |counted: u128| {
                let worth = (counted / grown).min(1 << 64);
                let worth = worth.saturating_mul(old) / new;
                worth.checked_mul(1 << (GROWTH_BITS / 2)).unwrap_or(ACCOUNT_MAX).min(ACCOUNT_MAX)
            };
            let contested = self.lags.contested;
            self.lags.accounts.values_mut().for_each(|account| {
                (account.had, account.since) = (account.had_by(contested), contested);
            });
            self.lags.scale(scaled);
            (self.lags.epoch, self.grown) = (self.lags.last, growth(0, half_life_ms));
        }
        (self.lags.half_life_ms, self.lags.tau_ms) = (half_life_ms, tau_ms);
        true
    }

    /// What the sums are, counted anew, is what they are.
    pub(super) fn assert_summed(&self) {
        assert_eq!(Self::new(self.lags.clone()).sums, self.sums, "who holds and waits is miscounted");
    }
}
