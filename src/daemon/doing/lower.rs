//! Allocations whose lease is over: their limits come down to what they use, and go up again when they are renewed.

use tracing::{error, info, warn};

use super::allocation::{Context, intent_failed};
use super::kernel;
use crate::cgroup::{MARGIN_BYTES_MIN, with_margin};
use crate::contract::{Answer, HeldShare, ShareInfo};
use crate::daemon::telling::reply::Reply;
use crate::ledger::allocation::{Allocation, Keeps};
use crate::ledger::{Image, Outcome};
use crate::quantity::{Bytes, Tasks};
use crate::serving::logging::{chain, in_full};
use crate::wire::error::WireError;

/// The least margin of tasks when limits come down: a shell that waits has one task less than when it runs something.
const MARGIN_TASKS_MIN: u64 = 8;

/// The unit in which the kernel holds memory limits, in bytes (cgroup-v2.rst: `PAGE_SIZE`).
const PAGE_BYTES: u64 = 4096;

/// What an allocation that uses so much keeps: that and a margin in which nothing is killed, but no more than it was granted.
fn keeps(allocation: &Allocation, mem: Bytes, tasks: Tasks) -> Keeps {
    let pages = with_margin(mem.0, MARGIN_BYTES_MIN).div_ceil(PAGE_BYTES);
    Keeps {
        mem: Bytes(pages.saturating_mul(PAGE_BYTES)).min(allocation.amount.mem),
        tasks: Tasks(with_margin(tasks.0, MARGIN_TASKS_MIN)).min(allocation.amount.tasks),
    }
}

/// Brings the limits of an allocation whose lease is over down to what it uses, so that nothing in it is killed.
pub async fn lower(cx: Context, allocation: Allocation, intent: Image) {
    let _turn = cx.turn(allocation.id.uid);
    let others = intent.beside(allocation.id);
    if let Err(fault) = cx.persist.save_what_gives_back(intent).await {
        intent_failed(&cx, allocation.id, &fault).await;
        return;
    }
    let outcome = lowered(&cx, &allocation).await;
    if let Outcome::Lowered(keeps) = outcome
        && !allocation.in_share
    {
        let around = others.with(&allocation.keeping(keeps));
        cx.settle_around(allocation.id.uid, Some(&around)).await;
    }
    // The intent is stored, and a start would finish it: where the outcome is not, nothing is lost.
    let _ = cx.store_outcome(cx.settle(allocation.id, outcome).await).await;
}

async fn lowered(cx: &Context, allocation: &Allocation) -> Outcome {
    let unit = allocation.unit();
    let used = match cx.cgroups.usage(unit) {
        Ok(Some(used)) => used,
        Ok(None) => return Outcome::undone("there is no such cgroup"),
        Err(fault) => {
            error!(unit = %unit, "{}", chain(&fault));
            return Outcome::undone(fault);
        }
    };
    let keeps = keeps(allocation, used.mem, used.tasks);
    let new = allocation.keeping(keeps);
    if let Err(error) = cx.set(&new).await {
        warn!(unit = %unit, "the limits of {unit} could not be lowered: {}", in_full(&error));
        return refused(cx, allocation, &error);
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
fn refused(cx: &Context, allocation: &Allocation, error: &WireError) -> Outcome {
    match kernel::limits_hold(&cx.cgroups, allocation) {
        Ok(()) => Outcome::undone(error),
        Err(_) => Outcome::Unknown,
    }
}

/// Gives an allocation whose lease was over all that it was granted.
pub async fn renew(cx: Context, allocation: Allocation, shown: ShareInfo, intent: Image, reply: Reply) {
    let turn = cx.turn(allocation.id.uid);
    let result = renewed(&cx, &allocation, intent).await;
    drop(turn);
    reply.send(result.map(|()| Answer::Share(HeldShare { share: shown })));
}

async fn renewed(cx: &Context, allocation: &Allocation, intent: Image) -> Result<(), WireError> {
    let others = intent.beside(allocation.id);
    if let Err(fault) = cx.persist.save(intent).await {
        return Err(intent_failed(cx, allocation.id, &fault).await);
    }
    let whole = Allocation { lease: None, ..allocation.clone() };
    let set = match cx.surround(&whole, &others.with(&whole)).await {
        Ok(()) => cx.set(&whole).await,
        failed => failed,
    };
    if let Err(error) = set {
        // Nothing is set back: less than is used by now would kill.
        let outcome = refused(cx, allocation, &error);
        let _ = cx.store_outcome(cx.settle(allocation.id, outcome).await).await;
        return Err(error);
    }
    // The intent is stored, and a start would finish it: where the outcome is not, nothing is lost.
    let _ = cx.store_outcome(cx.settle(allocation.id, Outcome::Done).await).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{AllocationId, Uid};
    use crate::ledger::{BootId, Now};
    use crate::quantity::{Amount, MilliCpu};

    #[test]
    fn what_a_share_keeps_is_what_it_uses_and_a_margin_but_never_more_than_it_was_granted() {
        let amount = Amount { cpu: MilliCpu(1000), mem: Bytes(1 << 30), tasks: Tasks(100) };
        let allocation = Allocation::active(
            AllocationId::standing(Uid::ROOT),
            amount,
            Bytes(0),
            Now::default(),
            BootId("b".into()),
        );
        let of = |mem: u64, tasks: u64| {
            let keeps = keeps(&allocation, Bytes(mem), Tasks(tasks));
            (keeps.mem.0, keeps.tasks.0)
        };
        assert_eq!(of(0, 0), (16 << 20, 8));
        assert_eq!(of(512 << 20, 3), (544 << 20, 11));
        assert_eq!(of((512 << 20) + 1, 3).0 % PAGE_BYTES, 0, "a limit that the kernel can hold");
        assert_eq!(of(1020 << 20, 99), (1 << 30, 100));
    }
}
