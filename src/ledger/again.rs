//! Commands that are run again: where they failed, as often as their member says, and where the machine went down under them.
//! How that goes is the business of `tries`.

/// The pause after the first failure, in milliseconds. It is doubled with each.
const PAUSE_MS: u64 = 1000;

/// The pause after the second interruption, in milliseconds, and the least one after what could not be started: what ends the
/// machine, or keeps a command from beginning, is not to do so in a loop. It is doubled too.
const PAUSE_MS_LONG: u64 = 60_000;

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
    /// The command could not be started.
    Unstarted,
    /// The command was interrupted.
    Interrupted,
}

impl Again {
    /// After how long it is run again, in milliseconds; `None`: it is not.
    pub(super) fn pause_ms(&self, lost: Lost) -> Option<u64> {
        let doubled = |first: u64, times: u64| first.saturating_mul(1 << times.min(32)).min(PAUSE_MS_MAX);
        match lost {
            // The first is an accident.
            Lost::Interrupted => self.requeue.then(|| match self.tries.saturating_sub(self.failed) {
                0 => 0,
                times => doubled(PAUSE_MS_LONG, times - 1),
            }),
            Lost::Failed | Lost::Unstarted if self.failed >= self.retries => None,
            Lost::Failed => Some(doubled(PAUSE_MS, self.failed)),
            Lost::Unstarted => Some(doubled(PAUSE_MS_LONG, self.failed)),
        }
    }

    /// It is not run again any more.
    pub(super) fn no_more(&mut self) {
        (self.retries, self.requeue) = (self.failed, false);
    }

    /// It is to be run again.
    pub(super) fn count(&mut self, lost: Lost) {
        self.failed = self.failed.saturating_add(u64::from(lost != Lost::Interrupted));
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
        let interrupted =
            |tries| Again { requeue: true, tries, ..Again::default() }.pause_ms(Lost::Interrupted);
        assert_eq!([0, 1, 2, 9].map(interrupted), [0, 60_000, 120_000, PAUSE_MS_MAX].map(Some));
        assert_eq!(
            [12, 40, 99, 100].map(after),
            [Some(PAUSE_MS_MAX), Some(PAUSE_MS_MAX), Some(PAUSE_MS_MAX), None]
        );
    }
}
