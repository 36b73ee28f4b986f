//! PID 1 over D-Bus: call, await the job, report signals.
//!
//! Every call ends: with what systemd said, with [`Fault::Timeout`], or with [`Fault::Bus`] as soon as the connection is
//! gone. After the latter two what systemd did is unknown, and the caller asks it.

mod bus;
mod fault;
pub mod outside;
pub mod property;
mod proxy;
pub mod service;
mod signals;
pub mod unit;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout, timeout_at};

pub use bus::BusAddress;
pub use fault::Fault;
pub use signals::{Signal, Signals};
pub use unit::{ActiveState, CALL_TIMEOUT, Process, Program, START_TIMEOUT, ServiceState};

use crate::identity::UnitName;
use crate::quantity::{Bytes, MilliCpu, Tasks};
use property::Property;
use proxy::{Manager, Processes, With};
use signals::{Control, Controls};
use unit::{CLEARED_AT_ONCE_MAX, SERVICE_CALLS_MAX};

/// The first systemd that takes `PIDFDs` for a scope (its pull request 29455).
const PIDFDS_SINCE: u32 = 255;

/// A handle on systemd over one connection. Clones share it.
#[derive(Debug, Clone)]
pub struct Systemd {
    manager: Manager,
    controls: Controls,
    version: u32,
    service_calls: Arc<Semaphore>,
    clearing: Arc<Semaphore>,
}

/// What a start found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// The slice was made.
    New,
    /// The slice was there and active; the properties were set on it.
    Existed,
}

/// What a stop found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopResult {
    /// The unit was stopped, and everything in it.
    Stopped,
    /// There was no such unit.
    NotThere,
}

/// A unit of ours that systemd has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedUnit {
    /// The unit that is meant.
    pub unit: UnitName,
    /// Whether it is there.
    pub active: ActiveState,
    /// Its description, as it was set or as systemd made it up.
    pub description: String,
    /// Whether a job is queued or running for it.
    pub has_job: bool,
}

/// Everything whose name begins like ours.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// Units of ours, by name.
    pub ours: Vec<ListedUnit>,
    /// Names that begin with `fairshare-` and are no names of ours, like `fairshare-007.slice`. Not to be touched.
    pub strangers: Vec<String>,
}

/// The limits of a slice as systemd has them; `None` where it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeclaredLimits {
    /// `CPUQuotaPerSecUSec`
    pub cpu: Option<MilliCpu>,
    /// `MemoryMax`
    pub mem: Option<Bytes>,
    /// `MemorySwapMax`
    pub swap: Option<Bytes>,
    /// `TasksMax`
    pub tasks: Option<Tasks>,
}

/// The result of a job on a unit that is frozen as systemd has it (`org.freedesktop.systemd1(5)`, JobRemoved).
const STOPS_NO_FROZEN: &str = "frozen";

impl Systemd {
    /// Connects, and asks for signals before anything else can be asked.
    ///
    /// # Errors
    /// [`Fault::Bus`] where the bus is not there or systemd is not on it; [`Fault::Timeout`] where they do not answer.
    pub async fn connect(address: &BusAddress) -> Result<(Self, Signals), Fault> {
        let connecting = async { bus::connect(address).await?.build().await };
        let connection = timeout(CALL_TIMEOUT, connecting)
            .await
            .map_err(|_| Fault::Timeout { method: "Hello", unit: String::new(), after: CALL_TIMEOUT })?
            .map_err(|error| Fault::bus("connecting to the bus", Some(error)))?;
        let (present_sender, present) = watch::channel(true);
        let manager = Manager::new(connection.clone(), present);
        let (controls, signals) = signals::spawn(manager.clone(), present_sender);
        // All at once: the bus handles them in the order in which they are sent, and one wait is enough for all.
        let rules = signals::match_rules();
        let matches = try_join_all(rules.iter().map(|rule| proxy::add_match(&connection, rule)));
        let logind = proxy::name_owner(&connection, proxy::LOGIND);
        let (_, (), (version, owner), logind) =
            tokio::try_join!(matches, manager.subscribe(), manager.version(), logind)?;
        controls.tell(Control::Owner(owner)).await?;
        controls.tell(Control::Logind(logind)).await?;
        let [service_calls, clearing] =
            [SERVICE_CALLS_MAX, CLEARED_AT_ONCE_MAX].map(|max| Arc::new(Semaphore::new(max)));
        Ok((Self { manager, controls, version: major(&version), service_calls, clearing }, signals))
    }

    /// systemd's major version; 0 where it does not begin with a number.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Whether this systemd takes processes by descriptor. [`Self::start_scope`] sees to it by itself.
    pub fn supports_pidfds(&self) -> bool {
        self.version >= PIDFDS_SINCE
    }

