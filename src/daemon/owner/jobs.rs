//! Submitted commands, as the event loop has them.

use std::collections::BTreeSet;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

use super::EventLoop;
use crate::daemon::clock;
use crate::daemon::doing::allocation::Context;
use crate::daemon::doing::caller::{is_its_process, not_its_process};
use crate::daemon::doing::fetch::{FETCHES_WAITING_MAX, Fetch};
use crate::daemon::doing::job::{self, Following};
use crate::daemon::doing::offer::Running;
use crate::daemon::telling::answer;
use crate::daemon::telling::reply::Reply;
use crate::identity::{AllocationId, JobId, JobUnits, Uid, UnitName};
use crate::ledger::allocation::Phase;
use crate::ledger::job::{Cause, Exit, JobEnd, JobKind, Ran};
use crate::ledger::refusal::Refusal;
use crate::ledger::{Command, Effect, Image};
use crate::quantity::Amount;
use crate::serving::logging::chain;
use crate::serving::session::hand::HAND_RETRY_AFTER_MS;
use crate::wire::error::{Code, WireError};

impl EventLoop {
    /// The submitted command that an effect is for.
    pub(crate) fn work_of(&self, effect: &Effect) -> Option<JobId> {
        let job = match effect {
            Effect::Start { job, .. } | Effect::Queued { job, .. } => Some(*job),
            Effect::Grant(id) => match self.ledger.allocation(*id)?.phase {
                Phase::Granting { job } => job,
                _ => None,
            },
            _ => None,
        };
        job.filter(|job| self.ledger.jobs().get(job).is_some_and(|job| job.is_work()))
    }

    /// What the kernel is to hold of an allocation; nothing where there is none.
    pub(crate) fn amount_of(&self, id: AllocationId) -> Amount {
        let held = self.ledger.allocation(id).map(|allocation| allocation.enforced().most);
        held.unwrap_or_default()
    }

    /// A submitted command, by its units.
    pub(crate) fn running(&self, id: JobId) -> Option<Running> {
        let job = self.ledger.jobs().get(&id)?;
        let home = job.home()?;
        let units = JobUnits::of(job.uid, self.ledger.within(job), id);
        let within = self.ledger.unit(home);
        let tries = job.work().and_then(|work| work.again).map(|again| again.tries);
        let notifies = job.work().is_some_and(|work| work.care.notifies);
        Some(Running { job: id, units, within, task: job.task(), tries, notifies })
    }

    /// Starts a command, and follows it to its end.
    pub(crate) fn run_work(&mut self, cx: Context, uid: Uid, job: JobId, image: Image, reply: Reply) {
        let command = self.taken_to_run(job);
        let found = self.ledger.jobs().get(&job).map(|job| (job.kind.clone(), job.home()));
        let (Some((JobKind::Submit(found), Some(home))), Some(running)) = (found, self.running(job)) else {
            reply.send(Err(answer::refusal(&Refusal::NoJob)));
            // The member was marked busy for this: others of their effects have their turn.
            return drop(cx.turn(uid));
        };
        self.followed.insert(job);
        let (offer, fetches) = mpsc::channel(FETCHES_WAITING_MAX);
        self.offers.insert(job, offer);
        let amount = found.limits.or(self.amount_of(home));
        tokio::spawn(job::run(cx, (running, amount), *found, (command, fetches), image, reply));
    }

    /// Follows the commands that run and that nobody follows: after a start, or when the bus is back. Those that have been
    /// called back are stopped: who did it was answered before that, or not at all. Those that nobody has begun with are started.
    pub(crate) fn follow_works(&mut self) {
        let Some(cx) = self.context.clone() else { return };
        self.out_of_sight = false;
        let running =
            self.ledger.jobs().values().filter(|job| job.is_work() && !job.ended() && !job.queued());
        let running = running.filter(|job| job.array().is_none());
        let (mut starts, mut lost) = (Vec::new(), Vec::new());
        for job in running {
            if self.knows_command(job.id) && !job.called_back() {
                starts.push(Effect::Start { uid: job.uid, job: job.id });
            } else {
                lost.push((job.id, job.called_back()));
            }
        }
        lost.into_iter().for_each(|(job, called_back)| self.follow_lost(&cx, job, called_back));
        self.clear_for_others(&cx);
        // What is known to be handed over has not been, and nothing is under way that would: its start came when there was
        // no systemd.
        let granting = |job: &JobId| {
            let home = self.ledger.jobs().get(job).and_then(|job| job.home());
            let allocation = home.and_then(|home| self.ledger.allocation(home));
            allocation.is_some_and(|allocation| matches!(allocation.phase, Phase::Granting { .. }))
        };
        starts.retain(|start| matches!(start, Effect::Start { job, .. } if !granting(job)));
        starts.into_iter().for_each(|start| self.start(&cx, start, Reply::nobody()));
    }

