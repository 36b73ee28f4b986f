//! `dump`: everything that the daemon remembers.

use super::{Account, Beside, Due, Endpoint, Needs, Turn};
use crate::contract::{Answer, Dump, DumpAnswer, DumpInfo, JOBS_DUMPED_MAX, PastUse, ShareDump, SharePhase};
use crate::daemon::asking::caller::{Asking, Caller};
use crate::daemon::asking::deed::Deed;
use crate::daemon::asking::present::Present;
use crate::daemon::telling::fit::Space;
use crate::daemon::telling::shown::Shown;
use crate::identity::Uid;
use crate::ledger::share::{Phase, Share};
use crate::policy::Role;
use crate::wire::error::WireError;

impl Endpoint for Dump {
    const LEAST: Role = Role::Admin;
    const TURN: Turn = Turn::Nobodys;
    // What is remembered is looked into most where something is missing.
    const WHEN_DEGRADED: bool = true;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: true };
    const DUE: Due = Due::Later;
    const QUESTION: bool = true;
    const BESIDE: Beside = Beside::Nothing;
    const STARTS_A_UNIT: bool = false;

    type Act = ();

    fn act(self, _asking: &mut Asking<'_>) -> Result<Self::Act, WireError> {
        Ok(())
    }

    fn deed(_act: &Self::Act, _by: &Caller, now: &Present<'_>) -> Result<Deed, WireError> {
        Ok(Deed::Answer(Answer::Dump(DumpAnswer { dump: dumped(&now.shown) })))
    }
}

fn dumped(shown: &Shown<'_>) -> DumpInfo {
    let Shown { ledger, now, .. } = *shown;
    let older = ledger.jobs().len().saturating_sub(JOBS_DUMPED_MAX);
    let past_use = |uid: Uid| PastUse {
        uid: uid.get().into(),
        used_ms: ledger.fairness().worth_ms(uid, ledger.time(now)),
    };
    // Each is measured, so that what the jobs do not take the shares have.
    let mut space = Space::of_a_frame();
    let mut jobs = shown.jobs(ledger.jobs().values().skip(older));
    let left_out = space.last(&mut jobs, usize::MAX).unwrap_or(0);
    let mut past_use: Vec<_> = ledger.fairness().accounts.keys().copied().map(past_use).collect();
    let past_use_left_out = space.first(&mut past_use, usize::MAX);
    let mut shares: Vec<_> = ledger.shares().values().map(|share| share_dumped(shown, share)).collect();
    let shares_left_out = space.first(&mut shares, usize::MAX);
    DumpInfo {
        at_ms: now.wall_ms,
        boot: ledger.boot().0.clone(),
        revision: ledger.revision(),
        next_job: ledger.next_job(),
        draining: ledger.draining(),
        capacity: shown.capacity(),
        half_life_ms: ledger.fairness().half_life_ms,
        past_use,
        past_use_left_out,
        shares,
        shares_left_out,
        jobs,
        jobs_left_out: left_out.saturating_add(older as u64),
    }
}

fn share_dumped(shown: &Shown<'_>, share: &Share) -> ShareDump {
    let (phase, job) = match share.phase {
        Phase::Granting { job } => (SharePhase::Granting, job),
        Phase::Active => (SharePhase::Active, None),
        Phase::Resizing { .. } => (SharePhase::Resizing, None),
        Phase::Lowering => (SharePhase::Lowering, None),
        Phase::Renewing { .. } => (SharePhase::Renewing, None),
        Phase::Releasing => (SharePhase::Releasing, None),
        Phase::Stopping { job } => (SharePhase::Stopping, Some(job)),
    };
    ShareDump { share: shown.share(share), phase, job_id: job.map(|job| job.0) }
}
