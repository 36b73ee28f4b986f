//! Who holds what, who waits, who may: a pure state machine.
//!
//! No clock, no I/O, no async, no serde: `now` comes in, [`Effect`]s go out, and the same commands give the
//! same effects. A change is made in two commands. The first states the intent and names what is to be done
//! ([`Effect`]); [`Command::Settle`] states how that went. What lies between is a [`Phase`] of the share.

pub mod job;
pub mod reconcile;
pub mod refusal;
pub mod share;

use std::collections::BTreeMap;

use crate::identity::{JobId, Uid};
use crate::policy::MemberPolicy;
use crate::quantity::{Amount, Bytes, PartialAmount};
use job::{JOBS_KEPT_MAX, Job, JobEnd, JobKind, JobState};
use refusal::{Over, Refusal};
use share::{Phase, Share};

/// A moment on both clocks, in milliseconds: deadlines run on boot time, people read wall time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Now {
    /// Since boot, counting suspended time (`CLOCK_BOOTTIME`).
    pub boot_ms: u64,
    /// Since 1970 (`CLOCK_REALTIME`).
    pub wall_ms: u64,
}

/// Which boot of the machine, as `/proc/sys/kernel/random/boot_id` has it (`random(4)`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootId(pub String);

/// A member and what the policy says for them.
#[derive(Debug, Clone)]
pub struct Member {
    /// The member.
    pub uid: Uid,
    /// Their name, where they have one.
    pub user: Option<String>,
    /// What the policy says for them now.
    pub policy: MemberPolicy,
    /// Swap that a share of theirs gets.
    pub swap: Bytes,
}

/// What can be said to the ledger.
#[derive(Debug, Clone)]
pub enum Command {
    /// A member asks for a share.
    Request {
        /// Who.
        member: Member,
        /// How much; the policy's defaults for what is not named.
        amount: PartialAmount,
    },
    /// A member asks for other figures.
    Resize {
        /// Who.
        member: Member,
        /// How much; what is held for what is not named.
        amount: PartialAmount,
        /// The memory that the share uses at this moment.
        in_use: Bytes,
    },
    /// A member gives the share back.
    Release {
        /// Who.
        uid: Uid,
        /// The processes in it at this moment, the first of them.
        pids: Vec<u32>,
        /// How many there are.
        count: usize,
        /// Whether they are to be stopped.
        stop: bool,
    },
    /// A member's process is to go into the share.
    Enter {
        /// Who.
        uid: Uid,
    },
    /// How the effect on a member's share went.
    Settle {
        /// Whose share.
        uid: Uid,
        /// How it went.
        outcome: Outcome,
    },
    /// A member's slice has gone without our doing.
    SliceGone {
        /// Whose.
        uid: Uid,
    },
}

/// How an [`Effect`] went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The kernel holds it.
    Done,
    /// It was undone: all is as before the command. Why, for a person.
    Undone(String),
    /// There is no slice, and so no share.
    Withdrawn,
    /// Neither is known to hold: the intent stands until the world has been looked at.
    Unknown,
}

/// What is to be done in the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Make the slice of [`Share::amount`].
    Grant(Uid),
    /// Change the slice's limits.
    Resize {
        /// Whose.
        uid: Uid,
        /// What is held.
        from: Amount,
        /// What is to be held.
        to: Amount,
    },
    /// Remove the empty slice.
    Withdraw(Uid),
    /// Stop what is inside, and remove the slice.
    Stop {
        /// Whose.
        uid: Uid,
        /// The job that watches it.
        job: JobId,
    },
    /// Put processes in a scope of this number.
    Enter {
        /// Whose.
        uid: Uid,
        /// The scope's number.
        run: u64,
    },
}

/// All that is remembered across a crash, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Grows with every change: of two images the one with the larger revision is the newer.
    pub revision: u64,
    /// The id of the next job.
    pub next_job: u64,
    /// The shares, by uid.
    pub shares: Vec<Share>,
    /// The jobs, by id.
    pub jobs: Vec<Job>,
}

/// The one owner of who holds what.
#[derive(Debug, Clone)]
pub struct Ledger {
    boot: BootId,
    revision: u64,
    next_job: u64,
    next_run: u64,
    shares: BTreeMap<Uid, Share>,
    jobs: BTreeMap<JobId, Job>,
}

