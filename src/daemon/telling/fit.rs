//! Answers that list something: as much of it as fits a frame.

use serde::Serialize;

use crate::wire::frame::{FRAME_BYTES_MAX, encoded_bytes};

/// What is kept of a frame for all that is not listed, in bytes.
const BESIDE_BYTES: usize = 4 << 10;

/// The most that a share takes in an answer beside its allocations, in bytes. So many are not measured that this leaves no doubt.
pub const SHARE_BYTES_MAX: usize = 1 << 10;

/// The most that an allocation takes in an answer that does not say what it uses, in bytes.
pub const ALLOCATION_BYTES_MAX: usize = 512;

/// The most that a job takes in an answer, in bytes, with all that an error may say.
pub const JOB_BYTES_MAX: usize = 8 << 10;

/// What a frame still has room for, in bytes.
pub struct Space(usize);

impl Space {
    /// That of a frame with nothing listed in it.
    pub fn of_a_frame() -> Self {
        Self(FRAME_BYTES_MAX.saturating_sub(BESIDE_BYTES))
    }

    /// Leaves the first entries that there is room for, each of which takes so many bytes at most; how many it left out, where
    /// it did.
    pub fn first<T: Serialize>(&mut self, entries: &mut Vec<T>, most: usize) -> Option<u64> {
        let fit = self.fit(entries.iter(), most);
        let left_out = entries.len().saturating_sub(fit);
        entries.truncate(fit);
        (left_out > 0).then_some(left_out as u64)
    }

    /// The same, with the last entries.
    pub fn last<T: Serialize>(&mut self, entries: &mut Vec<T>, most: usize) -> Option<u64> {
        let fit = self.fit(entries.iter().rev(), most);
        let left_out = entries.len().saturating_sub(fit);
        entries.drain(..left_out);
        (left_out > 0).then_some(left_out as u64)
    }

    /// Takes room for entries, one after the other, as long as there is some; for how many there was.
    fn fit<'e, T: Serialize + 'e>(
        &mut self,
        entries: impl ExactSizeIterator<Item = &'e T>,
        most: usize,
    ) -> usize {
        let (count, all) = (entries.len(), entries.len().saturating_mul(most));
        // Nearly always: measuring costs as much as writing.
        if all <= self.0 {
            self.0 = self.0.saturating_sub(all);
            return count;
        }
        let mut fit: usize = 0;
        for bytes in entries.map(encoded_bytes) {
            let Some(left) = bytes.and_then(|bytes| self.0.checked_sub(bytes)) else { break };
            self.0 = left;
            fit = fit.saturating_add(1);
        }
        fit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::encode_frame;

    #[test]
    fn what_fits_a_frame_is_left_whole_and_of_the_rest_as_much_as_does() {
        for (length, count) in [(100, 10), (1000, 1000), (1000, 5000), (20, 200_000), (2_000_000, 1)] {
            let entries: Vec<String> =
                (0..count).map(|at| format!("{at:>6}{}", "x".repeat(length - 6))).collect();
            let (mut first, mut last) = (entries.clone(), entries.clone());
            let most = (length + 8).max(1 << 10);
            let left_out = Space::of_a_frame().first(&mut first, most);
            assert_eq!(Space::of_a_frame().last(&mut last, most), left_out);
            assert_eq!(first, entries[..first.len()]);
            assert_eq!(last, entries[entries.len() - last.len()..]);
            assert_eq!(left_out.unwrap_or(0) as usize, count - first.len());
            for listed in [first, last] {
                let mut frame = Vec::new();
                encode_frame(&listed, &mut frame).expect("a frame");
                // No more is left out than has to be.
                assert!(left_out.is_none() || frame.len() + length + 2 * BESIDE_BYTES > FRAME_BYTES_MAX);
            }
        }
    }

    #[test]
    fn what_is_listed_first_leaves_room_for_the_rest_only() {
        let mut space = Space::of_a_frame();
        let (mut one, mut other) = (vec!["x".repeat(600_000)], vec!["y".repeat(600_000), "z".to_owned()]);
        assert_eq!((space.first(&mut one, usize::MAX), space.first(&mut other, usize::MAX)), (None, Some(2)));
    }
}
