//! Where everything is that the daemon works with.

use std::path::PathBuf;
use std::sync::Arc;

use super::asking::accounts::Accounts;
use super::doing::persist::Keeper;
use crate::cgroup::Cgroups;
use crate::ledger::BootId;
use crate::serving::logging::Logging;
use crate::systemd::BusAddress;

/// Where everything is.
#[derive(Clone)]
pub struct Parts {
    /// The folder or file of the policy.
    pub policy: PathBuf,
    /// The path of the socket, for the processes of submitted commands.
    pub socket: Arc<str>,
    /// The folder of the state file.
    pub state: PathBuf,
    /// The thread that has the folder.
    pub keeper: Keeper,
    /// The folder of what lasts until the next boot.
    pub runtime: PathBuf,
    /// The kernel's figures.
    pub cgroups: Arc<Cgroups>,
    /// The kernel's list of CPUs.
    pub online: PathBuf,
    /// Where the kernel shows processes.
    pub proc: PathBuf,
    /// The bus that systemd is on.
    pub bus: BusAddress,
    /// The boot that the machine is in.
    pub boot: BootId,
    /// The user database.
    pub accounts: Accounts,
    /// What is logged.
    pub logging: Logging,
}
