//! Calls that change nothing: answered from the ledger and the kernel, at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{error, info};

use super::EventLoop;
use crate::cgroup::Group;
use crate::contract::{
    Answer, CapacityInfo, Check, HealthAnswer, Jobs, ListAnswer, OneJob, PolicyAnswer, Pong, ShareInfo,
    StatusAnswer, Subscribed, Usage,
};
use crate::daemon::asking::authorize::{Act, Authorised};
use crate::daemon::clock;
use crate::daemon::doing::kernel::{limits_hold, usage};
use crate::daemon::event::{Event, Reply};
use crate::daemon::mending::world;
use crate::daemon::telling::answer;
use crate::host::account::Account;
use crate::host::machine;
use crate::identity::{Uid, UnitName};
use crate::ledger::refusal::Refusal;
use crate::ledger::share::{Phase, Share};
use crate::ledger::{Command, Ledger, Rules};
use crate::policy::{MemberPolicy, Policy, Role, Visibility, file};
use crate::quantity::PartialAmount;
use crate::serving::logging::chain;
use crate::wire::error::{Code, WireError};

/// How old the figures of a list may be: many who ask at once cost one reading.
const USAGES_FRESH: Duration = Duration::from_secs(1);

/// Threads that read figures for one list ...
const USAGES_READERS_MAX: usize = 2;

/// ... each of at least so many shares: for fewer, a second thread costs more than it saves.
const USAGES_PER_READER_MIN: usize = 32;

/// What all shares use, read not long ago, and the lists that wait for a reading.
#[derive(Debug, Default)]
pub struct Usages {
    read: BTreeMap<Uid, Usage>,
    read_at: Option<Instant>,
    /// Who waits, and the only member whose share they may see where it is not all.
    waiting: Vec<(Reply, Option<Uid>)>,
}

impl Usages {
    /// Takes a reading, and answers the lists that waited for it.
    pub fn arrived(&mut self, read: BTreeMap<Uid, Usage>, ledger: &Ledger, capacity: CapacityInfo) {
        (self.read, self.read_at) = (read, Some(Instant::now()));
        for (reply, only) in std::mem::take(&mut self.waiting) {
            reply.send(Ok(self.list(ledger, capacity, only)));
        }
    }

    fn list(&self, ledger: &Ledger, capacity: CapacityInfo, only: Option<Uid>) -> Answer {
        let visible = ledger.shares().values().filter(|share| only.is_none_or(|uid| share.uid == uid));
        let visible = visible.filter(|share| is_held(share));
        let now = clock::now();
        let shown = |share: &Share| {
            let ends = share.lease.map(|lease| ledger.wall_ms(now, lease.ends));
            answer::share(share, ends, self.read.get(&share.uid).cloned())
        };
        let shares: Vec<ShareInfo> = visible.map(shown).collect();
        Answer::List(ListAnswer { shares, capacity })
    }
}

/// Whether the member has it: what is still being made is not enforced, and may come to nothing.
fn is_held(share: &Share) -> bool {
    !matches!(share.phase, Phase::Granting { .. })
}

impl EventLoop {
    /// Answers a call that changes nothing.
    pub(crate) fn query(&mut self, authorised: &Authorised, reply: Reply) {
        let result = match authorised.act() {
            Act::Ping => Ok(Answer::Pong(Pong { at_ms: clock::now().wall_ms })),
            Act::Health => Ok(self.health(authorised.role() == Role::Admin)),
            Act::Status { uid } => Ok(self.status(*uid)),
            Act::List => return self.list(authorised, reply),
            Act::Policy { account } => match &self.policy {
                Some(policy) => Ok(Answer::Policy(PolicyAnswer {
                    policy: answer::policy(&self.member_policy(policy, account)),
                })),
                None => Err(self.condition.refusal()),
            },
            Act::JobStatus { job } => self.job(authorised, *job),
            Act::JobList { all } => {
                let own = authorised.peer().uid;
                let visible = self.ledger.jobs().values().filter(|job| *all || job.uid == own);
                Ok(Answer::Jobs(Jobs { jobs: self.jobs_shown(visible) }))
            }
            Act::Subscribe { .. } => Ok(Answer::Subscribed(Subscribed { subscribed: true })),
            Act::JobCancel { .. } | Act::Drain | Act::Undrain => return self.decide(authorised, reply),
            Act::Reload => return self.reload(Some(reply)),
            // Everything else changes a share, or brings descriptors, and does not come here.
            Act::Request { .. }
            | Act::Renew { .. }
            | Act::Resize { .. }
            | Act::Release { .. }
            | Act::Run
            | Act::Attach { .. }
            | Act::Submit { .. }
            | Act::JobFetch { .. } => {
                Err(WireError::new(Code::Internal, "A change was taken for a question"))
            }
        };
        reply.send(result);
    }

