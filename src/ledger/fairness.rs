//! Past use: the dominant share that a member held times how long, halved every half-life.
//!
//! The dominant share is the largest fraction that is held of any resource (Ghodsi et al., "Dominant Resource
//! Fairness", NSDI 2011). Decay runs forward (Cormode et al., "Forward Decay", ICDE 2009): not old use is made
//! smaller as time goes by, but new use larger, by `2^((t - epoch) / half_life)`. So an account changes only when
//! its member held something, and the order of two members who hold nothing never changes: a queue sorted once
//! stays sorted. When the factor nears `2^32` the epoch moves by whole half-lives, which is a shift of every
//! account.
//!
//! All in integers, so that the same commands give the same order on any machine. Accounts count `2^-80` of
//! (whole machine × half-life / ln 2). Every charge is wrong by at most two units of `2^-48` of that factor and
//! `2^-32` of the machine: with a half-life of 7 days less than 10 µs of the whole machine, and by a move of the
//! epoch by one unit more.

use std::collections::BTreeMap;

use super::counted::room::Room;
use super::time::Time;
use crate::identity::Uid;
use crate::policy::Weight;

/// Bits after the point of a growth factor.
const GROWTH_BITS: u32 = 48;
/// Half-lives after which the epoch moves.
const EPOCH_HALF_LIVES: u64 = 32;
/// A second times ln 2, in milliseconds: while time is short beside the half-life, growth is `ln 2 / half_life` of itself.
const LN_2_SECOND_MS: u128 = 693;
/// A dominant share of 1.
const RATE_ONE: u128 = 1 << 32;
/// No account exceeds this: 1 held for ever, at the end of an epoch.
const ACCOUNT_MAX: u128 = 1 << (32 + GROWTH_BITS + 32);

/// What a member uses at present: since when, and which part of the machine, in `2^-32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Meter {
    /// What was used before is in the account.
    pub since: Time,
    /// The dominant share.
    pub rate: u64,
}

/// What is remembered of past use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fairness {
    /// After how long use counts half, in milliseconds; at least 1.
    pub half_life_ms: u64,
    /// From when growth is counted.
    pub epoch: Time,
    /// Decayed use, in units of the epoch.
    pub accounts: BTreeMap<Uid, u128>,
}

/// The dominant share of `held` in a machine of `whole`, in `2^-32`, at most 1.
pub fn dominant(held: Room, whole: Room) -> u64 {
    let part = |held: u128, whole: u128| (held.min(whole) * RATE_ONE).checked_div(whole).unwrap_or(0);
    u64::try_from(part(held.cpu, whole.cpu).max(part(held.mem, whole.mem))).unwrap_or(u64::MAX)
}

impl Fairness {
    /// Nothing was used yet.
    pub fn new(half_life_ms: u64) -> Self {
        Self { half_life_ms: half_life_ms.max(1), epoch: Time(0), accounts: BTreeMap::new() }
    }

    /// Adds what `meter` counted until `now`.
    pub(super) fn charge(&mut self, uid: Uid, meter: Meter, now: Time) {
        let grown = self.growth(now).saturating_sub(self.growth(meter.since));
        let used = grown.saturating_mul(u128::from(meter.rate).min(RATE_ONE));
        if used > 0 {
            let account = self.accounts.entry(uid).or_default();
            *account = account.saturating_add(used).min(ACCOUNT_MAX);
        }
    }

    /// Forgets the accounts that are worth less than a second of the whole machine at this moment; whether there were
    /// any. Then every key may be another.
    pub(super) fn forget_trifles(&mut self, now: Time) -> bool {
        let second = self.second(now);
        let before = self.accounts.len();
        self.accounts.retain(|_, used| *used >= second);
        self.accounts.len() < before
    }

    /// What a member's past use is worth at this moment, in milliseconds of the whole machine.
    pub fn worth_ms(&self, uid: Uid, now: Time) -> u64 {
        let used = self.accounts.get(&uid).copied().unwrap_or(0);
        u64::try_from(used.saturating_mul(1000).checked_div(self.second(now)).unwrap_or(0))
            .unwrap_or(u64::MAX)
    }

    /// A second of the whole machine, used at this moment, as an account has it.
    fn second(&self, now: Time) -> u128 {
        self.growth(now).saturating_mul(RATE_ONE * LN_2_SECOND_MS) / u128::from(self.half_life_ms)
    }

    /// What orders those who wait, the least first: decayed use by weight.
    pub fn key(&self, uid: Uid, weight: Weight) -> u128 {
        let used = self.accounts.get(&uid).copied().unwrap_or(0);
        used.saturating_mul(1000).checked_div(u128::from(weight.milli())).unwrap_or(used)
    }

    /// Moves the epoch where it is due: then every key is another.
    pub(super) fn settle_epoch(&mut self, now: Time) -> bool {
        let passed = now.since(self.epoch) / self.half_life_ms;
        if passed < EPOCH_HALF_LIVES {
            return false;
        }
        let shift = u32::try_from(passed).unwrap_or(u32::MAX);
        self.accounts.retain(|_, used| {
            *used = used.checked_shr(shift).unwrap_or(0);
            *used > 0
        });
        self.epoch = self.epoch.after(passed.saturating_mul(self.half_life_ms));
        true
    }

