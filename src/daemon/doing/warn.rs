//! Commands are warned before their time is over: systemd sends their main process a signal.

use tracing::{error, info, warn};

use super::allocation::Context;
use super::said::Said;
use crate::contract::handover::BECOMING;
use crate::host::process::{self, ProcessError};
use crate::identity::{JobId, UnitName};
use crate::serving::logging::chain;
use crate::systemd::Fault;

/// Sends a command that was handed over its signal; the owner hears whether it has it. One that has ended, or whose main process
/// has, needs none.
pub async fn warn(cx: Context, (job, service): (JobId, UnitName), signal: u8) {
    // What gives something back need not wait for it.
    drop(cx.turn(service.uid()));
    let sent = match sent(&cx, service, signal).await {
        Ok(Sent::Yes) => {
            info!(job_id = job.0, unit = %service, "warned job {job} with signal {signal}");
            true
        }
        Ok(Sent::ToNobody) => true,
        Ok(Sent::TooSoon) => false,
        // Its end is on its way, and whoever follows it tells that.
        Err(fault) if fault.is_no_such_unit() => false,
        Err(fault) => {
            warn!(job_id = job.0, "job {job} is not warned yet: {}, trying again", chain(&fault));
            false
        }
    };
    let _ = cx.said.send(Said::Warned(job, sent)).await;
}

/// What came of a signal.
enum Sent {
    Yes,
    /// The main process has ended.
    ToNobody,
    /// The process is still ours, which it would end.
    TooSoon,
}

async fn sent(cx: &Context, service: UnitName, signal: u8) -> Result<Sent, Fault> {
    let Some(pid) = cx.systemd.main_process(service).await? else { return Ok(Sent::ToNobody) };
    match process::running(pid) {
        Ok(running) if running.command == BECOMING => return Ok(Sent::TooSoon),
        // It has ended meanwhile, which systemd knows.
        Ok(_) | Err(ProcessError::Gone { .. }) => {}
        Err(fault) => error!(unit = %service, "{}, proceeding", chain(&fault)),
    }
    Ok(if cx.systemd.kill_main(service, signal).await? { Sent::Yes } else { Sent::ToNobody })
}
