//! Which controllers the kernel has.

use std::os::fd::AsFd as _;

use super::read::{FILE_BYTES_MAX, read_at};
use super::{CgroupFault, Cgroups, Reason};

impl Cgroups {
    /// Whether the kernel shares out disks by what they cost (`io.cost.qos` of the root), for one at least: then weights hold
    /// whatever the scheduler.
    pub fn weighs_io(&self) -> bool {
        let mut buffer = [0; FILE_BYTES_MAX];
        let said = read_at(self.root.as_fd(), "io.cost.qos", &mut buffer);
        said.is_ok_and(|bytes| String::from_utf8_lossy(bytes).contains(" enable=1"))
    }

    /// The controllers that shares need and that the kernel does not have (`cgroup.controllers` of the root), as where it
    /// was started with `cgroup_disable=memory`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn missing_controllers(&self) -> Result<Vec<&'static str>, CgroupFault> {
        let mut buffer = [0; FILE_BYTES_MAX];
        let file = "cgroup.controllers";
        let bytes = read_at(self.root.as_fd(), file, &mut buffer)
            .map_err(|errno| self.fault("", Some(file), Reason::Errno(errno)))?;
        let text = String::from_utf8_lossy(bytes);
        let missing = |name: &&str| !text.split_ascii_whitespace().any(|there| there == *name);
        Ok(["cpu", "memory", "pids"].into_iter().filter(missing).collect())
    }
}
