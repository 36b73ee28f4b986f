//! State and world laid side by side, and made to agree: the hands of [`crate::ledger::reconcile`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use crate::cgroup::{CgroupFault, Cgroups};
use crate::daemon::asking::accounts::Accounts;
use crate::daemon::doing::allocation::Context;
use crate::daemon::telling::answer;
use crate::enforced::{Enforced, KernelLimits, Limit};
use crate::host::account::Directory;
use crate::identity::{AllocationId, JobId, JobUnits, Purpose, Uid, UnitName, Within};
use crate::ledger::allocation::{Allocation, Phase};
use crate::ledger::reconcile::{Found, Known, Verdict, verdicts};
use crate::ledger::{Ledger, Now, share};
use crate::policy::{MemberPolicy, Policy};
use crate::quantity::{Amount, Bytes};
use crate::serving::logging::chain;
use crate::systemd::property;
use crate::systemd::{ActiveState, Fault, Systemd};
use crate::wire::error::WireError;

/// How long the user database has to name the users of slices that nobody remembers. Without its answer they count as known.
const KNOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the removal of an empty slice may take at a start.
const STOP_EMPTY_TIMEOUT: Duration = Duration::from_secs(10);

/// What was done about one allocation.
#[derive(Debug)]
pub struct Mended {
    /// The allocation that was looked at.
    pub id: AllocationId,
    /// The slice of that allocation.
    pub unit: UnitName,
    /// What was to be done.
    pub verdict: Verdict,
    /// The member, where the system knows them and it mattered.
    pub known: Option<Known>,
    /// Whether it holds now; what happened otherwise, logged already.
    pub done: Result<(), WireError>,
}

/// What looking at the world gave.
#[derive(Debug)]
pub struct Survey {
    /// Allocation by allocation.
    pub mended: Vec<Mended>,
    /// What else of ours there is.
    pub below: Below,
}

/// What is in shares.
#[derive(Debug, Default)]
pub struct Below {
    /// The largest number of a scope that exists.
    pub runs_taken: u64,
    /// The submitted commands that have units.
    pub works: BTreeSet<(JobId, JobUnits)>,
    /// Those of them that have services: systemd was asked to start these.
    pub services: BTreeSet<JobId>,
    /// The members who have slices.
    shares: BTreeSet<Uid>,
}

/// Looks at systemd and the kernel, and makes what is there agree with the ledger: for `only` these members, or all.
///
/// # Errors
/// systemd or the kernel cannot be asked at all.
pub async fn mend(
    cx: &Context,
    ledger: &Ledger,
    policy: &Arc<Policy>,
    only: Option<&BTreeSet<Uid>>,
) -> Result<Survey, Fault> {
    let concerns = |uid: &Uid| only.is_none_or(|only| only.contains(uid));
    let (found, below) = observe(&cx.systemd, &cx.cgroups, ledger, concerns).await?;
    let known = known(&cx.accounts, policy, ledger, &found).await;
    let mut verdicts = verdicts(ledger, &found, &known);
    verdicts.retain(|id, _| concerns(&id.uid));
    let then = |(id, verdict): (&AllocationId, &Verdict)| {
        Some((*id, after(ledger, policy.swap, *id, verdict, known.get(&id.uid))?))
    };
    let then: BTreeMap<AllocationId, Allocation> = verdicts.iter().filter_map(then).collect();
    let around = |uid: Uid| share::enforced(then.values().filter(|allocation| allocation.id.uid == uid));
    let mut mended = Vec::new();
    for (id, verdict) in verdicts {
        let unit = unit_of(ledger, id, found.get(&id));
        let was = ledger.allocation(id);
        let done = match then.get(&id).zip(around(id.uid)) {
            Some((allocation, around)) => keep(cx, allocation, was, &verdict, &around).await,
            None => let_go(cx, id, unit, &verdict).await,
        };
        mended.push(Mended { id, unit, verdict, known: known.get(&id.uid).cloned(), done });
    }
    // Around nothing there is nothing to hold.
    for uid in below.shares.iter().filter(|uid| concerns(uid) && around(**uid).is_none()) {
        cx.settle_around(*uid, None).await;
    }
    Ok(Survey { mended, below })
}

