//! Services of submitted commands: started, followed to their end, and then forgotten.

use std::time::Duration;

use tokio::sync::mpsc;
use zbus::{OwnedObjectPath, OwnedVariant};

use super::property::Property;
use super::proxy::{UNIT, With, unit_path};
use super::unit::{Ended, Held, Program, START_TIMEOUT, ServiceState, Stage};
use super::{Fault, Systemd};
use crate::identity::UnitName;

const SERVICE: &str = "org.freedesktop.systemd1.Service";

/// What systemd calls the result of a service that did not fail.
const SUCCESS: &str = "success";

/// `CLD_EXITED` (`sigaction(2)`): the process exited by itself.
const CLD_EXITED: i32 = 1;

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
    /// Starts a service in a slice, which is made with it where it has properties, and waits until its program was executed.
    ///
    /// # Errors
    /// Any [`Fault`]; after [`START_TIMEOUT`] a timeout.
    pub async fn start_service(
        &self,
        unit: UnitName,
        properties: &[Property],
        program: &Program<'_>,
        slice: (UnitName, Option<&[Property]>),
    ) -> Result<(), Fault> {
        let (name, slice_name) = (unit.to_string(), slice.0.to_string());
        let around = slice.1.map(|properties| (slice_name.as_str(), properties));
        let call = self.manager.start_transient(&name, properties, With::Program(program, around));
        self.job("StartTransientUnit", &name, START_TIMEOUT, call).await
    }

    /// The process that a service began with; `None` where that is over, or there is no such service.
    ///
    /// # Errors
    /// Any [`Fault`] but [`Fault::JobFailed`].
    pub async fn main_process(&self, unit: UnitName) -> Result<Option<u32>, Fault> {
        let pid: u32 = self.in_turn(self.manager.get(&unit.to_string(), SERVICE, "MainPID")).await?;
        Ok(Some(pid).filter(|pid| *pid > 0))
    }

    /// Sends a service's main process a signal. Whether there was one.
    ///
    /// # Errors
    /// Any [`Fault`] but [`Fault::JobFailed`]; that there is no such service too.
    pub async fn kill_main(&self, unit: UnitName, signal: u8) -> Result<bool, Fault> {
        match self.in_turn(self.manager.kill_main(&unit.to_string(), signal.into())).await {
            Ok(()) => Ok(true),
            Err(fault) if fault.is_no_such_process() => Ok(false),
            Err(fault) => Err(fault),
        }
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

    /// Stops a service, and waits until what is run at its end is over too. What shares need does not wait behind it.
    ///
    /// # Errors
    /// Those of [`Systemd::stop`].
    pub async fn end(&self, unit: UnitName, within: Duration) -> Result<(), Fault> {
        let name = unit.to_string();
        self.stop_by(unit, within, || self.in_turn(self.manager.stop(&name))).await.map(drop)
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
        let stage = Stage::of(&active, &sub);
        let after = stage == Stage::After;
        let stopped = match stage {
            Stage::Running => return Ok(ServiceState::Running),
            Stage::Ended => false,
            Stage::Stopped => true,
            // What systemd ends by itself has another result, and what ends by itself is kept as exited.
            Stage::After => result == SUCCESS,
        };
        Ok(match code {
            // Its start has failed, and is told when it is over.
            0 if after => ServiceState::Running,
            // It has never run: what is not there has all properties too. Its start may be queued still.
            0 if stopped && self.has_job(name).await? => ServiceState::Running,
            0 if stopped => ServiceState::Gone,
            CLD_EXITED => ServiceState::Ended(Ended { exit: Ok(status), result, stopped, after }),
            _ => ServiceState::Ended(Ended { exit: Err(status), result, stopped, after }),
        })
    }
}
