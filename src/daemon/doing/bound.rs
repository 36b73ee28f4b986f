//! What bounds all shares together.

use tracing::{error, warn};

use super::allocation::Context;
use super::read_back::{READ_BACK_TIMEOUT, ReadBack};
use crate::cgroup::Group;
use crate::enforced::{EnforcedOfAll, KernelLimits, weight_of_all};
use crate::identity::FAIRSHARE_SLICE;
use crate::policy::{Machine, Reserve};
use crate::quantity::{Bytes, MilliCpu, PartialAmount, Tasks};
use crate::serving::logging::chain;
use crate::systemd::property;

/// What all shares together have, and of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The machine.
    pub machine: Machine,
    /// The CPU that can be handed out, or what the reserve leaves of the machine's where more is handed out than there is.
    pub cpu: MilliCpu,
    /// The memory that can be handed out.
    pub mem: Bytes,
    /// The most tasks, where that is known.
    pub tasks: Option<Tasks>,
}

impl Bounds {
    /// Whether the kernel holds what all shares together are to have, where everybody else has a weight of `beside` in all.
    ///
    /// # Errors
    /// In words, what it holds instead.
    pub fn holds(&self, limits: &KernelLimits, beside: u64) -> Result<(), String> {
        limits.hold_of_all(&self.enforced(beside)).map_err(|difference| difference.to_string())
    }

    /// What the kernel is to hold: never more than can be handed out, so that shares starve nobody, and against everybody
    /// else all of that, so that nobody starves them.
    fn enforced(&self, beside: u64) -> EnforcedOfAll {
        let Self { machine, cpu, mem, tasks } = *self;
        // Whatever is handed out: where nothing else can give any back, what the system runs on must not be all that can.
        let spared = machine.mem.0.saturating_sub(Reserve::default().mem(machine.mem).0);
        EnforcedOfAll {
            most: PartialAmount { cpu: Some(cpu), mem: Some(mem), tasks },
            weight: Some(weight_of_all(beside, cpu, machine.cpu)),
            low: Some(mem.min(Bytes(spared))),
        }
    }
}

/// Sees to it that all shares together have the capacity: no more of it, and no less whoever else wants it.
///
/// Memory in use over its bound is left alone: the kernel would kill to get under it. The sweep tries again. `ahead`: where
/// there is no share yet, systemd is told for the next.
pub async fn bound_all(cx: &Context, bounds: Bounds, ahead: bool) {
    // `None` while there is no share, and no cgroup above it.
    let holds = |enforced: &EnforcedOfAll| {
        let limits = cx.cgroups.limits(Group::All).ok().flatten();
        limits.map(|limits| limits.hold_of_all(enforced).is_ok())
    };
    let (mut enforced, in_use) = match (cx.cgroups.weights_beside(), cx.cgroups.memory(Group::All)) {
        (Ok(beside), Ok(in_use)) => (bounds.enforced(beside), in_use.unwrap_or_default()),
        (Err(fault), _) | (_, Err(fault)) => return error!("{}", chain(&fault)),
    };
    if holds(&enforced).unwrap_or(!ahead) {
        return;
    }
    if in_use > bounds.mem {
        warn!(
            "{FAIRSHARE_SLICE} uses {in_use}, more than the {} that can be handed out: proceeding without setting its memory",
            bounds.mem
        );
        enforced.most.mem = None;
        if holds(&enforced) == Some(true) {
            return;
        }
    }
    if let Err(fault) = cx.systemd.set_properties(FAIRSHARE_SLICE, &property::capacity(&enforced)).await {
        return error!(unit = FAIRSHARE_SLICE, "{}", chain(&fault));
    }
    // systemd may answer before the kernel's files change, and who looks next must not see what was before.
    let mut read_back = ReadBack::within(READ_BACK_TIMEOUT);
    while holds(&enforced) == Some(false) {
        if !read_back.again().await {
            return error!(
                unit = FAIRSHARE_SLICE,
                "the kernel does not hold the limits of {FAIRSHARE_SLICE}"
            );
        }
    }
}
