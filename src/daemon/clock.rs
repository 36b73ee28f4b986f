//! The one place that reads the clocks.

use crate::ledger::{BootId, Now};

/// This moment on both clocks.
pub fn now() -> Now {
    let milliseconds = |clock| {
        let time = rustix::time::clock_gettime(clock);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
        seconds.saturating_mul(1000).saturating_add(nanoseconds / 1_000_000)
    };
    Now {
        boot_ms: milliseconds(rustix::time::ClockId::Boottime),
        wall_ms: milliseconds(rustix::time::ClockId::Realtime),
    }
}

/// Which boot this is.
///
/// # Errors
/// The kernel's file cannot be read.
pub fn boot_id() -> std::io::Result<BootId> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(BootId(text.trim().to_owned()))
}
