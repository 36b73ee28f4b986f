//! What a member holds beside one of their allocations, and what the kernel is to hold around them.

use super::Image;
use super::allocation::Allocation;
use super::share::enforced;
use crate::enforced::Enforced;
use crate::identity::AllocationId;

/// What a member holds beside one of their allocations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside(Vec<Allocation>);

impl Image {
    /// What the member of this allocation holds beside it.
    pub fn beside(&self, id: AllocationId) -> Beside {
        let others = self.allocations.iter().filter(|other| other.id.uid == id.uid && other.id != id);
        Beside(others.cloned().collect())
    }
}

impl Beside {
    /// What the kernel is to hold of the member's slice around these and this allocation.
    pub fn with(&self, allocation: &Allocation) -> Enforced {
        enforced(self.0.iter().chain([allocation])).unwrap_or_else(|| allocation.enforced())
    }

    /// What the kernel is to hold of the member's slice around these alone; `None` where there are none.
    pub fn without(&self) -> Option<Enforced> {
        enforced(self.0.iter())
    }
}
