//! What is found in shares, told to the ledger and to followers.

use super::EventLoop;
use crate::cgroup::trigger::Resource;
use crate::cgroup::watch::{Changes, MEMORY_EVENTS};
use crate::daemon::following::occupancy;
use crate::identity::{Uid, UnitName};
use crate::ledger::{Command, Outcome};

impl EventLoop {
    /// A change of a share has come to its end.
    pub(crate) fn settled_inside(&mut self, uid: Uid, outcome: &Outcome) {
        match (self.ledger.share(uid), outcome) {
            (None, _) => self.unwatch(uid),
            // Who went meanwhile was told, and not to be acted on then.
            (Some(_), Outcome::Done | Outcome::Lowered(_)) if self.watch.holds(uid) => self.look_inside(uid),
            (Some(_), Outcome::Done | Outcome::Lowered(_)) => self.watch_anew([uid]),
            // What could not be done would be tried again at once if the share were found empty at once: the sweep looks.
            (Some(_), Outcome::Undone(_) | Outcome::Withdrawn(_) | Outcome::Unknown) => {
                self.watch.unsure(uid);
            }
        }
    }

    /// Watches these shares whose cgroups may have been made again, and looks who is inside.
    pub(crate) fn watch_anew(&mut self, uids: impl IntoIterator<Item = Uid>) {
        for uid in uids {
            if self.ledger.share(uid).is_none() {
                self.unwatch(uid);
                continue;
            }
            if !self.watch.add(&self.parts.cgroups, uid) {
                self.watch.unsure(uid);
            }
            self.pressed.look_again(uid);
            self.look_inside(uid);
            self.look_for_kills(uid);
        }
    }

    fn unwatch(&mut self, uid: Uid) {
        self.watch.remove(uid);
        self.pressed.forget(uid);
    }

    /// Watches all shares, whose cgroups may have been made again, and looks who is inside.
    pub(crate) fn watch_all_anew(&mut self) {
        let uids: Vec<Uid> = self.ledger.shares().keys().copied().collect();
        self.watch_anew(uids);
    }

    /// Looks at the shares of which nobody tells, and tries again to have them watched.
    pub(crate) fn sweep_inside(&mut self) {
        let unsure = self.watch.take_unsure();
        self.watch_anew(unsure);
        self.watch.untold().into_iter().for_each(|uid| self.look_for_kills(uid));
    }

    /// The kernel has told of changes.
    pub(crate) fn changed_inside(&mut self, changes: Changes) {
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

    fn look_for_kills(&mut self, uid: Uid) {
        if let Some(said) = self.watch.kills(&self.parts.cgroups, uid) {
            self.tell_of_share("oom", uid, Some(said));
        }
    }

    /// Tells the ledger whether there are processes in a share, where it takes them for something else.
    fn look_inside(&mut self, uid: Uid) {
        if self.condition.is_degraded() {
            return;
        }
        if let Some(populated) = occupancy::inside(&self.ledger, &self.parts.cgroups, uid) {
            self.tell(Command::Occupancy { uid, populated });
        }
    }

    /// The kernel tells of pressure in a share.
    pub(crate) fn pressure_told(&mut self, (uid, resource): (Uid, Resource)) {
        if let Some(said) = self.pressed.told(&self.parts.cgroups, uid, resource) {
            self.tell_of_share("pressure", uid, Some(said));
        }
    }

    /// Tells followers when the tasks of a share have begun to wait too long.
    pub(crate) fn look_at_pressures(&mut self, uid: Uid) {
        for said in self.pressed.look(&self.parts.cgroups, uid) {
            self.tell_of_share("pressure", uid, Some(said));
        }
    }
}
