//! What the stand-in does when it is asked to start, change or stop a unit.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use zbus::{Message, OwnedObjectPath, OwnedVariant, Variant};

use super::faults::Verb;
use super::manager::{Manager, Outcome, PATH, error, first_argument, invalid};
use super::services;
use super::units::Setting;

impl Manager {
    pub(super) async fn start_transient(&self, message: &Message) {
        let method = "StartTransientUnit";
        let name = first_argument(message);
        let pids = match self.make_transient(message, &name) {
            Ok(pids) => pids,
            Err(error) => return self.reply::<()>(message, method, Err(error)).await,
        };
        let manager = self.clone();
        let unit = name.clone();
        self.run_job(message, method, Verb::Start, &name, async move { manager.started(&unit, pids).await })
            .await;
    }

    fn make_transient(&self, message: &Message, name: &str) -> Outcome<BTreeSet<u32>> {
        type Args = (String, String, Vec<(String, OwnedVariant)>, Vec<(String, Vec<(String, OwnedVariant)>)>);
        let (_, mode, properties, auxiliary): Args = message.body().deserialize().map_err(|_| invalid())?;
        assert_eq!(mode, "fail");
        let mut units = self.shared.units.lock().unwrap();
        // A slice that PID 1 made by itself has no file and may be made anew (`unit_is_pristine`).
        if units.get(name).is_some_and(|unit| !unit.settings.is_empty()) {
            let message = format!("Unit {name} was already loaded or has a fragment file.");
            return Err(error("org.freedesktop.systemd1.UnitExists", &message));
        }
        let mut settings = BTreeMap::new();
        let mut pids = BTreeSet::new();
        for (property, value) in &properties {
            match property.as_str() {
                "PIDs" => {
                    pids.extend(Vec::<u32>::try_from(value.try_clone().unwrap()).map_err(|_| invalid())?)
                }
                "PIDFDs" if self.takes_pidfds() => pids.extend(pids_of(value)),
                _ if name.ends_with(".service") && self.take_program(name, property, value) => {}
                _ => drop(settings.insert(property.clone(), setting(name, property, value)?)),
            }
        }
        for pid in &pids {
            if !std::path::Path::new(&format!("/proc/{pid}")).exists() {
                let message = format!("Process with ID {pid} does not exist.");
                return Err(error("org.freedesktop.DBus.Error.UnixProcessIdUnknown", &message));
            }
        }
        if name.ends_with(".scope") == pids.is_empty() {
            return Err(error(
                "org.freedesktop.systemd1.BadUnitSetting",
                "Unit has a bad unit file setting.",
            ));
        }
        for (slice, properties) in &auxiliary {
            let settings = properties
                .iter()
                .map(|(property, value)| Ok((property.clone(), setting(slice, property, value)?)));
            units.insert(slice, settings.collect::<Outcome<_>>()?);
        }
        if settings.contains_key("AddRef") {
            self.hold(message, name);
        }
        units.insert(name, settings);
        Ok(pids)
    }

    fn takes_pidfds(&self) -> bool {
        let version = self.shared.version.lock().unwrap();
        version.split('.').next().unwrap().parse::<u32>().unwrap() >= 255
    }

    /// The work of a start job.
    async fn started(&self, name: &str, pids: BTreeSet<u32>) {
        let (instead, lag) = self.kernel();
        let moves_nobody = self.shared.faults.told().moves_nobody;
        let early = if lag.is_zero() { instead.clone() } else { unlimited() };
        {
            let mut units = self.shared.units.lock().unwrap();
            units.realise(name, &early);
            if !pids.is_empty() && !moves_nobody {
                units.enter(name, &pids);
            }
        }
        self.write_limits_later(name, lag, instead);
        for pid in pids {
            self.watch(pid);
        }
    }

    fn kernel(&self) -> (BTreeMap<String, String>, Duration) {
        let told = self.shared.faults.told();
        (told.kernel_files.clone(), told.kernel_delay)
    }

    fn write_limits_later(&self, name: &str, lag: Duration, instead: BTreeMap<String, String>) {
        if lag.is_zero() {
            return;
        }
        let (shared, name) = (Arc::clone(&self.shared), name.to_owned());
        tokio::spawn(async move {
            tokio::time::sleep(lag).await;
            shared.units.lock().unwrap().write_limits(&name, &instead);
        });
    }

