//! Effects on their way: each in a task of its own, answered or not.

use tracing::error;

use super::clock;
use super::event_loop::{EventLoop, Reply};
use super::execute::{self, Context};
use crate::ledger::{Command, Effect};
use crate::wire::answer::Answer;

impl EventLoop {
    /// Effects that nobody who could be answered called for.
    pub(super) fn carry_out_others(&mut self, effects: Vec<Effect>) {
        let Some(cx) = self.context.clone() else { return };
        for effect in effects.into_iter().filter(|effect| effect.event().is_none()) {
            self.start(&cx, effect, Reply::nobody());
        }
    }

    /// Tells the ledger something that nobody called for.
    pub(super) fn tell(&mut self, command: Command) {
        match self.ledger.apply(clock::now(), command) {
            Ok(effects) => self.carry_out_others(effects),
            Err(refusal) => error!("the ledger refused: {refusal:?}"),
        }
    }

    /// Has an effect carried out.
    pub(super) fn start(&mut self, cx: &Context, effect: Effect, reply: Reply) {
        let (cx, image) = (cx.clone(), self.ledger.image());
        let share = |uid| self.ledger.share(uid).cloned();
        let uid = match effect {
            Effect::Grant(uid) => {
                let Some(share) = share(uid) else { return };
                tokio::spawn(execute::grant(cx, share, image, reply));
                uid
            }
            Effect::Resize { uid, to, .. } => {
                let Some(share) = share(uid) else { return };
                tokio::spawn(execute::resize(cx, share, to, image, reply));
                uid
            }
            Effect::Withdraw(uid) => {
                tokio::spawn(execute::release(cx, uid, image, reply));
                uid
            }
            Effect::Stop { uid, job } | Effect::Evict { uid, job } => {
                tokio::spawn(execute::stop(cx, uid, job, image, reply));
                uid
            }
            Effect::Queued { job, .. } => {
                return reply.send(Ok(Answer::JobStarted { job_started: job.0 }));
            }
            // Enter is its caller's own, and events are told elsewhere.
            Effect::Enter { .. } | Effect::Notify(_) => return,
        };
        self.busy.entry(uid).or_default();
    }
}
