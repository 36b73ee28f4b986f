//! What is offered to the processes of submitted commands: what they become, and what is run at their end.

use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::error;

use super::allocation::Context;
use super::caller::is_its_process;
use super::fetch::Fetch;
use crate::contract::{Answer, Handed};
use crate::daemon::asking::handover::Offer;
use crate::daemon::asking::spec::Spec;
use crate::daemon::telling::job as told;
use crate::identity::{JobId, JobUnits, Uid, UnitName};
use crate::ledger::array::Task;
use crate::quantity::Amount;
use crate::serving::logging::chain;
use crate::serving::service::Handed as _;
use crate::serving::session::hand::HAND_RETRY_AFTER_MS;
use crate::state::StateFault;
use crate::wire::error::{Code, WireError};

/// A command that runs, or is to run: its job, and its units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// The job of the command.
    pub job: JobId,
    /// The units of the command.
    pub units: JobUnits,
    /// The slice of the allocation that it runs in.
    pub within: UnitName,
    /// Of which array it is a task, where it is one.
    pub task: Option<Task>,
    /// How often it was tried before, where it is one that is run again.
    pub tries: Option<u64>,
    /// Whether something of its member's is run at its end.
    pub notifies: bool,
}

impl Running {
    /// Whose it is.
    pub fn uid(&self) -> Uid {
        self.units.service.uid()
    }

    /// The job under whose number it is kept what it is to run: of a task its array.
    pub fn file(&self) -> JobId {
        self.task.map_or(self.job, |task| task.of)
    }
}

/// What a command is, where that is not in memory by what is kept on disk under this number.
pub async fn known(
    cx: &Context,
    uid: Uid,
    file: JobId,
    spec: Option<Arc<Spec>>,
) -> Result<Arc<Spec>, String> {
    match spec {
        Some(spec) => Ok(spec),
        None => {
            let kept = cx.persist.command(file).await.map_err(|fault| not_kept(&fault))?;
            Ok(Arc::new(Spec::of_kept(uid, &kept)?))
        }
    }
}

fn not_kept(fault: &StateFault) -> String {
    error!("{}", chain(fault));
    fault.to_string()
}

/// Gives what is offered to the command's process, which may have called already, and is over when that was done, or when the command
/// is. Of what is `kept` on disk it is stored before that its process has it, so that no other daemon has it started again.
pub async fn serve(
    cx: Context,
    (running, amount): (Running, Amount),
    (offer, kept): (Offer, bool),
    (mut next, mut fetches): (Option<Fetch>, mpsc::Receiver<Fetch>),
) {
    let mut told = false;
    while let Some(Fetch { peer, taker, reply }) = match next.take() {
        Some(fetch) => Some(fetch),
        None => fetches.recv().await,
    } {
        if let Err(error) = is_its_process(&cx.cgroups, &peer, (running.units.service, running.job)) {
            reply.send(Err(error));
            continue;
        }
        if kept && let Err(fault) = cx.persist.begin_command(running.job).await {
            // Whoever asks for it asks each second.
            if !std::mem::replace(&mut told, true) {
                error!("{}, proceeding", chain(&fault));
            }
            let error = WireError::new(Code::Busy, "That the command begins could not be stored");
            reply.send(Err(error.retry_after_ms(HAND_RETRY_AFTER_MS)));
            continue;
        }
        let (delivery, was_given) = offer.delivery();
        let handed = u64::try_from(delivery.descriptors().len()).unwrap_or(u64::MAX);
        if taker.send(delivery).is_err() {
            continue;
        }
        let Amount { cpu, mem, .. } = amount;
        let (task, tries) = (running.task.map(told::task), running.tries);
        reply.send(Ok(Answer::Handed(Handed { handed, cpu_milli: cpu.0, mem_bytes: mem.0, task, tries })));
        if was_given.await.is_ok() {
            return;
        }
    }
}

/// Tells the process of a command that it is not to become it.
pub fn refuse(mut fetches: mpsc::Receiver<Fetch>, why: &str) {
    fetches.close();
    while let Ok(fetch) = fetches.try_recv() {
        let error = WireError::new(Code::Systemd, "The command is not to run").detail(why);
        fetch.reply.send(Err(error));
    }
}
