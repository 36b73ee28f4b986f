//! Commands that are run again: where they failed, as often as their member says, and where the machine went down under them.
//! How that goes is the business of `tries`.

/// The pause after the first failure, in milliseconds. It is doubled with each.
const PAUSE_MS: u64 = 1000;

/// The longest pause, in milliseconds.
const PAUSE_MS_MAX: u64 = 3_600_000;

/// When a command is run again, and how often it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Again {
    /// How often it is run again at most after it has failed; no more than [`RETRIES_MAX`](crate::quantity::RETRIES_MAX).
    pub retries: u64,
    /// Whether it is run again where it was interrupted, as by the end of the machine.
    pub requeue: bool,
    /// How often it has failed and was to be run again for that.
    pub failed: u64,
    /// How often it was tried before, whatever came of that.
    pub tries: u64,
}

/// Why a try of a command was not all that it was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The command failed.
    Failed,
    /// The command was interrupted.
    Interrupted,
}

impl Again {
    /// After how long it is run again, in milliseconds; `None`: it is not.
    pub(super) fn pause_ms(&self, lost: Lost) -> Option<u64> {
        match lost {
            Lost::Interrupted => self.requeue.then_some(0),
            Lost::Failed if self.failed < self.retries => {
                Some(PAUSE_MS.saturating_mul(1 << self.failed.min(32)).min(PAUSE_MS_MAX))
            }
            Lost::Failed => None,
        }
    }

    /// It is to be run again.
    pub(super) fn count(&mut self, lost: Lost) {
        self.failed = self.failed.saturating_add(u64::from(lost == Lost::Failed));
        self.tries = self.tries.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_an_hour() {
        let after = |failed| Again { retries: 100, failed, ..Again::default() }.pause_ms(Lost::Failed);
        assert_eq!([0, 1, 2, 11].map(after), [1000, 2000, 4000, 2_048_000].map(Some));
        assert_eq!(
            [12, 40, 99, 100].map(after),
            [Some(PAUSE_MS_MAX), Some(PAUSE_MS_MAX), Some(PAUSE_MS_MAX), None]
        );
    }
}