    fn job(&self, authorised: &Authorised, id: crate::identity::JobId) -> Result<Answer, WireError> {
        let job = self.ledger.jobs().get(&id).ok_or_else(|| answer::refusal(&Refusal::NoJob))?;
        if job.uid != authorised.peer().uid && authorised.role() < Role::Admin {
            // Who may not know of it is not told that there is one.
            return Err(answer::refusal(&Refusal::NoJob));
        }
        Ok(Answer::Job(OneJob { job: self.job_shown(job) }))
    }

    fn status(&self, uid: Uid) -> Answer {
        let held = self.ledger.share(uid).filter(|share| is_held(share));
        let share =
            held.map(|share| ShareInfo { usage: usage(&self.parts.cgroups, uid), ..self.shown(share) });
        Answer::Status(StatusAnswer { share, capacity: self.capacity() })
    }

    fn list(&mut self, authorised: &Authorised, reply: Reply) {
        let names = self.policy.as_ref().is_some_and(|policy| policy.visibility == Visibility::Names);
        let peer = authorised.peer();
        let only = (!names && authorised.role() < Role::Admin).then_some(peer.uid);
        if self.usages.read_at.is_some_and(|at| at.elapsed() < USAGES_FRESH) {
            return reply.send(Ok(self.usages.list(&self.ledger, self.capacity(), only)));
        }
        self.usages.waiting.push((reply, only));
        if self.usages.waiting.len() > 1 {
            return;
        }
        let (cgroups, events) = (Arc::clone(&self.parts.cgroups), self.events.clone());
        let uids: Vec<Uid> = self.ledger.shares().keys().copied().collect();
        tokio::spawn(async move {
            let at_once = uids.len().div_ceil(USAGES_READERS_MAX).max(USAGES_PER_READER_MIN);
            let readers: Vec<_> = uids
                .chunks(at_once)
                .map(|uids| {
                    let (uids, cgroups) = (uids.to_vec(), Arc::clone(&cgroups));
                    let read = move |uid| Some((uid, usage(&cgroups, uid)?));
                    tokio::task::spawn_blocking(move || uids.into_iter().filter_map(read).collect::<Vec<_>>())
                })
                .collect();
            let mut usages = BTreeMap::new();
            for reader in readers {
                usages.extend(reader.await.unwrap_or_default());
            }
            let _ = events.send(Event::Usages(usages)).await;
        });
    }

    /// What can be handed out, what is left of it, and who holds and waits.
    pub(crate) fn capacity(&self) -> CapacityInfo {
        let capacity = self.ledger.capacity();
        CapacityInfo {
            cpu_milli: capacity.whole().cpu().0,
            mem_bytes: capacity.whole().mem().0,
            free_cpu_milli: capacity.free().cpu().0,
            free_mem_bytes: capacity.free().mem().0,
            shares: self.ledger.shares().len() as u64,
            waiting: self.ledger.waiting() as u64,
        }
    }

    /// Notices that the machine has become another: CPUs go and come while it runs, and nobody says so.
    pub(crate) fn look_at_machine(&mut self) {
        if machine::read(&self.parts.online).is_ok_and(|machine| Some(machine) != self.machine) {
            info!("the machine has other CPUs or memory than before");
            self.bound_all();
        }
    }

    /// Sets what bounds all shares together.
    pub(crate) fn bound_all(&mut self) {
        match machine::read(&self.parts.online) {
            Ok(machine) => self.machine = Some(machine),
            Err(fault) => error!("{}, proceeding with what was known", chain(&fault)),
        }
        let whole =
            self.policy.as_ref().zip(self.machine).and_then(|(policy, machine)| policy.capacity(machine));
        let (cpu, mem) = whole.unwrap_or_default();
        self.tell(Command::SetCapacity { cpu, mem });
        if let Some(policy) = self.policy.clone() {
            self.tell(Command::SetRules(Rules {
                half_life: policy.half_life,
                patience: policy.patience,
                lease_max: policy.lease_max,
                evict: policy.evict,
            }));
        }
        self.bounds = PartialAmount {
            cpu: Some(cpu).filter(|cpu| cpu.0 > 0),
            mem: Some(mem).filter(|mem| mem.0 > 0),
            tasks: machine::tasks()
                .map_err(|fault| error!("{fault}, proceeding with the bound of tasks that was known"))
                .map_or(self.bounds.tasks, Some),
        };
        if let Some(cx) = self.context.clone().filter(|_| cpu.0 > 0 && mem.0 > 0) {
            let (before, bounds) = (self.bounding.take(), self.bounds);
            self.bounding = Some(tokio::spawn(async move {
                // One after the other: what was wanted last holds at last.
                if let Some(before) = before {
                    let _ = before.await;
                }
                world::bound_all(&cx, bounds).await;
            }));
        }
    }

