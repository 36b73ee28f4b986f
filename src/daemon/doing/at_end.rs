//! What a member has run when a submitted command is over (`submit --notify`), before its job is. systemd starts a process for it in the
//! command's own cgroup (`ExecStopPost=`), which fetches what it is to run as the command's process did.
//!
//! It is told how the command ended, and is given nothing before that is stored: whatever it then does, that stays so.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::warn;

use super::allocation::Context;
use super::caller::is_its_process;
use super::fetch::{FETCHES_WAITING_MAX, Fetch};
use super::insist::{self, answered};
use super::offer::{Running, known, serve};
use super::said::Said;
use crate::contract::handover::HowEnded;
use crate::daemon::asking::handover::Offer;
use crate::daemon::telling::job as told;
use crate::identity::AllocationId;
use crate::ledger::Image;
use crate::ledger::job::{JobEnd, Ran};
use crate::quantity::Amount;
use crate::systemd::Fault;
use crate::wire::error::{Code, WireError};

/// How long stopping a command may take at whose end something is run. Ten seconds after SIGTERM, ten for what is run then, ten more
/// after that has had SIGTERM too; and then what SIGKILL takes.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(50);

/// Has stored how a command ended, has run what its member has run then, unless it is run again, and waits until that is over. `after`:
/// systemd has begun with what is run at its end. Where the daemon stops this is never over: the next one follows it.
///
/// # Errors
/// Any [`Fault`], where the connection is gone.
pub async fn run(cx: &Context, running: Running, ran: Ran, after: bool) -> Result<(), Fault> {
    let job = running.job;
    let said = |reply| Said::Ending { job, end: JobEnd::Ran(ran), reply };
    let Some(ending) = insist::stored(cx, job, said, |image| ending(image, running)).await else {
        return std::future::pending().await;
    };
    let (offer, fetches) = mpsc::channel(FETCHES_WAITING_MAX);
    match ending {
        Some(told) => drop(tokio::spawn(hand(cx.clone(), running, told, fetches))),
        // The unit is all that is known of this try until its end is stored: what is left of it is cleared away after that.
        None if !after => return Ok(()),
        // Nobody listens, and the process is told that there is nothing.
        None => drop(fetches),
    }
    let _ = cx.said.send(Said::AtEnd(job, offer)).await;
    // One that has ended by itself is kept until now, and what is run at its end is started with that. Many may take long at a time,
    // and nobody waits behind them.
    answered(cx, || cx.systemd.end(running.units.service, STOP_TIMEOUT)).await
}

/// How a command ended at whose end something is to be run, and what it had; `None` where nothing is.
fn ending(image: &Image, running: Running) -> Option<(HowEnded, Amount)> {
    let job = image.job(running.job)?;
    let end = job.work()?.ending.as_deref()?;
    let home = AllocationId::of_job(job.uid, job.id);
    let allocation = image.allocations.iter().find(|allocation| allocation.id == home);
    let amount = allocation.map(|allocation| allocation.enforced().most).unwrap_or_default();
    Some((told::how_ended(job, end), amount))
}

/// Gives the process at a command's end what it is to run.
async fn hand(
    cx: Context,
    running: Running,
    (ended, amount): (HowEnded, Amount),
    mut fetches: mpsc::Receiver<Fetch>,
) {
    let (uid, job) = (running.uid(), running.job);
    // Not before it is asked for: it takes memory.
    let first = loop {
        match fetches.recv().await {
            None => return,
            Some(fetch) => match is_its_process(&cx.cgroups, &fetch.peer, (running.units.service, job)) {
                Ok(()) => break fetch,
                Err(error) => fetch.reply.send(Err(error)),
            },
        }
    };
    let offer = async {
        let spec = known(&cx, uid, running.file(), None).await?;
        let bytes = [spec.handover.as_slice(), &ended.encode()?].concat();
        Offer::of(&bytes, Arc::clone(&spec.stdio), None)
    };
    match offer.await {
        Ok(offer) => serve(cx, (running, amount), (offer, false), (Some(first), fetches)).await,
        Err(why) => {
            warn!(job_id = job.0, "what is run at the end of job {job} of uid {uid} is not known: {why}");
            let mut next = Some(first);
            while let Some(fetch) = next {
                let message = "What is to be run at the end is not known";
                fetch.reply.send(Err(WireError::new(Code::Io, message).detail(why.clone())));
                next = fetches.recv().await;
            }
        }
    }
}
