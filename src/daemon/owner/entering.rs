//! Processes on their way into an allocation of their member's, which may have to be taken for them first.

use super::EventLoop;
use crate::contract::{Answer, InUnit};
use crate::daemon::asking::authorize::Authorised;
use crate::daemon::asking::deed::{Destination, Whom};
use crate::daemon::clock;
use crate::daemon::doing::allocation::{self, Context};
use crate::daemon::doing::enter::{self, Entering};
use crate::daemon::telling::answer;
use crate::daemon::telling::reply::Reply;
use crate::identity::{AllocationId, JobId, Uid, UnitName};
use crate::ledger::allocation::Allocation;
use crate::ledger::job::{JobKind, JobState};
use crate::ledger::refusal::Refusal;
use crate::ledger::{Command, Effect};
use crate::quantity::Amount;
use crate::wire::error::{Code, WireError};

impl EventLoop {
    /// Has processes put into an allocation of their member's.
    pub(crate) fn let_in(
        &mut self,
        authorised: &Authorised,
        (into, whom): (Destination, Whom),
        reply: Reply,
    ) {
        let internal = |what| WireError::new(Code::Internal, what);
        let Some(uid) = authorised.turn() else {
            return reply.send(Err(internal("Processes go into a share at its member's turn only")));
        };
        let stays = if matches!(into, Destination::Of(_)) { None } else { self.in_a_command(uid, &whom) };
        if let Some(stays) = stays {
            return reply.send(Ok(Answer::Unit(stays)));
        }
        let command = match into {
            Destination::Standing => Ok(Command::Enter { id: AllocationId::standing(uid) }),
            Destination::Of(job) => self.awaited(uid, job).map(|id| Command::Enter { id }),
            // Nobody waits for what they are refused then.
            Destination::Wanted(member, wanted) => enter::may_go(&whom, uid, self.takes_from_sandboxes())
                .map(|()| Command::Run { member: *member, wanted }),
        };
        let command = match command {
            Ok(command) => command,
            Err(error) => return reply.send(Err(error)),
        };
        let Some((cx, decided, reply)) = self.decide(authorised, command, reply) else { return };
        match decided.own {
            Some(Effect::Enter { id, run }) => {
                self.entering.insert(run, whom);
                self.busy.entry(uid).or_default();
                self.enter(cx, id, run, reply);
            }
            Some(Effect::Grant(id)) => match self.ledger.allocation(id).cloned() {
                Some(allocation) => {
                    self.busy.entry(uid).or_default();
                    let image = self.ledger.image();
                    tokio::spawn(allocation::grant_for_run(cx, allocation, image, (whom, reply)));
                }
                None => reply.send(Err(answer::refusal(&Refusal::NoShare))),
            },
            Some(effect @ Effect::Queued { .. }) => self.start(&cx, effect, reply),
            _ => reply.send(Err(internal("There was nothing to enter, and should have been"))),
        }
        self.carry_out_others(decided.others);
        self.tell_status();
    }

    /// The allocation that was taken for processes is there: they go in, after what is under way for their member.
    pub(crate) fn let_in_now(&mut self, id: AllocationId, whom: Whom, reply: Reply) {
        let Some(cx) = self.context.clone() else { return reply.send(Err(self.condition.refusal())) };
        match self.ledger.decide(clock::now(), Command::Enter { id }) {
            Ok(decided) => {
                if let Some(effect @ Effect::Enter { run, .. }) = decided.own {
                    self.entering.insert(run, whom);
                    self.start(&cx, effect, reply);
                }
                self.carry_out_others(decided.others);
            }
            Err(refusal) => reply.send(Err(answer::refusal(&refusal))),
        }
    }

    /// Puts the processes that a scope of this number is for in it. Their member is marked busy.
    pub(crate) fn enter(&mut self, cx: Context, id: AllocationId, run: u64, reply: Reply) {
        let Some(whom) = self.entering.remove(&run) else {
            reply.send(Err(self.condition.refusal()));
            return drop(cx.turn(id.uid));
        };
        let within = self.ledger.allocation(id).map_or(id.within(), Allocation::within);
        let entering = Entering {
            id,
            scope: UnitName::Run(id.uid, within, run),
            amount: self.amount_of(id),
            whom,
            from_sandboxes: self.takes_from_sandboxes(),
        };
        tokio::spawn(enter::enter(cx, entering, reply));
    }

    /// The allocation of a command in the foreground that has waited for it.
    fn awaited(&self, uid: Uid, id: JobId) -> Result<AllocationId, WireError> {
        let job = self.ledger.jobs().get(&id).filter(|job| job.uid == uid);
        let job = job.filter(|job| matches!(job.kind, JobKind::Run(_)));
        let job = job.ok_or_else(|| answer::refusal(&Refusal::NoJob))?;
        match (&job.state, job.home()) {
            (JobState::Running { .. }, Some(home)) => Ok(home),
            (JobState::Queued { .. }, _) => Err(answer::refusal(&Refusal::NoRoomOfIts { job: id })),
            _ => {
                let error = self.shown().job(job).error;
                let over = || WireError::new(Code::Cancelled, format!("Job {id} is over"));
                Err(error.map_or_else(over, |error| *error))
            }
        }
    }

    /// Where a caller stays who is in a command of theirs that brought room: its limits, its time and a cancel go on holding for
    /// them.
    fn in_a_command(&self, uid: Uid, whom: &Whom) -> Option<InUnit> {
        let Whom::Caller(pid) = *whom else { return None };
        let (job, unit) = enter::job_of(pid, uid)?;
        let job = self.ledger.jobs().get(&job).filter(|job| !job.ended())?;
        let home = job.home()?;
        let Amount { cpu, mem, .. } = match &job.kind {
            JobKind::Submit(work) => work.limits.or(self.amount_of(home)),
            JobKind::Run(_) => self.amount_of(home),
            JobKind::Request(_) | JobKind::Release => return None,
        };
        let job_id = home.job().map(|job| job.0);
        Some(InUnit { unit: unit.to_string(), cpu_milli: cpu.0, mem_bytes: mem.0, job_id })
    }

    fn takes_from_sandboxes(&self) -> bool {
        self.policy.as_ref().is_some_and(|policy| policy.from_sandboxes)
    }
}