    /// Whether the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.manager.connection().is_closed()
    }

    /// Resolves when the connection is gone.
    pub async fn closed(&self) {
        self.manager.connection().closed().await;
    }

    /// Makes a slice with these properties and waits until it is there. Where it is there already it gets the properties.
    ///
    /// # Errors
    /// Any [`Fault`]; after [`START_TIMEOUT`] a timeout.
    pub async fn start_slice(&self, unit: UnitName, properties: &[Property]) -> Result<Started, Fault> {
        let name = unit.to_string();
        let fault = match self.start(&name, properties, With::Nothing).await {
            Ok(()) => return Ok(Started::New),
            Err(fault) if fault.is_unit_exists() => fault,
            Err(fault) => return Err(fault),
        };
        match self.active_state(&name).await? {
            ActiveState::Active | ActiveState::Reloading => {
                self.set_properties(&name, properties).await?;
                Ok(Started::Existed)
            }
            // Dead, but the name is still taken: a failed unit keeps it until it is reset.
            ActiveState::Failed | ActiveState::Inactive => {
                self.reset_failed(unit).await?;
                match self.start(&name, properties, With::Nothing).await {
                    Err(fault) if fault.is_unit_exists() => {}
                    other => return other.map(|()| Started::New),
                }
                // Nor is a unit forgotten while a process is in its cgroup: one that could not be killed.
                self.job("StartUnit", &name, START_TIMEOUT, self.manager.start_loaded(&name)).await?;
                self.set_properties(&name, properties).await?;
                Ok(Started::Existed)
            }
            ActiveState::Activating | ActiveState::Deactivating | ActiveState::Unknown => Err(fault),
        }
    }

    /// Makes a scope around these processes and waits until they are in it.
    ///
    /// Processes that are in another scope are taken out of it. A process that is gone makes the start fail.
    ///
    /// # Errors
    /// Any [`Fault`]; after [`START_TIMEOUT`] a timeout.
    pub async fn start_scope(
        &self,
        unit: UnitName,
        properties: &[Property],
        processes: &[Process<'_>],
    ) -> Result<(), Fault> {
        let name = unit.to_string();
        let by_descriptor = self.supports_pidfds();
        match self.start(&name, properties, With::Processes(Processes::new(processes, by_descriptor))).await {
            // A systemd whose version promises more than it keeps.
            Err(fault) if by_descriptor && fault.is_unknown_property() => {
                self.start(&name, properties, With::Processes(Processes::new(processes, false))).await
            }
            other => other,
        }
    }

    /// Sets properties of a unit, until the next boot. The kernel may follow only later: read the cgroup back.
    ///
    /// # Errors
    /// Any [`Fault`] but [`Fault::JobFailed`].
    pub async fn set_properties(&self, unit: &str, properties: &[Property]) -> Result<(), Fault> {
        self.manager.set_properties(unit, properties).await
    }

    /// Stops a unit and everything in it: SIGTERM, and SIGKILL where that did not do.
    ///
    /// What ended while it was being frozen is frozen as systemd has it (seen with 257), which then stops it no more: it is thawed
    /// for that.
    ///
    /// # Errors
    /// Any [`Fault`]; where it did not end `within` that time a timeout, with systemd still at it.
    pub async fn stop(&self, unit: UnitName, within: Duration) -> Result<StopResult, Fault> {
        let name = unit.to_string();
        self.stop_by(unit, within, || self.manager.stop(&name)).await
    }

    async fn stop_by<Queued>(
        &self,
        unit: UnitName,
        within: Duration,
        call: impl Fn() -> Queued,
    ) -> Result<StopResult, Fault>
    where
        Queued: Future<Output = Result<String, Fault>>,
    {
        let name = unit.to_string();
        let stop = || self.job("StopUnit", &name, within, call());
        let stopped = match stop().await {
            Err(Fault::JobFailed { result, .. }) if result == STOPS_NO_FROZEN => {
                self.thaw(unit).await?;
                stop().await
            }
            stopped => stopped,
        };
        match stopped {
            Ok(()) => Ok(StopResult::Stopped),
            Err(fault) if fault.is_no_such_unit() => Ok(StopResult::NotThere),
            Err(fault) => Err(fault),
        }
    }

    /// Has everything in a unit stand still, as often as one likes. Whether it does: read the cgroup back.
    ///
    /// # Errors
    /// Any [`Fault`] but [`Fault::JobFailed`].
    pub async fn freeze(&self, unit: UnitName) -> Result<(), Fault> {
        self.manager.freeze(&unit.to_string()).await
    }

    /// Has everything in a unit go on, as often as one likes. One that is not there is fine.
    ///
    /// # Errors
    /// Any [`Fault`] but [`Fault::JobFailed`].
    pub async fn thaw(&self, unit: UnitName) -> Result<(), Fault> {
        match self.manager.thaw(&unit.to_string()).await {
            Err(fault) if !fault.is_no_such_unit() => Err(fault),
            _ => Ok(()),
        }
    }

    /// Frees the name of a unit that failed. One that did not, or is not there, is fine.
    ///
    /// # Errors
    /// Any [`Fault`] but [`Fault::JobFailed`].
    pub async fn reset_failed(&self, unit: UnitName) -> Result<(), Fault> {
        match self.manager.reset_failed(&unit.to_string()).await {
            Err(fault) if !fault.is_no_such_unit() => Err(fault),
            _ => Ok(()),
        }
    }

    /// All units of ours, and what looks like them. `fairshare.slice` itself is not among them.
    ///
    /// # Errors
    /// Any [`Fault`] but [`Fault::JobFailed`].
    pub async fn list(&self) -> Result<Listing, Fault> {
        let patterns = ["fairshare-*.slice", "fairshare-*.scope", "fairshare-*.service"];
        let mut listing = Listing::default();
        for row in self.manager.list(&patterns).await? {
            let (name, description, _, active, _, _, _, job, _, _) = row;
            match UnitName::from_str(&name) {
                Ok(unit) => listing.ours.push(ListedUnit {
                    unit,
                    active: ActiveState::from(active.as_str()),
                    description,
                    has_job: job != 0,
                }),
                Err(_) => listing.strangers.push(name),
            }
        }
        listing.ours.sort_by_key(|listed| listed.unit);
        listing.strangers.sort();
        Ok(listing)
    }

    /// Whether a unit is there.
    ///
    /// # Errors
    /// Any [`Fault`] but [`Fault::JobFailed`].
    pub async fn active_state(&self, unit: &str) -> Result<ActiveState, Fault> {
        let state: String = self.manager.get(unit, proxy::UNIT, "ActiveState").await?;
        Ok(ActiveState::from(state.as_str()))
    }

    /// The limits that systemd has for a slice, `None` where there is no such slice. What the kernel has is another thing.
    ///
    /// # Errors
    /// Any [`Fault`] but [`Fault::JobFailed`].
    pub async fn limits(&self, slice: &str) -> Result<Option<DeclaredLimits>, Fault> {
        // One by one: GetAll would have systemd read the whole cgroup for its answer.
        let figure = async |property| {
            let figure: u64 = self.manager.get(slice, "org.freedesktop.systemd1.Slice", property).await?;
            Ok::<_, Fault>((figure != u64::MAX).then_some(figure))
        };
        let (active, cpu, mem, swap, tasks) = tokio::try_join!(
            self.active_state(slice),
            figure("CPUQuotaPerSecUSec"),
            figure("MemoryMax"),
            figure("MemorySwapMax"),
            figure("TasksMax"),
        )?;
        Ok((active == ActiveState::Active).then_some(DeclaredLimits {
            cpu: cpu.map(|usec| MilliCpu(usec / 1000)),
            mem: mem.map(Bytes),
            swap: swap.map(Bytes),
            tasks: tasks.map(Tasks),
        }))
    }

    async fn start(&self, unit: &str, properties: &[Property], with: With<'_>) -> Result<(), Fault> {
        let call = self.manager.start_transient(unit, properties, with);
        self.job("StartTransientUnit", unit, START_TIMEOUT, call).await
    }

    /// Makes the call that queues a job, and waits until the job ended `done`.
    async fn job(
        &self,
        method: &'static str,
        unit: &str,
        within: Duration,
        call: impl Future<Output = Result<String, Fault>>,
    ) -> Result<(), Fault> {
        let deadline = Instant::now() + within;
        let ended = async {
            let mut results = self.controls.watch(unit).await?;
            let job = call.await?;
            loop {
                match results.recv().await {
                    None => return Err(Fault::bus(format!("{method} {unit}"), None)),
                    Some((ended, result)) if ended == job => return Ok(result),
                    Some(_) => (),
                }
            }
        };
        match timeout_at(deadline, ended).await {
            Err(_) => Err(Fault::Timeout { method, unit: unit.to_owned(), after: within }),
            Ok(Err(fault)) => Err(fault),
            Ok(Ok(result)) if result == "done" => Ok(()),
            Ok(Ok(result)) => Err(Fault::JobFailed { method, unit: unit.to_owned(), result }),
        }
    }
}

/// The number that a version begins with. systemd does not promise its form: what is no number is an old version.
fn major(version: &str) -> u32 {
    let digits = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    version.get(..digits).and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_distributions_write_them() {
        assert_eq!(major("252.38-1~deb12u1"), 252);
        assert_eq!(major("257.7-1"), 257);
        assert_eq!(major("258~rc2"), 258);
        assert_eq!(major("v999-unknown"), 0);
        assert_eq!(major(""), 0);
    }
}
