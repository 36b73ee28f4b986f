//! Who changes what waits: holds it, releases it, puts it before others of their own.

use std::sync::Arc;

use crate::identity::{JobId, Uid};
use crate::ledger::apart::Change;
use crate::ledger::job::{JobState, Precedence};
use crate::ledger::queue::Waiting;
use crate::ledger::refusal::Refusal;
use crate::ledger::{Effect, Event, Ledger};

impl Ledger {
    /// As often as one likes: what is so already stays so.
    pub(in crate::ledger) fn alter_job(
        &mut self,
        id: JobId,
        by: Uid,
        change: Change,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let job = self.own_job(by, id)?;
        match job.state {
            JobState::Queued { .. } => {}
            JobState::Running { .. } => return Err(Refusal::NotWaiting { job: id, over: false }),
            JobState::Ended { .. } => return Err(Refusal::NotWaiting { job: id, over: true }),
        }
        let before = Arc::clone(job);
        if let Some(held) = change.hold {
            if !before.is_work() {
                return Err(Refusal::NotHeld { job: id });
            }
            self.set_apart(id, |apart| apart.held = held);
        }
        let old = before.kind.ask().map(|ask| ask.precedence).unwrap_or_default();
        let priority = change.priority.unwrap_or(old.priority);
        let first = change.first.map_or(old.first, |first| if first { self.foremost(by, old) } else { 0 });
        self.set_precedence(id, Precedence { first, priority });
        if self.jobs.get(&id).is_some_and(|job| *job != before) {
            effects.push(Effect::Notify(Event::Job(id)));
        }
        Ok(())
    }

    /// What puts a job before all others of its member's that wait: what it has, where it is before them already.
    fn foremost(&self, uid: Uid, old: Precedence) -> u64 {
        let waiting = self.queue.of(uid).chain(self.aside.of(uid));
        let asks = waiting.filter_map(|job| self.jobs.get(&job)?.kind.ask());
        let most = asks.map(|ask| ask.precedence.first).max().unwrap_or(0);
        if most > 0 && old.first == most { most } else { most.saturating_add(1) }
    }

    fn set_precedence(&mut self, id: JobId, new: Precedence) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.kind.ask().is_none_or(|ask| ask.precedence == new) {
            return;
        }
        if let Some(ask) = Arc::make_mut(job).kind.ask_mut() {
            ask.precedence = new;
        }
        let Some(waiting) = Waiting::of(job) else { return };
        let since = self.clock.last;
        let another = self.queue.reorder(waiting, &self.books, since);
        self.recount(waiting.uid);
        let Some(first) = another else { return };
        if let Some(job) = self.jobs.get_mut(&first) {
            Arc::make_mut(job).state = JobState::Queued { since };
        }
        self.give_up_place(waiting.uid);
    }
}
