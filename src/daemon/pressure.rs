//! Who is told that the tasks of a share wait too long for a CPU or for memory.
//!
//! A trigger, by which the kernel would tell of pressure itself, has to be written to the file (`psi.rst`, "Monitoring for
//! pressure thresholds"), and the daemon may write nothing there. So memory is looked at when the kernel tells that
//! something met its limit (`memory.events`), which is what makes tasks wait for it, and the CPU then too and when all
//! shares are looked at anyway.

use std::collections::BTreeSet;

use tracing::error;

use super::event_loop::EventLoop;
use super::logging::chain;
use crate::identity::{Uid, UnitName};

/// From here on it is told: some task waited for so much of the last ten seconds, in hundredths of a percent.
///
/// It is systemd-oomd's: 60 % (`oomd.conf(5)`, `DefaultMemoryPressureLimit=`).
pub const PRESSURE_HIGH: u32 = 6000;

/// Under this it is over, and would be told anew.
pub const PRESSURE_LOW: u32 = PRESSURE_HIGH / 2;

/// What tasks wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Resource {
    /// A processor.
    Cpu,
    /// Memory that was taken back from them, or that they cannot have before other memory was.
    Memory,
}

/// Which shares are known to be under pressure.
#[derive(Debug, Default)]
pub struct Pressed(BTreeSet<(Uid, Resource)>);

impl Pressed {
    /// Takes note of what the kernel says now, in hundredths of a percent; `true` where that is news of pressure.
    fn rises(&mut self, uid: Uid, resource: Resource, pressure: u32) -> bool {
        if pressure < PRESSURE_LOW {
            self.0.remove(&(uid, resource));
        }
        pressure >= PRESSURE_HIGH && self.0.insert((uid, resource))
    }

    /// There is no such share any more.
    pub fn forget(&mut self, uid: Uid) {
        self.0.remove(&(uid, Resource::Cpu));
        self.0.remove(&(uid, Resource::Memory));
    }
}

impl EventLoop {
    /// Tells followers when the tasks of a share have begun to wait too long.
    pub(super) fn look_at_pressures(&mut self, uid: Uid) {
        let pressures = match self.parts.cgroups.pressures(UnitName::Share(uid)) {
            Ok(pressures) => pressures.unwrap_or_default(),
            Err(fault) => return error!("{}", chain(&fault)),
        };
        let Some(share) = self.ledger.share(uid) else { return };
        let looked_at =
            [(Resource::Cpu, pressures.cpu, "a CPU"), (Resource::Memory, pressures.mem, "memory")];
        for (resource, pressure, what) in looked_at {
            // A kernel that does not measure it has nobody wait.
            let pressure = pressure.unwrap_or(0);
            if self.watch.pressed.rises(uid, resource, pressure) {
                let percent = pressure / 100;
                let message = format!("waited for {what} for {percent} % of the last ten seconds");
                let shown = self.shown(share);
                self.feed.share("pressure", uid, Some(shown), Some(message));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_told_once_until_it_is_over() {
        let (mut pressed, uid) = (Pressed::default(), Uid::new(7).expect("a user"));
        let mut rises = |pressure| pressed.rises(uid, Resource::Memory, pressure);
        assert_eq!(
            [0, 5999, 6000, 10_000, 3000, 6000].map(&mut rises),
            [false, false, true, false, false, false]
        );
        assert_eq!([2999, 5999, 6000].map(rises), [false, false, true]);
        assert!(pressed.rises(uid, Resource::Cpu, 6000), "one has nothing to do with the other");
        pressed.forget(uid);
        assert!(pressed.rises(uid, Resource::Memory, 6000));
    }
}
