//! When work without a time limit is likely to end. A guess is no promise: it is put off where it proves too short.

use std::collections::{BTreeMap, BTreeSet};

use crate::identity::AllocationId;
use crate::ledger::time::Time;

const MINUTE_MS: u64 = 60_000;

/// By how much a guess that has proved too short is put off, step by step, in milliseconds (Tsafrir, Etsion, Feitelson,
/// "Backfilling Using System-Generated Predictions", IEEE TPDS 2007). After the last it is put off by the last.
const PUT_OFF_MS: [u64; 11] = [
    MINUTE_MS,
    5 * MINUTE_MS,
    15 * MINUTE_MS,
    30 * MINUTE_MS,
    60 * MINUTE_MS,
    120 * MINUTE_MS,
    300 * MINUTE_MS,
    600 * MINUTE_MS,
    1200 * MINUTE_MS,
    3000 * MINUTE_MS,
    6000 * MINUTE_MS,
];

#[derive(Debug, Clone, Copy)]
struct Guess {
    end: Time,
    /// How often it has been put off.
    put_off: usize,
}

/// The likely ends of allocations whose leases say none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guesses {
    of: BTreeMap<AllocationId, Guess>,
    due: BTreeSet<(Time, AllocationId)>,
}

impl Guesses {
    /// When an allocation is likely to end.
    pub fn end(&self, id: AllocationId) -> Option<Time> {
        self.of.get(&id).map(|guess| guess.end)
    }

    /// An allocation is likely to end then.
    pub fn set(&mut self, id: AllocationId, end: Time) {
        self.put(id, Guess { end, put_off: 0 });
    }

    /// The allocation has not ended at `now`.
    pub fn put_off(&mut self, id: AllocationId, now: Time) {
        let Some(Guess { put_off, .. }) = self.of.get(&id).copied() else { return };
        let by = PUT_OFF_MS.get(put_off).or(PUT_OFF_MS.last()).copied().unwrap_or(MINUTE_MS);
        self.put(id, Guess { end: now.after(by), put_off: put_off + 1 });
    }

    /// The allocation is no more.
    pub fn forget(&mut self, id: AllocationId) {
        if let Some(guess) = self.of.remove(&id) {
            self.due.remove(&(guess.end, id));
        }
    }

    /// Those that have proved too short.
    pub fn due(&self, now: Time) -> Vec<AllocationId> {
        self.due.iter().take_while(|(end, _)| *end <= now).map(|(_, id)| *id).collect()
    }

    /// When the next proves too short.
    pub fn next(&self) -> Option<Time> {
        self.due.first().map(|(end, _)| *end)
    }

    fn put(&mut self, id: AllocationId, guess: Guess) {
        self.forget(id);
        self.due.insert((guess.end, id));
        self.of.insert(id, guess);
    }
}
