//! Services of submitted commands: started, followed to their end, and then forgotten.

use std::time::Duration;

use tokio::sync::mpsc;
use zbus::{OwnedObjectPath, OwnedVariant};

use super::property::Property;
use super::proxy::{UNIT, With, unit_path};
use super::{ActiveState, Fault, START_TIMEOUT, Systemd};
use crate::identity::UnitName;

const SERVICE: &str = "org.freedesktop.systemd1.Service";

/// `CLD_EXITED` (`sigaction(2)`): the process exited by itself.
const CLD_EXITED: i32 = 1;

/// Questions about services that are under way at once. systemd answers one after another: what shares need would wait
/// behind them all.
pub(super) const SERVICE_CALLS_MAX: usize = 16;

/// Units that are cleared away at once. Nobody waits for it, and others wait for systemd.
pub const CLEARED_AT_ONCE_MAX: usize = 4;

/// What a service runs.
#[derive(Debug, Clone, Copy)]
pub struct Program<'a> {
    /// The program, absolute.
    pub path: &'a str,
    /// Its arguments, with its name. Never a member's words: `$` and `%` in them mean something to systemd, and everybody
    /// may read them.
    ///
    /// No descriptor goes with them: the bus and systemd close what they are sent while everybody waits. Of a member's file
    /// that takes as long as whoever serves it likes (FUSE, NFS).
    pub argv: &'a [&'a str],
}

/// Where a service stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceState {
    /// It runs, or is about to, or is being stopped.
    Running,
    /// It is over.
    Ended(Ended),
    /// systemd does not know it.
    Gone,
}

/// Whether systemd keeps a service for us when it has ended.
#[derive(Debug)]
pub enum Held {
    /// The unit is kept in memory.
    Kept,
    /// It cannot, for it could not read the unit's file or a drop-in when it last did. How the service ends by itself is
    /// kept all the same (`RemainAfterExit=`), and how it was stopped is not.
    Unkept(Fault),
    /// It does not know it.
    Gone,
}

/// How a service ended (`org.freedesktop.systemd1(5)`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// What its main process exited with, or else which signal killed it.
    pub exit: Result<i32, i32>,
    /// What systemd calls the result: `success`, `exit-code`, `signal`, `timeout`, `oom-kill`, ...
    pub result: String,
    /// Whether somebody had it stopped: a service that ends by itself is kept as exited or failed.
    pub stopped: bool,
}

/// Where a service stands, as its states say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It runs, or is about to, or is being stopped.
    Running,
    /// It ended by itself, and is kept for it.
    Ended,
    /// It was stopped, has never run, or is not there.
    Stopped,
}

impl Stage {
    /// What ActiveState and SubState say (`org.freedesktop.systemd1(5)`).
    pub(super) fn of(active: &str, sub: &str) -> Self {
        match (ActiveState::from(active), sub) {
            (ActiveState::Active, "exited") | (ActiveState::Failed, _) => Self::Ended,
            (ActiveState::Inactive, _) => Self::Stopped,
            _ => Self::Running,
        }
    }
}

/// What is told of one service: each time it may have ended.
#[derive(Debug)]
pub struct Changes(mpsc::Receiver<()>);

impl Changes {
    /// Waits until it may have ended.
    ///
    /// # Errors
    /// [`Fault::Bus`]: the connection is gone.
    pub async fn next(&mut self) -> Result<(), Fault> {
        self.0.recv().await.ok_or_else(|| Fault::bus("following a service", None))
    }
}

impl Systemd {
    /// Starts a service in a slice that is made with it, and waits until its program was executed.
    ///
    /// # Errors
    /// Any [`Fault`]; after [`START_TIMEOUT`] a timeout.
    pub async fn start_service(
        &self,
        unit: UnitName,
        properties: &[Property],
        program: &Program<'_>,
        slice: (UnitName, &[Property]),
    ) -> Result<(), Fault> {
        let (name, slice_name) = (unit.to_string(), slice.0.to_string());
        let call =
            self.manager.start_transient(&name, properties, With::Program(program, &slice_name, slice.1));
        self.job("StartTransientUnit", &name, START_TIMEOUT, call).await
    }

    /// Tells each time a service may have ended, from now on.
    ///
    /// # Errors
    /// [`Fault::Bus`]: the connection is gone.
    pub async fn follow(&self, unit: UnitName) -> Result<Changes, Fault> {
        self.controls.follow(&unit_path(&unit.to_string())).await.map(Changes)
    }

    /// Keeps systemd from forgetting a service that ended, until it is let go or this connection ends.
    ///
    /// # Errors
    /// Any [`Fault`] but [`Fault::JobFailed`].
    pub async fn hold(&self, unit: UnitName) -> Result<Held, Fault> {
        match self.in_turn(self.manager.hold(&unit.to_string())).await {
            Ok(()) => Ok(Held::Kept),
            Err(fault) if fault.is_no_such_unit() => Ok(Held::Gone),
            Err(fault) if fault.is_bad_setting() => Ok(Held::Unkept(fault)),
            Err(fault) => Err(fault),
        }
    }

    /// Lets systemd forget a service. What it was to tell has been told.
    pub async fn let_go(&self, unit: UnitName) {
        // What fails here is undone with the connection.
        let _ = self.in_turn(self.manager.let_go(&unit.to_string())).await;
    }

    /// Stops what is left of a unit, and frees its name: when its turn has come.
    ///
    /// # Errors
    /// Any [`Fault`]; where it did not end `within` that time a timeout, with systemd still at it.
    pub async fn clear(&self, unit: UnitName, within: Duration) -> Result<(), Fault> {
        let _turn = self.clearing.acquire().await;
        self.stop(unit, within).await?;
        // One that failed keeps its name.
        self.reset_failed(unit).await
    }

    /// Makes a call about a service when there is room for one more.
    async fn in_turn<T>(&self, call: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let _turn = self.service_calls.acquire().await;
        call.await
    }

    async fn has_job(&self, name: &str) -> Result<bool, Fault> {
        let job: OwnedVariant = self.in_turn(self.manager.get(name, UNIT, "Job")).await?;
        Ok(matches!(<(u32, OwnedObjectPath)>::try_from(job), Ok((job, _)) if job != 0))
    }

    /// Where a service stands.
    ///
    /// # Errors
    /// Any [`Fault`] but [`Fault::JobFailed`].
    pub async fn service_state(&self, unit: UnitName) -> Result<ServiceState, Fault> {
        let name = unit.to_string();
        let name = name.as_str();
        // All at once: most who ask were told that it may have ended.
        let (active, sub, code, status, result): (String, String, i32, i32, String) = tokio::try_join!(
            self.in_turn(self.manager.get(name, UNIT, "ActiveState")),
            self.in_turn(self.manager.get(name, UNIT, "SubState")),
            self.in_turn(self.manager.get(name, SERVICE, "ExecMainCode")),
            self.in_turn(self.manager.get(name, SERVICE, "ExecMainStatus")),
            self.in_turn(self.manager.get(name, SERVICE, "Result")),
        )?;
        let stopped = match Stage::of(&active, &sub) {
            Stage::Running => return Ok(ServiceState::Running),
            Stage::Ended => false,
            Stage::Stopped => true,
        };
        Ok(match code {
            // It has never run: what is not there has all properties too. Its start may be queued still.
            0 if stopped && self.has_job(name).await? => ServiceState::Running,
            0 if stopped => ServiceState::Gone,
            CLD_EXITED => ServiceState::Ended(Ended { exit: Ok(status), result, stopped }),
            _ => ServiceState::Ended(Ended { exit: Err(status), result, stopped }),
        })
    }
}
