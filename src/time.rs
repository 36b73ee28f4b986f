//! What time is to all rooms: a moment on both clocks, which boot it is of, spans in milliseconds. Nothing here reads a clock.

use std::time::Duration;

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
    fn pauses_double_up_to_the_longest() {
        let mut backoff = backoff((Duration::from_secs(1), Duration::from_secs(5)));
        assert_eq!([0; 5].map(|_: u8| backoff.pause().as_secs()), [1, 2, 4, 5, 5]);
        backoff.as_told(Duration::from_secs(2));
        assert_eq!([0; 3].map(|_: u8| backoff.pause().as_secs()), [2, 4, 5]);
        backoff.as_told(Duration::from_secs(9));
        assert_eq!(backoff.pause().as_secs(), 5);
    }
}
