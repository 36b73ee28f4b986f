//! Calls that change nothing: answered from the ledger and the kernel, at once.

use std::sync::Arc;

use tokio::time::Instant;

use super::EventLoop;
use super::event::Event;
use super::usages::{USAGES_FRESH, is_held};
use crate::contract::{
    Answer, Check, HealthAnswer, Jobs, OneJob, PolicyAnswer, Pong, ShareInfo, StatusAnswer, Subscribed,
};
use crate::daemon::asking::authorize::{Act, Authorised};
use crate::daemon::clock;
use crate::daemon::doing::kernel::{limits_hold, usage, usages};
use crate::daemon::telling::answer;
use crate::daemon::telling::reply::Reply;
use crate::identity::{Uid, UnitName};
use crate::ledger::refusal::Refusal;
use crate::policy::{Role, Visibility, file};
use crate::wire::error::{Code, WireError};

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
        let capacity = self.capacity();
        if !self.usages.wants_reading(reply, only, &self.ledger, capacity) {
            return;
        }
        let (cgroups, events) = (Arc::clone(&self.parts.cgroups), self.events.clone());
        let uids: Vec<Uid> = self.ledger.shares().keys().copied().collect();
        tokio::spawn(async move {
            let usages = usages(&cgroups, &uids).await;
            let _ = events.send(Event::Usages(usages)).await;
        });
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