    /// Sets what bounds all shares together again where the kernel holds something else, as after somebody else set it, or
    /// where it could not be set before.
    pub(crate) fn look_at_bounds(&mut self) {
        let idle = self.bounding.as_ref().is_none_or(JoinHandle::is_finished);
        let drifted = match self.parts.cgroups.limits(Group::All) {
            Ok(limits) => limits.is_some_and(|limits| limits.holds_named(self.bounds).is_err()),
            Err(fault) => return error!("{}", chain(&fault)),
        };
        if idle && drifted {
            self.bound_all();
        }
    }

    /// What the policy says for a member, and no more tasks than all shares together may have.
    pub(crate) fn member_policy(&self, policy: &Policy, account: &Account) -> MemberPolicy {
        let mut member = policy.member(account.uid, &account.groups);
        if let Some(all) = self.bounds.tasks {
            member.max.tasks = member.max.tasks.min(all);
            member.defaults.tasks = member.defaults.tasks.min(all);
        }
        member
    }

    /// Where the kernel holds something else than it should; one reading for many who ask at once.
    fn drift(&mut self) -> Vec<String> {
        if self.in_order_at.is_some_and(|at| at.elapsed() < USAGES_FRESH) {
            return Vec::new();
        }
        let settled = self.ledger.shares().values().filter(|share| !self.busy.contains_key(&share.uid));
        let drift: Vec<String> =
            settled.filter_map(|share| limits_hold(&self.parts.cgroups, share).err()).collect();
        // Bad news is not kept: who mends something and asks again is told what is now.
        self.in_order_at = drift.is_empty().then(Instant::now);
        drift
    }

    /// Whether all is well. What names others' slices and figures is for admins.
    fn health(&mut self, names: bool) -> Answer {
        let missing = |name: &str, reason: &Option<String>| Check {
            name: name.to_owned(),
            ok: reason.is_none(),
            detail: reason.clone(),
        };
        let mut policy = missing("policy", &self.condition.policy);
        // No fault: what is in force is whole. Who put the file there thinks otherwise.
        policy.detail = policy.detail.or_else(|| file::left_out(&self.parts.policy));
        let mut checks = vec![
            policy,
            missing("state", &self.condition.state),
            missing("bus", &self.condition.bus),
            missing("controllers", &self.condition.controllers),
        ];
        checks.push(Check {
            name: "names".to_owned(),
            // A name that nobody has concerns nobody.
            ok: !self.policy.as_ref().is_some_and(|policy| policy.unfound.is_open()),
            detail: self.names_missing(),
        });
        let drift = self.drift();
        checks.push(Check {
            name: "limits".to_owned(),
            ok: drift.is_empty(),
            detail: (!drift.is_empty()).then(|| {
                if names {
                    drift.join("; ")
                } else {
                    format!("the kernel holds other limits than it should for {} shares", drift.len())
                }
            }),
        });
        let doubtful = self.condition.doubtful();
        checks.push(Check {
            name: "settled".to_owned(),
            ok: doubtful == 0,
            detail: (doubtful > 0)
                .then(|| format!("{doubtful} shares could not be made to hold: see the journal")),
        });
        let strays: Vec<String> = self.strays.iter().map(|uid| UnitName::Share(*uid).to_string()).collect();
        checks.push(Check {
            name: "strays".to_owned(),
            ok: strays.is_empty(),
            detail: (!strays.is_empty()).then(|| {
                if names {
                    format!("nobody has these user ids, and processes are inside: {}", strays.join(" "))
                } else {
                    format!("processes are inside {} slices of user ids that nobody has", strays.len())
                }
            }),
        });
        Answer::Health(HealthAnswer { healthy: checks.iter().all(|check| check.ok), checks })
    }
}
