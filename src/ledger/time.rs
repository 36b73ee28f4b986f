//! The ledger's own time: boot time, carried across reboots by wall time.
//!
//! Within a boot it runs with `CLOCK_BOOTTIME` (`clock_gettime(2)`), which counts suspended time and which nobody
//! can set: steps of the wall clock change nothing. Between two boots no clock runs that cannot be set, so that
//! what passed there is what the wall clock says passed since the last change that was kept: never less than
//! nothing. A wall clock that came up too early makes leases longer by the difference; one that came up too
//! late ends them early, which kills nothing.

use crate::time::{BootId, Now};

/// A moment of the ledger's own time, in milliseconds. Never goes back, not even across a reboot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time(pub u64);

impl Time {
    /// So many milliseconds later.
    pub fn after(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// So many milliseconds earlier, at least the beginning.
    pub fn before(self, ms: u64) -> Self {
        Self(self.0.saturating_sub(ms))
    }

    /// The milliseconds since `earlier`; 0 where that is later.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What carries the ledger's time: kept in the state file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    /// Which boot `offset_ms` is of.
    pub boot: BootId,
    /// What is added to boot time, in milliseconds.
    pub offset_ms: i64,
    /// The latest moment that was seen.
    pub last: Time,
    /// The wall time of that moment, in milliseconds.
    pub wall_ms: u64,
}

impl Clock {
    /// The clock of a ledger that begins in this boot: boot time itself.
    pub fn new(boot: BootId) -> Self {
        Self { boot, offset_ms: 0, last: Time(0), wall_ms: 0 }
    }

    /// The clock of `self`, going on in the boot `boot` at `now`.
    pub fn carried(self, boot: BootId, now: Now) -> Self {
        if self.boot == boot {
            return self;
        }
        let elapsed = now.wall_ms.saturating_sub(self.wall_ms);
        let time = self.last.after(elapsed);
        let offset = i128::from(time.0) - i128::from(now.boot_ms);
        let offset_ms = i64::try_from(offset).unwrap_or(if offset < 0 { i64::MIN } else { i64::MAX });
        Self { boot, offset_ms, last: time, wall_ms: now.wall_ms }
    }

    /// The ledger's time at `now`.
    pub fn at(&self, now: Now) -> Time {
        self.time_of(now).max(self.last)
    }

    /// The ledger's time at a moment of this boot, which may be over.
    pub fn time_of(&self, then: Now) -> Time {
        let time = i128::from(then.boot_ms) + i128::from(self.offset_ms);
        Time(u64::try_from(time.max(0)).unwrap_or(u64::MAX))
    }

    /// Takes `now` for seen.
    pub fn seen(&mut self, now: Now) -> Time {
        self.last = self.at(now);
        self.wall_ms = now.wall_ms;
        self.last
    }

    /// That moment on this boot's clock, in milliseconds; 0 for what was before it.
    pub fn boot_ms(&self, time: Time) -> u64 {
        let boot = i128::from(time.0) - i128::from(self.offset_ms);
        u64::try_from(boot.max(0)).unwrap_or(u64::MAX)
    }

    /// That moment in wall time, as far as the wall clock is right at `now`, in Unix milliseconds.
    pub fn wall_ms(&self, now: Now, time: Time) -> u64 {
        let here = self.at(now);
        now.wall_ms.saturating_add(time.since(here)).saturating_sub(here.since(time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(name: &str) -> BootId {
        BootId(name.into())
    }

    #[test]
    fn wall_steps_change_nothing_within_a_boot() {
        let mut clock = Clock::new(boot("a"));
        assert_eq!(clock.seen(Now { boot_ms: 1000, wall_ms: 50_000 }), Time(1000));
        assert_eq!(clock.seen(Now { boot_ms: 2000, wall_ms: 10 }), Time(2000));
        assert_eq!(clock.clone().carried(boot("a"), Now { boot_ms: 9, wall_ms: 9 }), clock);
    }

    #[test]
    fn a_reboot_passes_as_long_as_the_wall_clock_says_and_never_backwards() {
        let mut clock = Clock::new(boot("a"));
        clock.seen(Now { boot_ms: 100_000, wall_ms: 1_000_000 });
        let later = Now { boot_ms: 500, wall_ms: 1_030_000 };
        assert_eq!(clock.clone().carried(boot("b"), later).at(later), Time(130_000));
        let earlier = Now { boot_ms: 500, wall_ms: 7 };
        let carried = clock.carried(boot("b"), earlier);
        assert_eq!(carried.at(earlier), Time(100_000));
        assert_eq!(carried.boot_ms(Time(160_000)), 60_500);
        assert_eq!(carried.wall_ms(earlier, Time(160_000)), 60_007);
    }
}
