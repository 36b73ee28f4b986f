//! What the daemon gives up by itself, beside what its unit takes from it.

use landlock::{AccessFs, Ruleset, RulesetAttr as _, RulesetError, RulesetStatus};
use tracing::{debug, warn};

/// Gives up executing programs, for good, for this thread and all that it starts (`landlock(7)`): PID 1 starts what is to
/// run, and the daemon nothing. To be called before there is any other thread.
///
/// `NoExecPaths=` of the unit would have to leave out what is needed until the daemon runs, and costs some ten mounts at
/// each start.
pub fn give_up_exec() {
    match without_exec() {
        Ok(RulesetStatus::NotEnforced) => debug!("the kernel has no Landlock: proceeding without"),
        Ok(_) => debug!("gave up executing programs"),
        Err(error) => warn!("executing programs cannot be given up, proceeding: {error}"),
    }
}

fn without_exec() -> Result<RulesetStatus, RulesetError> {
    // No rule: what is handled is then allowed nowhere.
    let ruleset = Ruleset::default().handle_access(AccessFs::Execute)?.create()?;
    Ok(ruleset.restrict_self()?.ruleset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_gave_it_up_executes_nothing() {
        // Of a thread of its own, for it cannot be had back.
        let (status, ran) = std::thread::spawn(|| {
            (without_exec().unwrap(), std::process::Command::new("/bin/true").status())
        })
        .join()
        .unwrap();
        match status {
            RulesetStatus::NotEnforced => assert!(ran.unwrap().success(), "nothing was given up"),
            _ => assert_eq!(ran.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied),
        }
        assert!(std::process::Command::new("/bin/true").status().unwrap().success(), "in other threads");
    }
}