impl Ledger {
    /// A ledger in which nobody holds anything.
    pub fn new(boot: BootId) -> Self {
        Self { boot, revision: 0, next_job: 1, next_run: 1, shares: BTreeMap::new(), jobs: BTreeMap::new() }
    }

    /// A ledger that goes on from `image`.
    pub fn restore(boot: BootId, image: Image) -> Self {
        let next_job = image.jobs.iter().map(|job| job.id.0.saturating_add(1)).fold(image.next_job, u64::max);
        Self {
            boot,
            revision: image.revision,
            next_job,
            next_run: 1,
            shares: image.shares.into_iter().map(|share| (share.uid, share)).collect(),
            jobs: image.jobs.into_iter().map(|job| (job.id, job)).collect(),
        }
    }

    /// What must be remembered across a crash.
    pub fn image(&self) -> Image {
        Image {
            revision: self.revision,
            next_job: self.next_job,
            shares: self.shares.values().cloned().collect(),
            jobs: self.jobs.values().cloned().collect(),
        }
    }

    /// Grows with every change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// This boot.
    pub fn boot(&self) -> &BootId {
        &self.boot
    }

    /// The shares, by uid.
    pub fn shares(&self) -> &BTreeMap<Uid, Share> {
        &self.shares
    }

    /// One member's share.
    pub fn share(&self, uid: Uid) -> Option<&Share> {
        self.shares.get(&uid)
    }

    /// The jobs that are remembered, by id.
    pub fn jobs(&self) -> &BTreeMap<JobId, Job> {
        &self.jobs
    }

    /// Scope numbers up to this one are taken.
    pub fn runs_taken(&mut self, run: u64) {
        self.next_run = self.next_run.max(run.saturating_add(1));
    }

    /// Takes one command: the effects to carry out, or why not.
    ///
    /// # Errors
    /// A [`Refusal`]; then nothing has changed.
    pub fn apply(&mut self, now: Now, command: Command) -> Result<Vec<Effect>, Refusal> {
        let effects = match command {
            Command::Request { member, amount } => self.request(now, member, amount)?,
            Command::Resize { member, amount, in_use } => self.resize(&member, amount, in_use)?,
            Command::Release { uid, pids, count, stop } => self.release(now, uid, pids, count, stop)?,
            Command::Enter { uid } => self.enter(uid)?,
            Command::Settle { uid, outcome } => self.settle(now, uid, outcome),
            Command::SliceGone { uid } => self.slice_gone(now, uid),
        };
        self.revision += 1;
        self.assert_consistent();
        Ok(effects)
    }

    fn request(&mut self, now: Now, member: Member, amount: PartialAmount) -> Result<Vec<Effect>, Refusal> {
        if let Some(share) = self.shares.get(&member.uid) {
            if share.phase == Phase::Granting {
                return Err(Refusal::Unsettled);
            }
            return Err(Refusal::AlreadyAllocated { held: share.amount });
        }
        let amount = amount.or(member.policy.defaults);
        if let Some(over) = Over::first(amount, member.policy.max) {
            return Err(Refusal::OverLimit(over));
        }
        let share = Share {
            uid: member.uid,
            user: member.user,
            amount,
            swap: member.swap,
            granted: now,
            boot: self.boot.clone(),
            phase: Phase::Granting,
        };
        self.shares.insert(member.uid, share);
        Ok(vec![Effect::Grant(member.uid)])
    }

    fn resize(
        &mut self,
        member: &Member,
        amount: PartialAmount,
        in_use: Bytes,
    ) -> Result<Vec<Effect>, Refusal> {
        let share = self.active(member.uid)?;
        let from = share.amount;
        let to = amount.or(from);
        // Figures that are held already may be over a maximum that was lowered since: nothing is taken.
        let allowed = Amount {
            cpu: member.policy.max.cpu.max(from.cpu),
            mem: member.policy.max.mem.max(from.mem),
            tasks: member.policy.max.tasks.max(from.tasks),
        };
        if Over::first(to, allowed).is_some() {
            let over = Over::first(to, member.policy.max);
            return over.map_or(Ok(Vec::new()), |over| Err(Refusal::OverLimit(over)));
        }
        if to.mem < from.mem && to.mem < in_use {
            return Err(Refusal::MemoryInUse { in_use, asked: to.mem });
        }
        share.phase = Phase::Resizing { to };
        Ok(vec![Effect::Resize { uid: member.uid, from, to }])
    }

