//! Cgroups of units outside of shares, by their path.

use super::parse::{parse_clean_cache, parse_number};
use super::{CgroupFault, Cgroups, Memory, Outside};
use crate::quantity::Bytes;

impl Cgroups {
    /// Limits and memory of the cgroup at `path`, below the root; `None` where there is none.
    ///
    /// # Errors
    /// Any [`CgroupFault`].
    pub fn outside(&self, path: &str) -> Result<Option<Outside>, CgroupFault> {
        self.at_path(path, |cgroup| {
            let current = cgroup.optional("memory.current", |bytes| parse_number(bytes).map(Bytes))?;
            let reclaimable = cgroup.optional("memory.stat", parse_clean_cache)?;
            let memory =
                current.zip(reclaimable).map(|(current, reclaimable)| Memory { current, reclaimable });
            Ok(Outside { limits: cgroup.limits()?, memory, populated: cgroup.is_populated()? })
        })
    }
}
