//! `dump`: everything that the daemon remembers.

use super::{Account, Beside, Due, Endpoint, Needs, Turn};
use crate::contract::{
    AllocationDump, AllocationPhase, Answer, Dump, DumpAnswer, DumpInfo, JOBS_DUMPED_MAX, PastUse,
};
use crate::daemon::asking::caller::{Asking, Caller};
use crate::daemon::asking::deed::Deed;
use crate::daemon::asking::present::Present;
use crate::daemon::telling::fit::Space;
use crate::daemon::telling::shown::Shown;
use crate::identity::Uid;
use crate::ledger::allocation::{Allocation, Phase};
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
    let past_use = |uid: Uid| PastUse { uid: uid.get().into(), used_ms: ledger.fairness().worth_ms(uid) };
    // Each is measured, so that what the jobs do not take the shares have.
    let mut space = Space::of_a_frame();
    let mut jobs = shown.jobs(ledger.jobs().values().skip(older));
    let left_out = space.last(&mut jobs, usize::MAX).unwrap_or(0);
    let members = ledger.fairness().lags().accounts.keys().copied();
    let mut past_use: Vec<_> = members.map(past_use).filter(|past| past.used_ms > 0).collect();
    let past_use_left_out = space.first(&mut past_use, usize::MAX);
    let mut allocations: Vec<_> =
        ledger.allocations().values().map(|held| allocation_dumped(shown, held)).collect();
    let allocations_left_out = space.first(&mut allocations, usize::MAX);
    DumpInfo {
        at_ms: now.wall_ms,
        boot: ledger.boot().0.clone(),
        revision: ledger.revision(),
        next_job: ledger.next_job(),
        draining: ledger.draining(),
        capacity: shown.capacity(),
        half_life_ms: ledger.fairness().lags().half_life_ms,
        past_use,
        past_use_left_out,
        allocations,
        allocations_left_out,
        jobs,
        jobs_left_out: left_out.saturating_add(older as u64),
    }
}

fn allocation_dumped(shown: &Shown<'_>, held: &Allocation) -> AllocationDump {
    let (phase, job) = match held.phase {
        Phase::Granting { job } => (AllocationPhase::Granting, job),
        Phase::Active => (AllocationPhase::Active, None),
        Phase::Resizing { .. } => (AllocationPhase::Resizing, None),
        Phase::Lowering => (AllocationPhase::Lowering, None),
        Phase::Renewing { .. } => (AllocationPhase::Renewing, None),
        Phase::Releasing => (AllocationPhase::Releasing, None),
        Phase::Stopping { job } => (AllocationPhase::Stopping, Some(job)),
    };
    AllocationDump {
        uid: held.id.uid.get().into(),
        user: held.user.clone(),
        allocation: shown.allocation(held),
        phase,
        job_id: job.map(|job| job.0),
    }
}
