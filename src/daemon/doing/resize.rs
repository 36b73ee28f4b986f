//! Shares that are made larger or smaller in place.

use tokio::time::{Instant, sleep};
use tracing::error;

use super::kernel;
use super::share::{Context, intent_failed};
use crate::cgroup::CgroupFault;
use crate::contract::{Answer, HeldShare, ShareInfo};
use crate::daemon::telling::answer;
use crate::daemon::telling::reply::Reply;
use crate::enforced::Enforced;
use crate::identity::{Uid, UnitName};
use crate::ledger::refusal::Refusal;
use crate::ledger::share::Share;
use crate::ledger::{Image, Outcome};
use crate::quantity::{Amount, Bytes};
use crate::serving::logging::chain;
use crate::systemd::property::{self, Property};
use crate::wire::error::WireError;

/// The most memory that the kernel has to take back for one limit that is set. It does so within the write of PID 1, which
/// waits and serves nobody; where pages have become dirty meanwhile, as long as a disk takes for so many.
pub const TAKEN_BACK_AT_ONCE_MAX: Bytes = Bytes(64 << 20);

/// Changes the limits of a share in place.
pub async fn resize(cx: Context, share: Share, to: Amount, shown: ShareInfo, intent: Image, reply: Reply) {
    let turn = cx.turn(share.uid);
    let result = resized(&cx, &share, to, intent).await;
    drop(turn);
    reply.send(result.map(|()| Answer::Share(HeldShare { share: shown })));
}

async fn resized(cx: &Context, share: &Share, to: Amount, intent: Image) -> Result<(), WireError> {
    let uid = share.uid;
    if let Err(fault) = cx.persist.save(intent).await {
        return Err(intent_failed(cx, uid, &fault).await);
    }
    let new = Share { amount: to, ..share.clone() };
    // Where the slice has drifted, setting what changes would leave the rest adrift.
    let drifted = kernel::limits_hold(&cx.cgroups, share).is_err();
    let (before, after) = (share.enforced(), new.enforced());
    let setting = |from: &Enforced, to: &Enforced| {
        if drifted { property::limits(to, cx.capacity) } else { property::changes(from, to, cx.capacity) }
    };
    let lowers = drifted || to.mem < share.amount.mem;
    let mut untouched = true;
    let near = if lowers { approach(cx, share, to.mem, setting, &mut untouched).await } else { Ok(()) };
    let set = match near {
        Ok(()) => {
            untouched = false;
            cx.set_these(uid, setting(&before, &after), &after).await
        }
        Err(error) => Err(error),
    };
    let Err(error) = set else {
        // The intent is stored, and a start would finish it: where the outcome is not, nothing is lost.
        let _ = cx.store_outcome(cx.settle(uid, Outcome::Done).await).await;
        return Ok(());
    };
    let outcome =
        if untouched || set_back(cx, share).await { Outcome::undone(&error) } else { Outcome::Unknown };
    let _ = cx.store_outcome(cx.settle(uid, outcome).await).await;
    Err(error)
}

/// Brings the limit of a share's memory down to where the rest of the way to `asked` is one step, as the kernel takes page
/// cache back while PID 1 waits. What is inside may have grown meanwhile, perhaps over what is to be set: it is looked at
/// last, with nothing awaited after it.
///
/// `untouched` is false from the first limit on that was set.
async fn approach(
    cx: &Context,
    share: &Share,
    asked: Bytes,
    setting: impl Fn(&Enforced, &Enforced) -> Vec<Property>,
    untouched: &mut bool,
) -> Result<(), WireError> {
    let mut limit = Bytes(u64::MAX);
    loop {
        let memory = said(cx.cgroups.memory_by_kind(UnitName::Share(share.uid)))?;
        let in_use = memory.in_use();
        if in_use > asked {
            return Err(answer::refusal(&Refusal::MemoryInUse { in_use, asked }));
        }
        limit = Bytes(memory.current.min(limit).0.saturating_sub(TAKEN_BACK_AT_ONCE_MAX.0));
        if limit <= asked {
            return Ok(());
        }
        let before = share.enforced();
        let step = Enforced { most: Amount { mem: limit, ..before.most }, ..before };
        *untouched = false;
        let began = Instant::now();
        cx.set_these(share.uid, setting(&before, &step), &step).await?;
        // As long as PID 1 was kept, so long it is left to others: half of its time is the most that one member has of it.
        sleep(began.elapsed()).await;
    }
}

/// Sets the limits that a share had before a resize that failed, unless more is in use by now than it may have. Whether
/// the kernel holds them: what systemd refused has changed nothing, and then a look later must not find an intent to finish.
async fn set_back(cx: &Context, share: &Share) -> bool {
    let set = match spares(cx, share.uid, share.enforced().most.mem) {
        Ok(()) => cx.set(share).await,
        Err(error) => Err(error),
    };
    set.is_ok() || kernel::limits_hold(&cx.cgroups, share).is_ok()
}

/// Refuses a limit under what a share uses at this moment, page cache too.
fn spares(cx: &Context, uid: Uid, asked: Bytes) -> Result<(), WireError> {
    let in_use = said(cx.cgroups.memory(UnitName::Share(uid)))?;
    if in_use > asked { Err(answer::refusal(&Refusal::MemoryInUse { in_use, asked })) } else { Ok(()) }
}

/// What the kernel says of a slice; nothing is in one that is not there. A fault is logged: the answer may reach nobody.
fn said<T: Default>(said: Result<Option<T>, CgroupFault>) -> Result<T, WireError> {
    said.map(Option::unwrap_or_default).map_err(|fault| {
        error!("{}", chain(&fault));
        answer::cgroup(&fault)
    })
}