/// Looks at systemd and the kernel, and changes nothing: what is there is to be shown.
///
/// # Errors
/// systemd cannot be asked at all.
pub async fn glance(
    systemd: &Systemd,
    cgroups: &Cgroups,
    accounts: &Accounts,
    ledger: &Ledger,
    policy: &Arc<Policy>,
) -> Result<Survey, Fault> {
    let (found, below) = observe(systemd, cgroups, ledger, |_| true).await?;
    let known = known(accounts, policy, ledger, &found).await;
    let shown = verdicts(ledger, &found, &known)
        .into_iter()
        .filter(|(_, verdict)| matches!(verdict, Verdict::Adopt { .. } | Verdict::KeepStray));
    let mended = shown
        .map(|(id, verdict)| {
            let unit = unit_of(ledger, id, found.get(&id));
            Mended { id, unit, verdict, known: known.get(&id.uid).cloned(), done: Ok(()) }
        })
        .collect();
    Ok(Survey { mended, below })
}

/// The slice of an allocation, as it is remembered or else as it was found.
fn unit_of(ledger: &Ledger, id: AllocationId, found: Option<&Found>) -> UnitName {
    let as_in_0_1 = ledger.allocation(id).is_none() && found.is_some_and(|found| found.in_share);
    if as_in_0_1 { UnitName::Share(id.uid) } else { ledger.unit(id) }
}

/// The slices that exist, and what is in those of the members whom it concerns.
async fn observe(
    systemd: &Systemd,
    cgroups: &Cgroups,
    ledger: &Ledger,
    concerns: impl Fn(&Uid) -> bool,
) -> Result<(BTreeMap<AllocationId, Found>, Below), Fault> {
    let listing = systemd.list().await?;
    for name in &listing.strangers {
        warn!(unit = name, "ignoring {name}: not the name of a share, a scope or a job");
    }
    let mut below = Below::default();
    // Members whose work is in their slice itself: the ledger says so, or there is what only 0.1 made: scopes, and slices of
    // commands that bound nothing.
    let in_share = ledger.allocations().values().filter(|allocation| allocation.in_share);
    let mut in_share: BTreeSet<Uid> = in_share.map(|allocation| allocation.id.uid).collect();
    for listed in &listing.ours {
        match listed.unit {
            UnitName::Run(uid, within, run) => {
                below.runs_taken = below.runs_taken.max(run);
                let remembered = ledger.allocation(AllocationId::standing(uid)).is_some();
                in_share.extend(Some(uid).filter(|_| within == Within::Share && !remembered));
            }
            UnitName::JobService(uid, within, job) | UnitName::JobSlice(uid, within, job) => {
                below.works.insert((job, JobUnits::of(uid, within, job)));
                let is_service = matches!(listed.unit, UnitName::JobService(..));
                below.services.extend(Some(job).filter(|_| is_service));
                let alone = within == Within::Share && ledger.share(uid).is_none() && concerns(&uid);
                let unbound = |limits: KernelLimits| limits.mem == Some(Limit::Max);
                let slice = JobUnits::of(uid, within, job).slice;
                let limits = if alone { cgroups.limits(slice).ok().flatten() } else { None };
                in_share.extend(Some(uid).filter(|_| limits.is_some_and(unbound)));
            }
            UnitName::Share(uid) => drop(below.shares.insert(uid)),
            UnitName::Own(_) | UnitName::RunSlice(..) => {}
        }
    }
    let mut found = BTreeMap::new();
    for listed in listing.ours.iter().filter(|listed| listed.active == ActiveState::Active) {
        let uid = listed.unit.uid();
        if !concerns(&uid) {
            continue;
        }
        let id = match (in_share.contains(&uid), listed.unit) {
            (true, UnitName::Share(uid)) => AllocationId::standing(uid),
            (true, _) => continue,
            (false, unit) => match unit.allocation() {
                Some(id) => id,
                None => continue,
            },
        };
        match look(cgroups, listed.unit) {
            Ok(slice) => drop(found.insert(id, slice)),
            Err(fault) => error!(unit = %listed.unit, "ignoring {}: {}", listed.unit, chain(&fault)),
        }
    }
    Ok((found, below))
}

