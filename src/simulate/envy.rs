//! What members wait for and hold beside each other: since when whose request is the first of theirs, and who could envy whom.

use std::collections::BTreeSet;

use crate::identity::JobId;

/// What a member holds and waits for between two moments.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    /// Their requests that wait, in their order.
    waiting: BTreeSet<JobId>,
    /// Since when the first of these has been so, in milliseconds.
    first_since: u64,
    /// The dominant shares of what they hold, piece by piece, in `2^-32`.
    pieces: Vec<u64>,
    /// What they weigh, in thousandths.
    weight_milli: u64,
}

impl Standing {
    pub fn new(weight_milli: u64) -> Self {
        Self { weight_milli, ..Self::default() }
    }

    pub fn waits(&mut self, job: JobId, now: u64) {
        if self.waiting.first().is_none_or(|first| job < *first) {
            self.first_since = now;
        }
        self.waiting.insert(job);
    }

    /// A request waits no more: for how long it was the first of its member's.
    pub fn leaves(&mut self, job: JobId, now: u64) -> u64 {
        let was_first = self.waiting.first() == Some(&job);
        self.waiting.remove(&job);
        if !was_first {
            return 0;
        }
        let since = std::mem::replace(&mut self.first_since, now);
        now.saturating_sub(since)
    }

    pub fn takes(&mut self, piece: u64) {
        self.pieces.push(piece);
    }

    pub fn gives_back(&mut self, piece: u64) {
        if let Some(at) = self.pieces.iter().position(|held| *held == piece) {
            self.pieces.swap_remove(at);
        }
    }
}

/// How many members envy: of those who hold or wait, who waits and has less than their part of the machine by weight, while
/// another has more than theirs, and one piece. `held` are the dominant shares, in `2^-32`.
pub(super) fn envious(people: &[Standing], held: impl Fn(usize) -> u64) -> u64 {
    let present: Vec<(u128, &Standing)> = people
        .iter()
        .enumerate()
        .map(|(index, standing)| (u128::from(held(index)), standing))
        .filter(|(held, standing)| *held > 0 || !standing.waiting.is_empty())
        .collect();
    let weight: u128 = present.iter().map(|(_, standing)| u128::from(standing.weight_milli)).sum();
    // Shares times the weight of all, so that nothing is divided.
    let part = |standing: &Standing| u128::from(standing.weight_milli) << 32;
    let piece = |standing: &Standing| u128::from(standing.pieces.iter().copied().max().unwrap_or(0));
    let has_more =
        |(held, standing): &(u128, &Standing)| held.saturating_sub(piece(standing)) * weight > part(standing);
    if !present.iter().any(has_more) {
        return 0;
    }
    let envies = |(held, standing): &&(u128, &Standing)| {
        !standing.waiting.is_empty() && held * weight < part(standing)
    };
    present.iter().filter(envies).count() as u64
}
