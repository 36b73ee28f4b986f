//! State and world laid side by side: what is to be done about each allocation after a start.
//!
//! Pure: what systemd and the kernel have comes in as [`Found`], what to do goes out as [`Verdict`]. Carrying
//! out every verdict and asking again gives [`Verdict::Keep`] for each, so that running twice changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::allocation::{Allocation, Goes, Lease, Phase, Stage, Terms};
use super::counted::room::Room;
use super::job::{Job, JobEnd, JobKind, JobState, SLICE_WENT};
use super::time::Time;
use super::{BootId, Effect, Event, Image, Ledger, Now};
use crate::enforced::{Burst, KernelLimits, Limit, cpu_of_weight};
use crate::identity::{AllocationId, JobId, Purpose, Uid};
use crate::quantity::{Amount, Bytes, Tasks};

/// A slice of ours that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The limits that the kernel holds.
    pub limits: KernelLimits,
    /// The memory in use.
    pub mem_in_use: Bytes,
    /// The tasks inside.
    pub tasks_in_use: Tasks,
    /// Whether processes are inside.
    pub populated: bool,
    /// Whether that is the member's slice itself, where 0.1 had a share's work.
    pub in_share: bool,
}

/// A member known to the system, with the most that the policy lets them hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The name.
    pub user: String,
    /// The most that they may hold.
    pub max: Amount,
    /// How much CPU an allocation of theirs may use beyond its own.
    pub burst: Option<Burst>,
}

/// What is to be done about one allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// State and kernel agree.
    Keep,
    /// The allocation stands and the kernel holds other figures: set the allocation's again.
    SetAgain,
    /// The allocation stands and its slice went with the last boot: make it again.
    MakeAgain,
    /// The allocation has no slice in the boot that granted it: someone stopped it.
    Drop,
    /// The allocation's slice went with the last boot, and its lease is over: there is no allocation.
    Lapse,
    /// A change was under way and is finished by setting these figures, where there is no slice by making it.
    Finish {
        /// What the allocation then has.
        amount: Amount,
    },
    /// A grant or release was under way, and there is no slice: there is no allocation.
    Forget,
    /// A release was under way, and the slice is still there and empty: stop it.
    FinishRelease,
    /// Nobody remembers this slice: an allocation with these figures.
    Adopt {
        /// The figures: what the kernel holds, and a bound for what it does not limit.
        amount: Amount,
        /// Whether its work is in its member's slice itself.
        in_share: bool,
    },
    /// Nobody remembers this slice, its user is unknown, and it is empty: stop it.
    StopStray,
    /// Nobody remembers this slice, its user is unknown, and work is inside: keep and report it.
    KeepStray,
}

impl Image {
    /// The moments of an image that another boot left, as this boot sees them.
    pub(super) fn seen_from(&mut self, boot: &BootId) {
        if self.clock.boot != *boot {
            for allocation in &mut self.allocations {
                (allocation.granted, allocation.in_share) = (allocation.granted.of_earlier_boot(), false);
            }
            self.jobs.iter_mut().for_each(|job| Arc::make_mut(job).of_earlier_boot());
        }
    }
}

/// The verdict for every allocation that is remembered or has a slice.
pub fn verdicts(
    ledger: &Ledger,
    found: &BTreeMap<AllocationId, Found>,
    known: &BTreeMap<Uid, Known>,
) -> BTreeMap<AllocationId, Verdict> {
    let ids: BTreeSet<AllocationId> = ledger.allocations().keys().chain(found.keys()).copied().collect();
    ids.into_iter()
        .map(|id| {
            let verdict = match (ledger.allocation(id), found.get(&id)) {
                (Some(allocation), Some(found)) => remembered(allocation, found),
                (Some(allocation), None) => sliceless(allocation, ledger.boot(), ledger.clock.last),
                (None, Some(found)) => stray(id, found, known.get(&id.uid)),
                (None, None) => Verdict::Forget,
            };
            (id, verdict)
        })
        .collect()
}

fn remembered(allocation: &Allocation, found: &Found) -> Verdict {
    match allocation.phase {
        Phase::Active if found.limits.hold(&allocation.enforced()).is_ok() => Verdict::Keep,
        Phase::Active => Verdict::SetAgain,
        // An expired allocation has all limits again, until they are lowered anew: what of them came down nobody has stored.
        Phase::Granting { .. } | Phase::Lowering | Phase::Renewing { .. } => {
            Verdict::Finish { amount: allocation.amount }
        }
        // A limit under what is in use would make a program die: then the change is not finished but undone.
        Phase::Resizing { to } if to.mem < allocation.amount.mem && to.mem < found.mem_in_use => {
            Verdict::Finish { amount: allocation.amount }
        }
        Phase::Resizing { to } => Verdict::Finish { amount: to },
        Phase::Releasing | Phase::Stopping { .. } if !found.populated => Verdict::FinishRelease,
        // Nothing is killed by a start: the allocation stays, and its member can ask again.
        Phase::Releasing | Phase::Stopping { .. } => Verdict::Finish { amount: allocation.amount },
    }
}

