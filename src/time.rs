//! What time is to all rooms: a moment on both clocks, which boot it is of, spans in milliseconds. Nothing here reads a clock.

use std::time::Duration;

/// Less than this between the two clocks is no step of the wall clock, in milliseconds: each is read by itself, and rounded. Time
/// servers make both run faster or slower.
const STEP_MS_MIN: u64 = 1000;

/// A moment on both clocks, in milliseconds: deadlines run on boot time, people read wall time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Now {
    /// Since boot, counting suspended time (`CLOCK_BOOTTIME`).
    pub boot_ms: u64,
    /// Since 1970 (`CLOCK_REALTIME`).
    pub wall_ms: u64,
}

/// Which boot of the machine, as `/proc/sys/kernel/random/boot_id` has it (`random(4)`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootId(pub String);

impl Now {
    /// A moment: milliseconds since boot, and since 1970.
    pub fn new(boot_ms: u64, wall_ms: u64) -> Self {
        Self { boot_ms, wall_ms }
    }

    /// The same moment, seen from a later boot: its boot time says nothing any more.
    pub fn of_earlier_boot(self) -> Self {
        Self { boot_ms: 0, ..self }
    }

    /// Whether its boot time is of this boot.
    pub fn is_of_this_boot(self) -> bool {
        self.boot_ms > 0
    }

    /// The moment in wall time as the wall clock is set at `now`, in Unix milliseconds. So what lies between the two is the
    /// time that passed, whatever the wall clock was set to meanwhile. A moment of an earlier boot is where the wall clock had
    /// it: between two boots no other clock runs.
    pub fn wall_ms_at(self, now: Self) -> u64 {
        let shown = now.wall_ms.saturating_sub(now.boot_ms.saturating_sub(self.boot_ms));
        if self.is_of_this_boot() && shown.abs_diff(self.wall_ms) >= STEP_MS_MIN {
            shown
        } else {
            self.wall_ms
        }
    }
}

/// The pauses between tries that fail: `first`, then twice as long each, and never longer than `most`.
pub fn backoff((first, most): (Duration, Duration)) -> Backoff {
    Backoff { next: first.min(most), most }
}

/// Pauses without end, see [`backoff`].
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    /// The pause before the next try.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(self.most);
        pause
    }

    /// Has the next pause be this one, where whoever was asked has said how long it takes.
    pub fn as_told(&mut self, pause: Duration) {
        self.next = pause.min(self.most);
    }
}

/// A span in whole milliseconds; `u64::MAX` for what is longer.
pub fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_passed_is_the_same_however_the_wall_clock_is_set() {
        const DAY_MS: u64 = 86_400_000;
        let moment = Now::new(5000, 10 * DAY_MS);
        // The clocks are read one after the other: that moves nothing.
        assert_eq!(moment.wall_ms_at(Now::new(65_000, 10 * DAY_MS + 60_001)), 10 * DAY_MS);
        for wall_ms in [13 * DAY_MS, 4 * DAY_MS] {
            let now = Now::new(65_000, wall_ms);
            assert_eq!(now.wall_ms - moment.wall_ms_at(now), 60_000);
        }
        // Of what was in another boot the wall clock alone says when.
        let earlier = moment.of_earlier_boot();
        assert_eq!(earlier.wall_ms_at(Now::new(1000, 13 * DAY_MS)), 10 * DAY_MS);
        assert_eq!((moment.is_of_this_boot(), earlier.is_of_this_boot()), (true, false));
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = backoff((Duration::from_secs(1), Duration::from_secs(5)));
        assert_eq!([0; 5].map(|_: u8| backoff.pause().as_secs()), [1, 2, 4, 5, 5]);
        backoff.as_told(Duration::from_secs(2));
        assert_eq!([0; 3].map(|_: u8| backoff.pause().as_secs()), [2, 4, 5]);
        backoff.as_told(Duration::from_secs(9));
        assert_eq!(backoff.pause().as_secs(), 5);
    }
}
