//! Who is told that the tasks of a share wait too long for a CPU or for memory.
//!
//! The kernel tells of it by itself, where it can and there are descriptors for it. Memory is looked at too when something
//! met its limit (`memory.events`), which is what makes tasks wait for it, and all when all shares are looked at anyway:
//! nothing tells when it is over.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

use crate::cgroup::Cgroups;
use crate::cgroup::trigger::{Resource, Trigger};
use crate::identity::{Uid, UnitName};
use crate::serving::logging::chain;
use crate::sys::readable::Urgent;

/// From here on it is told: some task waited for so much of the last ten seconds, in hundredths of a percent.
///
/// It is systemd-oomd's: 60 % (`oomd.conf(5)`, `DefaultMemoryPressureLimit=`).
pub const PRESSURE_HIGH: u32 = 6000;

/// Under this it is over, and would be told anew.
pub const PRESSURE_LOW: u32 = PRESSURE_HIGH / 2;

/// In how much time tasks have to wait so long, in microseconds: what the averages are of, and the most there is.
const WINDOW_USEC: u64 = 10_000_000;

/// Files that the kernel tells of pressure on, each a descriptor: those of 256 shares. The others are looked at in the sweep.
pub const TRIGGERS_MAX: usize = 512;

/// What the kernel has told and nobody has taken yet.
const TOLD_WAITING_MAX: usize = 256;

/// Which shares are known to be under pressure, and of which the kernel tells.
#[derive(Debug)]
pub struct Pressed {
    known: BTreeSet<(Uid, Resource)>,
    /// Shares whose triggers are to be looked at when nothing else is to be done: a start with many does not wait for them.
    due: BTreeSet<Uid>,
    triggers: BTreeMap<(Uid, Resource), Awaited>,
    /// Whether it was said that the kernel cannot be had to tell.
    warned: bool,
    tells: mpsc::Sender<(Uid, Resource)>,
    heard: mpsc::Receiver<(Uid, Resource)>,
}

/// A trigger with a task that waits on it, until this is dropped.
#[derive(Debug)]
struct Awaited {
    trigger: Trigger,
    _until: oneshot::Sender<()>,
}

impl Default for Pressed {
    fn default() -> Self {
        let (tells, heard) = mpsc::channel(TOLD_WAITING_MAX);
        let (known, due, triggers) = Default::default();
        Self { known, due, triggers, warned: false, tells, heard }
    }
}

impl Pressed {
    /// The next share of which the kernel tells, and what its tasks wait for. Cancel safe.
    pub async fn next(&mut self) -> (Uid, Resource) {
        match self.heard.recv().await {
            Some(told) => told,
            // A sender is kept here: there is always another to come.
            None => std::future::pending().await,
        }
    }

    /// Has the kernel tell of pressure in one of the shares that are due.
    pub fn await_one(&mut self, cgroups: &Cgroups) {
        let Some(uid) = self.due.pop_first() else { return };
        let unit = UnitName::Share(uid);
        for resource in [Resource::Cpu, Resource::Memory] {
            let key = (uid, resource);
            if self.triggers.get(&key).is_some_and(|is| cgroups.is_current(&is.trigger, unit, resource)) {
                continue;
            }
            self.triggers.remove(&key);
            if self.triggers.len() >= TRIGGERS_MAX {
                return;
            }
            let stall_usec = WINDOW_USEC * u64::from(PRESSURE_HIGH) / 10_000;
            let awaited = cgroups.trigger(unit, resource, stall_usec, WINDOW_USEC).and_then(|trigger| {
                let Some(trigger) = trigger else { return Ok(None) };
                let urgent = Urgent::register(trigger.descriptor())?;
                let (_until, until) = oneshot::channel();
                tokio::spawn(wait(urgent, key, until, self.tells.clone()));
                Ok(Some(Awaited { trigger, _until }))
            });
            match awaited {
                Ok(awaited) => self.triggers.extend(awaited.map(|awaited| (key, awaited))),
                Err(fault) if !self.warned => {
                    warn!(
                        "the kernel does not tell of pressure, proceeding with a look each minute: {fault}"
                    );
                    self.warned = true;
                }
                Err(_) => {}
            }
        }
    }

