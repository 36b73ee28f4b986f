//! Who is inside the shares, and whom the kernel killed there: it says when that changes, and nobody looks before.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, warn};

use crate::cgroup::Cgroups;
use crate::cgroup::watch::{CGROUP_EVENTS, Changes, MEMORY_EVENTS, Watches};
use crate::identity::{AllocationId, Uid, UnitName};
use crate::ledger::Ledger;
use crate::ledger::allocation::{Allocation, Phase};
use crate::serving::logging::chain;
use crate::sys::readable::Readable;

/// What is watched, and what has to be looked at by the sweep instead.
#[derive(Debug)]
pub struct Watch {
    watches: Option<(Watches, Readable)>,
    /// Allocations of which nobody tells: not watched, or what is inside them is in question.
    unsure: BTreeSet<AllocationId>,
    /// Whom the kernel is known to have killed for want of memory.
    killed: BTreeMap<Uid, Killed>,
    /// Whether it was said that something cannot be watched.
    warned: bool,
}

/// How often the journal is told that processes of one share were killed: members make that happen as often as they like, and
/// journald drops lines about others where there are too many.
const KILLS_LOGGED_PERIOD: Duration = Duration::from_secs(30);

/// What is known of kills in one share, since its slice was made.
#[derive(Debug)]
struct Killed {
    processes: u64,
    logged: u64,
    logged_at: Option<Instant>,
}

impl Watch {
    /// Nothing is watched yet.
    pub fn start() -> Self {
        let mut watch =
            Self { watches: None, unsure: BTreeSet::new(), killed: BTreeMap::new(), warned: false };
        let opened = Watches::open()
            .and_then(|watches| Readable::register(watches.descriptor()).map(|readable| (watches, readable)));
        match opened {
            Ok(watches) => watch.watches = Some(watches),
            Err(fault) => watch.warn(&fault),
        }
        watch
    }

    /// The next changes. Cancel safe.
    pub async fn changed(&mut self) -> Changes {
        let Some((watches, readable)) = &mut self.watches else { return std::future::pending().await };
        match readable.read(|| watches.take()).await {
            Ok(changes) => changes,
            Err(fault) => {
                error!("what changes in cgroups cannot be told any more, proceeding without: {fault}");
                self.watches = None;
                Changes::OfAny
            }
        }
    }

    /// Watches the cgroup of an allocation, as it is now, and that of its member's share. Whether its changes are told from now
    /// on.
    pub fn add(&mut self, cgroups: &Cgroups, allocation: &Allocation) -> bool {
        let Some((watches, _)) = &mut self.watches else { return false };
        // A kernel that does not count memory has no such file, and kills nobody for it.
        let added = watches
            .add(cgroups, UnitName::Share(allocation.id.uid), MEMORY_EVENTS)
            .and_then(|_| watches.add(cgroups, allocation.unit(), CGROUP_EVENTS));
        match added {
            Ok(there) => there,
            Err(fault) => {
                self.warn(&fault);
                false
            }
        }
    }

    /// There is no such allocation any more.
    pub fn remove(&mut self, id: AllocationId) {
        self.unsure.remove(&id);
        // The slice of 0.1's share is the member's own.
        let in_share = (id == AllocationId::standing(id.uid)).then_some(UnitName::Share(id.uid));
        if let Some((watches, _)) = &mut self.watches {
            [Some(id.unit()), in_share].into_iter().flatten().for_each(|unit| {
                watches.remove(unit, CGROUP_EVENTS);
            });
        }
    }

    /// There is no such share any more.
    pub fn remove_share(&mut self, uid: Uid) {
        self.killed.remove(&uid);
        if let Some((watches, _)) = &mut self.watches {
            watches.remove(UnitName::Share(uid), MEMORY_EVENTS);
        }
    }

    /// Whether the changes of an allocation are told.
    pub fn holds(&self, allocation: &Allocation) -> bool {
        let watched = |(watches, _): &(Watches, _)| watches.holds(allocation.unit(), CGROUP_EVENTS);
        self.watches.as_ref().is_some_and(watched)
    }

    /// Nobody tells of this allocation from now on: it is looked at with the next sweep.
    pub fn unsure(&mut self, id: AllocationId) {
        self.unsure.insert(id);
    }

    /// Takes out the allocations of which nobody tells.
    pub fn take_unsure(&mut self) -> BTreeSet<AllocationId> {
        std::mem::take(&mut self.unsure)
    }

    /// The shares in which more was killed than the journal was told.
    pub fn untold(&self) -> Vec<Uid> {
        let untold = self.killed.iter().filter(|(_, killed)| killed.logged < killed.processes);
        untold.map(|(uid, _)| *uid).collect()
    }

    /// Tells the journal when the kernel has killed processes of a share for want of memory; what followers are told.
    pub fn kills(&mut self, cgroups: &Cgroups, uid: Uid) -> Option<String> {
        let unit = UnitName::Share(uid);
        let killed = match cgroups.oom_kills(unit) {
            Ok(killed) => killed?,
            Err(fault) => {
                error!("{}", chain(&fault));
                return None;
            }
        };
        // What it has been when it was first looked at nobody was there to be told; a slice that was made again has less.
        let first = Killed { processes: killed, logged: killed, logged_at: None };
        let known = self.killed.entry(uid).or_insert(first);
        let more = killed.saturating_sub(known.processes);
        (known.processes, known.logged) = (killed, known.logged.min(killed));
        let due = known.logged_at.is_none_or(|at| at.elapsed() >= KILLS_LOGGED_PERIOD);
        if killed > known.logged && due {
            let processes = counted(killed - known.logged);
            (known.logged, known.logged_at) = (killed, Some(Instant::now()));
            warn!(unit = %unit, "out of memory: the kernel killed {processes} in {unit}");
        }
        (more > 0).then(|| format!("out of memory: the kernel killed {} in the share", counted(more)))
    }

    fn warn(&mut self, fault: &io::Error) {
        if !self.warned {
            warn!("cgroups cannot be watched, proceeding with a look at them each minute: {fault}");
            self.warned = true;
        }
    }
}

/// Whether there are processes in an allocation, where the ledger takes it for something else.
pub fn inside(ledger: &Ledger, cgroups: &Cgroups, id: AllocationId) -> Option<bool> {
    let allocation = ledger.allocation(id).filter(|allocation| allocation.phase == Phase::Active)?;
    match cgroups.populated(allocation.unit()) {
        Ok(populated) => populated.filter(|populated| *populated == allocation.empty_since.is_some()),
        Err(fault) => {
            error!("{}", chain(&fault));
            None
        }
    }
}

fn counted(processes: u64) -> String {
    if processes == 1 { "a process".to_owned() } else { format!("{processes} processes") }
}
