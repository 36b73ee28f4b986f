//! Who is told that the tasks of a share wait too long for a CPU or for memory.
//!
//! A trigger, by which the kernel would tell of pressure itself, has to be written to the file (`psi.rst`, "Monitoring for
//! pressure thresholds"), and the daemon may write nothing there. So memory is looked at when the kernel tells that
//! something met its limit (`memory.events`), which is what makes tasks wait for it, and the CPU when all shares are
//! looked at anyway.

use std::collections::BTreeSet;

use tracing::error;

use super::event_loop::EventLoop;
use super::logging::chain;
use crate::cgroup::CgroupFault;
use crate::identity::{Uid, UnitName};

/// From here on it is told: some task waited for so much of the last ten seconds, in hundredths of a percent.
///
/// It is systemd-oomd's: 60 % (`oomd.conf(5)`, `DefaultMemoryPressureLimit=`).
pub const PRESSURE_HIGH: u32 = 6000;

/// Under this it is over, and would be told anew.
pub const PRESSURE_LOW: u32 = PRESSURE_HIGH / 2;

/// What tasks wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
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
    /// The sweep: all shares.
    pub(super) fn look_at_pressures(&mut self) {
        let uids: Vec<Uid> = self.ledger.shares().keys().copied().collect();
        for uid in uids {
            self.look_at_pressure(uid, Resource::Cpu);
            self.look_at_pressure(uid, Resource::Memory);
        }
    }

    /// Tells followers when the tasks of a share have begun to wait too long.
    pub(super) fn look_at_pressure(&mut self, uid: Uid, resource: Resource) {
        let pressure = match self.pressure(uid, resource) {
            // A kernel that does not measure it (`psi=0`) has nobody wait.
            Ok(pressure) => pressure.unwrap_or(0),
            Err(fault) => return error!("{}", chain(&fault)),
        };
        let Some(share) = self.ledger.share(uid) else { return };
        if self.watch.pressed.rises(uid, resource, pressure) {
            let (percent, what) = (
                pressure / 100,
                match resource {
                    Resource::Cpu => "a CPU",
                    Resource::Memory => "memory",
                },
            );
            let message = format!("waited for {what} for {percent} % of the last ten seconds");
            let shown = self.shown(share);
            self.feed.share("pressure", uid, Some(shown), Some(message));
        }
    }

    fn pressure(&self, uid: Uid, resource: Resource) -> Result<Option<u32>, CgroupFault> {
        let (cgroups, unit) = (&self.parts.cgroups, UnitName::Share(uid));
        match resource {
            Resource::Cpu => cgroups.cpu_pressure(unit),
            Resource::Memory => cgroups.mem_pressure(unit),
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