fn sliceless(allocation: &Allocation, boot: &BootId, now: Time) -> Verdict {
    let lease = if let Phase::Renewing { lease } = allocation.phase { Some(lease) } else { allocation.lease };
    // A command that was never started is started still: its time has not begun.
    let over = lease.is_some_and(|lease| lease.ends <= now) && allocation.terms.goes != Goes::WithWork;
    // What was in it ended with the machine, and was nobody's to start again.
    let over = over || matches!(allocation.terms.goes, Goes::WithProcesses { .. });
    match allocation.phase {
        Phase::Granting { .. } | Phase::Releasing | Phase::Stopping { .. } => Verdict::Forget,
        Phase::Active | Phase::Resizing { .. } | Phase::Lowering | Phase::Renewing { .. }
            if allocation.boot == *boot =>
        {
            Verdict::Drop
        }
        Phase::Active | Phase::Resizing { .. } | Phase::Lowering | Phase::Renewing { .. } if over => {
            Verdict::Lapse
        }
        Phase::Active | Phase::Lowering => Verdict::MakeAgain,
        // It may have been done and answered before its outcome was stored.
        Phase::Resizing { to } => Verdict::Finish { amount: to },
        Phase::Renewing { .. } => Verdict::Finish { amount: allocation.amount },
    }
}

fn stray(id: AllocationId, found: &Found, known: Option<&Known>) -> Verdict {
    let Some(known) = known else {
        return if found.populated { Verdict::KeepStray } else { Verdict::StopStray };
    };
    // The allocation of a command is over when nothing is in it.
    if !found.populated && id.job().is_some() {
        return Verdict::StopStray;
    }
    // What has no limit gets the policy's most, or what is in use where that is more: setting it kills nothing.
    // Where the quota says nothing of what was promised, as with a burst, the weight does.
    let promised = found.limits.weight.and_then(cpu_of_weight).filter(|_| known.burst.is_some());
    let amount = Amount {
        cpu: promised.or(found.limits.cpu.and_then(Limit::figure)).unwrap_or(known.max.cpu),
        mem: found.limits.mem.and_then(Limit::figure).unwrap_or(known.max.mem.max(found.mem_in_use)),
        tasks: found.limits.tasks.and_then(Limit::figure).unwrap_or(known.max.tasks.max(found.tasks_in_use)),
    };
    Verdict::Adopt { amount, in_share: found.in_share }
}

impl Ledger {
    /// Takes what has been done about one allocation; the effects that carry it out have been seen to hold. Answers what is
    /// to be told. Who waits is served, and what has been forgotten or expired dealt with, by the
    /// [`super::Command::Tick`] that must follow.
    pub fn reconciled(
        &mut self,
        now: Now,
        id: AllocationId,
        verdict: &Verdict,
        swap: Bytes,
        known: Option<&Known>,
    ) -> Vec<Effect> {
        let time = self.clock.seen(now);
        self.pass(time);
        // What is adopted is held already, whether there is room for it or not; nothing else may come to be held here.
        let held = match verdict {
            Verdict::Adopt { amount, .. } => self.books.capacity.held().plus(Room::of(*amount)),
            _ => self.books.capacity.held(),
        };
        let mut events = Vec::new();
        let of_this_boot = self.allocation(id).is_none_or(|allocation| allocation.boot == *self.boot());
        match verdict {
            Verdict::KeepStray | Verdict::StopStray => return events,
            Verdict::Keep | Verdict::SetAgain if of_this_boot => return events,
            // What is there is of this boot, also where the daemon that made it died before it had that stored.
            Verdict::Keep | Verdict::SetAgain | Verdict::MakeAgain => {
                let boot = self.boot().clone();
                self.alter(id, |allocation| (allocation.boot, allocation.phase) = (boot, Phase::Active));
            }
            Verdict::Forget => match self.allocation(id).cloned() {
                Some(allocation) if matches!(allocation.phase, Phase::Granting { job: Some(_) }) => {
                    self.close(id);
                    self.wait_again(now, &allocation, &mut events);
                }
                Some(_) | None => self.slice_gone(now, id, SLICE_WENT, &mut events),
            },
            Verdict::Drop | Verdict::Lapse | Verdict::FinishRelease => {
                self.slice_gone(now, id, SLICE_WENT, &mut events);
            }
            Verdict::Finish { amount } => self.finished(now, id, *amount, &mut events),
            Verdict::Adopt { amount, in_share } => {
                let mut allocation = Allocation::active(id, *amount, swap, now, self.boot().clone());
                allocation.in_share = *in_share;
                allocation.user = known.map(|known| known.user.clone());
                allocation.terms = Terms {
                    idle_ms: None,
                    goes: match id.purpose {
                        Purpose::Standing => Goes::Released,
                        Purpose::Job(_) => Goes::WithWork,
                        Purpose::Run(_) => Goes::WithProcesses { entered: true },
                    },
                    burst: known.and_then(|known| known.burst),
                    max: known.map_or(*amount, |known| known.max),
                };
                // What was waited for is there, and a submitted command starts in it.
                let waited = match id.purpose {
                    Purpose::Standing => self.standing_awaited(id.uid),
                    Purpose::Job(job) | Purpose::Run(job) => Some(job).filter(|job| self.queue.has(*job)),
                };
                self.open(allocation);
                waited.into_iter().for_each(|job| self.has_come(now, job, &mut events));
            }
        }
        self.revision = self.revision.saturating_add(1);
        self.assert_consistent();
        self.books.capacity.assert_not_overbooked(held);
        events
    }

