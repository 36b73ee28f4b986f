//! The policy read again while the daemon runs.

use std::sync::Arc;

use tracing::{error, info};

use super::EventLoop;
use super::event::Event;
use crate::contract::{Answer, Changed};
use crate::daemon::asking::authorize;
use crate::daemon::asking::names;
use crate::daemon::telling::reply::Reply;
use crate::host::account::Account;
use crate::ledger::Command;
use crate::policy::Policy;
use crate::serving::notify;
use crate::wire::error::{Code, WireError};

impl EventLoop {
    /// Reads the policy again, for a caller or a signal.
    pub(crate) fn reload(&mut self, reply: Option<Reply>) {
        let (parts, events) = (self.parts.clone(), self.events.clone());
        info!("reading the policy in {} again", parts.policy.display());
        parts.accounts.refresh_all();
        tokio::spawn(async move {
            let result = names::policy(parts.policy, &parts.accounts).await.map(Box::new);
            let _ = events.send(Event::Reloaded(result, reply)).await;
        });
    }

    /// Takes what was read; a policy that cannot be used leaves the old one in force.
    pub(crate) fn reloaded(&mut self, result: Result<Box<Policy>, String>, reply: Option<Reply>) {
        let asked_by_signal = reply.is_none();
        let refused = match result {
            Ok(policy) => {
                let changed = self.in_force(*policy);
                info!("the policy is in force{}", if changed { "" } else { ", and is what it was" });
                self.recover(true);
                self.reloads.extend(reply.map(|reply| (reply, changed)));
                self.answer_reloads();
                None
            }
            Err(why) => {
                let kept = if self.policy.is_some() {
                    "the old one stays in force"
                } else {
                    "there is none in force"
                };
                error!("the policy cannot be used, and {kept}: {why}");
                if self.policy.is_none() {
                    self.condition.policy = Some(why.clone());
                }
                let message = format!("The policy cannot be used, and {kept}");
                reply.map(|reply| (reply, WireError::new(Code::BadRequest, message).detail(why)))
            }
        };
        if let Some((reply, error)) = refused {
            reply.send(Err(error));
        }
        if asked_by_signal {
            notify::ready(&self.status_line());
        }
        self.tell_status();
    }

    /// Puts a policy in force, and says whether it is another one.
    pub(crate) fn in_force(&mut self, policy: Policy) -> bool {
        let policy = Arc::new(policy);
        let changed = self.policy.as_ref() != Some(&policy);
        self.goes_by(&policy);
        self.feed.revoke(|peer| authorize::role(Some(&policy), peer));
        self.condition.policy = None;
        if changed {
            self.feed.everybody("policy", Some("the policy has changed".to_owned()));
        }
        self.bound_all();
        self.look_at_io(true);
        self.know_waiting();
        changed
    }

    /// Has the accounts of those who wait looked up: their requests are judged by the policy that is in force.
    pub(crate) fn know_waiting(&self) {
        let uids = self.ledger.members_waiting();
        if uids.is_empty() {
            return;
        }
        let (asked, events) = (self.parts.accounts.clone(), self.events.clone());
        tokio::spawn(async move {
            let mut accounts = Vec::new();
            for uid in uids {
                match asked.find(uid).await {
                    Ok(account) => accounts.extend(account),
                    Err(error) => {
                        error!("{error}, proceeding with what uid {uid} asked for under the policy before")
                    }
                }
            }
            let _ = events.send(Event::WaitingKnown(accounts)).await;
        });
    }

    /// Judges the requests of these members, if they still wait, by the policy that is in force.
    pub(crate) fn reconsider(&mut self, accounts: &[Account]) {
        let now = self.present();
        let members = accounts.iter().filter_map(|account| now.member(account).ok()).collect();
        self.tell(Command::Reconsider { members });
        drop(self.store_in_background());
    }

    /// Answers the reloads, as soon as nothing is being looked for any more: who asked may go on at once.
    pub(crate) fn answer_reloads(&mut self) {
        if self.recovering || self.io.is_looking() || self.wants_recovery() && !self.condition.is_degraded() {
            return;
        }
        for (reply, changed) in std::mem::take(&mut self.reloads) {
            reply.send(Ok(Answer::Changed(Changed { changed })));
        }
    }
}
