//! What the ledger has, as it is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tracing::error;

use super::{answer, job as told};
use crate::cgroup::Cgroups;
use crate::contract::{AllocationInfo, Answer, CapacityInfo, JobInfo, OneJob, ShareInfo, Usage};
use crate::daemon::clock;
use crate::identity::{JobId, Uid, UnitName};
use crate::ledger::allocation::{Allocation, Phase};
use crate::ledger::job::Job;
use crate::ledger::queue::Place;
use crate::ledger::refusal::Refusal;
use crate::ledger::{Ledger, Now};
use crate::quantity::Bytes;
use crate::serving::logging::chain;
use crate::wire::error::WireError;

/// How many allocations of a share are looked at for one answer: of each several files are read, while nobody else is served.
const ALLOCATIONS_READ_MAX: usize = 16;

/// The ledger at this moment, and where the kernel is asked what its shares use.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    /// Who holds what.
    pub ledger: &'a Ledger,
    /// What the kernel says.
    pub cgroups: &'a Cgroups,
    /// The most memory that each command that runs was seen to need.
    pub needed: &'a BTreeMap<JobId, Bytes>,
    /// The commands that stand still.
    pub paused: &'a BTreeSet<JobId>,
    /// This moment: read once, whatever is shown at it.
    pub now: Now,
}

impl<'a> Shown<'a> {
    /// What is there at this moment.
    pub fn of(
        ledger: &'a Ledger,
        cgroups: &'a Cgroups,
        needed: &'a BTreeMap<JobId, Bytes>,
        paused: &'a BTreeSet<JobId>,
    ) -> Self {
        Self { ledger, cgroups, needed, paused, now: clock::now() }
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

    /// An allocation, without its use.
    pub fn allocation(&self, allocation: &Allocation) -> AllocationInfo {
        let ends = allocation.lease.map(|lease| self.ledger.wall_ms(self.now, lease.ends));
        let paused = allocation.id.job().filter(|job| self.paused.contains(job)).map(|_| true);
        AllocationInfo { paused, ..answer::allocation(allocation, self.now, ends) }
    }

    /// A member's share, without its use and its allocations; `None` where they have none.
    pub fn share(&self, uid: Uid) -> Option<ShareInfo> {
        let held = self.held(uid);
        (!held.is_empty()).then(|| self.sum(uid, &held))
    }

    /// A member's share with its allocations, without what they use; `None` where they have none.
    pub fn share_in_full(&self, uid: Uid) -> Option<ShareInfo> {
        let held = self.held(uid);
        (!held.is_empty()).then(|| self.in_full(uid, &held))
    }

    /// The same as it will be when one of the allocations is like this.
    pub fn share_with(&self, like: &Allocation) -> ShareInfo {
        let mut held = self.held(like.id.uid);
        held.retain(|other| other.id != like.id);
        held.push(like);
        held.sort_by_key(|allocation| allocation.id);
        self.in_full(like.id.uid, &held)
    }

    /// A member's share with its allocations, and what it and the first [`ALLOCATIONS_READ_MAX`] of them use.
    pub fn share_in_use(&self, uid: Uid) -> Option<ShareInfo> {
        let mut share = self.share_in_full(uid)?;
        share.usage = usage(self.cgroups, UnitName::Share(uid));
        let held = share.allocations.iter_mut().flatten().zip(self.held(uid));
        for (shown, allocation) in held.take(ALLOCATIONS_READ_MAX) {
            shown.usage = usage(self.cgroups, allocation.unit());
        }
        Some(share)
    }

    /// What a member has, the standing allocation first.
    fn held(&self, uid: Uid) -> Vec<&Allocation> {
        self.ledger.allocations_of(uid).filter(|allocation| is_held(allocation)).collect()
    }

    fn sum(&self, uid: Uid, held: &[&Allocation]) -> ShareInfo {
        answer::share(uid, held, self.ledger.capacity().whole().cpu())
    }

    fn in_full(&self, uid: Uid, held: &[&Allocation]) -> ShareInfo {
        let allocations = held.iter().map(|allocation| self.allocation(allocation)).collect();
        ShareInfo { allocations: Some(allocations), ..self.sum(uid, held) }
    }

    /// A job.
    pub fn job(&self, job: &Job) -> JobInfo {
        let in_line = job.queued() && job.apart().is_none();
        self.job_in(&if in_line { self.places() } else { BTreeMap::new() }, job)
    }

    /// The answer of what was done to a job: the job as it is then.
    ///
    /// # Errors
    /// NotFound, where it is not remembered.
    pub fn one_job(&self, id: JobId) -> Result<Answer, WireError> {
        let job = self.ledger.jobs().get(&id).ok_or_else(|| answer::refusal(&Refusal::NoJob))?;
        Ok(Answer::Job(OneJob::of(self.job(job))))
    }

    /// Jobs.
    pub fn jobs<'j>(&self, jobs: impl Iterator<Item = &'j Arc<Job>>) -> Vec<JobInfo> {
        let places = self.places();
        jobs.map(|job| self.job_in(&places, job)).collect()
    }

    fn places(&self) -> BTreeMap<JobId, Place> {
        self.ledger.places().into_iter().map(|place| (place.waiting.job, place)).collect()
    }

    /// A job with its place in the queue, and when it is expected to start.
    fn job_in(&self, places: &BTreeMap<JobId, Place>, job: &Job) -> JobInfo {
        let mut shown = told::shown(job, self.ledger.within(job), self.now);
        if let Some(needed) = self.needed.get(&job.id) {
            shown.needed_bytes = Some(needed.0);
        }
        shown.paused = self.paused.contains(&job.id).then_some(true);
        if let Some(place) = places.get(&job.id) {
            shown.place = Some(place.place);
            shown.starts_ms = place.starts.map(|at| self.ledger.wall_ms(self.now, at));
            shown.about = place.about.then_some(true);
            // Of what others run nothing is told.
            let own = place.follows.filter(|follows| follows.uid == job.uid);
            // A task is known by its array's number, and that does not end with it.
            let task = |job: &JobId| self.ledger.jobs().get(job).is_some_and(|job| job.task().is_some());
            shown.starts_after = own.and_then(|own| own.job()).filter(|job| !task(job)).map(|job| job.0);
        }
        let apart = job.apart().map(|apart| {
            let begin_ms = apart.begin.map(|at| self.ledger.wall_ms(self.now, at));
            told::waits_for(apart, begin_ms)
        });
        let in_line = || told::waits_in_line(places.get(&job.id)?, self.ledger.draining());
        shown.waits_for = apart.or_else(in_line).map(Box::new);
        shown
    }
}

/// What one slice uses, `None` where the kernel does not say.
pub fn usage(cgroups: &Cgroups, unit: UnitName) -> Option<Usage> {
    match cgroups.usage(unit) {
        Ok(usage) => usage.map(answer::usage),
        Err(fault) => {
            error!(unit = %unit, "{}", chain(&fault));
            None
        }
    }
}

/// Whether the member has it: what is still being made is not enforced, and may come to nothing.
pub fn is_held(allocation: &Allocation) -> bool {
    !matches!(allocation.phase, Phase::Granting { .. })
}
