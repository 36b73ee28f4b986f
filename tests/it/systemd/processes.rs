//! Processes that enter a scope.

use std::os::fd::AsFd;
use std::process::{Child, Command};

use fairshare::testing::identity::{UnitName, Within};
use fairshare::testing::systemd::property;
use fairshare::testing::systemd::{Fault, Process, Signal};

use super::{SHARE, connect, next, uid};
use crate::stand_in::{Setting, World};

/// A process that ends with the value.
pub struct Sleep(pub Child);

impl Sleep {
    pub fn start() -> Self {
        Self(Command::new("sleep").arg("600").spawn().unwrap())
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn processes_enter_a_scope_by_number_or_by_descriptor() {
    for version in ["252.38-1~deb12u1", "257.7-1"] {
        let world = World::start();
        world.set_version(version);
        let (systemd, mut signals) = connect(&world).await;
        assert_eq!(systemd.supports_pidfds(), version.starts_with("257"));
        let mut sleep = Sleep::start();
        let pid = sleep.0.id();
        let raw = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        let pidfd = rustix::process::pidfd_open(raw, rustix::process::PidfdFlags::empty()).unwrap();
        let unit = UnitName::Run(uid(), Within::Own, 1);
        let process = Process { pid, pidfd: Some(pidfd.as_fd()) };
        systemd.start_scope(unit, &property::scope(unit, "make -j4"), &[process]).await.unwrap();
        let scope = world.unit("fairshare-1001-own-run1.scope").unwrap();
        assert_eq!(scope.settings["Slice"], Setting::Text("fairshare-1001-own.slice".to_owned()));
        assert!(scope.pids.contains(&pid));
        assert_eq!(world.cgroup_file(SHARE, "cgroup.events").unwrap(), "populated 1\nfrozen 0\n");
        // The last process ends, and the scope with it.
        sleep.0.kill().unwrap();
        assert_eq!(next(&mut signals).await, Signal::UnitRemoved(unit));
    }
}

#[tokio::test]
async fn a_systemd_that_takes_no_descriptors_after_all_gets_numbers() {
    let world = World::start();
    world.set_version("257.7-1");
    let (systemd, _signals) = connect(&world).await;
    world.set_version("252.38-1");
    let sleep = Sleep::start();
    let raw = rustix::process::Pid::from_raw(i32::try_from(sleep.0.id()).unwrap()).unwrap();
    let pidfd = rustix::process::pidfd_open(raw, rustix::process::PidfdFlags::empty()).unwrap();
    let unit = UnitName::Run(uid(), Within::Own, 1);
    let process = Process { pid: sleep.0.id(), pidfd: Some(pidfd.as_fd()) };
    systemd.start_scope(unit, &property::scope(unit, "make"), &[process]).await.unwrap();
    assert!(world.unit("fairshare-1001-own-run1.scope").unwrap().pids.contains(&sleep.0.id()));
}

#[tokio::test]
async fn a_process_that_is_gone_does_not_enter() {
    let world = World::start();
    let (systemd, _signals) = connect(&world).await;
    let pid = {
        let sleep = Sleep::start();
        sleep.0.id()
    };
    let unit = UnitName::Run(uid(), Within::Own, 1);
    let process = Process { pid, pidfd: None };
    let fault = systemd.start_scope(unit, &property::scope(unit, "make"), &[process]).await.unwrap_err();
    assert!(matches!(fault, Fault::Call { .. }), "{fault:?}");
    assert_eq!(world.unit("fairshare-1001-own-run1.scope"), None);
}