    /// What followers of a share are told when the kernel tells of pressure in it. What it told of a cgroup that has been
    /// removed since, or made again, is of no share that there is.
    pub fn told(&mut self, cgroups: &Cgroups, uid: Uid, resource: Resource) -> Option<String> {
        let awaited = self.triggers.get(&(uid, resource))?;
        if !cgroups.is_current(&awaited.trigger, UnitName::Share(uid), resource) {
            return None;
        }
        let (what, percent) = (waited_for(resource), PRESSURE_HIGH / 100);
        self.rises(uid, resource, PRESSURE_HIGH)
            .then(|| format!("waited for {what} for at least {percent} % of the last ten seconds"))
    }

    /// What followers of a share are told when its tasks have begun to wait too long.
    pub fn look(&mut self, cgroups: &Cgroups, uid: Uid) -> Vec<String> {
        let pressures = match cgroups.pressures(UnitName::Share(uid)) {
            Ok(pressures) => pressures.unwrap_or_default(),
            Err(fault) => {
                error!("{}", chain(&fault));
                return Vec::new();
            }
        };
        let mut said = Vec::new();
        for (resource, pressure) in [(Resource::Cpu, pressures.cpu), (Resource::Memory, pressures.mem)] {
            // A kernel that does not measure it has nobody wait.
            let pressure = pressure.unwrap_or(0);
            if self.rises(uid, resource, pressure) {
                let (what, percent) = (waited_for(resource), pressure / 100);
                said.push(format!("waited for {what} for {percent} % of the last ten seconds"));
            }
        }
        said
    }

    /// Takes note of what the kernel says now, in hundredths of a percent; `true` where that is news of pressure.
    fn rises(&mut self, uid: Uid, resource: Resource, pressure: u32) -> bool {
        if pressure < PRESSURE_LOW {
            self.known.remove(&(uid, resource));
        }
        pressure >= PRESSURE_HIGH && self.known.insert((uid, resource))
    }

    /// Has the triggers of a share looked at, whose cgroup may have been made again.
    pub fn look_again(&mut self, uid: Uid) {
        self.due.insert(uid);
    }

    /// Whether there are triggers to be looked at.
    pub fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// There is no such share any more.
    pub fn forget(&mut self, uid: Uid) {
        self.due.remove(&uid);
        for key in [(uid, Resource::Cpu), (uid, Resource::Memory)] {
            self.known.remove(&key);
            self.triggers.remove(&key);
        }
    }
}

/// Tells of it each time the kernel tells, until the cgroup is removed: the kernel wakes whoever waits for pressure then
/// too (`psi.rst`), and that is no pressure.
async fn wait(
    urgent: Urgent,
    (uid, resource): (Uid, Resource),
    mut until: oneshot::Receiver<()>,
    tells: mpsc::Sender<(Uid, Resource)>,
) {
    loop {
        let told = tokio::select! {
            _ = &mut until => return,
            told = urgent.told() => told,
        };
        if told.is_err() || tells.send((uid, resource)).await.is_err() {
            return;
        }
    }
}

fn waited_for(resource: Resource) -> &'static str {
    match resource {
        Resource::Cpu => "a CPU",
        Resource::Memory => "memory",
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

    #[test]
    fn what_the_kernel_tells_of_a_cgroup_that_is_gone_is_told_of_no_share() {
        let (dir, uid) = (tempfile::tempdir().expect("a folder"), Uid::new(7).expect("a user"));
        let cgroup = dir.path().join(UnitName::Share(uid).cgroup_path());
        let (file, before) = (cgroup.join("memory.pressure"), cgroup.join("before"));
        std::fs::create_dir_all(&cgroup).expect("a cgroup");
        std::fs::write(&file, "").expect("a file");
        let (mut pressed, cgroups) = (Pressed::default(), Cgroups::open(dir.path()).expect("cgroups"));
        let trigger = Trigger::on(std::fs::File::open(&file).expect("the file").into()).expect("a trigger");
        let awaited = Awaited { trigger, _until: oneshot::channel().0 };
        pressed.triggers.insert((uid, Resource::Memory), awaited);
        let mut told = || pressed.told(&cgroups, uid, Resource::Memory);
        std::fs::rename(&file, &before).expect("removed");
        assert_eq!(told(), None);
        std::fs::write(&file, "").expect("made again");
        assert_eq!(told(), None);
        std::fs::rename(&before, &file).expect("as it was");
        let said = "waited for memory for at least 60 % of the last ten seconds";
        assert_eq!((told().as_deref(), told()), (Some(said), None), "once");
    }
}