/// A slice that systemd says is active, as the kernel has it. Without a cgroup it is empty and limits nothing.
fn look(cgroups: &Cgroups, unit: UnitName) -> Result<Found, CgroupFault> {
    let limits = cgroups.limits(unit)?.unwrap_or_default();
    let mem_in_use = cgroups.memory(unit)?.unwrap_or_default();
    let tasks_in_use = cgroups.tasks(unit)?.unwrap_or_default();
    let populated = cgroups.populated(unit)?.unwrap_or(false);
    Ok(Found { limits, mem_in_use, tasks_in_use, populated, in_share: matches!(unit, UnitName::Share(_)) })
}

/// Which users of slices that nobody remembers the system knows. A database that does not answer must not make a share a stray's.
async fn known(
    accounts: &Accounts,
    policy: &Arc<Policy>,
    ledger: &Ledger,
    found: &BTreeMap<AllocationId, Found>,
) -> BTreeMap<Uid, Known> {
    let unremembered = found.keys().filter(|id| ledger.allocation(**id).is_none());
    let uids: Vec<Uid> = unremembered.map(|id| id.uid).collect::<BTreeSet<Uid>>().into_iter().collect();
    if uids.is_empty() {
        return BTreeMap::new();
    }
    let (policy, max, asked) = (Arc::clone(policy), policy.max, uids.clone());
    let look_up = move |directory: &Directory| {
        let entry = |uid: Uid| match directory.by_uid(uid) {
            Ok(Some(account)) => {
                let MemberPolicy { max, burst, .. } = policy.member(uid, &account.groups);
                Some((uid, Known { user: account.user.unwrap_or_else(|| uid.to_string()), max, burst }))
            }
            Ok(None) => None,
            Err(why) => {
                error!("{why}, proceeding as if uid {uid} were known");
                Some((uid, nameless(uid, max)))
            }
        };
        asked.into_iter().filter_map(entry).collect()
    };
    accounts.ask(KNOWN_TIMEOUT, look_up).await.unwrap_or_else(|why| {
        error!("the user database does not answer ({why}), proceeding as if {} users were known", uids.len());
        uids.into_iter().map(|uid| (uid, nameless(uid, max))).collect()
    })
}

/// A user whom nobody has given a name.
fn nameless(uid: Uid, max: Amount) -> Known {
    Known { user: uid.to_string(), max, burst: None }
}

/// What an allocation is when this has been done; `None` where there is none then.
fn after(
    ledger: &Ledger,
    swap: Bytes,
    id: AllocationId,
    verdict: &Verdict,
    known: Option<&Known>,
) -> Option<Allocation> {
    let was = ledger.allocation(id);
    match verdict {
        Verdict::Keep | Verdict::SetAgain | Verdict::MakeAgain => was.cloned(),
        // It is not given back after all. What it keeps of an ended lease it keeps, and nothing that it uses is taken.
        Verdict::Finish { .. } if was.is_some_and(|was| was.phase.gives_back()) => {
            Some(Allocation { phase: Phase::Active, ..was.cloned()? })
        }
        Verdict::Finish { amount } => {
            let was = was?;
            Some(Allocation { amount: *amount, phase: Phase::Active, lease: None, ..was.clone() })
        }
        Verdict::Adopt { amount, in_share } => {
            let boot = ledger.boot().clone();
            let mut new = Allocation::active(id, *amount, swap, Now::default(), boot);
            new.in_share = *in_share;
            new.user = known.map(|known| known.user.clone());
            new.terms.burst = known.and_then(|known| known.burst);
            new.terms.max = known.map_or(*amount, |known| known.max);
            Some(new)
        }
        Verdict::Drop
        | Verdict::Lapse
        | Verdict::Forget
        | Verdict::FinishRelease
        | Verdict::StopStray
        | Verdict::KeepStray => None,
    }
}

