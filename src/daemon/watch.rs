//! Who is inside the shares, and whom the kernel killed there: it says when that changes, and nobody looks before.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, warn};

use super::owner::EventLoop;
use super::pressure::Pressed;
use crate::cgroup::Cgroups;
use crate::cgroup::watch::{CGROUP_EVENTS, Changes, MEMORY_EVENTS, Watches};
use crate::identity::{Uid, UnitName};
use crate::ledger::share::Phase;
use crate::ledger::{Command, Outcome};
use crate::serving::logging::chain;
use crate::sys::readable::Readable;

/// What is watched, and what has to be looked at by the sweep instead.
#[derive(Debug)]
pub struct Watch {
    watches: Option<(Watches, Readable)>,
    /// Shares of which nobody tells: not watched, or what is inside them is in question.
    unsure: BTreeSet<Uid>,
    /// Whom the kernel is known to have killed for want of memory.
    killed: BTreeMap<Uid, Killed>,
    /// Whose tasks wait.
    pub(super) pressed: Pressed,
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
        let mut watch = Self {
            watches: None,
            unsure: BTreeSet::new(),
            killed: BTreeMap::new(),
            pressed: Pressed::default(),
            warned: false,
        };
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

    /// Watches a share's cgroup, as it is now. Whether its changes are told from now on.
    fn add(&mut self, cgroups: &Cgroups, uid: Uid) -> bool {
        let Some((watches, _)) = &mut self.watches else { return false };
        // A kernel that does not count memory has no such file, and kills nobody for it.
        let added = watches
            .add(cgroups, UnitName::Share(uid), MEMORY_EVENTS)
            .and_then(|_| watches.add(cgroups, UnitName::Share(uid), CGROUP_EVENTS));
        match added {
            Ok(there) => there,
            Err(fault) => {
                self.warn(&fault);
                false
            }
        }
    }

    fn remove(&mut self, uid: Uid) {
        self.unsure.remove(&uid);
        self.killed.remove(&uid);
        self.pressed.forget(uid);
        if let Some((watches, _)) = &mut self.watches {
            watches.remove(UnitName::Share(uid), CGROUP_EVENTS);
            watches.remove(UnitName::Share(uid), MEMORY_EVENTS);
        }
    }

    fn holds(&self, uid: Uid) -> bool {
        let watched = |(watches, _): &(Watches, _)| watches.holds(UnitName::Share(uid), CGROUP_EVENTS);
        self.watches.as_ref().is_some_and(watched)
    }

    fn warn(&mut self, fault: &io::Error) {
        if !self.warned {
            warn!("cgroups cannot be watched, proceeding with a look at them each minute: {fault}");
            self.warned = true;
        }
    }
}

impl EventLoop {
    /// A change of a share has come to its end.
    pub(super) fn settled_inside(&mut self, uid: Uid, outcome: &Outcome) {
        match (self.ledger.share(uid), outcome) {
            (None, _) => self.watch.remove(uid),
            // Who went meanwhile was told, and not to be acted on then.
            (Some(_), Outcome::Done | Outcome::Lowered(_)) if self.watch.holds(uid) => self.look_inside(uid),
            (Some(_), Outcome::Done | Outcome::Lowered(_)) => self.watch_anew([uid]),
            // What could not be done would be tried again at once if the share were found empty at once: the sweep looks.
            (Some(_), Outcome::Undone(_) | Outcome::Withdrawn(_) | Outcome::Unknown) => {
                self.watch.unsure.insert(uid);
            }
        }
    }

    /// Watches these shares whose cgroups may have been made again, and looks who is inside.
    pub(super) fn watch_anew(&mut self, uids: impl IntoIterator<Item = Uid>) {
        for uid in uids {
            if self.ledger.share(uid).is_none() {
                self.watch.remove(uid);
                continue;
            }
            if !self.watch.add(&self.parts.cgroups, uid) {
                self.watch.unsure.insert(uid);
            }
            self.watch.pressed.look_again(uid);
            self.look_inside(uid);
            self.look_for_kills(uid);
        }
    }

    /// The same for all.
    pub(super) fn watch_all_anew(&mut self) {
        let uids: Vec<Uid> = self.ledger.shares().keys().copied().collect();
        self.watch_anew(uids);
    }

    /// Looks at the shares of which nobody tells, and tries again to have them watched.
    pub(super) fn sweep_inside(&mut self) {
        let unsure = std::mem::take(&mut self.watch.unsure);
        self.watch_anew(unsure);
        let untold = self.watch.killed.iter().filter(|(_, killed)| killed.logged < killed.processes);
        let untold: Vec<Uid> = untold.map(|(uid, _)| *uid).collect();
        untold.into_iter().for_each(|uid| self.look_for_kills(uid));
    }

    /// The kernel has told of changes.
    pub(super) fn changed_inside(&mut self, changes: Changes) {
        match changes {
            Changes::Of(files) => files.into_iter().for_each(|changed| match changed {
                (UnitName::Share(uid), MEMORY_EVENTS) => {
                    self.look_for_kills(uid);
                    self.look_at_pressures(uid);
                }
                (UnitName::Share(uid), _) => self.look_inside(uid),
                _ => {}
            }),
            Changes::OfAny => self.watch_all_anew(),
        }
    }

    /// Tells followers and the journal when the kernel has killed processes of a share for want of memory.
    fn look_for_kills(&mut self, uid: Uid) {
        let unit = UnitName::Share(uid);
        let killed = match self.parts.cgroups.oom_kills(unit) {
            Ok(Some(killed)) => killed,
            Ok(None) => return,
            Err(fault) => return error!("{}", chain(&fault)),
        };
        // What it has been when it was first looked at nobody was there to be told; a slice that was made again has less.
        let first = Killed { processes: killed, logged: killed, logged_at: None };
        let known = self.watch.killed.entry(uid).or_insert(first);
        let more = killed.saturating_sub(known.processes);
        (known.processes, known.logged) = (killed, known.logged.min(killed));
        let due = known.logged_at.is_none_or(|at| at.elapsed() >= KILLS_LOGGED_PERIOD);
        if killed > known.logged && due {
            let processes = counted(killed - known.logged);
            (known.logged, known.logged_at) = (killed, Some(Instant::now()));
            warn!(unit = %unit, "out of memory: the kernel killed {processes} in {unit}");
        }
        if more > 0 {
            let message = format!("out of memory: the kernel killed {} in the share", counted(more));
            self.tell_of_share("oom", uid, Some(message));
        }
    }

    /// Tells the ledger whether there are processes in a share, where it takes them for something else.
    fn look_inside(&mut self, uid: Uid) {
        if self.condition.is_degraded() {
            return;
        }
        let Some(share) = self.ledger.share(uid).filter(|share| share.phase == Phase::Active) else { return };
        match self.parts.cgroups.populated(UnitName::Share(uid)) {
            Ok(Some(populated)) if populated == share.empty_since.is_some() => {
                self.tell(Command::Occupancy { uid, populated });
            }
            Ok(_) => {}
            Err(fault) => error!("{}", chain(&fault)),
        }
    }
}

fn counted(processes: u64) -> String {
    if processes == 1 { "a process".to_owned() } else { format!("{processes} processes") }
}
