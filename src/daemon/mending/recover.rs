//! What is missing is looked for: state, bus; and the world is made to agree with the state.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tracing::{error, warn};

use super::world::{self, Survey};
use crate::daemon::clock;
use crate::daemon::doing::allocation::Context;
use crate::daemon::doing::io::IoHands;
use crate::daemon::doing::persist::Persist;
use crate::daemon::doing::said::Said;
use crate::daemon::parts::Parts;
use crate::identity::JobId;
use crate::ledger::Ledger;
use crate::policy::Policy;
use crate::quantity::MilliCpu;
use crate::serving::logging::chain;
use crate::state::commands::Commands;
use crate::state::{Loaded, StateFault};
use crate::systemd::{Fault, Signals, Systemd};

/// What came of looking for what is missing. `None`: it was not looked for.
#[derive(Debug)]
pub struct Recovery {
    /// The state file, or why it cannot be used.
    pub state: Option<Result<Opened, Unusable>>,
    /// The connection to systemd, or why there is none.
    pub bus: Option<Result<(Systemd, Signals), String>>,
    /// The world, laid beside the state.
    pub survey: Option<Result<Survey, Fault>>,
}

/// A state that can be used.
#[derive(Debug)]
pub struct Opened {
    /// Writes the state.
    pub persist: Persist,
    /// What is in that state.
    pub ledger: Ledger,
    /// The commands that are kept beside the state.
    pub commands: Commands,
}

/// What was there before a recovery.
pub struct Before {
    /// Where everything is.
    pub parts: Parts,
    /// The policy in force.
    pub policy: Option<Arc<Policy>>,
    /// Where each policy that comes into force is told.
    pub policy_told: watch::Receiver<Option<Arc<Policy>>>,
    /// The state file in use.
    pub persist: Option<Persist>,
    /// The connection in use.
    pub systemd: Option<Systemd>,
    /// The ledger as it is.
    pub ledger: Ledger,
    /// Whether the state file is looked for too.
    pub with_state: bool,
    /// Tells the owner of the ledger.
    pub said: mpsc::Sender<Said>,
    /// The CPU that all shares have together.
    pub capacity: MilliCpu,
}

/// Looks for what is missing, and where nothing is missing any more makes world and state agree.
pub async fn recover(before: Before) -> Recovery {
    let Before { parts, policy, policy_told, persist, systemd, ledger, with_state, said, capacity } = before;
    let state = match persist {
        None if with_state => Some(state(&parts).await),
        _ => None,
    };
    let (persist, ledger) = match &state {
        Some(Ok(Opened { persist, ledger, .. })) => (Some(persist.clone()), ledger.clone()),
        _ => (persist, ledger),
    };
    let bus = match systemd {
        Some(_) => None,
        None => Some(Systemd::connect(&parts.bus).await.map_err(|fault| chain(&fault))),
    };
    let systemd =
        systemd.or(bus.as_ref().and_then(|bus| bus.as_ref().ok()).map(|(systemd, _)| systemd.clone()));
    let survey = match (systemd, policy) {
        (Some(systemd), Some(policy)) => {
            let cgroups = Arc::clone(&parts.cgroups);
            Some(match persist {
                Some(persist) => {
                    let (socket, accounts) = (Arc::clone(&parts.socket), parts.accounts.clone());
                    let io = IoHands::new(&parts, systemd.clone(), policy_told);
                    let cx = Context { persist, systemd, cgroups, said, socket, accounts, capacity, io };
                    world::mend(&cx, &ledger, &policy, None).await
                }
                // Without a state nothing is changed, and what is there is shown.
                None => world::glance(&systemd, &cgroups, &parts.accounts, &ledger, &policy).await,
            })
        }
        _ => None,
    };
    Recovery { state, bus, survey }
}

/// Why the state cannot be used.
#[derive(Debug)]
pub struct Unusable {
    /// The reason, for a person.
    pub why: String,
    /// Whether it may be usable without anybody's doing: another daemon has it, which ends.
    pub mends: bool,
}

async fn state(parts: &Parts) -> Result<Opened, Unusable> {
    let opened = parts.keeper.open(parts.state.clone(), clock::now().wall_ms).await;
    let (persist, loaded) = opened.map_err(|fault| Unusable {
        why: chain(&fault),
        mends: matches!(fault, StateFault::Locked { .. }),
    })?;
    let ledger = match loaded {
        Loaded::Fresh => Ledger::new(parts.boot.clone()),
        Loaded::Image { image, torn } => {
            if torn > 0 {
                warn!(
                    "{torn} bytes at the end of the state's changes are no whole change, proceeding without: they were being written when the daemon or the machine ended, or are damaged"
                );
            }
            Ledger::restore(parts.boot.clone(), clock::now(), image)
        }
        Loaded::Corrupt { moved_to, why } => {
            let kept: Vec<_> = moved_to.iter().map(|path| path.display().to_string()).collect();
            let kept = kept.join(" and ");
            error!(
                "the state file is damaged ({why}): it is kept as {kept}, and shares are taken over from systemd"
            );
            Ledger::new(parts.boot.clone())
        }
    };
    let unusable = |fault: StateFault| Unusable { why: chain(&fault), mends: false };
    let mut commands = persist.commands().await.map_err(unusable)?;
    // At once: the number of one that no state names is given to the next that is submitted.
    let over = |job: &JobId| ledger.jobs().get(job).is_none_or(|job| job.ended());
    for job in commands.unstarted.union(&commands.started).copied().filter(over).collect::<Vec<_>>() {
        persist.remove_command(job).await.map_err(unusable)?;
        commands.unstarted.remove(&job);
        commands.started.remove(&job);
    }
    Ok(Opened { persist, ledger, commands })
}
