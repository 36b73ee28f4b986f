//! What the ledger has, as it is shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::error;

use super::answer;
use crate::cgroup::Cgroups;
use crate::contract::{CapacityInfo, JobInfo, ShareInfo, Usage};
use crate::daemon::clock;
use crate::identity::{JobId, Uid, UnitName};
use crate::ledger::job::{Job, JobState};
use crate::ledger::queue::Place;
use crate::ledger::share::{Phase, Share};
use crate::ledger::{Ledger, Now};
use crate::quantity::Bytes;
use crate::serving::logging::chain;

/// The ledger at this moment, and where the kernel is asked what its shares use.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    /// Who holds what.
    pub ledger: &'a Ledger,
    /// What the kernel says.
    pub cgroups: &'a Cgroups,
    /// The most memory that each command that runs was seen to need.
    pub needed: &'a BTreeMap<JobId, Bytes>,
    /// This moment: read once, whatever is shown at it.
    pub now: Now,
}

impl<'a> Shown<'a> {
    /// What is there at this moment.
    pub fn of(ledger: &'a Ledger, cgroups: &'a Cgroups, needed: &'a BTreeMap<JobId, Bytes>) -> Self {
        Self { ledger, cgroups, needed, now: clock::now() }
    }

    /// What there is to hand out, and what is left of it.
    pub fn capacity(&self) -> CapacityInfo {
        let capacity = self.ledger.capacity();
        CapacityInfo {
            cpu_milli: capacity.whole().cpu().0,
            mem_bytes: capacity.whole().mem().0,
            free_cpu_milli: capacity.free().cpu().0,
            free_mem_bytes: capacity.free().mem().0,
            shares: self.ledger.shares().len() as u64,
            waiting: self.ledger.waiting() as u64,
            left_behind_bytes: Some(self.ledger.left_behind().0).filter(|left| *left > 0),
        }
    }

    /// A share, without its use.
    pub fn share(&self, share: &Share) -> ShareInfo {
        let ends = share.lease.map(|lease| self.ledger.wall_ms(self.now, lease.ends));
        answer::share(share, self.now, ends, self.ledger.capacity().whole().cpu())
    }

    /// A share with what it uses.
    pub fn share_in_use(&self, share: &Share) -> ShareInfo {
        ShareInfo { usage: usage(self.cgroups, share.uid), ..self.share(share) }
    }

    /// A job.
    pub fn job(&self, job: &Job) -> JobInfo {
        let places =
            if matches!(job.state, JobState::Queued { .. }) { self.ledger.places() } else { Vec::new() };
        self.job_in(&places, job)
    }

    /// Jobs.
    pub fn jobs<'j>(&self, jobs: impl Iterator<Item = &'j Arc<Job>>) -> Vec<JobInfo> {
        let places = self.ledger.places();
        jobs.map(|job| self.job_in(&places, job)).collect()
    }

    /// A job with its place in the queue, and when it starts if leases tell.
    fn job_in(&self, places: &[Place], job: &Job) -> JobInfo {
        let mut shown = answer::job(job, self.now);
        if let Some(needed) = self.needed.get(&job.id) {
            shown.needed_bytes = Some(needed.0);
        }
        if let Some(place) = places.iter().find(|place| place.waiting.job == job.id) {
            shown.place = Some(place.place);
            shown.starts_ms = place.starts.map(|at| self.ledger.wall_ms(self.now, at));
        }
        shown
    }
}

/// What one share uses, `None` where the kernel does not say.
pub fn usage(cgroups: &Cgroups, uid: Uid) -> Option<Usage> {
    let unit = UnitName::Share(uid);
    match cgroups.usage(unit) {
        Ok(usage) => usage.map(answer::usage),
        Err(fault) => {
            error!(unit = %unit, "{}", chain(&fault));
            None
        }
    }
}

/// Whether the member has it: what is still being made is not enforced, and may come to nothing.
pub fn is_held(share: &Share) -> bool {
    !matches!(share.phase, Phase::Granting { .. })
}
