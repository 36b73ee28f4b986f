//! Shares whose lease is over: their limits come down to what they use, and go up again when they are renewed.

use tracing::{error, info, warn};

use super::kernel;
use super::share::{Context, intent_failed};
use crate::cgroup::{MARGIN_BYTES_MIN, with_margin};
use crate::contract::{Answer, HeldShare, ShareInfo};
use crate::daemon::telling::reply::Reply;
use crate::identity::UnitName;
use crate::ledger::share::{Keeps, Share};
use crate::ledger::{Image, Outcome};
use crate::quantity::{Bytes, Tasks};
use crate::serving::logging::{chain, in_full};
use crate::wire::error::WireError;

/// The least margin of tasks when limits come down: a shell that waits has one task less than when it runs something.
const MARGIN_TASKS_MIN: u64 = 8;

/// The unit in which the kernel holds memory limits, in bytes (cgroup-v2.rst: `PAGE_SIZE`).
const PAGE_BYTES: u64 = 4096;

/// What a share that uses so much keeps: that and a margin in which nothing is killed, but no more than it was granted.
fn keeps(share: &Share, mem: Bytes, tasks: Tasks) -> Keeps {
    let pages = with_margin(mem.0, MARGIN_BYTES_MIN).div_ceil(PAGE_BYTES);
    Keeps {
        mem: Bytes(pages.saturating_mul(PAGE_BYTES)).min(share.amount.mem),
        tasks: Tasks(with_margin(tasks.0, MARGIN_TASKS_MIN)).min(share.amount.tasks),
    }
}

/// Brings the limits of a share whose lease is over down to what it uses, so that nothing in it is killed.
pub async fn lower(cx: Context, share: Share, intent: Image) {
    let _turn = cx.turn(share.uid);
    if let Err(fault) = cx.persist.save_what_gives_back(intent).await {
        intent_failed(&cx, share.uid, &fault).await;
        return;
    }
    let outcome = lowered(&cx, &share).await;
    // The intent is stored, and a start would finish it: where the outcome is not, nothing is lost.
    let _ = cx.store_outcome(cx.settle(share.uid, outcome).await).await;
}

async fn lowered(cx: &Context, share: &Share) -> Outcome {
    let unit = UnitName::Share(share.uid);
    let used = match cx.cgroups.usage(unit) {
        Ok(Some(used)) => used,
        Ok(None) => return Outcome::undone("there is no such cgroup"),
        Err(fault) => {
            error!(unit = %unit, "{}", chain(&fault));
            return Outcome::undone(fault);
        }
    };
    let keeps = keeps(share, used.mem, used.tasks);
    let new = share.keeping(keeps);
    if let Err(error) = cx.set(&new).await {
        warn!(unit = %unit, "the limits of {unit} could not be lowered: {}", in_full(&error));
        return refused(cx, share, &error);
    }
    match cx.cgroups.oom_kills(unit) {
        Ok(Some(kills)) if kills > used.oom_kills => {
            warn!(unit = %unit, "{unit} took more memory while its limit came down: the kernel killed in it");
        }
        Ok(_) => info!(unit = %unit, "{unit} keeps {} of memory until it is renewed or ends", keeps.mem),
        Err(fault) => error!(unit = %unit, "{}", chain(&fault)),
    }
    Outcome::Lowered(keeps)
}

/// What came of limits that could not be set: nothing, where the kernel holds what it held before.
fn refused(cx: &Context, share: &Share, error: &WireError) -> Outcome {
    match kernel::limits_hold(&cx.cgroups, share) {
        Ok(()) => Outcome::undone(error),
        Err(_) => Outcome::Unknown,
    }
}

/// Gives a share whose lease was over all that it was granted.
pub async fn renew(cx: Context, share: Share, shown: ShareInfo, intent: Image, reply: Reply) {
    let turn = cx.turn(share.uid);
    let result = renewed(&cx, &share, intent).await;
    drop(turn);
    reply.send(result.map(|()| Answer::Share(HeldShare { share: shown })));
}

async fn renewed(cx: &Context, share: &Share, intent: Image) -> Result<(), WireError> {
    if let Err(fault) = cx.persist.save(intent).await {
        return Err(intent_failed(cx, share.uid, &fault).await);
    }
    let whole = Share { lease: None, ..share.clone() };
    if let Err(error) = cx.set(&whole).await {
        // Nothing is set back: less than is used by now would kill.
        let outcome = refused(cx, share, &error);
        let _ = cx.store_outcome(cx.settle(share.uid, outcome).await).await;
        return Err(error);
    }
    // The intent is stored, and a start would finish it: where the outcome is not, nothing is lost.
    let _ = cx.store_outcome(cx.settle(share.uid, Outcome::Done).await).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Uid;
    use crate::ledger::{BootId, Now};
    use crate::quantity::{Amount, MilliCpu};

    #[test]
    fn what_a_share_keeps_is_what_it_uses_and_a_margin_but_never_more_than_it_was_granted() {
        let amount = Amount { cpu: MilliCpu(1000), mem: Bytes(1 << 30), tasks: Tasks(100) };
        let share = Share::active(Uid::ROOT, amount, Bytes(0), Now::default(), BootId("b".into()));
        let of = |mem: u64, tasks: u64| {
            let keeps = keeps(&share, Bytes(mem), Tasks(tasks));
            (keeps.mem.0, keeps.tasks.0)
        };
        assert_eq!(of(0, 0), (16 << 20, 8));
        assert_eq!(of(512 << 20, 3), (544 << 20, 11));
        assert_eq!(of((512 << 20) + 1, 3).0 % PAGE_BYTES, 0, "a limit that the kernel can hold");
        assert_eq!(of(1020 << 20, 99), (1 << 30, 100));
    }
}