    /// Notices when a process ends, and forgets the scope that it leaves empty.
    fn watch(&self, pid: u32) {
        let raw = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        let pidfd = pidfd_open(raw, PidfdFlags::empty());
        let (ended, end) = tokio::sync::oneshot::channel();
        // A thread that nobody waits for: the runtime must be able to end before the process does.
        std::thread::spawn(move || {
            if let Ok(pidfd) = pidfd {
                while rustix::event::poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None).is_err() {}
            }
            let _ = ended.send(());
        });
        let manager = self.clone();
        tokio::spawn(async move {
            let _ = end.await;
            let emptied = manager.shared.units.lock().unwrap().leave(pid);
            for unit in emptied {
                manager.forget(&unit).await;
            }
        });
    }

    pub(super) async fn stop(&self, message: &Message) {
        let method = "StopUnit";
        let name = first_argument(message);
        let there = match self.shared.units.lock().unwrap().get_mut(&name) {
            Some(unit) => {
                unit.active = "deactivating";
                true
            }
            None => false,
        };
        if !there {
            return self.reply::<()>(message, method, Err(no_such_unit(&name))).await;
        }
        let manager = self.clone();
        let unit = name.clone();
        self.run_job(message, method, Verb::Stop, &name, async move { manager.stopped(&unit).await }).await;
    }

    /// The work of a stop job: SIGTERM, ten seconds, SIGKILL, and everything is gone.
    async fn stopped(&self, name: &str) {
        let timeout = self.shared.faults.told().stop_timeout.unwrap_or(Duration::from_secs(10));
        let below = self.shared.units.lock().unwrap().below(name);
        if self.shared.faults.told().unkillable {
            let mut units = self.shared.units.lock().unwrap();
            below.iter().for_each(|unit| units.get_mut(unit).unwrap().active = "failed");
            return;
        }
        for (signal, patience) in [(Signal::TERM, timeout), (Signal::KILL, Duration::from_secs(5))] {
            for pid in self.processes(&below) {
                let _ = kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal);
            }
            let emptied = async {
                while !self.processes(&below).is_empty() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            if tokio::time::timeout(patience, emptied).await.is_ok() {
                break;
            }
        }
        for unit in below {
            self.put_away(&unit).await;
        }
    }

    /// The real processes in these units, but for this one: a test that talks to the daemon by itself may be there.
    fn processes(&self, names: &[String]) -> Vec<u32> {
        let units = self.shared.units.lock().unwrap();
        let pids = names.iter().filter_map(|name| units.get(name)).flat_map(|unit| unit.pids.iter().copied());
        pids.filter(|pid| units.is_real(*pid) && *pid != std::process::id()).collect()
    }

    /// Answers the call with a new job, has the job do its work, and says that it ended.
    async fn run_job(
        &self,
        message: &Message,
        method: &str,
        verb: Verb,
        name: &str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let id = self.shared.next_job.fetch_add(1, Ordering::Relaxed);
        let path = format!("{PATH}/job/{id}");
        let mut told = self.shared.faults.told().clone();
        let manager = self.clone();
        let (unit, job) = (name.to_owned(), path.clone());
        let before_reply = told.jobs_before_reply.contains(&verb);
        let run = async move {
            if told.jobs_without_end.contains(&verb) {
                return;
            }
            if let Some(delay) = told.job_delays.get(&verb) {
                tokio::time::sleep(*delay).await;
            }
            if let Some(mut held) = told.jobs_held.remove(&verb) {
                // An error: that it is held no more.
                let _ = held.changed().await;
            }
            let result = told.job_results.get(&verb).cloned();
            match result {
                None => work.await,
                Some(_) => manager.failed(&unit).await,
            }
            let job = OwnedObjectPath::try_from(job).unwrap();
            let result = result.unwrap_or_else(|| "done".to_owned());
            manager.emit("JobRemoved", &(id, job, unit, result)).await;
        };
        let reply = Ok(OwnedObjectPath::try_from(path).unwrap());
        if before_reply {
            run.await;
            self.reply(message, method, reply).await;
        } else {
            self.reply(message, method, reply).await;
            tokio::spawn(run);
        }
    }

    /// A failed unit keeps its name, unless its CollectMode says otherwise.
    async fn failed(&self, name: &str) {
        let collect = {
            let mut units = self.shared.units.lock().unwrap();
            let Some(unit) = units.get_mut(name) else { return };
            unit.active = "failed";
            unit.text("CollectMode") == Some("inactive-or-failed")
        };
        if collect {
            self.forget(name).await;
        }
    }

    pub(super) fn set_properties(&self, message: &Message) -> Outcome<()> {
        type Args = (String, bool, Vec<(String, OwnedVariant)>);
        let (name, runtime, properties): Args = message.body().deserialize().map_err(|_| invalid())?;
        assert!(runtime, "limits must not outlive a boot");
        let (instead, lag) = self.kernel();
        let mut units = self.shared.units.lock().unwrap();
        if units.get(&name).is_some_and(|unit| unit.text("LoadState") == Some("not-found")) {
            return Err(no_such_unit(&name));
        }
        if units.get(&name).is_none() {
            // Loading it is what systemd does; it stays inactive.
            units.insert(&name, BTreeMap::new());
            units.get_mut(&name).unwrap().active = "inactive";
        }
        for (property, value) in &properties {
            let setting = setting(&name, property, value)?;
            units.get_mut(&name).unwrap().set(property, setting);
        }
        if lag.is_zero() {
            units.write_limits(&name, &instead);
        }
        drop(units);
        self.write_limits_later(&name, lag, instead);
        Ok(())
    }

    /// Has a unit stand still or go on, unless the kernel is told not to do it.
    pub(super) fn freeze(&self, message: &Message, frozen: bool) -> Outcome<()> {
        let name = first_argument(message);
        let units = self.shared.units.lock().unwrap();
        match units.get(&name).map(|unit| unit.active) {
            None => Err(no_such_unit(&name)),
            Some("active") if self.shared.faults.told().freezes_nobody => Ok(()),
            Some("active") => {
                units.freeze(&name, frozen);
                Ok(())
            }
            Some(_) => Err(error("org.freedesktop.systemd1.UnitInactive", "Unit is not active.")),
        }
    }

    /// Whether the unit is to be forgotten.
    pub(super) fn reset_failed(&self, name: &str) -> Outcome<bool> {
        match self.shared.units.lock().unwrap().get(name) {
            Some(unit) => Ok(unit.active == "failed"),
            None => Err(no_such_unit(name)),
        }
    }
}

