//! Commands in the foreground: each brings an allocation, which goes with it, or runs in its member's standing one.

use super::lease::of_allocation;
use crate::identity::AllocationId;
use crate::ledger::allocation::{Goes, Terms};
use crate::ledger::command::Wanted;
use crate::ledger::job::{Ask, JobKind, JobState};
use crate::ledger::refusal::Refusal;
use crate::ledger::{Effect, Event, Ledger, Member, Now};

impl Ledger {
    pub(in crate::ledger) fn run(
        &mut self,
        now: Now,
        member: &Member,
        wanted: Wanted,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let Wanted { amount, place, lease, wait } = wanted;
        let uid = member.uid;
        if self.joins(uid, place, amount) {
            return self.go_in(AllocationId::standing(uid), effects);
        }
        if self.draining {
            return Err(Refusal::Draining);
        }
        let ask = self.ask(member, amount, of_allocation(&member.policy, lease)?, lease)?;
        let goes = Goes::WithProcesses { entered: false };
        let ask = Ask { terms: Terms { goes, ..ask.terms }, ..ask };
        if self.has_room(uid, &ask) {
            let kind = JobKind::Run(Box::new(ask.clone()));
            let job = self.new_job(now, uid, kind, JobState::Running { started: now });
            let id = AllocationId::of_run(uid, job);
            self.begin(now, id, &ask, Some(job));
            effects.extend([Effect::Grant(id), Effect::Notify(Event::Job(job))]);
            return Ok(());
        }
        self.may_wait(now, uid, &ask, wait)?;
        self.wait_as(now, uid, JobKind::Run(Box::new(ask)), effects);
        Ok(())
    }
}