/// Does what keeps or makes an allocation, which `was` so.
async fn keep(
    cx: &Context,
    allocation: &Allocation,
    was: Option<&Allocation>,
    verdict: &Verdict,
    around: &Enforced,
) -> Result<(), WireError> {
    let unit = allocation.unit();
    match verdict {
        Verdict::Keep if allocation.in_share => return Ok(()),
        Verdict::Keep => {
            if cx.holds(UnitName::Share(allocation.id.uid), around).is_ok_and(|held| held == Some(true)) {
                return Ok(());
            }
            info!(unit = %unit, "setting what is around {unit} again");
            return cx.surround(allocation, around).await;
        }
        Verdict::SetAgain => {
            warn!(unit = %unit, "{unit} has drifted from its share: setting its limits again")
        }
        Verdict::MakeAgain => info!(unit = %unit, "making {unit} again after a reboot"),
        Verdict::Finish { .. } => info!(unit = %unit, "finishing a change of {unit} that was under way"),
        _ => info!(unit = %unit, "adopting {unit}, which no state remembers"),
    }
    match verdict {
        Verdict::SetAgain => set_again(cx, allocation, around).await,
        Verdict::Finish { .. } if was.is_some_and(|was| was.phase.gives_back()) => {
            set_again(cx, allocation, around).await
        }
        _ => cx.enforce(allocation, around).await,
    }
}

/// Does what leaves no allocation.
async fn let_go(cx: &Context, id: AllocationId, unit: UnitName, verdict: &Verdict) -> Result<(), WireError> {
    let uid = id.uid;
    match verdict {
        Verdict::KeepStray => {
            warn!(unit = %unit, "keeping {unit}: nobody has uid {uid}, and processes are inside");
        }
        Verdict::Drop => warn!(unit = %unit, "dropped {id}: {unit} was stopped by someone else"),
        Verdict::Lapse if matches!(id.purpose, Purpose::Run(_)) => {
            info!(unit = %unit, "dropped {id}: its command ended with the machine");
        }
        Verdict::Lapse => {
            info!(unit = %unit, "dropped {id}: its lease ended, and the machine rebooted since");
        }
        Verdict::FinishRelease => info!(unit = %unit, "finishing the release of {unit}"),
        Verdict::StopStray if matches!(id.purpose, Purpose::Standing) => {
            info!(unit = %unit, "stopping {unit}: it is empty, and nobody has uid {uid}");
        }
        Verdict::StopStray => info!(unit = %unit, "stopping {unit}: it is empty, and its job is over"),
        _ => info!(unit = %unit, "forgot a change of {id} that was never carried out"),
    }
    match verdict {
        Verdict::FinishRelease | Verdict::StopStray => {
            cx.systemd.stop(unit, STOP_EMPTY_TIMEOUT).await.map(drop).map_err(|fault| {
                error!(unit = %unit, "{}", chain(&fault));
                answer::systemd(&fault)
            })
        }
        _ => Ok(()),
    }
}

/// Sets the limits of an allocation again. Where more memory is in use than it has, its limit stays what somebody else
/// made it: the kernel would kill to get under it, and no start kills. `health` shows it, and each sweep tries again.
async fn set_again(cx: &Context, allocation: &Allocation, around: &Enforced) -> Result<(), WireError> {
    let unit = allocation.unit();
    let in_use = cx.cgroups.memory(unit).map_err(|fault| answer::cgroup(&fault))?.unwrap_or_default();
    let enforced = allocation.enforced();
    let mem = enforced.most.mem;
    if in_use <= mem {
        return cx.enforce(allocation, around).await;
    }
    warn!(
        unit = %unit,
        "{unit} uses {in_use}, more than the {mem} of its share: proceeding without setting its memory"
    );
    if !allocation.in_share {
        cx.surround(allocation, around).await?;
    }
    let mut properties = property::limits(&enforced, cx.capacity);
    properties.retain(|property| property.name != "MemoryMax");
    cx.systemd.set_properties(&unit.to_string(), &properties).await.map_err(|fault| {
        error!(unit = %unit, "{}", chain(&fault));
        answer::systemd(&fault)
    })?;
    // systemd may answer before the kernel's files change. Without any limit of memory there is no figure to await them by.
    let limits = cx.cgroups.limits(unit).map_err(|fault| answer::cgroup(&fault))?;
    match limits.and_then(|limits| limits.mem) {
        Some(Limit::At(mem)) => {
            let rest = Enforced { most: Amount { mem, ..enforced.most }, ..enforced };
            cx.read_back(unit, &rest).await
        }
        _ => Ok(()),
    }
}
