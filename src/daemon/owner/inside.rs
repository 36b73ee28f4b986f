//! What is found in shares, told to the ledger and to followers.

use super::EventLoop;
use crate::cgroup::trigger::Resource;
use crate::cgroup::watch::{Changes, MEMORY_EVENTS};
use crate::daemon::following::occupancy;
use crate::identity::{AllocationId, Uid, UnitName};
use crate::ledger::{Command, Outcome};

impl EventLoop {
    /// A change of an allocation has come to its end.
    pub(crate) fn settled_inside(&mut self, id: AllocationId, outcome: &Outcome) {
        match (self.ledger.allocation(id), outcome) {
            (None, _) => self.unwatch(id),
            // Who went meanwhile was told, and not to be acted on then.
            (Some(allocation), Outcome::Done | Outcome::Lowered(_)) if self.watch.holds(allocation) => {
                self.look_inside(id);
            }
            (Some(_), Outcome::Done | Outcome::Lowered(_)) => self.watch_anew([id]),
            // What could not be done would be tried again at once if it were found empty at once: the sweep looks.
            (Some(_), Outcome::Undone(_) | Outcome::Withdrawn(_) | Outcome::Unknown) => {
                self.watch.unsure(id);
            }
        }
    }

    /// Watches these allocations whose cgroups may have been made again, and looks who is inside.
    pub(crate) fn watch_anew(&mut self, ids: impl IntoIterator<Item = AllocationId>) {
        for id in ids {
            let Some(allocation) = self.ledger.allocation(id) else {
                self.unwatch(id);
                continue;
            };
            if !self.watch.add(&self.parts.cgroups, allocation) {
                self.watch.unsure(id);
            }
            self.pressed.look_again(id.uid);
            self.look_inside(id);
            self.look_for_kills(id.uid);
        }
    }

    fn unwatch(&mut self, id: AllocationId) {
        self.watch.remove(id);
        if self.ledger.share(id.uid).is_none() {
            self.watch.remove_share(id.uid);
            self.pressed.forget(id.uid);
        }
    }

    /// Watches all allocations of these members, whose cgroups may have been made again, and looks who is inside.
    pub(crate) fn watch_members_anew(&mut self, uids: impl IntoIterator<Item = Uid>) {
        for uid in uids {
            let ids: Vec<_> = self.ledger.allocations_of(uid).map(|allocation| allocation.id).collect();
            if ids.is_empty() {
                self.unwatch(AllocationId::standing(uid));
            }
            self.watch_anew(ids);
        }
    }

    /// Watches all allocations, whose cgroups may have been made again, and looks who is inside.
    pub(crate) fn watch_all_anew(&mut self) {
        let ids: Vec<AllocationId> = self.ledger.allocations().keys().copied().collect();
        self.watch_anew(ids);
    }

    /// Looks at the allocations of which nobody tells, and tries again to have them watched.
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
                (UnitName::Share(uid), _) => self.look_inside(AllocationId::standing(uid)),
                (unit, _) => unit.allocation().into_iter().for_each(|id| self.look_inside(id)),
            }),
            Changes::OfAny => self.watch_all_anew(),
        }
    }

    fn look_for_kills(&mut self, uid: Uid) {
        if let Some(said) = self.watch.kills(&self.parts.cgroups, uid) {
            self.tell_of_share("oom", uid, Some(said));
        }
    }

    /// Tells the ledger whether there are processes in an allocation, where it takes them for something else.
    fn look_inside(&mut self, id: AllocationId) {
        if self.condition.is_degraded() {
            return;
        }
        if let Some(populated) = occupancy::inside(&self.ledger, &self.parts.cgroups, id) {
            self.tell(Command::Occupancy { id, populated });
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
