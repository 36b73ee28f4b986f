//! State and world laid side by side: what is to be done about each member after a start.
//!
//! Pure: what systemd and the kernel have comes in as [`Found`], what to do goes out as [`Verdict`]. Carrying
//! out every verdict and asking again gives [`Verdict::Keep`] for each, so that running twice changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::counted::room::Room;
use super::job::{JobEnd, JobState, SLICE_WENT};
use super::share::{Lease, Phase, Share, Stage};
use super::time::Time;
use super::{BootId, Effect, Event, Image, Ledger, Now};
use crate::enforced::{Burst, KernelLimits, Limit, cpu_of_weight};
use crate::identity::{JobId, Uid};
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
}

/// A member known to the system, with the most that the policy lets them hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The name.
    pub user: String,
    /// The most that they may hold.
    pub max: Amount,
    /// How much CPU a share of theirs may use beyond its own.
    pub burst: Option<Burst>,
}

/// What is to be done about one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// State and kernel agree.
    Keep,
    /// The share stands and the kernel holds other figures: set the share's again.
    SetAgain,
    /// The share stands and its slice went with the last boot: make it again.
    MakeAgain,
    /// The share has no slice in the boot that granted it: someone stopped it.
    Drop,
    /// The share's slice went with the last boot, and its lease is over: there is no share.
    Lapse,
    /// A change was under way and is finished by setting these figures, where there is no slice by making it.
    Finish {
        /// What the share then has.
        amount: Amount,
    },
    /// A grant or release was under way, and there is no slice: there is no share.
    Forget,
    /// A release was under way, and the slice is still there and empty: stop it.
    FinishRelease,
    /// Nobody remembers this slice: a share with these figures.
    Adopt {
        /// The figures: what the kernel holds, and a bound for what it does not limit.
        amount: Amount,
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
            self.shares.iter_mut().for_each(|share| share.granted = share.granted.of_earlier_boot());
            self.jobs.iter_mut().for_each(|job| Arc::make_mut(job).of_earlier_boot());
        }
    }
}

/// The verdict for every member that has a share or a slice.
pub fn verdicts(
    ledger: &Ledger,
    found: &BTreeMap<Uid, Found>,
    known: &BTreeMap<Uid, Known>,
) -> BTreeMap<Uid, Verdict> {
    let uids: BTreeSet<Uid> = ledger.shares().keys().chain(found.keys()).copied().collect();
    uids.into_iter()
        .map(|uid| {
            let verdict = match (ledger.share(uid), found.get(&uid)) {
                (Some(share), Some(found)) => remembered(share, found),
                (Some(share), None) => sliceless(share, ledger.boot(), ledger.clock.last),
                (None, Some(found)) => stray(found, known.get(&uid)),
                (None, None) => Verdict::Forget,
            };
            (uid, verdict)
        })
        .collect()
}

fn remembered(share: &Share, found: &Found) -> Verdict {
    match share.phase {
        Phase::Active if found.limits.hold(&share.enforced()).is_ok() => Verdict::Keep,
        Phase::Active => Verdict::SetAgain,
        // An expired share has all limits again, until they are lowered anew: what of them came down nobody has stored.
        Phase::Granting { .. } | Phase::Lowering | Phase::Renewing { .. } => {
            Verdict::Finish { amount: share.amount }
        }
        // A limit under what is in use would make a program die: then the change is not finished but undone.
        Phase::Resizing { to } if to.mem < share.amount.mem && to.mem < found.mem_in_use => {
            Verdict::Finish { amount: share.amount }
        }
        Phase::Resizing { to } => Verdict::Finish { amount: to },
        Phase::Releasing | Phase::Stopping { .. } if !found.populated => Verdict::FinishRelease,
        // Nothing is killed by a start: the share stays, and its member can ask again.
        Phase::Releasing | Phase::Stopping { .. } => Verdict::Finish { amount: share.amount },
    }
}

fn sliceless(share: &Share, boot: &BootId, now: Time) -> Verdict {
    let lease = if let Phase::Renewing { lease } = share.phase { Some(lease) } else { share.lease };
    let over = lease.is_some_and(|lease| lease.ends <= now);
    match share.phase {
        Phase::Granting { .. } | Phase::Releasing | Phase::Stopping { .. } => Verdict::Forget,
        Phase::Active | Phase::Resizing { .. } | Phase::Lowering | Phase::Renewing { .. }
            if share.boot == *boot =>
        {
            Verdict::Drop
        }
        Phase::Active | Phase::Resizing { .. } | Phase::Lowering | Phase::Renewing { .. } if over => {
            Verdict::Lapse
        }
        Phase::Active | Phase::Lowering => Verdict::MakeAgain,
        // It may have been done and answered before its outcome was stored.
        Phase::Resizing { to } => Verdict::Finish { amount: to },
        Phase::Renewing { .. } => Verdict::Finish { amount: share.amount },
    }
}

fn stray(found: &Found, known: Option<&Known>) -> Verdict {
    let Some(known) = known else {
        return if found.populated { Verdict::KeepStray } else { Verdict::StopStray };
    };
    // What has no limit gets the policy's most, or what is in use where that is more: setting it kills nothing.
    // Where the quota says nothing of what was promised, as with a burst, the weight does.
    let promised = found.limits.weight.and_then(cpu_of_weight).filter(|_| known.burst.is_some());
    let amount = Amount {
        cpu: promised.or(found.limits.cpu.and_then(Limit::figure)).unwrap_or(known.max.cpu),
        mem: found.limits.mem.and_then(Limit::figure).unwrap_or(known.max.mem.max(found.mem_in_use)),
        tasks: found.limits.tasks.and_then(Limit::figure).unwrap_or(known.max.tasks.max(found.tasks_in_use)),
    };
    Verdict::Adopt { amount }
}