/// What a cgroup holds before its limits are written.
fn unlimited() -> BTreeMap<String, String> {
    let mut files: BTreeMap<String, String> = ["memory.max", "memory.swap.max", "pids.max"]
        .map(|file| (file.to_owned(), "max\n".to_owned()))
        .into();
    files.insert("cpu.max".to_owned(), "max 100000\n".to_owned());
    files
}

/// A property as systemd takes it for this kind of unit.
fn setting(unit: &str, property: &str, value: &OwnedVariant) -> Outcome<Setting> {
    let setting = known(unit, property).then(|| Setting::from_variant(value)).flatten();
    setting.ok_or_else(|| read_only(property))
}

/// Whether systemd knows a property for this kind of unit.
fn known(unit: &str, property: &str) -> bool {
    const ALL: [&str; 18] = [
        "Description",
        "CPUQuotaPerSecUSec",
        "CPUWeight",
        "IOWeight",
        "MemoryMax",
        "MemorySwapMax",
        "MemoryLow",
        "CPUQuotaPeriodUSec",
        "TasksMax",
        "CPUAccounting",
        "MemoryAccounting",
        "TasksAccounting",
        "IOAccounting",
        "IOReadBandwidthMax",
        "IOWriteBandwidthMax",
        "IOReadIOPSMax",
        "IOWriteIOPSMax",
        "CollectMode",
    ];
    ALL.contains(&property)
        || (unit.ends_with(".service") && services::known(property))
        || (unit.ends_with(".scope") && ["Slice", "TimeoutStopUSec", "OOMPolicy"].contains(&property))
}

fn pids_of(pidfds: &OwnedVariant) -> Vec<u32> {
    let Variant::Array(pidfds) = &**pidfds else { panic!("PIDFDs must be an array") };
    let pid_of = |pidfd: &Variant<'_>| {
        let Variant::Fd(pidfd) = pidfd else { panic!("PIDFDs must hold descriptors") };
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
        info.lines().find_map(|line| line.strip_prefix("Pid:\t")).unwrap().parse().unwrap()
    };
    pidfds.inner().iter().map(pid_of).collect()
}

pub(super) fn no_such_unit(name: &str) -> (String, String) {
    error("org.freedesktop.systemd1.NoSuchUnit", &format!("Unit {name} not loaded."))
}

pub(super) fn read_only(property: &str) -> (String, String) {
    let message = format!("Cannot set property {property}, or unknown property.");
    error("org.freedesktop.DBus.Error.PropertyReadOnly", &message)
}
