//! Commands that are paused, as the kernel says: looked at after a start, in each sweep, and when one was to be paused.

use std::time::Duration;

use tracing::error;

use super::EventLoop;
use super::still::Paused;
use crate::daemon::clock;
use crate::daemon::doing::allocation::Context;
use crate::daemon::doing::freezer;
use crate::daemon::doing::pause::{self, Pausing};
use crate::daemon::telling::answer;
use crate::daemon::telling::reply::Reply;
use crate::identity::{AllocationId, JobId, Uid, UnitName};
use crate::ledger::Event;
use crate::ledger::job::{Job, JobKind, JobState};
use crate::ledger::refusal::{NotPaused, Refusal};
use crate::serving::logging::chain;
use crate::wire::error::WireError;

impl EventLoop {
    /// Has a command stand still, or go on. Its member is marked busy, and as one of whom a command is paused.
    pub(crate) fn pause(&mut self, cx: Context, uid: Uid, (job, pause): (JobId, bool), reply: Reply) {
        let Some(unit) = self.stage(job) else {
            // It has ended while something else was under way for its member.
            self.pausing.remove(&uid);
            reply.send(Err(answer::refusal(&Refusal::NotPaused { job, why: NotPaused::Over })));
            return drop(cx.turn(uid));
        };
        tokio::spawn(pause::pause(cx, Pausing { job, unit, pause }, reply));
    }

    /// What came of it. The answer is the job as it is now.
    pub(crate) fn paused(&mut self, (uid, job): (Uid, JobId), done: Result<(), WireError>, reply: Reply) {
        self.pausing.remove(&uid);
        self.look_whether_paused(job);
        reply.send(done.and_then(|()| self.shown().one_job(job)));
    }

    /// Looks at all commands that are at work, of which nothing is known: after a start, and with another connection to systemd.
    pub(crate) fn learn_paused(&mut self) {
        self.paused = Paused::default();
        self.look_at_paused();
    }

    /// Looks at all commands that are at work.
    pub(crate) fn look_at_paused(&mut self) {
        let at_work = |job: &Job| matches!(job.state, JobState::Running { .. }) && job.home().is_some();
        let jobs: Vec<JobId> =
            self.ledger.jobs().values().filter(|job| at_work(job)).map(|job| job.id).collect();
        jobs.into_iter().for_each(|job| self.look_whether_paused(job));
    }

    /// A command is over, or about to be ended, for which it is thawed.
    pub(crate) fn goes_on(&mut self, job: JobId) {
        self.paused.remove(job);
    }

    /// What is in an allocation is about to be ended.
    pub(crate) fn all_go_on(&mut self, id: AllocationId) {
        let in_it = |job: &&JobId| self.ledger.jobs().get(job).and_then(|job| job.home()) == Some(id);
        let jobs: Vec<JobId> = self.paused.jobs().iter().filter(in_it).copied().collect();
        jobs.into_iter().for_each(|job| self.goes_on(job));
    }

    fn look_whether_paused(&mut self, job: JobId) {
        let Some(unit) = self.stage(job) else { return };
        let paused = match self.parts.cgroups.stands_still(unit) {
            Ok(paused) => paused,
            Err(fault) => return error!(unit = %unit, "{}, proceeding with what was known", chain(&fault)),
        };
        self.let_go_on(job, unit, paused);
        let changed = if paused { self.paused.insert(job) } else { self.paused.remove(job) };
        if !changed {
            return;
        }
        if let (true, Some(cx), Some(left)) = (paused, self.context.clone(), self.time_left(job)) {
            self.paused.thawed_by(job, tokio::spawn(pause::thaw_in(cx, unit, left)));
        }
        self.publish(Event::Job(job));
    }

    /// Thaws a command that is to stand still and does not, where nobody is about to see to that: a pause that failed may have left
    /// it so, and no part of it is to stand still while the rest goes on.
    fn let_go_on(&self, job: JobId, unit: UnitName, paused: bool) {
        let whose = self.ledger.jobs().get(&job).map(|job| job.uid);
        if paused || whose.is_none_or(|uid| self.pausing.contains(&uid)) {
            return;
        }
        let half = self.parts.cgroups.to_stand_still(unit).is_ok_and(|frozen| !frozen.is_empty());
        if let (true, Some(cx)) = (half, self.context.clone()) {
            tokio::spawn(async move { freezer::thaw(&cx.systemd, &cx.cgroups, unit).await });
        }
    }

    /// What a command that is at work runs in.
    fn stage(&self, id: JobId) -> Option<UnitName> {
        let job = self.ledger.jobs().get(&id)?;
        if !matches!(job.state, JobState::Running { .. }) {
            return None;
        }
        match job.kind {
            JobKind::Submit(_) => Some(self.running(id)?.units.service),
            JobKind::Run(_) => job.home().map(AllocationId::unit),
            JobKind::Request(_) | JobKind::Release => None,
        }
    }

    /// How long a submitted command may still run; `None` where nothing bounds that.
    fn time_left(&self, id: JobId) -> Option<Duration> {
        let job = self.ledger.jobs().get(&id)?;
        let (JobKind::Submit(work), JobState::Running { started }) = (&job.kind, &job.state) else {
            return None;
        };
        let ran_ms = clock::now().boot_ms.saturating_sub(started.boot_ms);
        Some(Duration::from_millis(work.time_limit_ms?.saturating_sub(ran_ms)))
    }
}
