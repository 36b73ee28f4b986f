//! CPU and memory as they are counted: what can be handed out, what is held, what is free. Tasks are no such
//! resource: `pids.max` bounds each allocation by itself.

use crate::quantity::{Amount, Bytes, MilliCpu};

/// CPU (thousandths) and memory (bytes), wide enough for any sum of allocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Room {
    /// CPU, in thousandths.
    pub cpu: u128,
    /// Memory, in bytes.
    pub mem: u128,
}

impl Room {
    /// No room.
    pub const NONE: Self = Self { cpu: 0, mem: 0 };

    /// This much CPU and memory.
    pub fn new(cpu: MilliCpu, mem: Bytes) -> Self {
        Self { cpu: cpu.0.into(), mem: mem.0.into() }
    }

    /// The room that an amount takes.
    pub fn of(amount: Amount) -> Self {
        Self::new(amount.cpu, amount.mem)
    }

    /// Both together. Sums of 2^60 allocations fit.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { cpu: self.cpu.saturating_add(other.cpu), mem: self.mem.saturating_add(other.mem) }
    }

    /// What `self` has more, in each resource.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self { cpu: self.cpu.saturating_sub(other.cpu), mem: self.mem.saturating_sub(other.mem) }
    }

    /// The smaller in each resource.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self { cpu: self.cpu.min(other.cpu), mem: self.mem.min(other.mem) }
    }

    /// Whether it is no more than `other` in each resource.
    pub fn fits(self, other: Self) -> bool {
        self.cpu <= other.cpu && self.mem <= other.mem
    }

    /// The CPU as a figure.
    pub fn cpu(self) -> MilliCpu {
        MilliCpu(u64::try_from(self.cpu).unwrap_or(u64::MAX))
    }

    /// The memory as a figure.
    pub fn mem(self) -> Bytes {
        Bytes(u64::try_from(self.mem).unwrap_or(u64::MAX))
    }
}

/// What can be handed out and what of it is.
///
/// Holds after every change: `held + free == whole + over` in each resource, and one of `free` and `over` is 0.
/// `over` is what is held beyond the capacity: the machine shrank, or allocations were adopted. Then nothing is taken,
/// and nothing is granted until it fits again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capacity {
    whole: Room,
    held: Room,
    free: Room,
    over: Room,
}

impl Capacity {
    /// What can be handed out.
    pub fn whole(&self) -> Room {
        self.whole
    }

    /// What is held, without the allocations whose lease is over.
    pub fn held(&self) -> Room {
        self.held
    }

    /// What is left.
    pub fn free(&self) -> Room {
        self.free
    }

    /// What is held beyond the capacity.
    pub fn over(&self) -> Room {
        self.over
    }

    /// Another capacity; what is held stays.
    pub(crate) fn set(&mut self, whole: Room) {
        self.whole = whole;
        (self.free, self.over) = (whole.less(self.held), self.held.less(whole));
    }

    /// `room` is held from now on.
    pub(crate) fn take(&mut self, room: Room) {
        self.held = self.held.plus(room);
        let beyond = room.less(self.free);
        self.free = self.free.less(room);
        self.over = self.over.plus(beyond);
    }

    /// `room` is held no longer.
    pub(crate) fn give(&mut self, room: Room) {
        assert!(room.fits(self.held), "more is given back than is held");
        self.held = self.held.less(room);
        let spare = room.less(self.over);
        self.over = self.over.less(room);
        self.free = self.free.plus(spare);
    }

    /// Conservation, in O(1).
    pub(crate) fn assert_conserved(&self) {
        assert!(
            self.held.plus(self.free) == self.whole.plus(self.over),
            "what is held and what is free are not what there is"
        );
        let either = self.free.min(self.over);
        assert!(either == Room::NONE, "room is free and missing at once");
    }

    /// Nothing was handed out that there is no room for, in O(1): what is over was held `before`, and what there is has
    /// become less.
    pub(crate) fn assert_not_overbooked(&self, before: Room) {
        assert!(self.over.fits(before.less(self.whole)), "more is handed out than there is");
    }
}