    /// Another half-life from now on: what was used stays as much as it is worth at this moment.
    pub(super) fn set_half_life(&mut self, half_life_ms: u64, now: Time) {
        let half_life_ms = half_life_ms.max(1);
        self.settle_epoch(now);
        let whole = now.since(self.epoch) / self.half_life_ms;
        let start = self.epoch.after(whole.saturating_mul(self.half_life_ms));
        self.epoch = start;
        let growth = self.growth(now);
        let shift = u32::try_from(whole).unwrap_or(u32::MAX);
        let (old, new) = (u128::from(self.half_life_ms), u128::from(half_life_ms));
        self.accounts.retain(|_, used| {
            // Under 2^81 after the shift, so that neither product reaches 2^128.
            let at_start = used.checked_shr(shift).unwrap_or(0).min(1 << 81);
            let worth = ((at_start << 40) / growth) << (GROWTH_BITS - 40);
            *used = (worth.min(1 << 81).saturating_mul(old) / new).min(ACCOUNT_MAX >> EPOCH_HALF_LIVES);
            *used > 0
        });
        (self.half_life_ms, self.epoch) = (half_life_ms, now);
    }

    /// `2^((now - epoch) / half_life)`, with [`GROWTH_BITS`] after the point; 0 long before the epoch.
    fn growth(&self, now: Time) -> u128 {
        let half_life = u128::from(self.half_life_ms);
        let (ahead, behind) = (u128::from(now.since(self.epoch)), u128::from(self.epoch.since(now)));
        // Before the epoch: count from the half-life that it is in.
        let back = behind.div_ceil(half_life);
        let ahead = if behind > 0 { back * half_life - behind } else { ahead };
        let (whole, part) = (ahead / half_life, ahead % half_life);
        let fraction = exp2((part << 64) / half_life) >> (63 - GROWTH_BITS);
        let whole = u32::try_from(whole).unwrap_or(u32::MAX).min(47);
        u32::try_from(back).ok().and_then(|back| (fraction << whole).checked_shr(back)).unwrap_or(0)
    }
}

/// `2^(2^-k)` for `k` from 1, with 63 bits after the point: each is the square root of the one before.
const ROOTS: [u128; 32] = roots();

#[expect(clippy::indexing_slicing, reason = "computed at compile time, within the bounds of the loop")]
const fn roots() -> [u128; 32] {
    let mut roots = [0; 32];
    let mut value: u128 = 2 << 63;
    let mut k = 0;
    while k < 32 {
        value = (value << 63).isqrt();
        roots[k] = value;
        k += 1;
    }
    roots
}

/// `2^(fraction / 2^64)` with 63 bits after the point, wrong by less than `2^-30` of a step in the fraction's 32nd bit
/// and `2^-57` by rounding; what is after the 32nd bit is taken as straight.
fn exp2(fraction: u128) -> u128 {
    let mut value: u128 = 1 << 63;
    for (k, root) in ROOTS.iter().enumerate() {
        if fraction & (1 << (63 - k)) != 0 {
            value = (value * root) >> 63;
        }
    }
    // 2^x - 1 is x ln 2 and less than x^2 more, and x is under 2^-32 here.
    const LN_2: u128 = 6_393_154_322_601_327_829;
    let rest = fraction & 0xffff_ffff;
    let slope = (rest * LN_2) >> 64;
    value + ((value * slope) >> 63)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_agree_with_floating_point() {
        for step in 0..1000u32 {
            let x = f64::from(step) / 1000.0;
            let fixed = exp2((u128::from(step) << 64) / 1000) as f64 / (1u64 << 63) as f64;
            assert!((fixed - x.exp2()).abs() < 1e-14, "2^{x}: {fixed}");
        }
    }

    #[test]
    fn use_counts_half_after_a_half_life_and_moving_the_epoch_changes_nothing() {
        let (a, b) = (Uid::new(1).unwrap(), Uid::new(2).unwrap());
        let mut fairness = Fairness::new(1000);
        let one = u64::try_from(RATE_ONE).unwrap();
        fairness.charge(a, Meter { since: Time(0), rate: one }, Time(500));
        fairness.charge(b, Meter { since: Time(1000), rate: one / 2 }, Time(1500));
        let close = |x: u128, y: u128| x.abs_diff(y) <= x >> 30;
        let (x, y) = (fairness.key(a, Weight::default()), fairness.key(b, Weight::default()));
        assert!(close(x, y), "half as much a half-life later weighs the same: {x} {y}");
        assert!(fairness.settle_epoch(Time(40_000)));
        let mut whole = Fairness::new(1000);
        whole.charge(a, Meter { since: Time(0), rate: one }, Time(32_000));
        assert!(whole.settle_epoch(Time(32_000)));
        whole.charge(a, Meter { since: Time(32_000), rate: one }, Time(40_000));
        let used = whole.key(a, Weight::default()) as f64 / 2f64.powi(80) / 256.0;
        assert!((used - 1.0).abs() < 1e-6, "the whole machine for ever is 1: {used}");
    }

    #[test]
    fn another_half_life_keeps_what_use_is_worth() {
        let a = Uid::new(1).unwrap();
        let mut fairness = Fairness::new(1000);
        fairness.charge(a, Meter { since: Time(0), rate: 1 << 32 }, Time(5500));
        let ms = |fairness: &Fairness, now: u64| {
            let growth = fairness.growth(Time(now)) as f64;
            *fairness.accounts.get(&a).unwrap() as f64 / 2f64.powi(32) / growth * fairness.half_life_ms as f64
        };
        let before = ms(&fairness, 7300);
        fairness.set_half_life(123_456, Time(7300));
        assert!((ms(&fairness, 7300) / before - 1.0).abs() < 1e-6);
    }
}