    /// Follows a command that a daemon before this one may have had started, unless somebody does, and stops it where it has been called
    /// back.
    pub(crate) fn follow_lost(&mut self, cx: &Context, job: JobId, called_back: bool) {
        if self.followed.insert(job)
            && let Some(running) = self.running(job)
        {
            tokio::spawn(job::follow(cx.clone(), running, Following::Lost { called_back }));
        }
    }

    /// Takes away what is left of these commands' units, but of those that run: after a start, for the daemon that stored
    /// how a command ended may have died before it did so.
    ///
    /// What is an allocation in itself is none of theirs: it goes by itself when it is empty.
    pub(crate) fn clear_works(&self, found: BTreeSet<(JobId, JobUnits)>) {
        let Some(cx) = &self.context else { return };
        // What is to be run again is cleared for that.
        let over = |job: &JobId| self.ledger.jobs().get(job).is_none_or(|job| job.ended());
        for (job, units) in found.into_iter().filter(|(job, _)| over(job)) {
            let held = units.slice.allocation().filter(|id| self.ledger.allocation(*id).is_some());
            let within = held.map_or(UnitName::Share(units.slice.uid()), AllocationId::unit);
            tokio::spawn(job::clear_left(
                cx.clone(),
                Running { job, units, within, task: None, tries: None, notifies: false },
            ));
        }
    }

    /// A command may run that nobody follows any more: that may be heard when the bus is back already.
    pub(crate) fn work_lost(&mut self, job: JobId) {
        self.followed.remove(&job);
        self.out_of_sight = true;
    }

    /// How a command ended that has ended like this, as is known of it here. `None` where only the next daemon knows.
    fn judged(&self, job: JobId, end: JobEnd) -> Option<JobEnd> {
        let found = self.ledger.jobs().get(&job);
        let called_back = found.is_some_and(|job| job.called_back());
        let requeue = found.and_then(|job| job.work()?.again).is_some_and(|again| again.requeue);
        let out_of_time = found.is_some_and(|job| job.out_of_time(clock::now()));
        let needed = self.needed.get(&job).copied();
        let end = match end {
            JobEnd::Ran(ran) => JobEnd::Ran(Ran { needed, ..ran }),
            end => end,
        };
        let end = match end {
            // What was stopped is told as stopped: this one was done before a cancel could have any effect.
            JobEnd::Ran(Ran { exit: Exit::Code(0), cause: None, .. }) => end,
            JobEnd::Ran(ran) => {
                let cause = match ran.cause {
                    // systemd says the same of who did not end in time when they were stopped.
                    Some(Cause::Time) if !out_of_time => Some(Cause::Outside),
                    cause => cause,
                };
                // Who called it back is who stopped it.
                let stopped = called_back && matches!(cause, Some(Cause::Outside) | None);
                JobEnd::Ran(Ran { cause: if stopped { Some(Cause::Cancelled) } else { cause }, ..ran })
            }
            end => end,
        };
        // With the daemon the machine may be going down, which stops commands too: the next one knows.
        let may_go_on = requeue && *self.stop.borrow();
        let outside = matches!(end, JobEnd::Ran(Ran { cause: Some(Cause::Outside), .. }));
        (!(may_go_on && outside)).then_some(end)
    }

    /// A command has ended, at whose end something of its member's is run.
    pub(crate) fn ending(&mut self, job: JobId, end: JobEnd, reply: oneshot::Sender<Image>) {
        let Some(end) = self.judged(job, end) else { return };
        self.tell(Command::Ending { job, end });
        let _ = reply.send(self.ledger.image());
    }

    /// Whether it is at work.
    pub(crate) fn runs(&self, job: JobId) -> bool {
        self.ledger.jobs().get(&job).is_some_and(|job| !job.queued() && !job.ended())
    }

    /// A command is over.
    pub(crate) fn work_ended(&mut self, job: JobId, end: JobEnd, reply: oneshot::Sender<Image>) {
        self.followed.remove(&job);
        let home = self.ledger.jobs().get(&job).and_then(|job| job.home());
        let Some(end) = self.judged(job, end) else { return };
        self.needed.remove(&job);
        let tried = self.ledger.jobs().get(&job).cloned().map(|job| (job, end.clone()));
        match self.ledger.apply(clock::now(), Command::WorkEnded { job, end }) {
            Ok(effects) => {
                let _ = reply.send(self.ledger.image());
                self.carry_out_others(effects);
                if let Some((tried, end)) = tried.filter(|_| self.waits_again(job)) {
                    // Whoever followed it clears away what is left.
                    self.followed.insert(job);
                    self.goes_on(job);
                    self.offers.remove(&job);
                    self.at_end.remove(&job);
                    self.try_over(&tried, end);
                }
                // Until now it was taken for occupied.
                self.watch_anew(home);
            }
            Err(refusal) => error!("the ledger refused an end: {refusal:?}"),
        }
        for reply in self.called_back.remove(&job).unwrap_or_default() {
            self.answer_job(job, reply);
        }
        self.tell_status();
    }

