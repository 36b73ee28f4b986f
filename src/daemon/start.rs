//! What the daemon needs before it can serve: policy, state, bus; and the world made to agree with the state.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::asking::accounts::Accounts;
use super::asking::names::NAMES_TIMEOUT;
use super::clock;
use super::doing::persist::{Keeper, Persist};
use super::doing::share::Context;
use super::event::Event;
use super::mending::world::{self, Survey};
use super::owner::EventLoop;
use crate::cgroup::Cgroups;
use crate::host::account::Directory;
use crate::ledger::{BootId, Command, Ledger};
use crate::policy::Policy;
use crate::policy::file;
use crate::serving::logging::chain;
use crate::state::{Loaded, StateFault};
use crate::systemd::{BusAddress, Fault, Signals, Systemd};

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
    /// The kernel's figures.
    pub cgroups: Arc<Cgroups>,
    /// The kernel's list of CPUs.
    pub online: PathBuf,
    /// The bus that systemd is on.
    pub bus: BusAddress,
    /// This boot.
    pub boot: BootId,
    /// The user database.
    pub accounts: Accounts,
}

/// What came of looking for what is missing. `None`: it was not looked for.
#[derive(Debug)]
pub struct Recovery {
    state: Option<Result<(Persist, Ledger), Unusable>>,
    bus: Option<Result<(Systemd, Signals), String>>,
    survey: Option<Result<Survey, Fault>>,
}

/// The policy as a reload takes it: each name is somebody's.
///
/// # Errors
/// File, line, column, key, and what would be right.
pub async fn policy(parts: &Parts) -> Result<Policy, String> {
    let path = parts.policy.clone();
    let load = move |names: &Directory| {
        if let Some(left_out) = file::left_out(&path) {
            warn!("{}: {left_out}", path.display());
        }
        file::load(&path, names).map_err(|error| error.to_string())
    };
    let loaded = parts.accounts.ask(NAMES_TIMEOUT, load).await;
    loaded.unwrap_or_else(|why| {
        Err(format!("{}: the user database does not answer for its names: {why}", parts.policy.display()))
    })
}

/// What was there before a recovery.
pub struct Before {
    parts: Parts,
    policy: Option<Arc<Policy>>,
    persist: Option<Persist>,
    systemd: Option<Systemd>,
    ledger: Ledger,
    with_state: bool,
    events: mpsc::Sender<Event>,
}

