//! Who is in a unit, for a person to read.
//!
//! Looked up on a thread of its own with a deadline: a member decides how many cgroups and processes there are.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tracing::error;

use crate::cgroup::{CgroupFault, Cgroups};
use crate::daemon::clock;
use crate::host::process;
use crate::identity::UnitName;
use crate::serving::logging::chain;
use crate::systemd::property::sanitised;

/// How many processes are named.
pub const NAMED_MAX: usize = 16;

/// How long the look-up may take. A refusal then names nobody.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// How much of a command's name is shown, in characters: all that the kernel keeps (`TASK_COMM_LEN`).
const COMMAND_CHARS_MAX: usize = 16;

/// What is shown of each process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// Its number, to everybody.
    Number,
    /// Its command and since when it runs too, to the member whose it is.
    Command,
}

/// So many processes, as a sentence begins with them, and which they are as far as they are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupants {
    /// `1 process is`, `3 processes are`.
    pub count: String,
    /// `pid 7 8 and 3 more`, or `sleep (pid 7), since 3m`.
    pub named: String,
}

/// Who is in a unit and all below it; `None` where nobody is.
///
/// # Errors
/// Any [`CgroupFault`].
pub fn look(cgroups: &Cgroups, unit: UnitName, naming: Naming) -> Result<Option<Occupants>, CgroupFault> {
    // One file of one cgroup, where many cgroups may be below it.
    if cgroups.populated(unit)? != Some(true) {
        return Ok(None);
    }
    let pids = cgroups.pids(unit, NAMED_MAX + 1)?;
    let count = match pids.len() {
        all @ 1..=NAMED_MAX => all,
        // More than are named: the kernel has counted them, each thread for itself.
        some => cgroups.tasks(unit)?.map_or(some, |tasks| usize::try_from(tasks.0).unwrap_or(some)).max(1),
    };
    Ok(Some(occupants(&pids, count, naming)))
}

/// The same for whoever is refused, within a deadline.
pub async fn look_for_refusal(cgroups: Arc<Cgroups>, unit: UnitName, naming: Naming) -> Option<Occupants> {
    let looking = tokio::task::spawn_blocking(move || look(&cgroups, unit, naming));
    match timeout(LOOK_TIMEOUT, looking).await {
        Ok(Ok(Ok(occupants))) => occupants,
        Ok(Ok(Err(fault))) => {
            error!(unit = %unit, "{}, proceeding without names", chain(&fault));
            None
        }
        Ok(Err(_)) | Err(_) => None,
    }
}

fn occupants(pids: &[u32], count: usize, naming: Naming) -> Occupants {
    let named = pids.iter().take(NAMED_MAX);
    let more = count.saturating_sub(named.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let named = match naming {
        Naming::Number => format!("pid {}", named.map(u32::to_string).collect::<Vec<_>>().join(" ")),
        Naming::Command => named.map(|pid| command(*pid)).collect::<Vec<_>>().join("; "),
    };
    let count = if count == 1 { "1 process is".to_owned() } else { format!("{count} processes are") };
    Occupants { count, named: format!("{named}{more}") }
}

/// A process with what it runs and since when. One that has ended meanwhile is a number.
fn command(pid: u32) -> String {
    let Ok(running) = process::running(pid) else { return format!("pid {pid}") };
    let seconds = clock::now().boot_ms.saturating_sub(running.started_boot_ms) / 1000;
    let since = humantime::format_duration(Duration::from_secs(coarse(seconds)));
    format!("{} (pid {pid}), since {since}", sanitised(&running.command, COMMAND_CHARS_MAX))
}

/// So much of a time as a person wants to know: seconds in the first minute, then minutes, hours, days.
fn coarse(seconds: u64) -> u64 {
    let unit = match seconds {
        0..60 => 1,
        60..3600 => 60,
        3600..86_400 => 3600,
        86_400.. => 86_400,
    };
    seconds - seconds % unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_counted_and_the_first_are_named() {
        let (pids, own) = ((1..=17).collect::<Vec<u32>>(), std::process::id());
        let many = occupants(&pids, 40, Naming::Number);
        assert_eq!(many.count, "40 processes are");
        assert_eq!(many.named, "pid 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 and 24 more");
        let one = occupants(&[own], 1, Naming::Number);
        assert_eq!((one.count.as_str(), one.named), ("1 process is", format!("pid {own}")));
    }

    #[test]
    fn a_process_has_its_command_and_its_age() {
        let own = std::process::id();
        let shown = occupants(&[own], 1, Naming::Command).named;
        let (before, since) = shown.split_once(&format!(" (pid {own}), since ")).expect(&shown);
        assert!(!before.is_empty() && humantime::parse_duration(since).is_ok(), "{shown}");
        let gone = occupants(&[u32::MAX], 1, Naming::Command).named;
        assert_eq!(gone, format!("pid {}", u32::MAX));
    }

    #[test]
    fn ages_are_as_coarse_as_a_person_wants_them() {
        let shown = [0, 59, 61, 3599, 7300, 180_000].map(coarse);
        assert_eq!(shown, [0, 59, 60, 3540, 7200, 172_800]);
    }
}
