//! Submitted commands whose start a restart of the daemon does not prevent: what they are to run is on disk.

use std::collections::BTreeSet;

use tokio::sync::mpsc;

use super::EventLoop;
use crate::daemon::asking::spec::Spec;
use crate::daemon::clock;
use crate::daemon::doing::fetch::FETCHES_WAITING_MAX;
use crate::daemon::doing::job::{self, ToRun};
use crate::daemon::telling::reply::Reply;
use crate::identity::JobId;
use crate::ledger::Effect;
use crate::ledger::job::JobKind;

impl EventLoop {
    /// What a command is to run is on disk. Where it waits still, memory is not needed for it.
    pub(crate) fn command_kept(&mut self, job: JobId) {
        let found = self.ledger.jobs().get(&job);
        // An array waits for as long as tasks are made of it.
        let waits = found.is_some_and(|job| job.queued() || job.array().is_some());
        let over = found.is_none_or(|job| job.ended());
        if waits {
            self.specs.remove(&job);
            self.commands.unstarted.insert(job);
        } else {
            self.commands.started.insert(job);
        }
        if over {
            self.forget_command(job);
        }
    }

    /// Systemd has services of these commands, which a daemon before this one has had started. Their processes are given what they
    /// become when they fetch it, unless they have it.
    pub(crate) fn were_asked_for(&mut self, services: &BTreeSet<JobId>) {
        let asked = services.iter().copied();
        let asked = asked.filter(|job| self.runs(*job) && self.knows_command(*job)).collect::<Vec<JobId>>();
        for job in asked {
            self.commands.unstarted.remove(&job);
            self.commands.started.insert(job);
        }
    }

    /// Nobody has begun with a command, and nothing is left of what was there of its start: it is started once more.
    pub(crate) fn not_begun(&mut self, job: JobId) {
        self.followed.remove(&job);
        let found = self.ledger.jobs().get(&job).filter(|job| !job.ended() && !job.queued());
        let Some((uid, task)) = found.map(|job| (job.uid, job.task())) else { return };
        self.offers.remove(&job);
        self.commands.started.remove(&job);
        if task.is_none() {
            self.commands.unstarted.insert(job);
        }
        self.ledger.begin_anew(clock::now(), job);
        match self.context.clone() {
            Some(cx) => self.start(&cx, Effect::Start { uid, job }, Reply::nobody()),
            None => self.out_of_sight = true,
        }
    }

    /// Whether it is known what a command is to run, that nobody was asked to start, or that nobody has begun with and of whose start
    /// nothing is there.
    pub(crate) fn knows_command(&self, job: JobId) -> bool {
        if self.ledger.jobs().get(&job).is_none_or(|job| job.ended()) {
            return false;
        }
        let file = self.file_of(job);
        // That it was started says the file still of its last try, until what is left of that is cleared away.
        let again = self.waits_again(job);
        let kept = self.commands.unstarted.contains(&file) || again && self.commands.started.contains(&file);
        let known = self.specs.contains_key(&file) || kept;
        known && (file == job || again || !self.commands.started.contains(&job))
    }

    /// The job under whose number it is kept what a job is to run: of a task its array.
    fn file_of(&self, job: JobId) -> JobId {
        self.ledger.jobs().get(&job).and_then(|job| job.task()).map_or(job, |task| task.of)
    }

    /// What a job is to run, which systemd is about to be asked to start.
    pub(crate) fn taken_to_run(&mut self, job: JobId) -> ToRun {
        let file = self.file_of(job);
        let found = self.ledger.jobs().get(&job);
        // What brings an allocation is written with the grant of that.
        let joins = found.and_then(|job| job.work()).is_some_and(|work| work.ask.is_none());
        let (spec, kept, unwritten) = if file == job {
            // In memory alone, or on its way to the disk at this moment.
            let in_memory = self.spec_to_keep(job).is_some();
            let on_disk = self.commands.unstarted.remove(&job);
            (self.specs.remove(&job), on_disk || in_memory, joins && in_memory)
        } else {
            (self.specs.get(&file).cloned(), true, false)
        };
        if kept {
            self.commands.started.insert(job);
        }
        ToRun { spec, kept, unwritten, file }
    }

    /// A command that is to be kept on disk, as it is in memory, where that can be.
    pub(crate) fn spec_to_keep(&self, job: JobId) -> Option<&Spec> {
        self.specs.get(&job).map(|spec| &**spec).filter(|spec| spec.can_be_kept())
    }

    /// What is to be kept of it.
    pub(crate) fn command_to_keep(&self, job: JobId) -> Option<Vec<u8>> {
        self.spec_to_keep(job)?.kept()
    }

    /// Has what is kept of a command offered to its process, which a daemon before this one has had started.
    pub(crate) fn offer_again(&mut self, job: JobId) {
        let (Some(found), Some(running)) = (self.ledger.jobs().get(&job), self.running(job)) else { return };
        let (JobKind::Submit(work), Some(home)) = (&found.kind, found.home()) else { return };
        let (limits, Some(cx)) = (work.limits, self.context.clone()) else { return };
        let (amount, file) = (limits.or(self.amount_of(home)), self.file_of(job));
        let (offer, fetches) = mpsc::channel(FETCHES_WAITING_MAX);
        self.offers.insert(job, offer);
        tokio::spawn(job::offer_again(cx, (running, amount), (limits, file), fetches));
    }

    /// Has taken away what is kept of a command that is over, once that is stored: until then the next daemon would think that it
    /// waits, and of a task that nobody has started it.
    pub(crate) fn forget_command(&mut self, job: JobId) {
        self.specs.remove(&job);
        let kept = self.commands.unstarted.remove(&job) | self.commands.started.remove(&job);
        let Some(persist) = self.persist.clone().filter(|_| kept) else { return };
        let revision = self.ledger.revision();
        tokio::spawn(async move { persist.forget_command(job, revision).await });
    }
}
