//! The state of versions 2 to 4. Read, and never written.
//!
//! What differs from the records of version 5: a member had one share, which was its own slice, and whatever they submitted ran in
//! it; nobody held and waited at once.

use serde::Deserialize;

use super::figures::{Figures, Moment};
use super::job::{JobRecord, KindRecord, StateRecord};
use super::lease::{LeaseRecord, TermsRecord};
use super::v5::{self, MeterRecord, UsedRecord};
use super::{AllocationRecord, ClockRecord, PhaseRecord};

/// All of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    pub(super) revision: u64,
    pub(super) next_job: u64,
    pub(super) clock: ClockRecord,
    pub(super) fairness: UsedRecord,
    pub(super) draining: bool,
    pub(super) shares: Vec<ShareRecord>,
    pub(super) jobs: Vec<JobRecord>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShareRecord {
    pub(super) uid: u64,
    pub(super) user: Option<String>,
    pub(super) amount: Figures,
    pub(super) swap_bytes: u64,
    pub(super) granted: Moment,
    pub(super) boot: String,
    pub(super) phase: PhaseRecord,
    pub(super) terms: TermsRecord,
    pub(super) lease: Option<LeaseRecord>,
    pub(super) metered_since_ms: u64,
    pub(super) metered_rate: u64,
}

impl From<State> for v5::State {
    fn from(state: State) -> Self {
        let meter = |share: &ShareRecord| MeterRecord {
            uid: share.uid,
            _since_ms: share.metered_since_ms,
            rate: share.metered_rate,
        };
        let meters = state.shares.iter().map(meter).collect();
        let mut jobs = state.jobs;
        let made_for: Vec<u64> = state.shares.iter().filter_map(ShareRecord::awaited_by_work).collect();
        jobs.iter_mut().filter(|job| !made_for.contains(&job.id)).for_each(runs_in_the_share);
        Self {
            revision: state.revision,
            next_job: state.next_job,
            clock: state.clock,
            fairness: state.fairness,
            draining: state.draining,
            allocations: state.shares.into_iter().map(ShareRecord::into).collect(),
            meters,
            reserved: None,
            jobs,
        }
    }
}

/// A command for which a share was taken ran in that share like any other.
fn runs_in_the_share(job: &mut JobRecord) {
    if let (KindRecord::Submit { ask, .. }, StateRecord::Running { .. }) = (&mut job.kind, &job.state) {
        *ask = None;
    }
}

impl ShareRecord {
    /// The submitted command that the share was being made for. Then there was no other share of its member, and nothing ran.
    fn awaited_by_work(&self) -> Option<u64> {
        match self.phase {
            PhaseRecord::Granting { job } if self.terms.for_work => job,
            _ => None,
        }
    }
}

impl From<ShareRecord> for AllocationRecord {
    fn from(share: ShareRecord) -> Self {
        let job = share.awaited_by_work();
        Self {
            uid: share.uid,
            job,
            run: None,
            in_share: job.is_none(),
            user: share.user,
            amount: share.amount,
            swap_bytes: share.swap_bytes,
            granted: share.granted,
            boot: share.boot,
            phase: share.phase,
            terms: share.terms,
            lease: share.lease,
        }
    }
}
