//! What is looked at for an answer: whether all is well, and what all shares use.

use std::sync::Arc;

use tokio::time::Instant;

use super::EventLoop;
use super::event::Event;
use super::usages::USAGES_FRESH;
use crate::contract::{Answer, Check, HealthAnswer};
use crate::daemon::doing::kernel::{share_holds, usages};
use crate::daemon::telling::reply::Reply;
use crate::daemon::telling::shown::Shown;
use crate::identity::{Uid, UnitName};
use crate::policy::file;

impl EventLoop {
    /// Lists shares with what they use, all or one member's.
    pub(crate) fn list(&mut self, only: Option<Uid>, reply: Reply) {
        let shown = Shown::of(&self.ledger, &self.parts.cgroups, &self.needed, self.paused.jobs());
        if !self.usages.wants_reading(reply, only, &shown) {
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
        let settled = self.ledger.shares().keys().filter(|uid| !self.busy.contains_key(uid));
        let drift: Vec<String> =
            settled.filter_map(|uid| share_holds(&self.parts.cgroups, &self.ledger, *uid).err()).collect();
        // Bad news is not kept: who mends something and asks again is told what is now.
        self.in_order_at = drift.is_empty().then(Instant::now);
        drift
    }

    /// Whether all is well. What names others' slices and figures is for admins.
    pub(crate) fn health(&mut self, names: bool) -> Answer {
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
        let outside = self.baseline.told();
        checks.push(Check { name: "outside".to_owned(), ok: outside.is_well(), detail: outside.said(names) });
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
        self.io_of_shares_only();
        checks.push(self.io.check(names));
        checks.push(self.history.check());
        let doubtful = self.condition.doubtful();
        checks.push(Check {
            name: "settled".to_owned(),
            ok: doubtful == 0,
            detail: (doubtful > 0)
                .then(|| format!("{doubtful} shares could not be made to hold: see the journal")),
        });
        let strays: Vec<String> = self.strays.iter().map(UnitName::to_string).collect();
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
