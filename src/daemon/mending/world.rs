//! State and world laid side by side, and made to agree: the hands of [`crate::ledger::reconcile`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use crate::cgroup::{CgroupFault, Cgroups};
use crate::daemon::asking::accounts::Accounts;
use crate::daemon::doing::share::Context;
use crate::daemon::telling::answer;
use crate::enforced::{Enforced, Limit};
use crate::host::account::Directory;
use crate::identity::{JobId, Uid, UnitName};
use crate::ledger::reconcile::{Found, Known, Verdict, verdicts};
use crate::ledger::share::Share;
use crate::ledger::{Ledger, Now};
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

/// What was done about one member.
#[derive(Debug)]
pub struct Mended {
    /// The member.
    pub uid: Uid,
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
    /// Member by member.
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
    pub works: BTreeSet<(Uid, JobId)>,
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
    let (found, below) = observe(&cx.systemd, &cx.cgroups).await?;
    let known = known(&cx.accounts, policy, ledger, &found).await;
    let mut mended = Vec::new();
    for (uid, verdict) in verdicts(ledger, &found, &known) {
        if only.is_some_and(|only| !only.contains(&uid)) {
            continue;
        }
        let known = known.get(&uid).cloned();
        let done = carry_out(cx, ledger, policy.swap, uid, &verdict, known.as_ref()).await;
        mended.push(Mended { uid, verdict, known, done });
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
    let (found, below) = observe(systemd, cgroups).await?;
    let known = known(accounts, policy, ledger, &found).await;
    let shown = verdicts(ledger, &found, &known)
        .into_iter()
        .filter(|(_, verdict)| matches!(verdict, Verdict::Adopt { .. } | Verdict::KeepStray));
    let mended = shown
        .map(|(uid, verdict)| Mended { uid, verdict, known: known.get(&uid).cloned(), done: Ok(()) })
        .collect();
    Ok(Survey { mended, below })
}

/// The slices that exist, and what is in them.
async fn observe(systemd: &Systemd, cgroups: &Cgroups) -> Result<(BTreeMap<Uid, Found>, Below), Fault> {
    let listing = systemd.list().await?;
    for name in &listing.strangers {
        warn!(unit = name, "ignoring {name}: not the name of a share, a scope or a job");
    }
    let mut below = Below::default();
    let mut found = BTreeMap::new();
    for listed in &listing.ours {
        match listed.unit {
            UnitName::Run(_, run) => below.runs_taken = below.runs_taken.max(run),
            UnitName::JobService(uid, job) | UnitName::JobSlice(uid, job) => {
                below.works.insert((uid, job));
            }
            UnitName::Share(uid) if listed.active == ActiveState::Active => match look(cgroups, uid) {
                Ok(slice) => drop(found.insert(uid, slice)),
                Err(fault) => error!(unit = %listed.unit, "ignoring {}: {}", listed.unit, chain(&fault)),
            },
            UnitName::Share(_) => {}
        }
    }
    Ok((found, below))
}

/// A slice that systemd says is active, as the kernel has it. Without a cgroup it is empty and limits nothing.
fn look(cgroups: &Cgroups, uid: Uid) -> Result<Found, CgroupFault> {
    let unit = UnitName::Share(uid);
    let limits = cgroups.limits(unit)?.unwrap_or_default();
    let mem_in_use = cgroups.memory(unit)?.unwrap_or_default();
    let tasks_in_use = cgroups.tasks(unit)?.unwrap_or_default();
    let populated = cgroups.populated(unit)?.unwrap_or(false);
    Ok(Found { limits, mem_in_use, tasks_in_use, populated })
}

/// Which users of slices that nobody remembers the system knows. A database that does not answer must not make a share a stray's.
async fn known(
    accounts: &Accounts,
    policy: &Arc<Policy>,
    ledger: &Ledger,
    found: &BTreeMap<Uid, Found>,
) -> BTreeMap<Uid, Known> {
    let uids: Vec<Uid> = found.keys().filter(|uid| ledger.share(**uid).is_none()).copied().collect();
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

async fn carry_out(
    cx: &Context,
    ledger: &Ledger,
    swap: Bytes,
    uid: Uid,
    verdict: &Verdict,
    known: Option<&Known>,
) -> Result<(), WireError> {
    let unit = UnitName::Share(uid);
    let share = ledger.share(uid);
    match verdict {
        Verdict::Keep => return Ok(()),
        Verdict::KeepStray => {
            warn!(unit = %unit, "keeping {unit}: nobody has uid {uid}, and processes are inside");
            return Ok(());
        }
        Verdict::Drop => {
            warn!(unit = %unit, "dropped the share of uid {uid}: {unit} was stopped by someone else");
            return Ok(());
        }
        Verdict::Lapse => {
            info!(unit = %unit, "dropped the share of uid {uid}: its lease ended, and the machine rebooted since");
            return Ok(());
        }
        Verdict::Forget => {
            info!(unit = %unit, "forgot a change of the share of uid {uid} that was never carried out");
            return Ok(());
        }
        Verdict::SetAgain => {
            warn!(unit = %unit, "{unit} has drifted from its share: setting its limits again")
        }
        Verdict::MakeAgain => info!(unit = %unit, "making {unit} again after a reboot"),
        Verdict::Finish { .. } => info!(unit = %unit, "finishing a change of {unit} that was under way"),
        Verdict::Adopt { .. } => info!(unit = %unit, "adopting {unit}, which no state remembers"),
        Verdict::FinishRelease => info!(unit = %unit, "finishing the release of {unit}"),
        Verdict::StopStray => info!(unit = %unit, "stopping {unit}: it is empty, and nobody has uid {uid}"),
    }
    match verdict {
        Verdict::FinishRelease | Verdict::StopStray => {
            cx.systemd.stop(unit, STOP_EMPTY_TIMEOUT).await.map(drop).map_err(|fault| {
                error!(unit = %unit, "{}", chain(&fault));
                answer::systemd(&fault)
            })
        }
        // It is not given back after all. What it keeps of an ended lease it keeps, and nothing that it uses is taken.
        Verdict::Finish { .. } if share.is_some_and(|share| share.phase.gives_back()) => match share {
            Some(share) => set_again(cx, share).await,
            None => Ok(()),
        },
        Verdict::Finish { amount } | Verdict::Adopt { amount } => {
            let granted = share.map_or(Now::default(), |share| share.granted);
            let swap = share.map_or(swap, |share| share.swap);
            let user = share.and_then(|share| share.user.clone()).or(known.map(|known| known.user.clone()));
            let burst = share.map_or(known.and_then(|known| known.burst), |share| share.terms.burst);
            let mut share =
                Share { user, ..Share::active(uid, *amount, swap, granted, ledger.boot().clone()) };
            share.terms.burst = burst;
            cx.enforce(&share).await
        }
        Verdict::SetAgain => match share {
            Some(share) => set_again(cx, share).await,
            None => Ok(()),
        },
        _ => match share {
            Some(share) => cx.enforce(share).await,
            None => Ok(()),
        },
    }
}

/// Sets the limits of a share again. Where more memory is in use than the share has, its limit stays what somebody else
/// made it: the kernel would kill to get under it, and no start kills. `health` shows it, and each sweep tries again.
async fn set_again(cx: &Context, share: &Share) -> Result<(), WireError> {
    let unit = UnitName::Share(share.uid);
    let in_use = cx.cgroups.memory(unit).map_err(|fault| answer::cgroup(&fault))?.unwrap_or_default();
    let enforced = share.enforced();
    let mem = enforced.most.mem;
    if in_use <= mem {
        return cx.enforce(share).await;
    }
    warn!(
        unit = %unit,
        "{unit} uses {in_use}, more than the {mem} of its share: proceeding without setting its memory"
    );
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
            cx.read_back(share.uid, &rest).await
        }
        _ => Ok(()),
    }
}