    fn release(
        &mut self,
        now: Now,
        uid: Uid,
        pids: Vec<u32>,
        count: usize,
        stop: bool,
    ) -> Result<Vec<Effect>, Refusal> {
        if !self.shares.contains_key(&uid) {
            return Ok(Vec::new());
        }
        let job = JobId(self.next_job);
        let share = self.active(uid)?;
        if count == 0 {
            share.phase = Phase::Releasing;
            return Ok(vec![Effect::Withdraw(uid)]);
        }
        if !stop {
            return Err(Refusal::Occupied { pids, count });
        }
        share.phase = Phase::Stopping { job };
        self.next_job += 1;
        let state = JobState::Running { started: now };
        self.jobs.insert(job, Job { id: job, uid, kind: JobKind::Release, created: now, state });
        self.forget_old_jobs();
        Ok(vec![Effect::Stop { uid, job }])
    }

    fn enter(&mut self, uid: Uid) -> Result<Vec<Effect>, Refusal> {
        self.active(uid)?;
        let run = self.next_run;
        self.next_run += 1;
        Ok(vec![Effect::Enter { uid, run }])
    }

    fn settle(&mut self, now: Now, uid: Uid, outcome: Outcome) -> Vec<Effect> {
        let Some(share) = self.shares.get_mut(&uid) else {
            return Vec::new();
        };
        match outcome {
            Outcome::Unknown => return Vec::new(),
            Outcome::Withdrawn => return self.slice_gone(now, uid),
            Outcome::Done | Outcome::Undone(_) => {}
        }
        let done = outcome == Outcome::Done;
        let (phase, stays) = (share.phase, !matches!((share.phase, done), (Phase::Granting, false)));
        share.phase = Phase::Active;
        match phase {
            Phase::Resizing { to } if done => share.amount = to,
            Phase::Stopping { job } => self.end_job(now, job, outcome),
            _ => {}
        }
        if !stays || (done && matches!(phase, Phase::Releasing | Phase::Stopping { .. })) {
            self.shares.remove(&uid);
        }
        Vec::new()
    }

    fn slice_gone(&mut self, now: Now, uid: Uid) -> Vec<Effect> {
        if let Some(Share { phase: Phase::Stopping { job }, .. }) = self.shares.remove(&uid) {
            self.end_job(now, job, Outcome::Done);
        }
        Vec::new()
    }

    fn end_job(&mut self, now: Now, job: JobId, outcome: Outcome) {
        if let Some(job) = self.jobs.get_mut(&job) {
            job.end(
                now,
                match outcome {
                    Outcome::Done | Outcome::Withdrawn => JobEnd::Done,
                    Outcome::Undone(why) => JobEnd::Failed(why),
                    Outcome::Unknown => return,
                },
            );
        }
    }

    fn active(&mut self, uid: Uid) -> Result<&mut Share, Refusal> {
        let share = self.shares.get_mut(&uid).ok_or(Refusal::NoShare)?;
        match share.phase {
            Phase::Active => Ok(share),
            Phase::Stopping { .. } | Phase::Releasing => Err(Refusal::Stopping),
            Phase::Granting | Phase::Resizing { .. } => Err(Refusal::Unsettled),
        }
    }

    fn forget_old_jobs(&mut self) {
        while self.jobs.len() > JOBS_KEPT_MAX {
            let Some(id) = self.jobs.values().find(|job| job.ended()).map(|job| job.id) else {
                return;
            };
            self.jobs.remove(&id);
        }
    }

    /// What must hold after every transition, checked in release builds too: a ledger that contradicts itself
    /// must not answer.
    fn assert_consistent(&self) {
        assert!(
            self.jobs.last_key_value().is_none_or(|(id, _)| id.0 < self.next_job),
            "a job has an id that is still to be given out"
        );
    }
}