    /// What a job waits for is there.
    fn has_come(&mut self, now: Now, id: JobId, events: &mut Vec<Effect>) {
        if self.taken_out(now, id).is_some() {
            self.allocation_is_there(now, id, events);
        }
    }

    /// A change that was under way came to this, and its job to its end.
    fn finished(&mut self, now: Now, id: AllocationId, amount: Amount, events: &mut Vec<Effect>) {
        let (boot, phase) = (self.boot().clone(), self.allocation(id).map(|allocation| allocation.phase));
        self.alter(id, |allocation| {
            (allocation.amount, allocation.boot, allocation.phase) = (amount, boot, Phase::Active)
        });
        let time = self.clock.last;
        match phase {
            Some(Phase::Lowering) => self.alter(id, |allocation| {
                if let Some(Lease { stage: Stage::Expired { lower, .. }, .. }) = &mut allocation.lease {
                    *lower = Some(time);
                }
            }),
            Some(Phase::Renewing { lease }) => {
                self.alter(id, |allocation| allocation.lease = Some(lease));
                events.push(Effect::Notify(Event::Renewed { id }));
            }
            Some(Phase::Stopping { job }) => self.end_job(now, job, JobEnd::Interrupted, events),
            Some(Phase::Resizing { .. }) => events.push(Effect::Notify(Event::Resized { id })),
            Some(Phase::Granting { job }) => {
                events.push(Effect::Notify(Event::Granted { id, job }));
                if let Some(job) = job {
                    self.allocation_is_there(now, job, events);
                }
            }
            Some(Phase::Active | Phase::Releasing) | None => {}
        }
    }

    /// Nobody has begun with this command, and nothing is there of its start: where it is at work it is started once more, and begins then.
    pub fn begin_anew(&mut self, now: Now, id: JobId) {
        self.clock.seen(now);
        let at_work = |job: &&Arc<Job>| {
            job.is_work() && matches!(job.state, JobState::Running { .. }) && !job.called_back()
        };
        let Some(home) = self.jobs.get(&id).filter(at_work).and_then(|job| job.home()) else { return };
        // With its grant its time begins.
        let is_there = |allocation: &Allocation| !matches!(allocation.phase, Phase::Granting { .. });
        if !self.allocation(home).is_some_and(is_there) {
            return;
        }
        let Some(job) = self.jobs.get_mut(&id).map(Arc::make_mut) else { return };
        job.state = JobState::Running { started: now };
        if let Some(warning) = job.work_mut().and_then(|work| work.care.warning.as_mut()) {
            warning.sent = false;
        }
        self.time_begins(home, id);
        self.revision = self.revision.saturating_add(1);
    }

    /// Ends the jobs that were at work when the last daemon ended and that nothing has ended since. Who waits waits on.
    /// Submitted commands that run have units, by which they are found again ([`super::Command::WorkEnded`] where not);
    /// of those that wait they are ended that are not `known`: what was to be run went with the daemon that knew it.
    /// Answers what is to be told.
    pub fn interrupt_jobs(&mut self, now: Now, known: impl Fn(JobId) -> bool) -> Vec<Effect> {
        let mut events = Vec::new();
        self.interrupt_waiting_work(now, known, &mut events);
        let held: BTreeSet<_> = self
            .allocations()
            .values()
            .filter_map(|allocation| match allocation.phase {
                Phase::Stopping { job } | Phase::Granting { job: Some(job) } => Some(job),
                Phase::Granting { job: None }
                | Phase::Active
                | Phase::Resizing { .. }
                | Phase::Lowering
                | Phase::Renewing { .. }
                | Phase::Releasing => None,
            })
            .collect();
        let at_work = self.jobs().values().filter(|job| matches!(job.state, JobState::Running { .. }));
        // A command in the foreground is over with its allocation.
        let runs = |job: &Job| {
            matches!(job.kind, JobKind::Run(_))
                && job.home().is_some_and(|home| self.allocations.contains_key(&home))
        };
        let at_work = at_work.filter(|job| !job.is_work() && !runs(job));
        let orphans: Vec<_> = at_work.map(|job| job.id).filter(|job| !held.contains(job)).collect();
        for job in orphans {
            self.end_job(now, job, JobEnd::Interrupted, &mut events);
            self.revision = self.revision.saturating_add(1);
        }
        events
    }
}