/// Looks for what is missing, and where nothing is missing any more makes world and state agree.
pub async fn recover(before: Before) -> Recovery {
    let Before { parts, policy, persist, systemd, ledger, with_state, events } = before;
    let state = match persist {
        None if with_state => Some(state(&parts).await),
        _ => None,
    };
    let (persist, ledger) = match &state {
        Some(Ok((persist, ledger))) => (Some(persist.clone()), ledger.clone()),
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
                    let cx = Context { persist, systemd, cgroups, events, socket, accounts };
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
struct Unusable {
    why: String,
    /// Whether it may be usable without anybody's doing: another daemon has it, which ends.
    mends: bool,
}

async fn state(parts: &Parts) -> Result<(Persist, Ledger), Unusable> {
    let opened = parts.keeper.open(parts.state.clone(), clock::now().wall_ms).await;
    let (persist, loaded) = opened.map_err(|fault| Unusable {
        why: chain(&fault),
        mends: matches!(fault, StateFault::Locked { .. }),
    })?;
    let ledger = match loaded {
        Loaded::Fresh => Ledger::new(parts.boot.clone()),
        Loaded::Image(image) => Ledger::restore(parts.boot.clone(), clock::now(), image),
        Loaded::Corrupt { moved_to, why } => {
            let kept = moved_to.display();
            error!(
                "the state file is damaged ({why}): it is kept as {kept}, and shares are taken over from systemd"
            );
            Ledger::new(parts.boot.clone())
        }
    };
    Ok((persist, ledger))
}

impl EventLoop {
    /// What a recovery starts from.
    pub(super) fn before(&self, with_state: bool) -> Before {
        Before {
            parts: self.parts.clone(),
            policy: self.policy.clone(),
            persist: self.persist.clone(),
            systemd: self.systemd.clone(),
            ledger: self.ledger.clone(),
            with_state,
            events: self.events.clone(),
        }
    }

    /// Looks for what is missing, unless that is being done, or something is still under way on what was there.
    pub(super) fn recover(&mut self, with_state: bool) {
        self.condition.doubt_again();
        if self.store_again {
            drop(self.store_in_background());
        }
        self.retry_state |= with_state && self.persist.is_none();
        if self.out_of_sight {
            self.follow_works();
        }
        if !self.condition.is_degraded() && self.context.is_some() {
            return self.settle_doubts();
        }
        if self.recovering || !self.busy.is_empty() {
            return;
        }
        self.recovering = true;
        let with_state = std::mem::take(&mut self.retry_state);
        let (before, events) = (self.before(with_state), self.events.clone());
        tokio::spawn(async move {
            let recovery = Box::new(recover(before).await);
            let _ = events.send(Event::Recovered(recovery)).await;
        });
    }

    /// Takes what a recovery found. What it changed is on its way into the state file: the task that writes it.
    pub(super) fn recovered(&mut self, recovery: Recovery) -> Option<JoinHandle<()>> {
        self.recovering = false;
        match recovery.state {
            Some(Ok((persist, ledger))) => {
                self.stored = (ledger.revision() > 0).then(|| ledger.revision());
                (self.persist, self.ledger, self.condition.state) = (Some(persist), ledger, None);
            }
            Some(Err(unusable)) => {
                self.condition.state = Some(unusable.why);
                self.retry_state |= unusable.mends;
            }
            None => {}
        }
        match recovery.bus {
            Some(Ok((systemd, signals))) => {
                (self.systemd, self.signals, self.condition.bus) = (Some(systemd), Some(signals), None);
            }
            Some(Err(why)) => self.condition.bus = Some(why),
            None => {}
        }
        // What has not been laid side by side is not changed: without a policy there is no survey, and no context.
        let surveyed = recovery.survey.is_some();
        if let (Some(systemd), Some(persist), true) = (self.systemd.clone(), self.persist.clone(), surveyed) {
            let (cgroups, events) = (Arc::clone(&self.parts.cgroups), self.events.clone());
            let (socket, accounts) = (Arc::clone(&self.parts.socket), self.parts.accounts.clone());
            self.context = Some(Context { persist, systemd, cgroups, events, socket, accounts });
        }
        let mut written = None;
        match recovery.survey {
            Some(Ok(survey)) => {
                let works = survey.below.works.clone();
                self.reconciled(survey);
                let specs = &self.specs;
                let told = self.ledger.interrupt_jobs(clock::now(), |job| specs.contains_key(&job));
                self.carry_out_others(told);
                self.follow_works();
                self.clear_works(works);
                written = self.store_in_background();
                self.bound_all();
                self.know_waiting();
                self.watch_all_anew();
                self.tell(Command::Tick);
                // What came into doubt while there was no bus, or since the world was looked at.
                self.settle_doubts();
                if !self.condition.is_degraded() {
                    info!("{} held, everything enforced", self.status_line());
                }
            }
            Some(Err(fault)) => {
                error!("{}", chain(&fault));
                self.condition.bus = Some(chain(&fault));
                (self.context, self.systemd, self.signals) = (None, None, None);
            }
            None => {}
        }
        self.tell_status();
        self.answer_reloads();
        written
    }

    /// Whether there is something to look for: what may mend itself, or what came back and is not in use yet.
    pub(super) fn wants_recovery(&self) -> bool {
        let unused = self.context.is_none() && !self.condition.is_degraded();
        self.condition.wants_recovery() || self.retry_state || unused
    }
}
