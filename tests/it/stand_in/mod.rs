//! A stand-in for systemd on a private bus, for the faults that a real one will not produce on demand.
//!
//! It keeps units in memory and a cgroup tree in a folder, so that the whole daemon can run against it on any machine:
//! give it `DBUS_SYSTEM_BUS_ADDRESS` = [`World::bus_address`] and [`World::cgroup_root`]. What a real systemd can show is
//! shown by the tests in the guest, not here.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a tool of tests, of which each uses a part"
)]

mod bus;
mod disks;
mod faults;
mod jobs;
mod manager;
mod services;
mod units;

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedSender;

pub use faults::{Faults, Verb};
pub use units::{Setting, Unit};

use bus::Bus;
use manager::{Order, Ordered, Shared};
use units::Units;

/// A bus with a systemd on it. Everything ends with the value.
pub struct World {
    /// What goes wrong.
    pub faults: Faults,
    shared: Arc<Shared>,
    orders: UnboundedSender<Ordered>,
    thread: Option<JoinHandle<()>>,
    bus: Option<Bus>,
    address: String,
    dir: TempDir,
}

impl World {
    /// A bus, and a systemd without any units.
    pub fn start() -> Self {
        let world = Self::start_without_systemd();
        world.come_back();
        world
    }

    /// A bus that systemd is not on yet: see [`World::come_back`].
    pub fn start_without_systemd() -> Self {
        let dir = TempDir::with_prefix("fairshare-").unwrap();
        let bus = Bus::start(dir.path());
        let faults = Faults::default();
        let shared = Arc::new(Shared::new(Units::new(&dir.path().join("cgroup")), faults.clone()));
        let (orders, receiver) = tokio::sync::mpsc::unbounded_channel();
        let address = bus.address();
        let (seen, at) = (Arc::clone(&shared), address.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(manager::run(seen, at, receiver));
        });
        Self { faults, shared, orders, thread: Some(thread), bus: Some(bus), address, dir }
    }

    /// For `DBUS_SYSTEM_BUS_ADDRESS`. Stays the same when the bus is started again.
    pub fn bus_address(&self) -> &str {
        &self.address
    }

    /// What stands for `/sys/fs/cgroup`.
    pub fn cgroup_root(&self) -> PathBuf {
        self.dir.path().join("cgroup")
    }

    /// The folder that ends with the world, for the test's own files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What systemd says that its version is (`252.38-1~deb12u1`). From 255 on it takes `PIDFDs`.
    pub fn set_version(&self, version: &str) {
        *self.shared.version.lock().unwrap() = version.to_owned();
    }

    /// A unit, where it is there.
    pub fn unit(&self, name: &str) -> Option<Unit> {
        self.shared.units.lock().unwrap().get(name).cloned()
    }

    /// The names of all units.
    pub fn units(&self) -> Vec<String> {
        self.shared.units.lock().unwrap().names()
    }

    /// Makes an active slice with these figures, as if it had always been there.
    pub fn make_slice(&self, name: &str, figures: &[(&str, u64)]) {
        let mut units = self.shared.units.lock().unwrap();
        let settings = figures.iter().map(|(name, figure)| ((*name).to_owned(), Setting::Figure(*figure)));
        units.insert(name, settings.collect());
        units.realise(name, &Default::default());
    }

    /// Makes a scope in a slice, as if it had always been there.
    pub fn make_scope(&self, name: &str, slice: &str) {
        let mut units = self.shared.units.lock().unwrap();
        units.insert(name, [("Slice".to_owned(), Setting::Text(slice.to_owned()))].into());
        units.realise(name, &Default::default());
    }

    /// Makes a service that runs, as if it had always been there.
    pub fn make_service(&self, name: &str) {
        let mut units = self.shared.units.lock().unwrap();
        units.insert(name, Default::default());
        units.realise(name, &Default::default());
    }

    /// Has systemd say this of a unit by that name (`LoadState`, `Id`) that does not run.
    pub fn name_unit(&self, name: &str, load_state: &str, id: &str) {
        let mut units = self.shared.units.lock().unwrap();
        let says = [("LoadState", load_state), ("Id", id)];
        let says = says.map(|(property, text)| (property.to_owned(), Setting::Text(text.to_owned())));
        units.insert(name, says.into());
        units.get_mut(name).unwrap().active = "inactive";
    }

    /// Makes a service whose start is still queued.
    pub fn make_queued_service(&self, name: &str) {
        let mut units = self.shared.units.lock().unwrap();
        units.insert(name, [("Job".to_owned(), Setting::Switch(true))].into());
        units.get_mut(name).unwrap().active = "inactive";
    }

    /// Lets a unit appear to have processes that nobody started. They are never signalled.
    pub fn pretend_processes(&self, unit: &str, pids: &[u32]) {
        self.shared.units.lock().unwrap().pretend(unit, pids);
    }

    /// Someone else stops a unit: it is gone, with everything in it.
    pub fn remove_unit(&self, name: &str) {
        self.order(Order::Remove(name.to_owned()));
    }

    /// A unit is gone with everything in it, and nobody is told.
    pub fn forget_unit(&self, name: &str) {
        self.shared.units.lock().unwrap().remove(name);
    }

    /// The process of a service exits with this code.
    pub fn end_service(&self, name: &str, code: i32) {
        self.order(Order::EndService(name.to_owned(), code));
    }

    /// systemd ends a service by itself, with this result (`timeout`, `oom-kill`).
    pub fn fail_service(&self, name: &str, result: &str) {
        self.order(Order::FailService(name.to_owned(), result.to_owned()));
    }

    /// The words of the command line that a service runs at its end, until that is over.
    pub fn program_at_end(&self, name: &str) -> Option<Vec<String>> {
        self.shared.services.lock().unwrap().programs_at_end.get(name).cloned()
    }

    /// What a service runs at its end is over.
    pub fn end_at_end(&self, name: &str) {
        self.shared.services.lock().unwrap().programs_at_end.remove(name);
    }

    /// The words of the command line that a service runs.
    pub fn program(&self, name: &str) -> Option<Vec<String>> {
        self.shared.services.lock().unwrap().programs.get(name).cloned()
    }

    /// The main process of a service is this one from now on; 0: it has ended, and what it left behind has not.
    pub fn set_main_process(&self, name: &str, pid: u32) {
        self.shared.services.lock().unwrap().main.insert(name.to_owned(), pid);
    }

    /// The signals that main processes of services were sent: of which service, and the number.
    pub fn signals(&self) -> Vec<(String, i32)> {
        self.shared.services.lock().unwrap().signals.clone()
    }

    /// systemd says of a unit that it is gone, and nothing else happens.
    pub fn say_removed(&self, name: &str) {
        self.order(Order::SayRemoved(name.to_owned()));
    }

    /// systemd says how a unit stands, and nothing else happens.
    pub fn say_changed(&self, name: &str) {
        self.order(Order::SayChanged(name.to_owned()));
    }

    /// What a file of a unit's cgroup holds; `None` where there is no such cgroup.
    pub fn cgroup_file(&self, unit: &str, file: &str) -> Option<String> {
        let path = self.shared.units.lock().unwrap().cgroup(unit).join(file);
        std::fs::read_to_string(path).ok()
    }

    /// The kernel comes to hold something in a file of a unit's cgroup, like `memory.current`.
    pub fn write_cgroup_file(&self, unit: &str, file: &str, content: &str) {
        let directory = self.shared.units.lock().unwrap().cgroup(unit);
        units::write(&directory, file, &format!("{content}\n"));
    }

    /// The kernel counts what met the limit of a unit's memory and whom it killed there, no fewer than before, and tells who
    /// watches.
    pub fn count_memory_events(&self, unit: &str, met: u64, killed: u64) {
        let directory = self.shared.units.lock().unwrap().cgroup(unit);
        let counted = format!("low 0\nhigh 0\nmax {met}\noom 0\noom_kill {killed}\noom_group_kill 0\n");
        units::change(&directory, "memory.events", &counted);
    }

    /// The methods of the manager that were called, with the unit that each was about, since this was last asked.
    pub fn take_calls(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.shared.calls.lock().unwrap())
    }

    /// systemd leaves the bus; its units stay.
    pub fn vanish(&self) {
        self.order(Order::Vanish);
    }

    /// systemd comes onto the bus. Nobody is subscribed any more.
    pub fn come_back(&self) {
        self.order(Order::ComeBack);
    }

    /// systemd reads its configuration again, with the signals that this makes.
    pub fn reload(&self) {
        self.order(Order::Reload);
    }

    /// The bus dies, and every connection with it.
    pub fn kill_bus(&mut self) {
        self.bus = None;
    }

    /// A new bus at the old address, and systemd on it.
    pub fn restart_bus(&mut self) {
        self.bus = Some(Bus::start(self.dir.path()));
        self.come_back();
    }

    fn order(&self, order: Order) {
        let (done, wait) = mpsc::channel();
        self.orders.send((order, done)).unwrap_or_else(|_| panic!("the stand-in is gone"));
        wait.recv().expect("the stand-in is gone");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.orders.send((Order::Quit, mpsc::channel().0));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
