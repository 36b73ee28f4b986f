//! Whether who calls is the process that PID 1 has started for a job.

use crate::cgroup::Cgroups;
use crate::daemon::telling::answer;
use crate::host::process::ProcessId;
use crate::identity::{JobId, Uid, UnitName};
use crate::serving::peer::Peer;
use crate::wire::error::{Code, WireError};

/// How many processes of a command's service are looked through for the one that calls. Until it has what it becomes there is
/// that one, and what a debugger made of it.
const PROCESSES_LOOKED_AT_MAX: usize = 64;

/// Whether the peer is a process that PID 1 has started for a job: of the job's member, and in the cgroup of its service.
///
/// # Errors
/// Forbidden; what the kernel said.
pub fn is_its_process(
    cgroups: &Cgroups,
    peer: &Peer,
    (service, job): (UnitName, JobId),
) -> Result<(), WireError> {
    let pid = peer.pid.unsigned_abs();
    let process = ProcessId::open(pid, peer.uid).map_err(|error| answer::process(&error))?;
    let inside = cgroups
        .pids(service, PROCESSES_LOOKED_AT_MAX)
        .map_err(|fault| answer::cgroup(&fault))?
        .contains(&pid);
    // After the look at the cgroup: until here the number meant one process.
    process.recheck().map_err(|error| answer::process(&error))?;
    if inside { Ok(()) } else { Err(not_its_process(peer.uid, job)) }
}

/// The refusal of whoever is no process of a job.
pub fn not_its_process(uid: Uid, job: JobId) -> WireError {
    WireError::new(Code::Forbidden, format!("This is no process that was started for job {job} of uid {uid}"))
}