impl Ledger {
    /// Takes what has been done about one member; the effects that carry it out have been seen to hold. Answers what is
    /// to be told. Who waits is served, and what has been forgotten or expired dealt with, by the
    /// [`super::Command::Tick`] that must follow.
    pub fn reconciled(
        &mut self,
        now: Now,
        uid: Uid,
        verdict: &Verdict,
        swap: Bytes,
        known: Option<&Known>,
    ) -> Vec<Effect> {
        self.clock.seen(now);
        // What is adopted is held already, whether there is room for it or not; nothing else may come to be held here.
        let held = match verdict {
            Verdict::Adopt { amount } => self.books.capacity.held().plus(Room::of(*amount)),
            _ => self.books.capacity.held(),
        };
        let mut events = Vec::new();
        let of_this_boot = self.share(uid).is_none_or(|share| share.boot == *self.boot());
        match verdict {
            Verdict::KeepStray | Verdict::StopStray => return events,
            Verdict::Keep | Verdict::SetAgain if of_this_boot => return events,
            // What is there is of this boot, also where the daemon that made it died before it had that stored.
            Verdict::Keep | Verdict::SetAgain | Verdict::MakeAgain => {
                let boot = self.boot().clone();
                self.alter(uid, |share| (share.boot, share.phase) = (boot, Phase::Active));
            }
            Verdict::Forget => match self.share(uid).cloned() {
                Some(share) if matches!(share.phase, Phase::Granting { job: Some(_) }) => {
                    self.close(uid);
                    self.wait_again(&share);
                }
                Some(_) | None => self.slice_gone(now, uid, SLICE_WENT, &mut events),
            },
            Verdict::Drop | Verdict::Lapse | Verdict::FinishRelease => {
                self.slice_gone(now, uid, SLICE_WENT, &mut events);
            }
            Verdict::Finish { amount } => self.finished(now, uid, *amount, &mut events),
            Verdict::Adopt { amount } => {
                let mut share = Share::active(uid, *amount, swap, now, self.boot().clone());
                share.user = known.map(|known| known.user.clone());
                share.terms.burst = known.and_then(|known| known.burst);
                // Nobody holds and waits at once: what was waited for is there, and a submitted command starts in it.
                let waited = self.queue.job_of(uid);
                self.open(share);
                if let Some(job) = waited {
                    self.queue.remove(job);
                    if let Some(job) = self.jobs.get_mut(&job).map(Arc::make_mut) {
                        job.state = JobState::Running { started: now };
                    }
                    self.share_is_there(now, uid, job, &mut events);
                }
            }
        }
        self.revision = self.revision.saturating_add(1);
        self.assert_consistent();
        self.books.capacity.assert_not_overbooked(held);
        events
    }

    /// A change that was under way came to this, and its job to its end.
    fn finished(&mut self, now: Now, uid: Uid, amount: Amount, events: &mut Vec<Effect>) {
        let (boot, phase) = (self.boot().clone(), self.share(uid).map(|share| share.phase));
        self.alter(uid, |share| (share.amount, share.boot, share.phase) = (amount, boot, Phase::Active));
        let time = self.clock.last;
        match phase {
            Some(Phase::Lowering) => self.alter(uid, |share| {
                if let Some(Lease { stage: Stage::Expired { lower, .. }, .. }) = &mut share.lease {
                    *lower = Some(time);
                }
            }),
            Some(Phase::Renewing { lease }) => {
                self.alter(uid, |share| share.lease = Some(lease));
                events.push(Effect::Notify(Event::Renewed { uid }));
            }
            Some(Phase::Stopping { job }) => self.end_job(now, job, JobEnd::Interrupted, events),
            Some(Phase::Resizing { .. }) => events.push(Effect::Notify(Event::Resized { uid })),
            Some(Phase::Granting { job }) => {
                events.push(Effect::Notify(Event::Granted { uid, job }));
                if let Some(job) = job {
                    self.share_is_there(now, uid, job, events);
                }
            }
            Some(Phase::Active | Phase::Releasing) | None => {}
        }
    }

    /// Ends the jobs that were at work when the last daemon ended and that nothing has ended since. Who waits waits on.
    /// Submitted commands that run have units, by which they are found again ([`super::Command::WorkEnded`] where not);
    /// of those that wait they are ended that are not `known`: what was to be run went with the daemon that knew it.
    /// Answers what is to be told.
    pub fn interrupt_jobs(&mut self, now: Now, known: impl Fn(JobId) -> bool) -> Vec<Effect> {
        let mut events = Vec::new();
        self.interrupt_waiting_work(now, known, &mut events);
        let held: BTreeSet<_> = self
            .shares()
            .values()
            .filter_map(|share| match share.phase {
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
        let at_work = at_work.filter(|job| !job.is_work());
        let orphans: Vec<_> = at_work.map(|job| job.id).filter(|job| !held.contains(job)).collect();
        for job in orphans {
            self.end_job(now, job, JobEnd::Interrupted, &mut events);
            self.revision = self.revision.saturating_add(1);
        }
        events
    }
}
