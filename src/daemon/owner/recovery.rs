//! What is missing, looked for again and taken into use.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tracing::{error, info};

use super::EventLoop;
use super::event::Event;
use crate::daemon::baseline::Heard;
use crate::daemon::clock;
use crate::daemon::doing::allocation::Context;
use crate::daemon::doing::io::IoHands;
use crate::daemon::mending::recover::{Before, Opened, Recovery, recover};
use crate::identity::JobId;
use crate::ledger::Command;
use crate::serving::logging::chain;

impl EventLoop {
    /// What a recovery starts from.
    pub(crate) fn before(&self, with_state: bool) -> Before {
        Before {
            parts: self.parts.clone(),
            policy: self.policy.clone(),
            policy_told: self.policy_told.subscribe(),
            persist: self.persist.clone(),
            systemd: self.systemd.clone(),
            ledger: self.ledger.clone(),
            with_state,
            said: self.said.clone(),
            capacity: self.capacity().unwrap_or_default().0,
        }
    }

    /// Looks for what is missing, unless that is being done, or something is still under way on what was there.
    pub(crate) fn recover(&mut self, with_state: bool) {
        self.condition.doubt_again();
        if self.store_again {
            drop(self.store_in_background());
        }
        self.retry_state |= with_state && self.persist.is_none();
        if self.out_of_sight {
            self.follow_works();
        }
        if !self.condition.is_degraded() && self.context.is_some() {
            return self.settle_doubts();
        }
        if self.recovering || !self.busy.is_empty() {
            return;
        }
        self.recovering = true;
        let with_state = std::mem::take(&mut self.retry_state);
        let (before, events) = (self.before(with_state), self.events.clone());
        tokio::spawn(async move {
            let recovery = Box::new(recover(before).await);
            let _ = events.send(Event::Recovered(recovery)).await;
        });
    }

    /// Takes what a recovery found. What it changed is on its way into the state file: the task that writes it.
    pub(crate) fn recovered(&mut self, recovery: Recovery) -> Option<JoinHandle<()>> {
        self.recovering = false;
        match recovery.state {
            Some(Ok(Opened { persist, ledger, commands })) => {
                self.stored = (ledger.revision() > 0).then(|| ledger.revision());
                (self.persist, self.ledger, self.condition.state) = (Some(persist), ledger, None);
                self.commands = commands;
                self.open_history();
            }
            Some(Err(unusable)) => {
                self.condition.state = Some(unusable.why);
                self.retry_state |= unusable.mends;
            }
            None => {}
        }
        match recovery.bus {
            Some(Ok((systemd, signals))) => {
                self.baseline.hear(Heard::Bus(systemd.clone()));
                (self.systemd, self.signals, self.condition.bus) = (Some(systemd), Some(signals), None);
            }
            Some(Err(why)) => self.condition.bus = Some(why),
            None => {}
        }
        // What has not been laid side by side is not changed: without a policy there is no survey, and no context.
        let surveyed = recovery.survey.is_some();
        if let (Some(systemd), Some(persist), true) = (self.systemd.clone(), self.persist.clone(), surveyed) {
            let (cgroups, said) = (Arc::clone(&self.parts.cgroups), self.said.clone());
            let (socket, accounts) = (Arc::clone(&self.parts.socket), self.parts.accounts.clone());
            let capacity = self.capacity().unwrap_or_default().0;
            let io = IoHands::new(&self.parts, systemd.clone(), self.policy_told.subscribe());
            self.context = Some(Context { persist, systemd, cgroups, said, socket, accounts, capacity, io });
        }
        let mut written = None;
        match recovery.survey {
            Some(Ok(survey)) => {
                let (works, services) = (survey.below.works.clone(), survey.below.services.clone());
                self.reconciled(survey);
                self.go_on_with_works(&services);
                self.clear_works(works);
                self.learn_paused();
                written = self.store_in_background();
                self.bound_all();
                self.look_at_left_behind();
                self.look_at_io(true);
                self.know_waiting();
                self.watch_all_anew();
                self.tell(Command::Tick);
                // What came into doubt while there was no bus, or since the world was looked at.
                self.settle_doubts();
                if !self.condition.is_degraded() {
                    info!("{} held, everything enforced", self.status_line());
                }
            }
            Some(Err(fault)) => {
                error!("{}", chain(&fault));
                self.condition.bus = Some(chain(&fault));
                (self.context, self.systemd, self.signals) = (None, None, None);
            }
            None => {}
        }
        self.tell_status();
        self.answer_reloads();
        written
    }

    /// Takes up the commands that wait and run: those that nobody knows any more are over, those that nobody has begun with are started,
    /// and those that systemd has are followed.
    fn go_on_with_works(&mut self, services: &BTreeSet<JobId>) {
        let known = |of: &Self, queued: bool| -> BTreeSet<JobId> {
            let works = of.ledger.jobs().values().filter(|job| job.is_work() && job.queued() == queued);
            works.map(|job| job.id).filter(|job| of.knows_command(*job)).collect()
        };
        let waiting = known(self, true);
        let told = self.ledger.interrupt_jobs(clock::now(), |job| waiting.contains(&job));
        self.carry_out_others(told);
        self.were_asked_for(services);
        known(self, false).into_iter().for_each(|job| self.ledger.begin_anew(clock::now(), job));
        self.follow_works();
    }

    /// Whether there is something to look for: what may mend itself, or what came back and is not in use yet.
    pub(crate) fn wants_recovery(&self) -> bool {
        let unused = self.context.is_none() && !self.condition.is_degraded();
        self.condition.wants_recovery() || self.retry_state || unused
    }
}