    /// A command was stopped for who called it back: they hear how it ended when that is known.
    pub(crate) fn called_back(&mut self, job: JobId, reply: Reply) {
        if self.followed.contains(&job) {
            self.called_back.entry(job).or_default().push(reply);
        } else {
            self.answer_job(job, reply);
        }
    }

    fn answer_job(&self, job: JobId, reply: Reply) {
        reply.send(self.shown().one_job(job));
    }

    /// Has a command's process given what it becomes; or the one at its end what is run then.
    pub(crate) fn fetch(&mut self, (id, at_end): (JobId, bool), fetch: Fetch) {
        let uid = fetch.peer.uid;
        // Whether there is such a job of somebody else's is not told.
        let job = self.ledger.jobs().get(&id).filter(|job| job.is_work() && job.uid == uid);
        if job.is_none() && self.condition.is_degraded() {
            return fetch.reply.send(Err(self.condition.refusal()));
        }
        let Some(job) = job else { return fetch.reply.send(Err(not_its_process(uid, id))) };
        // One that waits for its next try is none of a process of the last one.
        let ended = job.ended() || job.queued();
        let service = JobUnits::of(uid, self.ledger.within(job), id).service;
        if let Err(error) = is_its_process(&self.parts.cgroups, &fetch.peer, (service, id)) {
            return fetch.reply.send(Err(error));
        }
        if at_end {
            return match self.at_end.get(&id).filter(|_| !ended) {
                Some(offer) => offered(offer, id, fetch),
                None if ended => fetch.reply.send(Err(nothing_left(id))),
                None => {
                    let error = WireError::new(Code::Busy, "How the command ended is not stored yet");
                    fetch.reply.send(Err(error.retry_after_ms(HAND_RETRY_AFTER_MS)));
                }
            };
        }
        // Who is stopped does not begin.
        let ended = ended || job.called_back();
        if !ended && !self.offers.contains_key(&id) && self.commands.started.contains(&id) {
            self.offer_again(id);
        }
        let Some(offer) = self.offers.get(&id).filter(|_| !ended) else {
            return match ended {
                true => fetch.reply.send(Err(nothing_left(id))),
                // A daemon before this one had it started, and its turn with this one is still to come.
                false if self.knows_command(id) => {
                    let error = WireError::new(Code::Busy, "What the command is is not offered yet");
                    fetch.reply.send(Err(error.retry_after_ms(HAND_RETRY_AFTER_MS)));
                }
                false => self.never_began(id, fetch.reply),
            };
        };
        offered(offer, id, fetch);
    }

    /// The daemon that started a command is gone, and what was to be run with it. The command's process hears of it when that
    /// is stored: with whatever it then ends, that is not how the command ended.
    pub(crate) fn never_began(&mut self, job: JobId, reply: Reply) {
        let Some(cx) = self.context.clone() else { return reply.send(Err(self.condition.refusal())) };
        warn!(job_id = job.0, "job {job} never began: the daemon that started it has gone");
        self.tell(Command::NeverBegan { job });
        self.tell_status();
        let image = self.ledger.image();
        tokio::spawn(async move {
            let answer = match cx.persist.save(image).await {
                Ok(()) => {
                    WireError::new(Code::Interrupted, "The daemon restarted before the command was started")
                }
                Err(fault) => {
                    error!("{}", chain(&*fault));
                    WireError::new(Code::Busy, "That the command never began could not be stored")
                        .retry_after_ms(HAND_RETRY_AFTER_MS)
                }
            };
            reply.send(Err(answer));
        });
    }
}

/// Passes a call on to where what it fetches is offered.
fn offered(offer: &mpsc::Sender<Fetch>, job: JobId, fetch: Fetch) {
    match offer.try_send(fetch) {
        Ok(()) => {}
        Err(TrySendError::Full(fetch)) => {
            let error = WireError::new(Code::Busy, "This is being fetched already");
            fetch.reply.send(Err(error.retry_after_ms(HAND_RETRY_AFTER_MS)));
        }
        Err(TrySendError::Closed(fetch)) => fetch.reply.send(Err(nothing_left(job))),
    }
}

fn nothing_left(job: JobId) -> WireError {
    WireError::new(Code::NotFound, format!("Nothing is left to be fetched for job {job}"))
}
