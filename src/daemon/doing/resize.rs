//! Allocations that are made larger or smaller in place.

use tokio::time::{Instant, sleep};
use tracing::error;

use super::allocation::{Context, intent_failed};
use super::kernel;
use crate::cgroup::CgroupFault;
use crate::contract::{Answer, HeldShare, ShareInfo};
use crate::daemon::telling::answer;
use crate::daemon::telling::reply::Reply;
use crate::enforced::Enforced;
use crate::identity::UnitName;
use crate::ledger::allocation::{Allocation, Phase};
use crate::ledger::refusal::Refusal;
use crate::ledger::{Image, Outcome};
use crate::quantity::{Amount, Bytes};
use crate::serving::logging::chain;
use crate::systemd::property::{self, Property};
use crate::wire::error::WireError;

/// The most memory that the kernel has to take back for one limit that is set. It does so within the write of PID 1, which
/// waits and serves nobody; where pages have become dirty meanwhile, as long as a disk takes for so many.
pub const TAKEN_BACK_AT_ONCE_MAX: Bytes = Bytes(64 << 20);

/// Changes the limits of an allocation in place.
pub async fn resize(
    cx: Context,
    allocation: Allocation,
    to: Amount,
    shown: ShareInfo,
    intent: Image,
    reply: Reply,
) {
    let turn = cx.turn(allocation.id.uid);
    let result = resized(&cx, &allocation, to, intent).await;
    drop(turn);
    reply.send(result.map(|()| Answer::Share(HeldShare { share: shown })));
}

async fn resized(cx: &Context, allocation: &Allocation, to: Amount, intent: Image) -> Result<(), WireError> {
    let (id, others) = (allocation.id, intent.beside(allocation.id));
    if let Err(fault) = cx.persist.save(intent).await {
        return Err(intent_failed(cx, id, &fault).await);
    }
    let new = Allocation { amount: to, phase: Phase::Active, ..allocation.clone() };
    // Where the slice has drifted, setting what changes would leave the rest adrift.
    let drifted = kernel::limits_hold(&cx.cgroups, allocation).is_err();
    let (before, after) = (allocation.enforced(), new.enforced());
    let setting = |from: &Enforced, to: &Enforced| {
        if drifted { property::limits(to, cx.capacity) } else { property::changes(from, to, cx.capacity) }
    };
    let lowers = drifted || to.mem < allocation.amount.mem;
    let mut untouched = true;
    // Around it there is room first, and what is not needed any more goes last.
    let around =
        if allocation.in_share { Ok(()) } else { cx.surround(allocation, &others.with(allocation)).await };
    let near = match around {
        Ok(()) if lowers => approach(cx, allocation, to.mem, setting, &mut untouched).await,
        around => around,
    };
    let set = match near {
        Ok(()) => {
            untouched = false;
            cx.set_these(allocation.unit(), setting(&before, &after), &after).await
        }
        Err(error) => Err(error),
    };
    let Err(error) = set else {
        if !allocation.in_share {
            cx.settle_around(id.uid, Some(&others.with(&new))).await;
        }
        // The intent is stored, and a start would finish it: where the outcome is not, nothing is lost.
        let _ = cx.store_outcome(cx.settle(id, Outcome::Done).await).await;
        return Ok(());
    };
    let outcome =
        if untouched || set_back(cx, allocation).await { Outcome::undone(&error) } else { Outcome::Unknown };
    if matches!(outcome, Outcome::Undone(_)) && !allocation.in_share {
        let before = Allocation { phase: Phase::Active, ..allocation.clone() };
        cx.settle_around(id.uid, Some(&others.with(&before))).await;
    }
    let _ = cx.store_outcome(cx.settle(id, outcome).await).await;
    Err(error)
}

/// Brings the limit of an allocation's memory down to where the rest of the way to `asked` is one step, as the kernel takes page
/// cache back while PID 1 waits. What is inside may have grown meanwhile, perhaps over what is to be set: it is looked at
/// last, with nothing awaited after it.
///
/// `untouched` is false from the first limit on that was set.
async fn approach(
    cx: &Context,
    allocation: &Allocation,
    asked: Bytes,
    setting: impl Fn(&Enforced, &Enforced) -> Vec<Property>,
    untouched: &mut bool,
) -> Result<(), WireError> {
    let mut limit = Bytes(u64::MAX);
    loop {
        let memory = said(cx.cgroups.memory_by_kind(allocation.unit()))?;
        let in_use = memory.in_use();
        if in_use > asked {
            return Err(answer::refusal(&Refusal::MemoryInUse { in_use, asked }));
        }
        limit = Bytes(memory.current.min(limit).0.saturating_sub(TAKEN_BACK_AT_ONCE_MAX.0));
        if limit <= asked {
            return Ok(());
        }
        let before = allocation.enforced();
        let step = Enforced { most: Amount { mem: limit, ..before.most }, ..before };
        *untouched = false;
        let began = Instant::now();
        cx.set_these(allocation.unit(), setting(&before, &step), &step).await?;
        // As long as PID 1 was kept, so long it is left to others: half of its time is the most that one member has of it.
        sleep(began.elapsed()).await;
    }
}

/// Sets the limits that an allocation had before a resize that failed, unless more is in use by now than it may have. Whether
/// the kernel holds them: what systemd refused has changed nothing, and then a look later must not find an intent to finish.
async fn set_back(cx: &Context, allocation: &Allocation) -> bool {
    let set = match spares(cx, allocation.unit(), allocation.enforced().most.mem) {
        Ok(()) => cx.set(allocation).await,
        Err(error) => Err(error),
    };
    set.is_ok() || kernel::limits_hold(&cx.cgroups, allocation).is_ok()
}

/// Refuses a limit under what an allocation uses at this moment, page cache too.
fn spares(cx: &Context, unit: UnitName, asked: Bytes) -> Result<(), WireError> {
    let in_use = said(cx.cgroups.memory(unit))?;
    if in_use > asked { Err(answer::refusal(&Refusal::MemoryInUse { in_use, asked })) } else { Ok(()) }
}

/// What the kernel says of a slice; nothing is in one that is not there. A fault is logged: the answer may reach nobody.
fn said<T: Default>(said: Result<Option<T>, CgroupFault>) -> Result<T, WireError> {
    said.map(Option::unwrap_or_default).map_err(|fault| {
        error!("{}", chain(&fault));
        answer::cgroup(&fault)
    })
}
