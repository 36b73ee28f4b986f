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

/// A span in whole milliseconds; `u64::MAX` for what is longer.
pub fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
