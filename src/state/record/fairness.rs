//! Who is ahead of whom, as it is stored.

use serde::{Deserialize, Serialize};

use super::figures::uid;
use crate::identity::Uid;
use crate::ledger::fairness::{Account, Lags};
use crate::ledger::time::Time;
use crate::policy::Weight;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FairnessRecord {
    pub(super) half_life_ms: u64,
    pub(super) tau_ms: u64,
    pub(super) epoch_ms: u64,
    pub(super) last_ms: u64,
    pub(super) contested: Wide,
    pub(super) level: Wide,
    pub(super) accounts: Vec<AccountRecord>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountRecord {
    pub(super) uid: u64,
    pub(super) had: Wide,
    pub(super) since: Wide,
    pub(super) rate: u64,
    pub(super) weight_milli: u64,
    pub(super) waits: bool,
}

/// 128 bits in two halves: CBOR has no wider integers without tags.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wide {
    high: u64,
    low: u64,
}

impl From<u128> for Wide {
    fn from(wide: u128) -> Self {
        let half = |half: u128| u64::try_from(half & u128::from(u64::MAX)).unwrap_or(u64::MAX);
        Self { high: half(wide >> 64), low: half(wide) }
    }
}

impl Wide {
    fn whole(self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }
}

impl From<&Lags> for FairnessRecord {
    fn from(lags: &Lags) -> Self {
        let account = |(uid, account): (&Uid, &Account)| AccountRecord {
            uid: uid.get().into(),
            had: account.had.into(),
            since: account.since.into(),
            rate: account.rate,
            weight_milli: account.weight.milli(),
            waits: account.waits,
        };
        Self {
            half_life_ms: lags.half_life_ms,
            tau_ms: lags.tau_ms,
            epoch_ms: lags.epoch.0,
            last_ms: lags.last.0,
            contested: lags.contested.into(),
            level: lags.level.into(),
            accounts: lags.accounts.iter().map(account).collect(),
        }
    }
}

impl TryFrom<FairnessRecord> for Lags {
    type Error = String;

    fn try_from(record: FairnessRecord) -> Result<Self, String> {
        let mut lags = Self {
            epoch: Time(record.epoch_ms),
            last: Time(record.last_ms),
            contested: record.contested.whole(),
            level: record.level.whole(),
            ..Self::new(record.half_life_ms, record.tau_ms)
        };
        for account in record.accounts {
            let weight = account.weight_milli;
            let read = Account {
                had: account.had.whole(),
                since: account.since.whole(),
                rate: account.rate,
                weight: Weight::new(weight).ok_or_else(|| format!("{weight} is no weight"))?,
                waits: account.waits,
            };
            lags.accounts.insert(uid(account.uid)?, read);
        }
        Ok(lags)
    }
}
